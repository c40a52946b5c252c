"""Settings of the demonstration instance. The environment sets:

=========================  ================================================================
``SECRET_KEY``             Django's secret; random for each process where it is not set
``ALLOWED_HOSTS``          host names by which the service is called, separated by spaces
``DB``                     ``spatialite`` (default, made at build time) or ``postgis``
``SPATIALITE_PATH``        file of the database
``DB_HOST`` ``DB_PORT``
``DB_NAME`` ``DB_USER``
``DB_PW``                  access to PostGIS
``DEMO_DATA``              directory of the two rasters
``EOXS_TEST_PROCESSES``    ``true`` adds processes that sleep, fail, crash and fill memory
``WPSJOBS_PIPELINE``       ``true`` adds the URLs of the tile job pipeline; the other variables
                           of its name are its settings (``wpsjobs.pipeline.options``)
``LOG_LEVEL``              ``INFO`` by default
=========================  ================================================================
"""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key
from eoxserver.services.ows.wps.config import DEFAULT_EOXS_ASYNC_BACKENDS

PROJECT_DIR = str(Path(__file__).resolve().parent)
INSTANCE_DIR = Path(PROJECT_DIR).parent

# Sessions and forms are not used, so that nothing signed has to outlive a process.
SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()
DEBUG = False
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]").split()

DEMO_DATA = Path(os.environ.get("DEMO_DATA", INSTANCE_DIR / "data"))

SPATIALITE_LIBRARY_PATH = "mod_spatialite.so"
if os.environ.get("DB", "spatialite") == "postgis":
    DATABASES = {
        "default": {
            "ENGINE": "django.contrib.gis.db.backends.postgis",
            "HOST": os.environ["DB_HOST"],
            "PORT": os.environ.get("DB_PORT", ""),
            "NAME": os.environ["DB_NAME"],
            "USER": os.environ["DB_USER"],
            "PASSWORD": os.environ["DB_PW"],
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.contrib.gis.db.backends.spatialite",
            "NAME": os.environ.get("SPATIALITE_PATH", str(INSTANCE_DIR / "demo.sqlite")),
        }
    }

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.gis",
    "eoxserver.core",
    "eoxserver.services",
    "eoxserver.resources.coverages",
    "eoxserver.backends",
    "wpsjobs.eoxserver",
    "wpsjobs.pipeline",
    "demo",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "wpsjobs.eoxserver.multipart.MultipartMiddleware",
    "wpsjobs.eoxserver.large.LargeRequestMiddleware",
]
ROOT_URLCONF = "demo.urls"
WSGI_APPLICATION = "demo.wsgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
# EOxServer's own limit for a request's body is Django's; a WPS request holds data.
DATA_UPLOAD_MAX_MEMORY_SIZE = 128 * 1024 * 1024

# WPS alone: the other services would need MapServer.
EOXS_SERVICE_HANDLERS = [
    "eoxserver.services.ows.wps.v10.getcapabilities.WPS10GetCapabilitiesHandler",
    "eoxserver.services.ows.wps.v10.describeprocess.WPS10DescribeProcessHandler",
    "eoxserver.services.ows.wps.v10.execute.WPS10ExecuteHandler",
    "eoxserver.services.ows.wps.v20.getcapabilities.WPS20GetCapabilitiesHandler",
    "eoxserver.services.ows.wps.v20.describeprocess.WPS20DescribeProcessHandler",
    "eoxserver.services.ows.wps.v20.execute.WPS20ExecuteHandler",
]
EOXS_EXCEPTION_HANDLERS = ["wpsjobs.eoxserver.exceptionhandler.WPS10ExceptionHandler"]
EOXS_ASYNC_BACKENDS = [
    *DEFAULT_EOXS_ASYNC_BACKENDS,
    "wpsjobs.eoxserver.backend.WpsJobBackend",
]
EOXS_PROCESSES = [
    "demo.processes.Hillshade",
    "demo.processes.Ndvi",
    "demo.processes.Statistics",
    "demo.mosaic.Mosaic",
]
if os.environ.get("EOXS_TEST_PROCESSES") == "true":
    EOXS_PROCESSES += [
        "demo.test_processes.Echo",
        "demo.test_processes.Sleep",
        "demo.test_processes.Fail",
        "demo.test_processes.Crash",
        "demo.test_processes.Hog",
        "demo.test_processes.Digest",
        "demo.test_processes.Tiles",
        "demo.test_processes.Recorder",
    ]

# The tables of towns and tiles are there in any case, so that it can be added without a migration.
WPSJOBS_PIPELINE = os.environ.get("WPSJOBS_PIPELINE") == "true"
WPSJOBS_PIPELINE_CHANGING_GETS = os.environ.get("WPSJOBS_PIPELINE_CHANGING_GETS") != "false"
WPSJOBS_PIPELINE_PROCESSES = os.environ.get("WPSJOBS_PIPELINE_PROCESSES", "Mosaic").split()
if "WPSJOBS_PIPELINE_PLAN" in os.environ:
    WPSJOBS_PIPELINE_PLAN = os.environ["WPSJOBS_PIPELINE_PLAN"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    # To standard error: a pod's root file system is read-only, kubectl logs reads it there, and the
    # output of management commands stays clean.
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stderr",
            "formatter": "plain",
        }
    },
    "loggers": {
        name: {
            "handlers": ["stderr"],
            "level": os.environ.get("LOG_LEVEL", "INFO"),
            "propagate": False,
        }
        for name in ("eoxserver", "wpsjobs", "demo")
    }
    | {"django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}
