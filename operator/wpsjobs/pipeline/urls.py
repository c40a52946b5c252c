"""``path("", include("wpsjobs.pipeline.urls"))``, below any prefix."""

from __future__ import annotations

from django.urls import path

from wpsjobs.pipeline import pages, views

app_name = "wpsjobs_pipeline"
urlpatterns = [
    path("", views.index),
    path("start_job", views.start_job),
    path("job_status", views.job_status),
    path("cancel_job", views.cancel_job),
    path("list_jobs", views.list_jobs),
    path("list_towns", views.list_towns),
    path("openapi.json", pages.description),
    path("jobs", pages.page),
    path("jobs/<str:name>", pages.asset),
]
