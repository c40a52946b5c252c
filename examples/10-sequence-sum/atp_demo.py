"""The demo application of EOxServer's guide to Asynchronous Task Processing.

It is as the guide has it, but for its first import and for Python 3.
"""

import time

from wpsjobs.tracker import (
    QueueFull,
    deleteTaskByIdentifier,
    enqueueTask,
    getTaskLog,
    getTaskResponse,
    getTaskStatusByIdentifier,
    registerTaskType,
)


def handler(taskStatus, input):
    """Sum a sequence of numbers."""
    total = 0.0
    for value in input:
        try:
            total += float(value)
        except ValueError:
            taskStatus.setFailure("Input must be a sequence of numbers!")
            return
    taskStatus.storeResponse(str(total))


def main():
    registerTaskType("SequenceSum", "atp_demo.handler", 60, 600, 3)

    while True:
        try:
            enqueueTask("SequenceSum", "Task001", (1, 2, 3, 4, 5))
            break
        except QueueFull:
            print("QueueFull!")
            time.sleep(5)

    while True:
        status = getTaskStatusByIdentifier("SequenceSum", "Task001")
        print(time.asctime(), "Status:", status[1])
        if status[1] in ("FINISHED", "FAILED"):
            break
        time.sleep(1)

    print("Processing history:")
    for record in getTaskLog("SequenceSum", "Task001"):
        print("-", record[0], "Status:", record[1][1], "\t", record[2])

    if status[1] == "FINISHED":
        print("Result:", getTaskResponse("SequenceSum", "Task001"))

    deleteTaskByIdentifier("SequenceSum", "Task001")


if __name__ == "__main__":
    main()
