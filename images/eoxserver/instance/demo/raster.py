"""What is computed of a tile, and how tiles become one raster and one picture, with GDAL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal

from demo.tiles import Window, bounding

gdal.UseExceptions()

TIFF_OPTIONS = ["COMPRESS=DEFLATE", "TILED=YES"]
RED_BAND, NEAR_INFRARED_BAND = 3, 4
"""Bands of the Landsat 7 ETM+ scene."""
LEAST_OVERVIEW = 16
"""Pixels that the longer side of the smallest overview has at least."""

Array = Any
"""A numpy array; Debian's numpy and type checkers do not meet."""


@dataclass(frozen=True)
class Operation:
    """Something that is computed of a raster, pixel by pixel."""

    margin: int
    """How many pixels around a pixel its value depends on: the overlap of tiles."""
    no_data: float
    compute: Callable[[gdal.Dataset], Array]
    colours: tuple[tuple[float, tuple[int, int, int]], ...]
    """Of a picture: red, green and blue (0…255) at values that grow."""


def slope(raster: gdal.Dataset) -> Array:
    """Degrees, by Horn's formula on 3 by 3 pixels, extrapolated at the edges of *raster*."""
    made = gdal.DEMProcessing("", raster, "slope", format="MEM", computeEdges=True)
    return made.ReadAsArray()


def ndvi(raster: gdal.Dataset) -> Array:
    """(NIR - red) / (NIR + red), -1…1; not a number where both are dark."""
    red = raster.GetRasterBand(RED_BAND).ReadAsArray().astype("float32")
    infrared = raster.GetRasterBand(NEAR_INFRARED_BAND).ReadAsArray().astype("float32")
    with np.errstate(divide="ignore", invalid="ignore"):
        return (infrared - red) / (infrared + red)


OPERATIONS: Mapping[str, Operation] = {
    "slope": Operation(
        margin=1,
        no_data=-9999.0,
        compute=slope,
        colours=(
            (0.0, (0xF7, 0xF4, 0xE9)),
            (4.0, (0xF0, 0xC9, 0x7A)),
            (10.0, (0xD9, 0x6B, 0x3B)),
            (20.0, (0x6B, 0x1D, 0x3F)),
        ),
    ),
    "ndvi": Operation(
        margin=0,
        no_data=float("nan"),
        compute=ndvi,
        colours=(
            (-0.5, (0x2B, 0x5C, 0x8A)),
            (0.0, (0xD8, 0xC3, 0x9A)),
            (0.2, (0xF2, 0xEE, 0xC0)),
            (0.4, (0x8F, 0xB9, 0x5A)),
            (0.8, (0x1B, 0x5E, 0x20)),
        ),
    ),
}


def size_of(path: Path) -> tuple[int, int]:
    """Columns and rows of a raster."""
    raster = gdal.Open(str(path))
    return raster.RasterXSize, raster.RasterYSize


def degrees_of(raster: gdal.Dataset, window: Window) -> tuple[float, float, float, float]:
    """West, south, east and north (WGS 84) of the pixels of *window*."""
    to_degrees = gdal.Transformer(raster, None, ["DST_SRS=EPSG:4326"])
    columns, rows = (window.left, window.right), (window.top, window.bottom)
    corners = [(column, row) for column in columns for row in rows]
    points, _ = to_degrees.TransformPoints(False, corners)
    longitudes, latitudes = [point[0] for point in points], [point[1] for point in points]
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def compute_window(operation: Operation, source: Path, window: Window) -> Array:
    """The values of *window*, to the bit those that the whole of *source* would have there.

    More than the window is read where a value depends on its neighbours, and cut off again.
    """
    raster = gdal.Open(str(source))
    outer = window.grown(operation.margin, raster.RasterXSize, raster.RasterYSize)
    inner = window.within(outer)
    part = gdal.Translate("", raster, format="MEM", srcWin=outer.as_list())
    values = operation.compute(part)
    return values[inner.top : inner.bottom, inner.left : inner.right]


def write_tiff(path: Path, source: Path, window: Window, values: Array, no_data: float) -> None:
    """A GeoTIFF of *values*, which are those of *window* of *source*."""
    raster = gdal.Open(str(source))
    origin_x, width, skew_x, origin_y, skew_y, height = raster.GetGeoTransform()
    target = gdal.GetDriverByName("GTiff").Create(
        str(path), window.width, window.height, 1, gdal.GDT_Float32, TIFF_OPTIONS
    )
    target.SetGeoTransform(
        (
            origin_x + window.left * width + window.top * skew_x,
            width,
            skew_x,
            origin_y + window.left * skew_y + window.top * height,
            skew_y,
            height,
        )
    )
    target.SetProjection(raster.GetProjection())
    band = target.GetRasterBand(1)
    band.SetNoDataValue(no_data)
    band.WriteArray(values)
    # GDAL writes the file out when its objects are gone.
    del band, target


def merge(path: Path, source: Path, tiles: Iterable[tuple[Window, Path]], no_data: float) -> Window:
    """Write the mosaic of *tiles*, with overviews; the result is its window of *source*.

    Where no tile is, the mosaic has no data.
    """
    pieces = list(tiles)
    whole = bounding(window for window, _ in pieces)
    values = np.full((whole.height, whole.width), no_data, dtype="float32")
    for window, file in pieces:
        place = window.within(whole)
        values[place.top : place.bottom, place.left : place.right] = gdal.Open(
            str(file)
        ).ReadAsArray()
    write_tiff(path, source, whole, values, no_data)
    raster = gdal.Open(str(path), gdal.GA_Update)
    raster.BuildOverviews("AVERAGE", overview_factors(whole.width, whole.height))
    del raster
    return whole


def overview_factors(width: int, height: int) -> list[int]:
    """Powers of two, one of them at least, down to a thumbnail."""
    factors = [2]
    while max(width, height) // (factors[-1] * 2) >= LEAST_OVERVIEW:
        factors.append(factors[-1] * 2)
    return factors


def render(path: Path, picture: Path, operation: Operation) -> tuple[float, float, float, float]:
    """A PNG of the raster in degrees (EPSG:4326), transparent where it has no data.

    The result is its west, south, east and north.
    """
    degrees = gdal.Warp(
        "", str(path), format="MEM", dstSRS="EPSG:4326", dstNodata=float("nan"), resampleAlg="near"
    )
    pixels = coloured(degrees.ReadAsArray(), operation)
    image = gdal.GetDriverByName("MEM").Create(
        "", degrees.RasterXSize, degrees.RasterYSize, len(pixels), gdal.GDT_Byte
    )
    for number, plane in enumerate(pixels, start=1):
        image.GetRasterBand(number).WriteArray(plane)
    # No .aux.xml beside the picture: its place is told by the process.
    gdal.GetDriverByName("PNG").CreateCopy(str(picture), image)
    west, width, _, north, _, height = degrees.GetGeoTransform()
    south, east = north + height * degrees.RasterYSize, west + width * degrees.RasterXSize
    return west, south, east, north


def coloured(values: Array, operation: Operation) -> Array:
    """Red, green, blue and opacity (0…255) of *values*, as an array of four planes."""
    stops = [stop for stop, _ in operation.colours]
    seen = np.isfinite(values)
    planes = [
        np.interp(values, stops, [colour[band] for _, colour in operation.colours])
        for band in range(3)
    ]
    planes = [np.where(seen, plane, 0) for plane in planes]
    return np.stack([*planes, np.where(seen, 255, 0)]).round().astype("uint8")
