"""The processes of the demonstration, all of them asynchronous."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from eoxserver.services.ows.wps.parameters import (
    AllowedRange,
    BoundingBox,
    BoundingBoxData,
    ComplexData,
    FormatBinaryRaw,
    FormatJSON,
    LiteralData,
    Reference,
)
from eoxserver.services.ows.wps.processes.get_statistics import GetStatisticsProcess
from osgeo import gdal

gdal.UseExceptions()

ELEVATION = "olinda_dem_utm25s.tif"
LANDSAT = "L7_ETMs.tif"
COLLECTION = "olinda"
OLINDA = (-35.0, -8.1, -34.8, -7.9)
"""West, south, east and north in degrees."""
TIFF = "image/tiff"
TIFF_OPTIONS = ["COMPRESS=DEFLATE", "TILED=YES"]

RED_BAND, NEAR_INFRARED_BAND = 3, 4
"""Bands of the Landsat 7 ETM+ scene."""


class Hillshade:
    """Shaded relief of the elevation model of Olinda."""

    identifier = "Hillshade"
    title = "Hillshade of Olinda"
    description = "Shaded relief from the SRTM elevation model of Olinda, Brazil."
    synchronous = False
    asynchronous = True

    inputs = (
        (
            "azimuth",
            LiteralData(
                "azimuth",
                float,
                default=315.0,
                allowed_values=AllowedRange(0.0, 360.0, dtype=float),
                title="Azimuth of the light",
                abstract="Degrees, clockwise from north.",
            ),
        ),
        (
            "altitude",
            LiteralData(
                "altitude",
                float,
                default=45.0,
                allowed_values=AllowedRange(0.0, 90.0, dtype=float),
                title="Altitude of the light",
                abstract="Degrees above the horizon.",
            ),
        ),
    )
    outputs = (
        (
            "hillshade",
            ComplexData(
                "hillshade",
                FormatBinaryRaw(TIFF),
                title="Shaded relief",
                abstract="GeoTIFF of bytes, 0 is black.",
            ),
        ),
    )

    def execute(self, context: Any, azimuth: float, altitude: float, **kwargs: Any) -> Reference:
        gdal.DEMProcessing(
            "hillshade.tif",
            str(settings.DEMO_DATA / ELEVATION),
            "hillshade",
            azimuth=azimuth,
            altitude=altitude,
            computeEdges=True,
            creationOptions=TIFF_OPTIONS,
            callback=report_to(context, "shading"),
        )
        return publish_tiff(context, "hillshade.tif")


class Ndvi:
    """Normalised difference vegetation index of the Landsat scene of Olinda."""

    identifier = "NDVI"
    title = "Vegetation index of Olinda"
    description = (
        "Normalised difference vegetation index, (NIR - red) / (NIR + red), "
        "from a Landsat 7 ETM+ scene of Olinda, Brazil."
    )
    synchronous = False
    asynchronous = True

    inputs = (
        (
            "threshold",
            LiteralData(
                "threshold",
                float,
                default=-1.0,
                allowed_values=AllowedRange(-1.0, 1.0, dtype=float),
                title="Least index that counts",
                abstract="Pixels below it have no data and do not count in the mean.",
            ),
        ),
    )
    outputs = (
        (
            "ndvi",
            ComplexData(
                "ndvi", FormatBinaryRaw(TIFF), title="Index", abstract="GeoTIFF of floats, -1 to 1."
            ),
        ),
        ("mean", LiteralData("mean", float, title="Mean of the index")),
    )

    def execute(self, context: Any, threshold: float, **kwargs: Any) -> dict[str, Any]:
        scene = gdal.Open(str(settings.DEMO_DATA / LANDSAT))
        width, height = scene.RasterXSize, scene.RasterYSize
        target = gdal.GetDriverByName("GTiff").Create(
            "ndvi.tif", width, height, 1, gdal.GDT_Float32, TIFF_OPTIONS
        )
        target.SetGeoTransform(scene.GetGeoTransform())
        target.SetProjection(scene.GetProjection())
        band = target.GetRasterBand(1)
        band.SetNoDataValue(float("nan"))
        total, count, rows = 0.0, 0, 64
        for top in range(0, height, rows):
            window = (0, top, width, min(rows, height - top))
            red = scene.GetRasterBand(RED_BAND).ReadAsArray(*window).astype("float32")
            infrared = scene.GetRasterBand(NEAR_INFRARED_BAND).ReadAsArray(*window)
            infrared = infrared.astype("float32")
            with np.errstate(divide="ignore", invalid="ignore"):
                index = (infrared - red) / (infrared + red)
            index[~(index >= threshold)] = np.nan
            total += float(np.nansum(index, dtype="float64"))
            count += int(np.isfinite(index).sum())
            band.WriteArray(index, 0, top)
            context.update_progress(100 * top // height, f"row {top} of {height}")
        # GDAL writes the file out when its objects are gone.
        del band, target
        return {
            "ndvi": publish_tiff(context, "ndvi.tif"),
            "mean": total / count if count else 0.0,
        }


class Statistics(GetStatisticsProcess):  # type: ignore[misc]  # EOxServer has no types
    """EOxServer's own GetStatistics, run asynchronously, with defaults."""

    identifier = "Statistics"
    title = "Statistics of the elevations of Olinda"
    description = "EOxServer's GetStatistics on the registered coverages of a collection."
    profiles = ()
    synchronous = True
    asynchronous = True

    inputs = (
        (
            "bbox",
            BoundingBoxData(
                "bbox",
                default=BoundingBox((OLINDA[:2], OLINDA[2:])),
                optional=True,
                title="Area",
                abstract="Longitudes and latitudes, in this order.",
            ),
        ),
        (
            "collection",
            LiteralData("collection", default=COLLECTION, title="Identifier of the collection"),
        ),
    )
    outputs = (
        (
            "statistics",
            ComplexData(
                "statistics",
                FormatJSON(),
                title="Statistics",
                abstract="Per coverage and band: minimum, maximum, mean, deviation, histogram.",
            ),
        ),
    )

    def execute(self, bbox: Any, collection: str, context: Any = None, **kwargs: Any) -> Any:
        if context is not None:
            context.update_progress(1, f"reading the coverages of {collection}")
        return super().execute(bbox, collection)


def report_to(context: Any, words: str) -> Callable[..., int]:
    """A progress callback for GDAL."""

    def callback(complete: float, *_: Any) -> int:
        context.update_progress(99 * complete, words)
        return 1

    return callback


def publish_tiff(context: Any, name: str) -> Reference:
    """Publish the GeoTIFF *name* of the workspace as an output by reference."""
    path, url = context.publish(name)
    return Reference(Path(path), url, mime_type=TIFF)
