"""Settings of the demonstration instance as the tests run it."""

from demo.settings import *  # noqa: F403

from tests.contract.instance import work_directory

PROJECT_DIR = str(work_directory())
SECRET_KEY = "not a secret"
ALLOWED_HOSTS = ["testserver"]
WPSJOBS_PIPELINE = True
EOXS_PROCESSES = [
    # Its place is taken by one that tells more, and within this process.
    *(path for path in EOXS_PROCESSES if not path.endswith(".Recorder")),  # noqa: F405
    "tests.contract.processes.Recorder",
    "tests.contract.processes.Inputs",
    "tests.contract.processes.Forwarder",
    "tests.contract.processes.Quarrelsome",
    "tests.contract.processes.Secretive",
    "tests.contract.documented.CountWords",
]
