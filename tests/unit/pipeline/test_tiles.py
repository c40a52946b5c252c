"""Tiles, and that their mosaic is what is computed of the whole raster, to the bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from demo import raster, tiles
from demo.tiles import NUMBERS_PER_ROW, TOWNS, Grid, Town, Window
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal

from tests.contract.instance import DATA

gdal.UseExceptions()
EACH_TOWN = pytest.mark.parametrize("town", TOWNS, ids=lambda town: town.name)


def whole(town: Town) -> np.ndarray:
    """By GDAL alone, without any of our windows."""
    source = str(DATA / town.source)
    if town.operation == "slope":
        made = gdal.DEMProcessing("", source, "slope", format="MEM", computeEdges=True)
        return np.asarray(made.ReadAsArray())
    red, infrared = (gdal.Open(source).ReadAsArray()[band].astype("float32") for band in (2, 3))
    return np.asarray((infrared - red) / (infrared + red))


WHOLE = {town.name: whole(town) for town in TOWNS}


def mosaic(town: Town, numbers: tuple[int, ...], folder: Path) -> tuple[Path, Window]:
    """Tile by tile through files, and merged, as the process does it."""
    source, operation = DATA / town.source, raster.OPERATIONS[town.operation]
    height, width = WHOLE[town.name].shape
    pieces = []
    for number in numbers:
        window = town.grid.window(number, width, height)
        values = raster.compute_window(operation, source, window)
        path = folder / f"{number}.tif"
        raster.write_tiff(path, source, window, values, operation.no_data)
        pieces.append((window, path))
    merged = folder / "mosaic.tif"
    return merged, raster.merge(merged, source, pieces, operation.no_data)


@EACH_TOWN
def test_the_mosaic_of_a_town_is_the_computation_on_the_whole(town: Town, tmp_path: Path) -> None:
    path, _ = mosaic(town, town.grid.numbers(), tmp_path)
    made, source = gdal.Open(str(path)), gdal.Open(str(DATA / town.source))

    assert made.ReadAsArray().tobytes() == WHOLE[town.name].tobytes()
    assert made.GetGeoTransform() == source.GetGeoTransform()
    assert made.GetSpatialRef().IsSame(source.GetSpatialRef())
    assert made.GetRasterBand(1).GetOverviewCount() >= 2


@EACH_TOWN
@settings(max_examples=15, deadline=None)
@given(columns=st.integers(1, 32), rows=st.integers(1, 40), data=st.data())
def test_whatever_the_tiles_none_differs_by_a_bit(
    town: Town, columns: int, rows: int, data: st.DataObject
) -> None:
    grid = Grid(columns, rows, first=7)
    odd = Town(1, town.name, town.source, town.operation, grid)
    numbers = tuple(data.draw(st.sets(st.sampled_from(grid.numbers()), min_size=1, max_size=6)))
    expected = WHOLE[town.name]
    height, width = expected.shape
    with tempfile.TemporaryDirectory() as folder:
        path, place = mosaic(odd, numbers, Path(folder))
        made = gdal.Open(str(path)).ReadAsArray()
    covered = np.zeros(made.shape, dtype=bool)
    for number in numbers:
        tile = grid.window(number, width, height)
        part = tile.within(place)
        here = np.s_[part.top : part.bottom, part.left : part.right]
        there = np.s_[tile.top : tile.bottom, tile.left : tile.right]
        assert made[here].tobytes() == expected[there].tobytes()
        covered[here] = True
    empty = made[~covered]
    no_data = raster.OPERATIONS[town.operation].no_data
    assert np.array_equal(empty, np.full_like(empty, no_data), equal_nan=True)


@given(st.integers(1, 32), st.integers(1, 40), st.integers(40, 400), st.integers(40, 400))
def test_tiles_have_each_pixel_once(columns: int, rows: int, width: int, height: int) -> None:
    grid = Grid(columns, rows, first=100)
    counted = np.zeros((height, width), dtype=int)
    for number in grid.numbers():
        window = grid.window(number, width, height)
        counted[window.top : window.bottom, window.left : window.right] += 1
    assert (counted == 1).all()


def test_a_tile_without_its_overlap_would_differ() -> None:
    """The margin is needed: this is what the tests above would see without it."""
    town = TOWNS[0]
    operation = raster.OPERATIONS[town.operation]
    careless = raster.Operation(0, operation.no_data, operation.compute, operation.colours)
    window = Window(20, 20, 21, 19)
    values = raster.compute_window(careless, DATA / town.source, window)

    assert not np.array_equal(values, WHOLE[town.name][20:39, 20:41])


def test_numbers_are_those_of_one_town() -> None:
    olinda, recife = TOWNS
    assert len(olinda.grid.numbers()) == 24
    assert {4315, 4283, 4318, 4286} <= set(olinda.grid.numbers())
    assert not set(olinda.grid.numbers()) & set(recife.grid.numbers())
    assert tiles.town_of([4315, 4283]) is olinda
    for wrong, words in (
        ([4315, 5130], "no tiles of Olinda: 5130"),
        ([1], "no such tiles: 1"),
        ([], "no tile is named"),
    ):
        with pytest.raises(tiles.MixedTilesError, match=words):
            tiles.town_of(wrong)
    with pytest.raises(KeyError):
        olinda.grid.window(4281 + olinda.grid.columns, 111, 111)
    assert olinda.grid.columns <= NUMBERS_PER_ROW


@EACH_TOWN
def test_the_picture_lies_where_the_raster_is(town: Town, tmp_path: Path) -> None:
    path, _ = mosaic(town, town.grid.numbers()[:2], tmp_path)
    operation = raster.OPERATIONS[town.operation]
    west, south, east, north = raster.render(path, tmp_path / "picture.png", operation)
    picture = gdal.Open(str(tmp_path / "picture.png")).ReadAsArray()

    assert -34.93 < west < east < -34.8
    assert -8.05 < south < north < -7.9
    assert picture.shape[0] == 4
    opacity = picture[3]
    assert set(np.unique(opacity)) <= {0, 255}
    assert (opacity == 255).mean() > 0.8
    assert not list(tmp_path.glob("*.xml"))
    # The colours of the stops, where values are exactly there.
    values = np.array([[value for value, _ in operation.colours]])
    shown = raster.coloured(values, operation)[:3, 0].T.tolist()
    assert shown == [list(colour) for _, colour in operation.colours]
