"""The `processes` executor: one spawned worker per slot, spoken to over pipes.

A worker that dies is replaced and only its trial fails; a trial that takes too long is killed. Each worker
gets cores / workers threads, and one GPU through CUDA_VISIBLE_DEVICES where there are any.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bitjoule.search.executor import STOP_GRACE_S
from bitjoule.search.task import LOG_LINES, Outcome, Task
from bitjoule.search.trial import Failure

__all__ = ["Processes", "visible_devices"]

START_GRACE_S = 60.0
"""Time a new worker has to say that it started, beyond the timeout of its task."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BITJOULE_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    log: Path
    device: str
    answers: IO[bytes]
    buffer: bytearray = field(default_factory=bytearray)
    ticket: int | None = None
    task: Task | None = None
    since: float = 0.0
    deadline: float | None = None
    log_start: int = 0
    oom_kills: int = 0


class Processes:
    """Runs Tasks in `workers` processes of their own.

    Args:
        workers: number of slots.
        logs: folder of `worker-N.log`, where whatever evaluators print goes.
        threads: threads per worker; default cores / workers.
        devices: GPUs to hand out in turn; default those that are visible here.
    """

    isolated = True

    def __init__(
        self,
        workers: int,
        *,
        logs: Path,
        threads: int | None = None,
        devices: Sequence[str] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"executor.workers must be at least 1, not {workers}")
        self.slots = workers
        self._logs = logs
        self._threads = threads or max(1, len(os.sched_getaffinity(0)) // workers)
        self._devices = tuple(visible_devices() if devices is None else devices)
        self._workers: list[_Worker | None] = [None] * workers
        self._queue: deque[tuple[int, Task]] = deque()
        self._done: list[Outcome] = []
        self._tickets = 0
        self._stopping_until: float | None = None
        self._selector = selectors.DefaultSelector()
        logs.mkdir(parents=True, exist_ok=True)

    def submit(self, task: Task) -> int:
        """Take a Task; it starts at once when a slot is free."""
        self._tickets += 1
        self._queue.append((self._tickets, task))
        self._hand_out()
        return self._tickets

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Outcomes that have come, waiting up to `timeout_s` for the first."""
        until = time.monotonic() + timeout_s
        while True:
            self._hand_out()
            if self._done or not self._busy():
                break
            now = time.monotonic()
            ends = [worker.deadline for worker in self._busy() if worker.deadline is not None]
            if self._stopping_until is not None:
                ends.append(self._stopping_until)
            for selected, _ in self._selector.select(max(0.0, min([until, *ends]) - now)):
                self._read(selected.data)
            self._kill_late()
            if time.monotonic() >= until:
                break
        done, self._done = self._done, []
        return done

    def request_stop(self) -> None:
        """Cancel the queue and ask the running evaluations to stop; after the grace they are killed."""
        if self._stopping_until is None:
            self._stopping_until = time.monotonic() + STOP_GRACE_S
            for worker in self._busy():
                self._send(worker, {"stop": True})

    def close(self) -> None:
        """Kill all workers; what they were doing is lost."""
        for slot, worker in enumerate(self._workers):
            if worker is not None:
                worker.process.kill()
                self._bury(slot, worker)
        self._queue.clear()
        self._selector.close()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker is not None and worker.task is not None]

    def _hand_out(self) -> None:
        if self._stopping_until is not None:
            while self._queue:
                ticket, task = self._queue.popleft()
                self._done.append(Outcome(ticket, task.key, cancelled=True))
            return
        for slot in range(self.slots):
            while self._queue and ((worker := self._workers[slot]) is None or worker.task is None):
                if worker is None:
                    worker = self._workers[slot] = self._start(slot)
                ticket, task = self._queue[0]
                worker.log_start = worker.log.stat().st_size
                worker.oom_kills = _oom_kills()
                if not self._send(worker, {"ticket": ticket, "task": task.to_json()}):
                    self._bury(slot, worker)  # it died while idle; a new one takes the task
                    continue
                self._queue.popleft()
                worker.ticket, worker.task, worker.since = ticket, task, time.monotonic()
                if task.timeout_s is not None:
                    worker.deadline = worker.since + task.timeout_s + START_GRACE_S

    def _start(self, slot: int) -> _Worker:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
        environment.update(dict.fromkeys(THREAD_VARIABLES, str(self._threads)))
        device = "cpu"
        if self._devices:
            device = environment["CUDA_VISIBLE_DEVICES"] = self._devices[slot % len(self._devices)]
        log = self._logs / f"worker-{slot}.log"
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "bitjoule.search.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                bufsize=0,
                process_group=0,  # a Ctrl-C at the terminal is the driver's business
            )
        if process.stdout is None:
            raise OSError("a worker came without a pipe")
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, slot)
        return _Worker(process, log, device, process.stdout)

    def _send(self, worker: _Worker, message: dict[str, object]) -> bool:
        """False when the worker is dead."""
        pipe = worker.process.stdin
        if pipe is None or worker.process.poll() is not None:
            return False
        try:
            pipe.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return False
        return True

    def _read(self, slot: int) -> None:
        worker = self._workers[slot]
        if worker is None:
            return
        chunk = worker.answers.read(1 << 16)
        if chunk is None:
            return
        if not chunk:
            self._died(slot, worker)
            return
        worker.buffer += chunk
        while (end := worker.buffer.find(b"\n")) >= 0:
            message = json.loads(bytes(worker.buffer[:end]))
            del worker.buffer[: end + 1]
            self._hear(worker, message)

    def _hear(self, worker: _Worker, message: dict[str, object]) -> None:
        if "started" in message:
            worker.since = time.monotonic()
            if worker.task is not None and worker.task.timeout_s is not None:
                worker.deadline = worker.since + worker.task.timeout_s
            return
        document = message["outcome"]
        if not isinstance(document, dict):
            raise ValueError(f"a worker answered {message!r}")
        self._done.append(Outcome.from_json({**document, "device": worker.device}))
        worker.ticket = worker.task = worker.deadline = None

    def _kill_late(self) -> None:
        now = time.monotonic()
        for slot, worker in enumerate(self._workers):
            if worker is None or worker.task is None:
                continue
            if self._stopping_until is not None and now >= self._stopping_until:
                self._finish(slot, worker, None)
            elif worker.deadline is not None and now >= worker.deadline:
                text = f"took longer than {worker.task.timeout_s:g} s"
                self._finish(slot, worker, Failure("timeout", text, detail=_tail(worker)))

    def _died(self, slot: int, worker: _Worker) -> None:
        code = worker.process.wait()
        if worker.task is None:
            self._bury(slot, worker)
        elif code == -signal.SIGKILL and _oom_kills() > worker.oom_kills:
            text = "the system killed the worker: out of memory"
            self._finish(slot, worker, Failure("out_of_memory", text, detail=_tail(worker)))
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
            self._finish(slot, worker, Failure("crashed", f"the worker {how}", detail=_tail(worker)))

    def _finish(self, slot: int, worker: _Worker, failure: Failure | None) -> None:
        """End the worker and its task: with a failure, or cancelled without one."""
        worker.process.kill()
        self._bury(slot, worker)
        if worker.ticket is not None and worker.task is not None:
            self._done.append(
                Outcome(
                    worker.ticket,
                    worker.task.key,
                    failure=failure,
                    cancelled=failure is None,
                    wall_s=time.monotonic() - worker.since,
                    device=worker.device,
                    host=os.uname().nodename,
                )
            )

    def _bury(self, slot: int, worker: _Worker) -> None:
        self._selector.unregister(worker.answers)
        worker.process.wait()
        worker.answers.close()
        if worker.process.stdin is not None:
            worker.process.stdin.close()
        self._workers[slot] = None


def visible_devices() -> tuple[str, ...]:
    """GPUs this process may hand out: CUDA_VISIBLE_DEVICES, or else every NVIDIA device of the machine."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return tuple(part.strip() for part in listed.split(",") if part.strip())
    return tuple(str(n) for n, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*"))))


def _tail(worker: _Worker) -> str:
    """The last lines that the worker logged during its task."""
    with worker.log.open("rb") as file:
        file.seek(worker.log_start)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_LINES:])


def _oom_kills() -> int:
    """How many processes of this control group the kernel has killed for memory; 0 where it does not say."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rsplit("::", 1)[-1]
        events = Path("/sys/fs/cgroup", group.lstrip("/"), "memory.events").read_text()
    except OSError:
        return 0
    counts = dict(line.split() for line in events.splitlines() if len(line.split()) == 2)
    return int(counts.get("oom_kill", 0))
