"""``manage.py demo_setup``: the database with the registered coverages, towns and tiles.

Run at the build of the image, and again where the database is another one.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction
from eoxserver.resources.coverages import models
from eoxserver.resources.coverages.registration.registrators.gdal import GDALRegistrator
from osgeo import gdal

from demo.processes import COLLECTION, ELEVATION
from demo.raster import degrees_of
from demo.tiles import TOWNS
from wpsjobs.pipeline.models import Tile, Town

COVERAGE = "olinda_elevation"
NO_DATA = -9999
UNKNOWN = "http://www.opengis.net/def/nil/OGC/0/unknown"


class Command(BaseCommand):
    """Makes the database anew if it is there already."""

    help = "Make the database, register the elevation model of Olinda, add towns and tiles."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        gdal.UseExceptions()
        call_command("migrate", interactive=False, verbosity=0)
        raster = self.reproject(settings.DEMO_DATA / ELEVATION)
        with transaction.atomic():
            self.register(raster)
            self.add_towns()
        self.stdout.write(f"registered {COVERAGE} in the collection {COLLECTION}")

    def reproject(self, source: Path) -> Path:
        """The elevations in degrees: GetStatistics compares its bbox with the raster's own axes."""
        name = "olinda_dem_wgs84.tif"
        made = settings.INSTANCE_DIR / name
        if made.exists():
            return made
        database = settings.DATABASES["default"]["NAME"]
        target = Path(database).resolve().parent / name
        gdal.Warp(
            str(target),
            str(source),
            dstSRS="EPSG:4326",
            dstNodata=NO_DATA,
            creationOptions=["COMPRESS=DEFLATE"],
        )
        return target

    def register(self, raster: Path) -> None:
        models.Coverage.objects.filter(identifier=COVERAGE).delete()
        models.Collection.objects.filter(identifier=COLLECTION).delete()
        models.CoverageType.objects.filter(name="Elevation").delete()
        coverage_type = models.CoverageType.objects.create(name="Elevation")
        field = models.FieldType.objects.create(
            coverage_type=coverage_type,
            index=0,
            identifier="elevation",
            description="Height above the sea",
            unit_of_measure="m",
        )
        models.NilValue.objects.create(value=str(NO_DATA), reason=UNKNOWN).field_types.add(field)
        collection = models.Collection.objects.create(identifier=COLLECTION)
        report = GDALRegistrator().register(
            data_locations=[[str(raster)]],
            metadata_locations=[],
            coverage_type_name=coverage_type.name,
            footprint_from_extent=True,
            overrides={"identifier": COVERAGE},
        )
        models.collection_insert_eo_object(collection, report.coverage)

    def add_towns(self) -> None:
        """The towns of ``demo.tiles``, with the outlines of their tiles for the pipeline's page."""
        for town in TOWNS:
            source = gdal.Open(str(settings.DEMO_DATA / town.source))
            tiles = []
            for number in town.grid.numbers():
                window = town.grid.window(number, source.RasterXSize, source.RasterYSize)
                corners = zip(
                    ("west", "south", "east", "north"), degrees_of(source, window), strict=True
                )
                tile, _ = Tile.objects.update_or_create(number=number, defaults=dict(corners))
                tiles.append(tile)
            row, _ = Town.objects.update_or_create(number=town.number, defaults={"name": town.name})
            row.tiles.set(tiles)
