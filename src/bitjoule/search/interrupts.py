"""SIGINT and SIGTERM during a run: the first asks for a stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While inside, the first signal calls `stop(number)`; a second exits with 128 + number.

    The store stays consistent either way. Off the main thread signals are left alone.
    """

    def __init__(self, stop: Callable[[int], None]) -> None:
        self._stop = stop
        self._came = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            os._exit(128 + number)
        self._came = True
        self._stop(number)
