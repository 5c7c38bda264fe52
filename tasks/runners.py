"""Where the tasks of a flow run: threads of this process."""

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner


def task_runner() -> TaskRunner[Any]:
    """Return the runner of every flow.

    Threads serve both kinds of work here: fetching waits for the network, and the simulation's kernel gives the
    interpreter's lock back.
    """
    return ThreadPoolTaskRunner[Any](max_workers=4)
