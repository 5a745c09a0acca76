"""A worker of `executor_processes.py`: `python -m bitjoule.search.worker`.

Reads one JSON message per line from standard input ({"ticket", "task"} or {"stop"}) and answers {"started"}
and {"outcome"} on standard output. What an evaluator prints goes to standard error, the log. The end of
standard input means that the driver is gone: the worker exits at once and leaves no orphan.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from typing import TextIO

from bitjoule.search.task import Evaluators, Task, run_task

__all__ = ["main"]


def main() -> None:
    """Serve tasks until standard input ends."""
    # the driver decides when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stop = threading.Event()
    tasks: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(stop, tasks), daemon=True).start()
    evaluators = Evaluators()
    while True:
        ticket, task = tasks.get()
        _answer(answers, {"started": ticket})
        outcome = run_task(task, ticket, evaluators, stop.is_set)
        with contextlib.suppress(OSError):  # no room for the log: the outcome says what happened
            sys.stdout.flush()
            sys.stderr.flush()
        _answer(answers, {"outcome": outcome.to_json()})


def _answer(answers: TextIO, message: dict[str, object]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _listen(stop: threading.Event, tasks: queue.SimpleQueue[tuple[int, Task]]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "stop" in message:
            stop.set()
        else:
            tasks.put((message["ticket"], Task.from_json(message["task"])))
    os._exit(0)


if __name__ == "__main__":
    main()
