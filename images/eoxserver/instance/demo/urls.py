"""URLs of the demonstration instance."""

from django.conf import settings
from django.urls import include, path, re_path

from demo import views
from wpsjobs.eoxserver import views as results

urlpatterns = [
    re_path(r"^ows", include("eoxserver.services.urls")),
    path("results/<path:path>", results.result),
    path("healthz", views.health),
]
if settings.WPSJOBS_PIPELINE:
    urlpatterns.append(path("", include("wpsjobs.pipeline.urls")))
