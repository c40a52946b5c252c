"""``python -m wpsjobs.worker``: the command of a job pod."""

from __future__ import annotations

import logging
import os
import sys

from wpsjobs.worker.apiserver import ApiServer
from wpsjobs.worker.settings import Settings, SettingsError
from wpsjobs.worker.supervisor import Supervisor


def main() -> int:
    """Run one attempt; the result is an exit code of ``wpsjobs.api.attempt``."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        logging.getLogger("wpsjobs.worker").error("%s", error)  # noqa: TRY400 (its words suffice)
        return 1
    return Supervisor(settings, ApiServer(settings.api)).run()


if __name__ == "__main__":
    # Not sys.exit: threads that wait for the API server must not hold up the end of the pod.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
