"""Which tiles a town has. ``WPSJOBS_PIPELINE_PLAN`` may name a callable that does without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models

if TYPE_CHECKING:  # fields are generic for the type checker alone
    _Degrees = models.FloatField[float | None, float | None]


class Tile(models.Model):
    """A tile, by the number that the process knows it by."""

    number: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(primary_key=True)
    # Of the outline on the page's map, in degrees of longitude and latitude (WGS 84).
    west: _Degrees = models.FloatField(
        null=True, blank=True, help_text="Degrees; all four, or none of them."
    )
    south: _Degrees = models.FloatField(null=True, blank=True)
    east: _Degrees = models.FloatField(null=True, blank=True)
    north: _Degrees = models.FloatField(null=True, blank=True)

    class Meta:
        """Of Django."""

        ordering = ("number",)

    def __str__(self) -> str:
        return str(self.number)

    @property
    def bounds(self) -> list[float] | None:
        """West, south, east and north; None where they are not known."""
        corners = [self.west, self.south, self.east, self.north]
        known = [corner for corner in corners if corner is not None]
        return known if len(known) == len(corners) else None

    def clean(self) -> None:
        """Raises ValidationError where the bounds are no rectangle."""
        corners = [self.west, self.south, self.east, self.north]
        if self.bounds is None and any(corner is not None for corner in corners):
            raise ValidationError("Write west, south, east and north, or none of them.")
        if self.bounds is not None:
            west, south, east, north = self.bounds
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise ValidationError("West must be less than east, and south less than north.")


class Town(models.Model):
    """A town; at its border a tile may belong to several."""

    number: models.PositiveIntegerField[int, int] = models.PositiveIntegerField(primary_key=True)
    name: models.CharField[str, str] = models.CharField(max_length=200)
    tiles = models.ManyToManyField(Tile, related_name="towns", blank=True)

    class Meta:
        """Of Django."""

        ordering = ("name", "number")

    def __str__(self) -> str:
        return f"{self.name} ({self.number})"
