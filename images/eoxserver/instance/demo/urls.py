"""URLs of the demonstration instance."""

from django.urls import include, path, re_path

from demo import views

urlpatterns = [
    re_path(r"^ows", include("eoxserver.services.urls")),
    path("results/<path:path>", views.result),
    path("healthz", views.health),
]
