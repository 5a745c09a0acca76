"""What a running study shows: a live panel on a terminal, one line per trial elsewhere, nothing when quiet.

Everything goes to stderr, so that stdout stays free for results. The front is read from the study's store, so
that stored trials and those of this run stand together; reading takes at most one percent of the time.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bitjoule.report.units import accuracy_text, energy_text, percent_text, time_text
from bitjoule.search.pareto import front, hypervolume
from bitjoule.search.progress import ProgressEvent
from bitjoule.search.trial import Trial

__all__ = ["StudyProgress", "event_line", "most_useful"]

LINES = 5
REFRESH_S = 0.25
READ_S, READ_SHARE = 2.0, 0.01
SPOKEN = ("trial", "retry", "test", "stop", "end")

COSTS_S = 10.0
"""Where there is no terminal, costs are told this often: most take no time, mappings may take minutes."""


class StudyProgress:
    """Watches a run: `with StudyProgress(study.trials) as watch: study.run(progress=watch)`.

    Args:
        trials: reads the trials of the study, those stored before included.
        quiet: show nothing.
        reference: (pJ, accuracy) of the hypervolume; None for the greatest energy of the trials.
        console: where to; stderr by default. A live panel where it is a terminal, lines elsewhere.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        trials: Callable[[], Sequence[Trial]],
        *,
        quiet: bool = False,
        reference: tuple[float | None, float] = (None, 0.0),
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trials = trials
        self._reference = reference
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._clock = clock
        self._quiet = quiet
        self._live: Live | None = None
        self._event: ProgressEvent | None = None
        self._front: list[Trial] = []
        self._volume: float | None = None
        self._read_again_at = -math.inf
        self._drawn_at = -math.inf
        self._costs_again_at = -math.inf

    def __enter__(self) -> Self:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._panel, auto_refresh=True, refresh_per_second=1
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._read(at_once=True)
            self._live.stop()
            self._live = None

    def __call__(self, event: ProgressEvent) -> None:
        """Take in an event of the run and show it."""
        self._event = event
        if self._quiet:
            return
        if self._live is None:
            if event.kind in SPOKEN or self._costs_are_due(event):
                self._console.print(event_line(event), soft_wrap=True, markup=False, highlight=False)
            return
        if event.kind in ("start", "trial", "end"):
            self._read(at_once=event.kind == "end")
        now = self._clock()
        if now - self._drawn_at >= REFRESH_S:
            self._drawn_at = now
            self._live.refresh()

    def _costs_are_due(self, event: ProgressEvent) -> bool:
        due = event.kind == "cost" and self._clock() >= self._costs_again_at
        if due or event.kind == "start":
            self._costs_again_at = self._clock() + COSTS_S
        return due

    def _read(self, *, at_once: bool) -> None:
        """Read the front anew, unless the last reading is too fresh for what it took."""
        start = self._clock()
        if not at_once and start < self._read_again_at:
            return
        trials = self._trials()
        first = next((trial.hardware for trial in trials), None)
        here = [t for t in trials if t.hardware == first and t.energy_pj and t.accuracy is not None]
        places = [(t.energy_pj or 0.0, t.accuracy or 0.0) for t in here]
        self._front = [here[i] for i in front(places)]
        energy = self._reference[0] or max((e for e, _ in places), default=None)
        self._volume = None if energy is None else hypervolume(places, (energy, self._reference[1]))
        end = self._clock()
        self._read_again_at = end + max(READ_S, (end - start) / READ_SHARE)

    def _panel(self) -> Group:
        if self._event is None:
            return Group(Text("starting", style="dim"))
        counts = Text.assemble(
            (f"{self._event.done}/{self._event.total}", "bold"), f" {_counts(self._event)}"
        )
        last = Text(self._event.text, style="dim", overflow="ellipsis", no_wrap=True)
        if not self._front:
            return Group(counts, last)
        title = f"front on {self._front[0].hardware}"
        if self._volume is not None:
            title += f", hypervolume {self._volume:.3f}"
        table = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left", title_style="")
        for heading in ("family", "width", "accuracy", "energy", "DRAM"):
            table.add_column(heading, justify="left" if heading == "family" else "right")
        for trial in most_useful(self._front):
            table.add_row(
                Text(trial.family),
                "-" if trial.width is None else f"{trial.width:g}",
                accuracy_text(trial.accuracy),
                energy_text(trial.energy_pj),
                percent_text(trial.dram_share, 0),
            )
        return Group(counts, last, table)


def event_line(event: ProgressEvent) -> str:
    """An event in one plain line.

    >>> event_line(ProgressEvent("trial", 3, 38, 1, 2, 0, "w4a4 width 0.5: accuracy 93.00 %", None, 6630.0))
    '3/38 w4a4 width 0.5: accuracy 93.00 % (1 stored before, 2 running, 1 h 50 min left)'
    """
    if event.kind == "cost":
        return event.text
    return f"{event.done}/{event.total} {event.text} ({_counts(event)})"


def _counts(event: ProgressEvent) -> str:
    parts = [f"{event.memo} stored before"] if event.memo else []
    parts.append(f"{event.running} running")
    if event.failed:
        parts.append(f"{event.failed} failed")
    if event.eta_s is not None and event.done < event.total:
        parts.append(f"{time_text(event.eta_s)} left")
    return ", ".join(parts)


def most_useful(members: Sequence[Trial], count: int = LINES) -> list[Trial]:
    """The `count` points that keep most of the front's shape: both ends, and of the others those that
    dominate most (decades of energy times accuracy) which no neighbour does.

    Args:
        members: a front, energy ascending.
    """
    kept = list(members)
    while len(kept) > max(2, count):
        areas = [_alone(kept[i - 1], kept[i], kept[i + 1]) for i in range(1, len(kept) - 1)]
        del kept[1 + areas.index(min(areas))]
    return kept[:count]


def _alone(cheaper: Trial, trial: Trial, dearer: Trial) -> float:
    """The area that `trial` dominates and its neighbours do not."""
    decades = math.log10((dearer.energy_pj or 1.0) / (trial.energy_pj or 1.0))
    return decades * ((trial.accuracy or 0.0) - (cheaper.accuracy or 0.0))
