"""A headless Chromium, as Debian ships it, and the instance served to it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

DRIVER, CHROMIUM = "chromedriver", "chromium"
_T = TypeVar("_T")


@contextmanager
def chromium(downloads: Path) -> Iterator[Chrome]:
    """A browser with a profile of its own that reaches this machine alone."""
    driver, browser = shutil.which(DRIVER), shutil.which(CHROMIUM)
    if driver is None or browser is None:
        pytest.fail("Chromium is not there: tests/install-dev.sh installs it from Debian")
    options = ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",  # as root; the pages are our own
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--no-proxy-server",
        "--window-size=1280,900",
        f"--user-data-dir={downloads}/profile",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = Chrome(options=options, service=Service(driver))
    try:
        made.set_page_load_timeout(60)
        yield made
    finally:
        made.quit()


def soon(found: Callable[[], _T], what: str, seconds: float = 60.0) -> _T:
    """What *found* answers once it is true; the page may change meanwhile."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if answer := found():
                return answer
        except StaleElementReferenceException:
            pass
        assert time.monotonic() < deadline, f"not after {seconds:.0f} s: {what}"
        time.sleep(0.1)


def errors(browser: Any) -> list[str]:
    """What the browser complains of: scripts that fail, what the policy forbids.

    Each pod that comes or goes changes this machine's network, over which Chromium gives up what it
    has asked; the page asks again.
    """
    told = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in told if "ERR_NETWORK_CHANGED" not in message]


@contextmanager
def served(application: Any) -> Iterator[str]:
    """The URL at which a WSGI application is served, by one thread."""
    server = make_server("127.0.0.1", 0, application, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(WSGIServer):
    timeout = 5


class _Quiet(WSGIRequestHandler):
    timeout = 5  # a connection that a browser opened to have it ready says nothing for long

    def log_message(self, *_: Any) -> None:
        """Nothing of each request."""
