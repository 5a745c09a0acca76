"""Wall seconds of the named steps of a calibration."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """`with clock("check"):` adds the seconds of its block to `seconds["check"]`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._begin = "", 0.0

    def __call__(self, name: str) -> Clock:
        self._name, self._begin = name, time.perf_counter()
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        passed = time.perf_counter() - self._begin
        self.seconds[self._name] = self.seconds.get(self._name, 0.0) + passed
