"""A worker of `pricing.py`: `python -m bitjoule.search.pricing_worker`.

Reads one JSON job per line from standard input and answers with one cost record per line; an empty line means
that pricing raised an error, which the driver meets when it prices the same itself. The end of standard input
means that the driver is done or gone: the worker exits at once and leaves no orphan.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict

from bitjoule.search.network_cost import priced_job

__all__ = ["main"]


def main() -> None:
    """Serve jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides when to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        job = json.loads(jobs.get())
        try:
            answer = json.dumps(asdict(priced_job(job)), separators=(",", ":"))
        except Exception:  # whatever it is, the driver meets it again
            answer = ""
        answers.write(answer + "\n")
        answers.flush()


def _listen(jobs: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
