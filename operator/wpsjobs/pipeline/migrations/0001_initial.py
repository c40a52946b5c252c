"""Towns and tiles."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="Tile",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                (
                    "west",
                    models.FloatField(
                        blank=True, help_text="Degrees; all four, or none of them.", null=True
                    ),
                ),
                ("south", models.FloatField(blank=True, null=True)),
                ("east", models.FloatField(blank=True, null=True)),
                ("north", models.FloatField(blank=True, null=True)),
            ],
            options={"ordering": ("number",)},
        ),
        migrations.CreateModel(
            name="Town",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200)),
                (
                    "tiles",
                    models.ManyToManyField(
                        blank=True, related_name="towns", to="wpsjobs_pipeline.tile"
                    ),
                ),
            ],
            options={"ordering": ("name", "number")},
        ),
    ]
