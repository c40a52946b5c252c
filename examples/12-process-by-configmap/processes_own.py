"""A process of our own."""

import datetime

import numpy as np
from django.conf import settings
from eoxserver.services.ows.wps.parameters import AllowedRange, LiteralData
from osgeo import gdal

gdal.UseExceptions()


class Elevation:
    """How high the land is, by the elevation model of the demonstration."""

    identifier = "Elevation"
    title = "Elevation of Olinda"
    synchronous = False
    asynchronous = True
    retention_period = datetime.timedelta(days=1)

    inputs = (
        (
            "percent",
            LiteralData(
                "percent",
                float,
                default=50.0,
                allowed_values=AllowedRange(0.0, 100.0, dtype=float),
                title="Share of the area that lies below",
            ),
        ),
    )
    outputs = (("metres", LiteralData("metres", float, title="Elevation")),)

    def execute(self, percent, **kwargs):
        model = gdal.Open(str(settings.DEMO_DATA / "olinda_dem_utm25s.tif"))
        return float(np.percentile(model.ReadAsArray(), percent))
