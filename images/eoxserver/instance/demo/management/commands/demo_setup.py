"""``manage.py demo_setup``: the database with the registered coverages.

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

COVERAGE = "olinda_elevation"
NO_DATA = -9999
UNKNOWN = "http://www.opengis.net/def/nil/OGC/0/unknown"


class Command(BaseCommand):
    """Makes the database anew if it is there already."""

    help = "Make the database and register the elevation model of Olinda in a collection."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        gdal.UseExceptions()
        call_command("migrate", interactive=False, verbosity=0)
        raster = self.reproject(settings.DEMO_DATA / ELEVATION)
        with transaction.atomic():
            self.register(raster)
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
