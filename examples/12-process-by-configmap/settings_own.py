"""The settings of the image's instance, and what is ours."""

from demo.settings import *  # noqa: F403
from demo.settings import EOXS_PROCESSES

EOXS_PROCESSES = [*EOXS_PROCESSES, "processes_own.Elevation"]
