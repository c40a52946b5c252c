"""The loop of a daemon that pulls tasks, as EOxServer's guide to ATP has it, but for Python 3."""

import os
import time

from wpsjobs.tracker import *  # noqa: F403 (as the guide has it)

SERVER_ID = f"atp-server-{os.getpid()}"
QUEUE_EMPTY_QUERY_DELAY = 0.5


def main():
    while True:
        try:
            task_ids = dequeueTask(SERVER_ID)  # noqa: F405
        except QueueEmpty:  # noqa: F405
            time.sleep(QUEUE_EMPTY_QUERY_DELAY)
            continue
        for task_id in task_ids:
            execute(task_id)


def execute(task_id):
    status = TaskStatus(task_id)  # noqa: F405
    try:
        # The type, the task's identifier, the handler and the input; the task is RUNNING now.
        request_type, request_id, request_handler, inputs = startTask(task_id)  # noqa: F405
        print("processing", request_type, request_id, flush=True)
        module, _, function = request_handler.rpartition(".")
        handler = getattr(__import__(module, fromlist=[function]), function)
        handler(status, inputs)
        stopTaskSuccessIfNotFinished(task_id)  # noqa: F405
    except Exception as error:
        status.setFailure(str(error))


if __name__ == "__main__":
    main()
