"""The instance with the LOGGING that ``eoxserver-instance.py`` writes into its settings."""

import os
from importlib.resources import files
from os.path import join  # what the template's text uses
from pathlib import Path

from tests.contract.documented import blocks
from tests.contract.settings import *  # noqa: F403

PROJECT_DIR = os.environ["WPSJOBS_TEST_WORK"]
_TEMPLATE = files("eoxserver").joinpath("instance_template/project_name/settings.py").read_text()
_START = _TEMPLATE.index("\nLOGGING = {")
Path(PROJECT_DIR, "logs").mkdir(exist_ok=True)
exec(_TEMPLATE[_START : _TEMPLATE.index("\n}\n", _START) + 2])  # noqa: S102 (EOxServer's own)
assert join

if os.environ.get("AS_DOCUMENTED") == "true":
    (_BLOCK,) = (text for text in blocks("migration.md", "python") if 'LOGGING["loggers"]' in text)
    exec(_BLOCK)  # noqa: S102 (the project's own text)
