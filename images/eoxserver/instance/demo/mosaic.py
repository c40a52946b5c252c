"""A fan-out: each tile of a town in a pod of its own, then one mosaic of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from eoxserver.services.ows.wps.exceptions import InvalidInputValueError
from eoxserver.services.ows.wps.parameters import (
    BoundingBox,
    BoundingBoxData,
    ComplexData,
    FormatBinaryRaw,
    LiteralData,
    Reference,
)

from demo import raster
from demo.tiles import MixedTilesError, Town, Window, town_of

TIFF, PNG = "image/tiff", "image/png"


class Mosaic:
    """Slope or vegetation index of the tiles of a town, as one GeoTIFF."""

    identifier = "Mosaic"
    title = "Mosaic of a town's tiles"
    description = (
        "Cuts the elevation model (Olinda: slope in degrees) or the Landsat scene (Recife: "
        "vegetation index) into numbered tiles, computes each by itself, and joins them into one "
        "GeoTIFF with overviews."
    )
    synchronous = False
    asynchronous = True

    inputs = (
        (
            "tiles",
            LiteralData(
                "tiles",
                str,
                title="Numbers of the tiles",
                abstract="With commas between, such as 4315,4283; all of one town.",
            ),
        ),
        (
            "town",
            LiteralData(
                "town",
                int,
                optional=True,
                title="Number of the town",
                abstract="For the record: the tiles have to be of this town.",
            ),
        ),
    )
    outputs = (
        (
            "mosaic",
            ComplexData(
                "mosaic",
                FormatBinaryRaw(TIFF),
                title="Mosaic",
                abstract="GeoTIFF of floats with overviews, in the projection of the source.",
            ),
        ),
        (
            "picture",
            ComplexData(
                "picture",
                FormatBinaryRaw(PNG),
                title="Picture",
                abstract="PNG in degrees (EPSG:4326), transparent where no tile is.",
            ),
        ),
        (
            "bounds",
            BoundingBoxData(
                "bounds",
                title="Where the picture lies",
                abstract="Longitudes and latitudes, in this order.",
            ),
        ),
    )

    def partition(self, inputs: Mapping[str, Any]) -> list[str]:
        """A part for each tile, that is its number."""
        numbers, town = numbers_of(inputs["tiles"]), inputs["town"]
        found = the_town(numbers)
        if town is not None and town != found.number:
            raise InvalidInputValueError("town", f"the tiles are of {found.number}, not {town}")
        return [str(number) for number in numbers]

    def execute_part(self, part: str, context: Any, tiles: str, **kwargs: Any) -> str:
        """Compute one tile; the result is the name of its file in the shared directory."""
        number = int(part)
        town = the_town(numbers_of(tiles))
        operation = raster.OPERATIONS[town.operation]
        source = settings.DEMO_DATA / town.source
        window = town.grid.window(number, *raster.size_of(source))
        context.logger.info("tile %d: %s of %s", number, town.operation, window)
        values = raster.compute_window(operation, source, window)
        name = f"{number}.tif"
        raster.write_tiff(
            Path(context.shared_path, name), source, window, values, operation.no_data
        )
        return name

    def execute(
        self, context: Any, parts: Sequence[str], tiles: str, **kwargs: Any
    ) -> dict[str, Any]:
        """Join the tiles, whose files *parts* names in the order of *tiles*."""
        numbers = numbers_of(tiles)
        town = the_town(numbers)
        operation = raster.OPERATIONS[town.operation]
        source = settings.DEMO_DATA / town.source
        size = raster.size_of(source)
        pieces: list[tuple[Window, Path]] = [
            (town.grid.window(number, *size), Path(context.shared_path, name))
            for number, name in zip(numbers, parts, strict=True)
        ]
        context.update_progress(92, f"joining {len(pieces)} tiles of {town.name}")
        raster.merge(Path("mosaic.tif"), source, pieces, operation.no_data)
        context.update_progress(97, "drawing the picture")
        west, south, east, north = raster.render(Path("mosaic.tif"), Path("picture.png"), operation)
        return {
            "mosaic": published(context, "mosaic.tif", TIFF),
            "picture": published(context, "picture.png", PNG),
            "bounds": BoundingBox(((west, south), (east, north))),
        }


def numbers_of(tiles: str) -> list[int]:
    """The numbers in the input. Raises InvalidInputValueError."""
    try:
        numbers = [int(word) for word in tiles.split(",")]
    except ValueError as error:
        raise InvalidInputValueError("tiles", "write numbers with commas between") from error
    if len(set(numbers)) < len(numbers):
        raise InvalidInputValueError("tiles", "a tile is named twice")
    return numbers


def the_town(numbers: Sequence[int]) -> Town:
    """The town of the tiles. Raises InvalidInputValueError."""
    try:
        return town_of(numbers)
    except MixedTilesError as error:
        raise InvalidInputValueError("tiles", str(error)) from error


def published(context: Any, name: str, mime_type: str) -> Reference:
    """Publish the file *name* of the workspace as an output by reference."""
    path, url = context.publish(name)
    return Reference(Path(path), url, mime_type=mime_type)
