"""Progress of a study: lines without a terminal, a panel with one, and a front that costs little to show."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from bitjoule.report.progress import StudyProgress, event_line, most_useful
from bitjoule.scheme import parse_scheme
from bitjoule.search.progress import ProgressEvent
from bitjoule.search.space import Candidate
from bitjoule.search.trial import Trial


def trial(number: int, energy_pj: float, accuracy: float, hardware: str = "moons-4mb") -> Trial:
    return Trial(
        number=number,
        candidate=Candidate("moons", (("width", 0.5),), parse_scheme("w4a4")),
        family="[bold]w4a4",
        hardware=hardware,
        hardware_hash="cd34",
        seed=0,
        epochs=1.0,
        status="done",
        accuracy_key=str(number),
        cost_key=str(number),
        accuracy=accuracy,
        energy_pj=energy_pj,
        dram_pj=energy_pj / 4,
    )


def event(
    kind: str, done: int, text: str = "w4a4 width 0.5: accuracy 93.00 %", failed: int = 0
) -> ProgressEvent:
    return ProgressEvent(kind, done, 38, 1, 2, failed, text, None, 60.0)  # type: ignore[arg-type]


TRIALS = [trial(k, 1e6 * (k + 1), 0.5 + 0.04 * k) for k in range(9)]


def test_lines_without_a_terminal() -> None:
    out = io.StringIO()
    with StudyProgress(lambda: TRIALS, console=Console(file=out)) as watch:
        watch(event("start", 0, "study digits"))
        watch(event("cost", 0, "costs: 3 of 38"))
        watch(event("trial", 1))
        watch(event("trial", 2, "w2a2: failed, [red]diverged[/red]", failed=1))
    assert out.getvalue().splitlines() == [
        "1/38 w4a4 width 0.5: accuracy 93.00 % (1 stored before, 2 running, 1 min 0 s left)",
        "2/38 w2a2: failed, [red]diverged[/red] (1 stored before, 2 running, 1 failed, 1 min 0 s left)",
    ]


def test_costs_that_take_long_are_told_every_ten_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    with StudyProgress(lambda: TRIALS, console=Console(file=out), clock=lambda: now[0]) as watch:
        watch(event("start", 0, "study digits"))
        for second in range(1, 26):
            now[0] = float(second)
            watch(event("cost", 0, f"costs: {second} of 38"))
    assert out.getvalue().splitlines() == ["costs: 10 of 38", "costs: 20 of 38"]


def test_the_last_line_has_no_time_left() -> None:
    assert (
        event_line(ProgressEvent("end", 4, 4, 0, 0, 0, "4 trials", None, 0.0)) == "4/4 4 trials (0 running)"
    )


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    with StudyProgress(lambda: TRIALS, quiet=True, console=Console(file=out, force_terminal=True)) as watch:
        watch(event("trial", 1))
    assert out.getvalue() == ""


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress(lambda: TRIALS) as watch:
        watch(event("trial", 1))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("1/38 ")


def test_a_terminal_shows_counts_front_and_hypervolume() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    other = trial(99, 1.0, 0.99, hardware="braintta22")
    with StudyProgress(lambda: [*TRIALS, other], console=console, reference=(1e7, 0.1)) as watch:
        watch(event("trial", 10, failed=2))
    text = out.getvalue()
    assert "10/38 1 stored before, 2 running, 2 failed, 1 min 0 s left" in text
    assert "front on moons-4mb, hypervolume" in text
    assert "[bold]w4a4" in text
    assert "9 uJ" in text
    assert "25 %" in text
    assert "99.0 %" not in text


class Clock:
    """Seconds by hand; every reading of the store takes `cost_s`."""

    def __init__(self, cost_s: float) -> None:
        self.now, self.cost_s, self.read = 0.0, cost_s, 0

    def trials(self) -> Sequence[Trial]:
        self.read += 1
        self.now += self.cost_s
        return TRIALS

    def __call__(self) -> float:
        return self.now


def test_reading_the_front_takes_one_percent_at_most() -> None:
    clock = Clock(cost_s=0.5)
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    with StudyProgress(clock.trials, console=console, clock=clock) as watch:
        for k in range(1000):
            clock.now += 0.1
            watch(event("trial", k))
        assert clock.read <= 3
    assert clock.now < 102


def test_most_useful_points_keep_the_ends_and_the_knee() -> None:
    knee = [trial(k, 10.0**k, a) for k, a in enumerate((0.10, 0.11, 0.80, 0.81, 0.82, 0.83, 0.84))]
    chosen = [t.number for t in most_useful(knee)]
    assert len(chosen) == 5
    assert {0, 2, 6} <= set(chosen)
    assert chosen == sorted(chosen)
    assert most_useful(knee[:2]) == knee[:2]
    assert most_useful([]) == []
