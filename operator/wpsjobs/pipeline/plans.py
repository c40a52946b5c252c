"""What a callable that ``WPSJOBS_PIPELINE_PLAN`` names returns: the process to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

TILES_INPUT, TOWN_INPUT = "tiles", "town"
"""Inputs of a process of the pipeline, both literal: the tiles' numbers with commas between, and
the number of the town, which is told only where the client named one. The process has one part for
each tile, in the same order, that is the tile's number."""


@dataclass(frozen=True)
class Plan:
    """What to start."""

    process: str
    """Identifier of an asynchronous EOxServer process; one of ``WPSJOBS_PIPELINE_PROCESSES``."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Its literal inputs."""

    @classmethod
    def of_tiles(cls, process: str, tile_ids: Sequence[int], town_id: int | None = None) -> Plan:
        """With the inputs that a process of the pipeline has."""
        inputs = {TILES_INPUT: ",".join(map(str, tile_ids))}
        if town_id is not None:
            inputs[TOWN_INPUT] = str(town_id)
        return cls(process, inputs)


Planner = Callable[[int | None, Sequence[int]], Plan]
"""Given the number of the town, or None, and the numbers of the tiles, which are none where a town
is given. Raises ``wpsjobs.pipeline.errors.UnknownError`` for what it does not know."""
