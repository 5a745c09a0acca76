"""What the repairs study found: gains over the baseline with their intervals, what they cost, rank tests.

Seeds are shared over arms, so gains are paired: per seed the accuracy of an arm less that of what it is
compared with. An interval is Student's t at 95 % of those differences. Gains are in percentage points of the
validation split, energies in pJ of one inference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

from bitjoule.search.repair_plan import Arm, ArmKind, RepairPlan
from bitjoule.search.trial import Trial

__all__ = [
    "ArmResult",
    "Estimate",
    "Measured",
    "Ranking",
    "arm_result",
    "estimate",
    "measured",
    "rank_categories",
    "worth",
]

PP = 100.0
PJ_PER_UJ = 1e6
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A scheme as trained: validation accuracy by seed, energy; `reason` says why there is none."""

    scheme: str
    accuracies: Mapping[int, float]
    energy_pj: float | None
    reason: str = ""

    @property
    def mean(self) -> float | None:
        """Mean accuracy over seeds, a fraction."""
        return statistics.fmean(self.accuracies.values()) if self.accuracies else None


@dataclass(frozen=True)
class Estimate:
    """A mean and the half width of its 95 % interval, None with fewer than two values."""

    mean: float
    half: float | None
    values: int


@dataclass(frozen=True)
class ArmResult:
    """One row: accuracy in percent, gain in pp and energy against what the arm is compared with.

    `pp_per_uj`: gain over added energy, None where nothing is added ("free") or nothing is known. `reason`:
    why there is no accuracy.
    """

    kind: ArmKind
    label: str
    subject: str
    category: str
    scheme: str
    against: str
    accuracy: Estimate | None
    gain: Estimate | None
    energy_pj: float | None
    added_pj: float | None
    pp_per_uj: float | None
    reason: str = ""

    def to_json(self) -> dict[str, object]:
        """A JSON document."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """Categories by the gain of their best repair, and how far chance goes.

    `friedman_p`: do the arms differ at all, given how they rank in every seed; `concordance`: Kendall's W, 1
    when all seeds rank them alike; `leading_p`: share of all choices of as many categories whose mean rank is
    as good as that of the claimed ones.
    """

    categories: tuple[tuple[str, str, float], ...]
    friedman_p: float | None
    concordance: float | None
    leading_p: float | None

    def to_json(self) -> dict[str, object]:
        """A JSON document; categories are (category, its best repair, gain in pp)."""
        return asdict(self)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t-interval.

    >>> estimate([1.0]).half is None, round(estimate([1.0, 2.0]).half, 3)
    (True, 6.353)
    """
    if len(values) < 2:
        return Estimate(float(values[0]), None, 1)
    from scipy.stats import t

    spread = statistics.stdev(values) / math.sqrt(len(values))
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Estimate(statistics.fmean(values), quantile * spread, len(values))


def measured(trials: Sequence[Trial], hardware: str) -> dict[str, Measured]:
    """Scheme -> what is known of it, of all trials on `hardware`."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.hardware == hardware:
            found.setdefault(trial.scheme, []).append(trial)
    result = {}
    for scheme, group in found.items():
        done = {t.seed: t.accuracy for t in group if t.status == "done" and t.accuracy is not None}
        failures = [str(t.failure) for t in group if t.failure is not None]
        reason = "" if done else (failures[0] if failures else "not finished")
        energy = next((t.energy_pj for t in group if t.energy_pj is not None), None)
        result[scheme] = Measured(scheme, done, energy, reason)
    return result


def arm_result(
    arm: Arm, found: Mapping[str, Measured], against: str, category: str = "", *, of_left_out: bool = False
) -> ArmResult:
    """The row of an arm compared with the scheme `against`, over the seeds that both have.

    `of_left_out`: the arm leaves its subject out, so the gain is what the subject brings to `against`.
    """
    missing = Measured(arm.scheme, {}, None, "not run")
    ours, theirs = found.get(arm.scheme, missing), found.get(against, missing)
    sign = -1.0 if of_left_out else 1.0
    seeds = [seed for seed in sorted(ours.accuracies) if seed in theirs.accuracies]
    gains = [sign * PP * (ours.accuracies[seed] - theirs.accuracies[seed]) for seed in seeds]
    added = None
    if ours.energy_pj is not None and theirs.energy_pj is not None:
        added = sign * (ours.energy_pj - theirs.energy_pj)
    gain = estimate(gains) if gains and arm.kind != "baseline" else None
    per_uj = gain.mean / (added / PJ_PER_UJ) if gain is not None and added is not None and added > 0 else None
    return ArmResult(
        kind=arm.kind,
        label=arm.label,
        subject=arm.subject,
        category=category,
        scheme=arm.scheme,
        against=against,
        accuracy=estimate([PP * a for a in ours.accuracies.values()]) if ours.accuracies else None,
        gain=gain,
        energy_pj=ours.energy_pj,
        added_pj=added,
        pp_per_uj=per_uj,
        reason=ours.reason,
    )


def worth(gain_pp: float, added_pj: float) -> tuple[bool, float]:
    """What greedy selection maximises: gains that cost nothing come first, then gain per joule.

    >>> worth(0.5, 0.0) > worth(9.0, 1e6) > worth(1.0, 1e6)
    True
    """
    free = added_pj <= 0
    return free, gain_pp if free else gain_pp / added_pj


def rank_categories(rows: Sequence[ArmResult], found: Mapping[str, Measured], plan: RepairPlan) -> Ranking:
    """Rank tests over the arms of one repair each that are finished."""
    best: dict[str, tuple[str, float]] = {}
    finished = [row for row in rows if row.kind == "one" and row.gain is not None]
    for row in finished:
        assert row.gain is not None
        if row.category not in best or row.gain.mean > best[row.category][1]:
            best[row.category] = (row.subject, row.gain.mean)
    ordered = sorted(((c, name, gain) for c, (name, gain) in best.items()), key=lambda entry: -entry[2])
    p, concordance = _friedman([found[row.scheme].accuracies for row in finished])
    return Ranking(tuple(ordered), p, concordance, _leading(ordered, plan.beneficial))


def _friedman(accuracies: Sequence[Mapping[int, float]]) -> tuple[float | None, float | None]:
    """(p of Friedman's test, Kendall's W) of arms ranked in every seed, ties at their mean rank."""
    seeds = sorted(set.intersection(*map(set, accuracies))) if accuracies else []
    if len(seeds) < 2 or len(accuracies) < 3:
        return None, None
    from scipy.stats import chi2, rankdata

    ranks = [rankdata([arm[seed] for arm in accuracies]) for seed in seeds]
    n, k = len(accuracies), len(seeds)
    sums = [float(sum(row[index] for row in ranks)) for index in range(n)]
    spread = sum((value - statistics.fmean(sums)) ** 2 for value in sums)
    ties = sum(list(row).count(value) ** 3 - list(row).count(value) for row in ranks for value in set(row))
    most = (k**2 * (n**3 - n) - k * ties) / 12
    if most <= 0:  # all equal in every seed
        return 1.0, 0.0
    concordance = spread / most
    return float(chi2.sf(k * (n - 1) * concordance, n - 1)), concordance


def _leading(ordered: Sequence[tuple[str, str, float]], claimed: Sequence[str]) -> float | None:
    """Exact permutation test: how often as many categories, taken at random, rank as well as the claimed."""
    names = [category for category, _, _ in ordered]
    if not set(claimed) < set(names):
        return None
    observed = sum(names.index(name) for name in claimed)
    choices = list(combinations(range(len(names)), len(claimed)))
    return sum(sum(choice) <= observed for choice in choices) / len(choices)
