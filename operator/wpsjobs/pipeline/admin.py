"""Towns and tiles in Django's admin, where the instance has one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from wpsjobs.pipeline.models import Tile, Town


@admin.register(Town)
class TownAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Towns, with their tiles to choose."""

    list_display = ("number", "name", "tile_count")
    search_fields = ("=number", "name")
    autocomplete_fields = ("tiles",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the numbers of tiles, in one query."""
        return super().get_queryset(request).annotate(count_of_tiles=Count("tiles"))

    @admin.display(description="Tiles", ordering="count_of_tiles")
    def tile_count(self, town: Any) -> int:
        """How many tiles the town has."""
        return int(town.count_of_tiles)


@admin.register(Tile)
class TileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Tiles."""

    list_display = ("number", "west", "south", "east", "north")
    search_fields = ("=number",)
