"""The demonstration instance, run within the tests' own process."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTANCE = ROOT / "images" / "eoxserver" / "instance"
DATA = ROOT / "examples" / "data"

URL_BASE = "http://testserver/results"
SETTINGS = "tests.contract.settings"

_CONFIGURATION = """
[core.system]
instance_id=test

[services.owscommon]
http_service_url=http://testserver/ows?

[services.ows]
update_sequence=1
name=test

[services.ows.wps]
path_temp={work}/temp
path_perm={work}/perm
path_task={work}/task
url_base={url_base}

[services.ows.wps.kubernetes]
namespace=wps
queue=default
accept_timeout=2
"""


def work_directory() -> Path:
    """Where this test session's instance keeps everything; made at the first call."""
    known = os.environ.get("WPSJOBS_TEST_WORK")
    if known:
        return Path(known)
    work = Path(tempfile.mkdtemp(prefix="wpsjobs-contract-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    for name in ("temp", "perm", "task", "conf", "api"):
        (work / name).mkdir()
    (work / "conf" / "eoxserver.conf").write_text(
        _CONFIGURATION.format(work=work, url_base=URL_BASE)
    )
    os.environ["WPSJOBS_TEST_WORK"] = str(work)
    return work


def environment() -> dict[str, str]:
    """Environment variables of a process of the instance (a worker's)."""
    work = work_directory()
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")},
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "operator", ROOT, INSTANCE))),
        "KUBECONFIG": str(work / "kubeconfig"),
        "DEMO_DATA": str(DATA),
        "SPATIALITE_PATH": str(work / "demo.sqlite"),
        "EOXS_TEST_PROCESSES": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def start() -> None:
    """Set Django up in this process, once."""
    os.environ.pop("KUBERNETES_SERVICE_HOST", None)
    os.environ.update(environment())
    if str(INSTANCE) not in sys.path:
        sys.path.insert(0, str(INSTANCE))
    import django  # noqa: PLC0415 (found by the path set above)

    django.setup()
