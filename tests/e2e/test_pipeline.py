"""The tile job pipeline on the real cluster: by its service and by its page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from osgeo import gdal
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from tests.cluster.settings import REPOSITORY
from tests.contract.pipeline.browser import chromium, errors
from tests.deployment.tools import get
from tests.e2e.own import MAX_QUEUED, PARALLELISM, Own
from tests.e2e.wps import until
from tests.faults.history import GROUP, Change
from tests.faults.watcher import Watcher

sys.path.insert(0, str(REPOSITORY / "images" / "eoxserver" / "instance"))
from demo import raster  # what the instance computes with
from demo.tiles import TOWNS, Town, bounding

gdal.UseExceptions()
DATA = REPOSITORY / "examples" / "data"
OLINDA, RECIFE = TOWNS
BLOCK = (5130, 5131, 5162, 5163)
"""Tiles of Recife, two by two: enough of it, for pods take their time to start."""
SLOW_TOWN = 90001
"""Of ``demo.test_processes.plan``: six tiles of a second each, and a mosaic of a minute."""
AT_ONCE = 3
WAIT_SECONDS = 600.0
ENDED = ("finished", "failed", "cancelled")


class Service:
    """The service, as its clients see it."""

    def __init__(self, own: Own) -> None:
        self.own, self.url = own, own.release.url

    def answer(self, path: str, **form: Any) -> requests.Response:
        if form:
            return requests.post(f"{self.url}/{path}", data=form, timeout=60)
        return requests.get(f"{self.url}/{path}", timeout=60)

    def data(self, path: str, **form: Any) -> Any:
        answer = self.answer(path, **form)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def job(self, number: int) -> Any:
        return self.data(f"job_status?job_id={number}")

    def ended(self, number: int) -> Any:
        """The job, once it has ended."""
        found = lambda: (job := self.job(number))["state"] in ENDED and job  # noqa: E731
        return until(found, f"the end of job {number}", WAIT_SECONDS)


@pytest.fixture
def service(own: Own) -> Iterator[Service]:
    """With three slots; its jobs are removed afterwards."""
    own.patch("wpsqueue", "default", parallelism=AT_ONCE)
    before = set(own.wpsjobs())
    yield Service(own)
    own.purge(*set(own.wpsjobs()) - before)
    own.patch("wpsqueue", "default", parallelism=PARALLELISM, maxQueued=MAX_QUEUED)


def tiles(job: Any) -> Counter[str]:
    return Counter(tile["state"] for tile in job["tiles"])


def most_pods(changes: list[Change]) -> int:
    """How many pods of WpsJobs had not ended at any one time."""
    alive: set[str] = set()
    most = 0
    for change in sorted(changes, key=lambda change: change.version):
        if change.plural != "pods":
            continue
        raw = change.raw
        ended = raw is None or raw["status"].get("phase") in ("Succeeded", "Failed")
        (alive.discard if ended else alive.add)(change.uid)
        most = max(most, len(alive))
    return most


def fetched(url: str, path: Path) -> Path:
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    path.write_bytes(answer.content)
    return path


def check_result(job: Any, town: Town, folder: Path) -> None:
    """The mosaic is what GDAL computes of the whole raster, to the bit, and so is the picture."""
    assert job["state"] == "finished", job
    assert set(tiles(job)) == {"finished"}
    mosaic = fetched(job["result_url"], folder / f"{town.name}.tif")
    source, operation = DATA / town.source, raster.OPERATIONS[town.operation]
    made = gdal.Open(str(mosaic))
    whole = np.asarray(operation.compute(gdal.Open(str(source))))
    place = bounding(
        town.grid.window(tile["tile_id"], whole.shape[1], whole.shape[0]) for tile in job["tiles"]
    )
    expected = whole[place.top : place.bottom, place.left : place.right]
    assert made.ReadAsArray().tobytes() == expected.tobytes()
    assert made.GetRasterBand(1).GetOverviewCount() >= 2
    bounds = raster.render(mosaic, folder / "expected.png", operation)
    assert job["outputs"]["bounds"]["bounds"] == pytest.approx(bounds)
    picture = fetched(job["outputs"]["picture"]["href"], folder / f"{town.name}.png")
    pixels = [gdal.Open(str(path)).ReadAsArray() for path in (picture, folder / "expected.png")]
    assert np.array_equal(*pixels)


@pytest.mark.timeout(1200)
def test_two_towns_at_once_from_the_page_to_their_pictures(
    service: Service, tmp_path: Path
) -> None:
    namespace = service.own.release.namespace
    with Watcher(namespace) as watcher, chromium(tmp_path) as browser:
        browser.get(f"{service.url}/jobs")

        def text(selector: str) -> str:
            return str(browser.find_element(By.CSS_SELECTOR, selector).text)

        until(lambda: "job" in text("#count"), "the page's list")
        Select(browser.find_element(By.ID, "town")).select_by_value(str(OLINDA.number))
        browser.find_element(By.CSS_SELECTOR, "#start button").click()
        until(lambda: "Olinda" in text("#title"), "the job that was started")
        olinda = int(text("#title").partition("#")[2])
        recife = service.data("start_job", tile_ids=",".join(map(str, BLOCK)))["job_id"]
        assert recife > olinda

        def shown(state: str) -> int:
            return len(browser.find_elements(By.CSS_SELECTOR, f'#grid i[data-state="{state}"]'))

        until(lambda: shown("in progress") and shown("finished"), "tiles on the way")
        until(lambda: tiles(service.job(recife))["finished"], "a tile of the other town")
        assert service.job(olinda)["state"] == "in progress", "neither waits for the other"

        until(lambda: text("#state") == "finished", "the end, on the page", WAIT_SECONDS)
        picture = until(
            lambda: browser.find_element(By.ID, "map").get_attribute("data-picture"),
            "the picture on the map",
        )
        assert shown("finished") == len(OLINDA.grid.numbers())
        assert errors(browser) == []
        second = service.ended(recife)
        watcher.check()
        assert most_pods(watcher.changes) == AT_ONCE
    first = service.job(olinda)
    assert tiles(first) == {"finished": 24}
    check_result(first, OLINDA, tmp_path)
    check_result(second, RECIFE, tmp_path)
    image = gdal.Open(str(tmp_path / "Olinda.png"))
    assert picture == f"{image.RasterXSize}x{image.RasterYSize}"
    log = [entry["phase"] for entry in second["log"]]
    assert log[-1] == "Succeeded"


def test_a_job_is_cancelled_in_each_stage(service: Service) -> None:
    own = service.own

    def cancel(number: int) -> Any:
        told = service.data("cancel_job", job_id=number)
        assert told["cancelling"] or told["state"] == "cancelled"
        job = service.ended(number)
        assert job["state"] == "cancelled"
        again = service.answer(f"cancel_job?job_id={number}")
        assert (again.status_code, again.json()["status"]) == (409, 409)
        return job

    own.patch("wpsqueue", "default", parallelism=0)
    waiting = service.data(f"start_job?town_id={SLOW_TOWN}")
    assert waiting["state"] == "ready"
    assert tiles(cancel(waiting["job_id"])) == {"cancelled": 6}
    own.patch("wpsqueue", "default", parallelism=AT_ONCE)

    number = service.data(f"start_job?town_id={SLOW_TOWN}")["job_id"]
    until(lambda: tiles(service.job(number))["in progress"], "a tile in progress")
    found = tiles(cancel(number))
    assert found["cancelled"] > 0
    assert set(found) <= {"cancelled", "finished"}

    number = service.data(f"start_job?town_id={SLOW_TOWN}")["job_id"]
    until(lambda: tiles(service.job(number)) == {"finished": 6}, "all tiles", WAIT_SECONDS)
    until(lambda: "together" in str(service.job(number)["message"]), "the mosaic's own words")
    assert tiles(cancel(number)) == {"finished": 6}
    selector = f"{GROUP}/job"
    pods = get("pods", "-n", own.release.namespace, "-l", selector)["items"]
    assert {pod["status"]["phase"] for pod in pods} <= {"Succeeded", "Failed"}


def test_a_full_queue_says_when_to_come_again(service: Service) -> None:
    service.own.patch("wpsqueue", "default", parallelism=0, maxQueued=0)
    answer = service.answer("start_job?town_id=11850")

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "queue is full" in answer.json()["message"]


def test_the_curl_lines_of_the_readme_can_be_typed(service: Service) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    lines = re.findall(r"^curl .*_(?:job|status|jobs)\b.*$", readme, re.M)
    assert len(lines) >= 5
    service.own.patch("wpsqueue", "default", parallelism=0)
    number = 0
    for line in lines:
        typed = line.replace("localhost:8000", service.url.partition("//")[2])
        typed = typed.replace("JOB", str(number))
        done = subprocess.run(
            ["bash", "-c", typed], capture_output=True, text=True, timeout=60, check=True
        )
        answer = json.loads(done.stdout)
        assert (answer["status"], answer["message"]) == (200, "Success"), f"{typed}: {done.stdout}"
        number = number or answer["data"]["job_id"]
    assert service.ended(number)["state"] == "cancelled"
