"""From a town or tiles to the process to start, by the models."""

from __future__ import annotations

from collections.abc import Sequence

from wpsjobs.pipeline.errors import UnknownError
from wpsjobs.pipeline.models import Tile, Town
from wpsjobs.pipeline.options import Options
from wpsjobs.pipeline.plans import Plan

MOST_NAMED = 10
"""How many unknown tiles a message names."""


def plan(town_id: int | None, tile_ids: Sequence[int]) -> Plan:
    """The first of ``WPSJOBS_PIPELINE_PROCESSES`` on the tiles, which have to be known."""
    process = Options.load().processes[0]
    if town_id is None:
        known = set(Tile.objects.filter(number__in=tile_ids).values_list("number", flat=True))
        unknown = [tile_id for tile_id in tile_ids if tile_id not in known]
        if unknown:
            raise UnknownError(f"There is no tile {_named(unknown)}.")
        return Plan.of_tiles(process, tile_ids)
    town = Town.objects.filter(number=town_id).first()
    if town is None:
        raise UnknownError(f"There is no town {town_id}; /list_towns has those that there are.")
    tiles = list(town.tiles.values_list("number", flat=True))
    if not tiles:
        raise UnknownError(f"The town {town} has no tiles; give it some in the admin.")
    return Plan.of_tiles(process, tiles, town_id)


def _named(tile_ids: Sequence[int]) -> str:
    words = ", ".join(map(str, tile_ids[:MOST_NAMED]))
    more = len(tile_ids) - MOST_NAMED
    return f"{words} and {more} more" if more > 0 else words
