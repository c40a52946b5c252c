"""Results as pictures: GeoTIFFs rendered to PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from osgeo import gdal
from PIL import Image

gdal.UseExceptions()

NDVI_COLOURS = np.array(
    [
        [0x2B, 0x5C, 0x8A],
        [0xD8, 0xC3, 0x9A],
        [0xF2, 0xEE, 0xC0],
        [0x8F, 0xB9, 0x5A],
        [0x1B, 0x5E, 0x20],
    ]
)
"""Water, bare ground, sparse, green, dense: at NDVI -0.5, 0, 0.2, 0.4 and 0.8."""
NDVI_STOPS = (-0.5, 0.0, 0.2, 0.4, 0.8)
SMALLEST = 600
"""Pixels that a picture's longer side has at least."""


def render_grey(raster: Path, picture: Path) -> Path:
    """Write a one-band raster as a grey PNG, stretched from its 1st to its 99th percentile."""
    values, valid = _read(raster)
    low, high = np.percentile(values[valid], (1, 99))
    grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
    return _save(np.where(valid, grey, 0).astype(np.uint8), picture)


def render_ndvi(raster: Path, picture: Path) -> Path:
    """Write an NDVI raster (-1…1) as a PNG from blue over brown to green."""
    values, valid = _read(raster)
    bands = [np.interp(values, NDVI_STOPS, NDVI_COLOURS[:, band]) for band in range(3)]
    colours = np.where(valid[..., None], np.stack(bands, axis=-1), 0)
    return _save(colours.astype(np.uint8), picture)


def _read(raster: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first band as float and where it has data, both of shape (rows, columns)."""
    dataset = gdal.Open(str(raster))
    band = dataset.GetRasterBand(1)
    values = band.ReadAsArray().astype(float)
    nodata = band.GetNoDataValue()
    valid = np.isfinite(values)
    if nodata is not None:
        valid &= values != nodata
    return values, valid


def _save(pixels: np.ndarray, picture: Path) -> Path:
    image = Image.fromarray(pixels)
    factor = max(1, -(-SMALLEST // max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
    image.save(picture)
    return picture
