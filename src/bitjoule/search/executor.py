"""Where trials run. An Executor takes Tasks and gives Outcomes; the driver alone writes the store.

`InProcess` is here; `executor_processes.py` has the one that isolates trials.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from types import FrameType
from typing import Protocol

from bitjoule.search.task import Evaluators, Outcome, Task, run_task
from bitjoule.search.trial import Failure

__all__ = ["STOP_GRACE_S", "Executor", "InProcess"]

STOP_GRACE_S = 10.0
"""How long a running evaluation may take to write its checkpoint once a stop is asked for."""


class Executor(Protocol):
    """Runs Tasks. Outcomes come in any order; each submitted Task gives exactly one."""

    slots: int
    isolated: bool
    """True when a trial that dies takes nothing else with it."""

    def submit(self, task: Task) -> int:
        """Take a Task; the ticket stands in its Outcome."""
        ...

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that have come, waiting up to `timeout_s` for the first; [] when nothing is submitted."""
        ...

    def request_stop(self) -> None:
        """Hand out nothing more; what runs has `STOP_GRACE_S` to finish or to write its checkpoint."""
        ...

    def close(self) -> None:
        """End at once; what still runs is lost."""
        ...


class _Alarm(BaseException):
    """Raised inside an evaluation whose time is up; not an Exception, so that nobody swallows it."""


class InProcess:
    """Runs Tasks one after another in this process: for debuggers and tiny evaluations.

    No isolation: an evaluation that dies takes the study with it (a resume goes on). Timeouts work by
    SIGALRM, on the main thread only.
    """

    slots = 1
    isolated = False

    def __init__(self) -> None:
        self._queue: deque[tuple[int, Task]] = deque()
        self._tickets = 0
        self._evaluators = Evaluators()
        self._stopping = False
        self._running = False

    def submit(self, task: Task) -> int:
        """Take a Task; it runs within the next `wait`."""
        self._tickets += 1
        self._queue.append((self._tickets, task))
        return self._tickets

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Run the next Task to its end, however long that takes."""
        if not self._queue:
            return []
        ticket, task = self._queue.popleft()
        if self._stopping:
            return [Outcome(ticket, task.key, cancelled=True)]
        on_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGALRM, _ring) if on_main else None
        self._running = True
        try:
            if on_main and task.timeout_s is not None:
                signal.setitimer(signal.ITIMER_REAL, task.timeout_s)
            return [run_task(task, ticket, self._evaluators, lambda: self._stopping)]
        except _Alarm:
            if self._stopping:
                return [Outcome(ticket, task.key, cancelled=True)]
            failure = Failure("timeout", f"took longer than {task.timeout_s:g} s")
            return [Outcome(ticket, task.key, failure=failure, wall_s=task.timeout_s or 0.0)]
        finally:
            self._running = False
            if on_main:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)

    def request_stop(self) -> None:
        """Cancel the queue; the running evaluation is interrupted after the grace."""
        self._stopping = True
        if self._running and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, STOP_GRACE_S)

    def close(self) -> None:
        """Forget what has not run."""
        self._queue.clear()


def _ring(number: int, frame: FrameType | None) -> None:
    raise _Alarm
