"""The page at /jobs in a headless Chromium, on an operator that the test plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo import raster
from demo.tiles import TOWNS
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.contract.conftest import job_id, only_job
from tests.contract.fakeapi import FakeApi
from tests.contract.instance import DATA
from tests.contract.pipeline.browser import chromium, errors, served, soon
from tests.contract.pipeline.conftest import WHEN
from wpsjobs.eoxserver import config

OLINDA = TOWNS[0]
TOTAL = len(OLINDA.grid.numbers())
RESPONSE = """<wps:ExecuteResponse xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1"><wps:ProcessOutputs>
  <wps:Output><ows:Identifier>mosaic</ows:Identifier>
    <wps:Reference href="{url}/mosaic.tif" mimeType="image/tiff"/></wps:Output>
  <wps:Output><ows:Identifier>picture</ows:Identifier>
    <wps:Reference href="{url}/picture.png" mimeType="image/png"/></wps:Output>
  <wps:Output><ows:Identifier>bounds</ows:Identifier><wps:Data><wps:BoundingBoxData>
    <ows:LowerCorner>{west} {south}</ows:LowerCorner>
    <ows:UpperCorner>{east} {north}</ows:UpperCorner>
  </wps:BoundingBoxData></wps:Data></wps:Output>
</wps:ProcessOutputs></wps:ExecuteResponse>"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def url(http: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the instance is; its results are there, too."""
    with override_settings(ALLOWED_HOSTS=["127.0.0.1"]), served(get_wsgi_application()) as url:
        loaded = config.load()
        with monkeypatch.context() as patched:
            patched.setitem(vars(loaded), "url_base", f"{url}/results")
            yield url


class Page:
    """The page, as a person sees it."""

    def __init__(self, browser: Any, url: str, api: FakeApi) -> None:
        self.browser, self.url, self.api = browser, url, api
        browser.get("about:blank")
        browser.get(f"{url}/jobs")
        soon(lambda: self.one("#count").text, "the list")

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def states(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.dataset.state)"
        return list(self.browser.execute_script(script, selector))

    def start(self, town: str = "") -> str:
        """Start a town's job; the result is the name of its WpsJob."""
        before = set(self.api.jobs)
        Select(self.one("#town")).select_by_value(town or str(OLINDA.number))
        self.one("#start button").click()
        (name,) = soon(lambda: set(self.api.jobs) - before, "the WpsJob")
        number = self.api.jobs[name]["status"]["sequence"]
        soon(lambda: self.one("#title").text.endswith(f"#{number}"), "the job's details")
        return str(name)

    def sees_answers(self, number: int) -> list[int]:
        """The statuses of the next so many answers to the page."""
        script = """
          const [number, done] = arguments, seen = [];
          const before = window.fetch;
          window.fetch = async (...all) => {
            const answer = await before(...all);
            seen.push(answer.status);
            if (seen.length === number) { window.fetch = before; setTimeout(() => done(seen)); }
            return answer;
          };
        """
        self.browser.set_script_timeout(60)
        return list(self.browser.execute_async_script(script, number))

    def until(self, selector: str, text: str) -> None:
        soon(lambda: text in self.one(selector).text, f"{text!r} in {selector}")


@pytest.fixture
def page(browser: Any, url: str, api: FakeApi) -> Iterator[Page]:
    yield Page(browser, url, api)
    browser.get("about:blank")
    assert errors(browser) == []


def parts(succeeded: str, running: str = "", failed: str = "", restarts: str = "") -> Any:
    found = {"succeeded": succeeded, "running": running, "failed": failed, "restarts": restarts}
    return {"attempt": 1, "total": TOTAL, **found}


def finish(api: FakeApi, work: Path, url: str) -> np.ndarray:
    """Have the one job succeed with a real picture; the result is its pixels."""
    stored = only_job(api)
    folder = work / "perm" / job_id(stored)
    source, operation = DATA / OLINDA.source, raster.OPERATIONS[OLINDA.operation]
    window = raster.Window(0, 0, *raster.size_of(source))
    tiles = [(window, folder / "tile.tif")]
    values = raster.compute_window(operation, source, window)
    raster.write_tiff(folder / "tile.tif", source, window, values, operation.no_data)
    raster.merge(folder / "mosaic.tif", source, tiles, operation.no_data)
    west, south, east, north = raster.render(
        folder / "mosaic.tif", folder / "picture.png", operation
    )
    (folder / "executeResponse.xml").write_text(
        RESPONSE.format(
            url=f"{url}/results/{folder.name}", west=west, south=south, east=east, north=north
        )
    )
    everything = parts(f"0-{TOTAL - 1}")
    name = stored["metadata"]["name"]
    api.set_status(name, phase="Succeeded", finishedAt=WHEN, parts=everything)
    pixels: np.ndarray = raster.gdal.Open(str(folder / "picture.png")).ReadAsArray()
    return pixels


