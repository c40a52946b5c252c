"""``python -m wpsjobs.worker``: the command of a job pod."""

from __future__ import annotations

import os
import sys

from wpsjobs.worker.launch import launch
from wpsjobs.worker.settings import Settings, SettingsError


def main() -> int:
    """Run one attempt; the result is an exit code of ``wpsjobs.api.attempt``."""
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    launched = launch(settings)
    # Only now, for their import takes as long as the child's Python takes to start.
    import logging  # noqa: PLC0415

    from wpsjobs.worker.apiserver import ApiServer  # noqa: PLC0415
    from wpsjobs.worker.supervisor import Supervisor  # noqa: PLC0415

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return Supervisor(settings, ApiServer(settings.api), launched).run()


if __name__ == "__main__":
    # Not sys.exit: threads that wait for the API server must not hold up the end of the pod.
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