def test_a_job_is_started_watched_and_its_picture_seen(
    page: Page, api: FakeApi, work: Path, url: str
) -> None:
    name = page.start()
    assert page.states("#grid i") == ["ready"] * TOTAL
    assert len(page.all("#map .tile")) == TOTAL
    assert page.one("#state").text == "ready"
    page.until("#log", "queued")

    running = parts("0-4,7", "5-6", "", "5:1")
    progress = {"percent": 22, "message": "6 of 24 parts are done"}
    api.set_status(name, phase="Started", attempt=1, parts=running, progress=progress)
    page.until("#state", "in progress")
    expected = ["finished"] * 5 + ["in progress"] * 2 + ["finished"] + ["ready"] * (TOTAL - 8)
    soon(lambda: page.states("#grid i") == expected, "the grid")
    assert page.states("#map .tile") == expected
    assert page.states("#jobs .grid i") == expected
    page.until("#message", "6 of 24 parts are done")
    page.until("#jobs .note", "22 %")
    label = page.one("#grid").get_attribute("aria-label")
    assert label == "24 tiles: 16 ready, 2 in progress, 6 finished"
    assert "launched again 1" in page.all("#grid i")[5].get_attribute("title")

    pixels = finish(api, work, url)
    size = f"{pixels.shape[2]}x{pixels.shape[1]}"
    soon(lambda: page.one("#map").get_attribute("data-picture") == size, "the picture")
    assert page.one("#state").text == "finished"
    assert not page.one("#cancel").is_displayed()
    seen = drawn(page.browser, page.one("#map image").get_attribute("href"))
    assert np.array_equal(seen, np.moveaxis(pixels, 0, -1))
    assert "mosaic.tif" in page.one("#links a").get_attribute("href")
    box = page.one("#map image").rect
    assert min(box["width"], box["height"]) > 100


def drawn(browser: Any, href: str) -> np.ndarray:
    """The pixels of a picture as the browser decodes them: rows, columns, four bands."""
    script = """
      const done = arguments[1];
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        done(JSON.stringify([canvas.height, canvas.width, Array.from(data)]));
      };
      image.src = arguments[0];
    """
    height, width, values = json.loads(browser.execute_async_script(script, href))
    return np.array(values, dtype="uint8").reshape(height, width, 4)


def test_a_job_is_cancelled_after_a_question(page: Page, api: FakeApi) -> None:
    name = page.start()
    api.set_status(name, phase="Started", attempt=1, parts=parts("0", "1-3"))
    page.until("#state", "in progress")
    page.one("#cancel").click()
    page.browser.switch_to.alert.dismiss()
    assert api.jobs[name]["spec"]["cancel"] is False
    page.one("#cancel").click()
    page.browser.switch_to.alert.accept()
    page.until("#state", "being cancelled")
    assert api.jobs[name]["spec"]["cancel"] is True
    soon(lambda: not page.one("#cancel").is_enabled(), "the button to be of no use any more")
    page.sees_answers(2)
    assert not page.one("#cancel").is_enabled()
    ended = parts("0", "", "", "")
    api.set_status(name, phase="Dismissed", finishedAt=WHEN, parts=ended)
    page.until("#state", "cancelled")
    soon(lambda: page.states("#grid i") == ["finished"] + ["cancelled"] * 23, "the grid")


def test_filters_choose_among_the_jobs(page: Page, api: FakeApi) -> None:
    first = page.start()
    page.start(str(TOWNS[1].number))
    page.until("#count", "2 jobs")
    api.set_status(first, phase="Failed", message="tile 4281: no such file", finishedAt=WHEN)
    Select(page.one("#filter-state")).select_by_value("failed")
    page.until("#count", "1 job")
    soon(lambda: "Olinda" in page.one("#jobs .name").text, "the failed one")
    page.one("#jobs button").click()
    page.until("#message", "tile 4281: no such file")
    Select(page.one("#filter-town")).select_by_value(str(TOWNS[1].number))
    page.until("#empty", "No job is like that.")


def test_what_is_wrong_is_told(page: Page, api: FakeApi) -> None:
    Select(page.one("#town")).select_by_value("")
    page.one("#tiles").send_keys("4315,5130,7")
    page.one("#start button").click()
    page.until("#notice", "There is no tile 7.")
    page.browser.get_log("browser")  # the browser notes each 404
    api.on_created = lambda _: {"phase": "Rejected", "reason": "QueueFull", "sequence": 1}
    page.one("#tiles").clear()
    page.one("#tiles").send_keys("4315")
    page.one("#start button").click()
    page.until("#notice", "the queue is full")
    page.browser.get_log("browser")
    assert not api.jobs


def test_a_job_that_has_expired_goes_from_the_page(page: Page, api: FakeApi) -> None:
    name = page.start()
    api.remove(name)
    page.until("#notice", "There is no job")
    page.until("#count", "0 jobs")
    assert not page.one("#detail").is_displayed()
    page.browser.get_log("browser")  # the browser notes each 404


def test_nothing_changes_no_answer_is_sent(page: Page, api: FakeApi) -> None:
    page.start()
    assert set(page.sees_answers(6)) == {304}
