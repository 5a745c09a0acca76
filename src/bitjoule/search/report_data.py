"""Everything a report shows of a study, as one JSON document (`bitjoule.report_data/1`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import cast

from bitjoule import __version__
from bitjoule.search.breakdown import dram_by_tensor
from bitjoule.search.compare import NoOverlap
from bitjoule.search.pareto import hypervolume, ranks
from bitjoule.search.points import StudyPoint, compare_families, gain_of, points_of, select_front
from bitjoule.search.proxies import PROXIES, kendall, regret, spearman
from bitjoule.search.space import Candidate
from bitjoule.search.store import Store, utc_now
from bitjoule.search.study_file import StudyFile
from bitjoule.search.trial import FAILURE_KINDS, CostRecord, Json, Trial

__all__ = ["N_BOOT", "report_data"]

N_BOOT = 1000


def report_data(
    file: StudyFile, store: Store, trials: Sequence[Trial], hardware: Sequence[str], card: Json
) -> Json:
    """The document of a study; the schema stands at `Study.report_data`."""
    costs = {trial.cost_key: store.cost(trial.cost_key) or CostRecord(None, None, None) for trial in trials}
    points = {name: points_of(trials, name) for name in hardware}
    ids = {
        pair: number for number, pair in enumerate(dict.fromkeys((t.hardware, t.candidate) for t in trials))
    }
    images = cast("dict[str, int]", card.get("sizes", {})).get("validation")
    classes = cast(int, card.get("classes", file.network.classes))
    return {
        "schema": "bitjoule.report_data/1",
        "header": _header(file, store, trials, card),
        "hardware": [_hardware(file, name, points[name], trials, ids, classes) for name in hardware],
        "families": list(dict.fromkeys(trial.family for trial in trials)),
        "points": _points(file, trials, points, ids, costs),
        "iso_accuracy": [
            c for name in hardware for c in _iso_accuracy(points[name], name, images, file.seed)
        ],
        "iso_energy": [c for name in hardware for c in _iso_energy(points[name], name)],
        "dram": [d for name in hardware for d in _dram(points[name], name, ids, costs)],
        "proxies": [p for name in hardware for p in _proxies(points[name], name, costs)],
        "failures": _failures(trials, store),
        "assumptions": _assumptions(
            file, card, mapped=any(cost.breakdown.get("mappings") for cost in costs.values())
        ),
    }


def _header(file: StudyFile, store: Store, trials: Sequence[Trial], card: Json) -> Json:
    counts = {status: sum(t.status == status for t in trials) for status in ("done", "failed", "infeasible")}
    return {
        "name": file.name,
        "command": store.meta("command") or f"bitjoule search {file.name}.yaml",
        "seed": file.seed,
        "method": file.method.kind,
        "network": file.network.name,
        "code_version": __version__,
        "created_utc": utc_now(),
        "data": card,
        "counts": {"trials": len(trials), **counts},
        "seeds_search": file.accuracy.seeds_search,
        "seeds_front": file.accuracy.seeds_front,
        "selection": "validation",
    }


def _hardware(
    file: StudyFile,
    name: str,
    points: Sequence[StudyPoint],
    trials: Sequence[Trial],
    ids: dict[tuple[str, Candidate], int],
    classes: int,
) -> Json:
    energies = [t.energy_pj for t in trials if t.hardware == name and t.energy_pj is not None]
    wanted = file.reference
    energy = max(energies, default=None) if wanted.energy_pj == "auto" else wanted.energy_pj
    accuracy = 1 / classes if wanted.accuracy == "auto" else wanted.accuracy
    volume = None
    if energy is not None:
        volume = hypervolume([(p.energy_pj, p.accuracy) for p in points], (energy, accuracy))
    return {
        "name": name,
        "hash": next((t.hardware_hash for t in trials if t.hardware == name), None),
        "reference": {"energy_pj": energy, "accuracy": accuracy},
        "hypervolume": volume,
        "front": [ids[name, point.candidate] for point in select_front(points, name)],
    }


def _points(
    file: StudyFile,
    trials: Sequence[Trial],
    points: dict[str, list[StudyPoint]],
    ids: dict[tuple[str, Candidate], int],
    costs: dict[str, CostRecord],
) -> list[Json]:
    finished: dict[int, tuple[StudyPoint, int]] = {}
    for name, group in points.items():
        ranked = ranks([(point.energy_pj, point.accuracy) for point in group])
        for point, rank in zip(group, ranked, strict=True):
            finished[ids[name, point.candidate]] = (point, rank)
    groups: dict[int, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(ids[trial.hardware, trial.candidate], []).append(trial)
    return [_point(file, number, group, finished.get(number), costs) for number, group in groups.items()]


def _point(
    file: StudyFile,
    number: int,
    group: Sequence[Trial],
    finished: tuple[StudyPoint, int] | None,
    costs: dict[str, CostRecord],
) -> Json:
    trial = group[0]
    breakdown = costs[trial.cost_key].breakdown
    point, rank = finished if finished is not None else (None, None)
    failure = next((t.failure for t in group if t.failure is not None), None)
    test = None
    if trial.accuracy_test is not None:
        test = {"mean": trial.accuracy_test, "sd": trial.accuracy_sd, "seeds": trial.seeds}
    return {
        "id": number,
        "number": trial.number,
        "numbers": [t.number for t in group],
        "key": trial.accuracy_key,
        "hardware": trial.hardware,
        "family": trial.family,
        "scheme": trial.scheme,
        "width": trial.width,
        "topology": dict(trial.candidate.topology),
        "label": trial.candidate.label,
        "status": "done" if point is not None else trial.status,
        "reason": None if failure is None else str(failure),
        "validation": None
        if point is None
        else {"mean": point.accuracy, "sd": point.sd, "seeds": point.seeds},
        "test": test,
        "energy_pj": trial.energy_pj,
        "latency_cycles": trial.latency_cycles,
        "dram_pj": trial.dram_pj,
        "dram_share": trial.dram_share,
        "weight_bits": trial.weight_bits,
        "macs": breakdown.get("macs"),
        "rank": rank,
        "cost": breakdown.get("cost"),
        "formats": breakdown.get("formats", []),
        "proxies": breakdown.get("proxies", {}),
        "mappings": breakdown.get("mappings", []),
    }


def _iso_accuracy(points: Sequence[StudyPoint], hardware: str, images: int | None, seed: int) -> list[Json]:
    found: list[Json] = []
    for first, second in _pairs(points):
        a, b = first, second
        comparison = compare_families(points, a, b, hardware)
        if comparison.saving is not None and comparison.saving.median < 1:
            a, b = second, first
        comparison = compare_families(points, a, b, hardware, n_boot=N_BOOT, n_images=images, seed=seed)
        attained = compare_families(points, a, b, hardware, attained=True)
        found.append(
            {
                "hardware": hardware,
                "a": a,
                "b": b,
                "saving": None if comparison.saving is None else asdict(comparison.saving),
                "attained": None if attained.saving is None else asdict(attained.saving),
                "interval": None if comparison.interval is None else asdict(comparison.interval),
                "reason": comparison.reason,
            }
        )
    return found


def _iso_energy(points: Sequence[StudyPoint], hardware: str) -> list[Json]:
    found = []
    for a, b in _pairs(points):
        gain = gain_of(points, a, b)
        if not isinstance(gain, NoOverlap) and gain.median < 0:
            a, b = b, a
            gain = gain_of(points, a, b)
        entry: Json = {"hardware": hardware, "a": a, "b": b, "gain": None, "reason": None}
        if isinstance(gain, NoOverlap):
            entry["reason"] = gain.reason
        else:
            entry["gain"] = asdict(gain)
        found.append(entry)
    return found


def _pairs(points: Sequence[StudyPoint]) -> list[tuple[str, str]]:
    return list(combinations(dict.fromkeys(point.family for point in points), 2))


def _dram(
    points: Sequence[StudyPoint],
    hardware: str,
    ids: dict[tuple[str, Candidate], int],
    costs: dict[str, CostRecord],
) -> list[Json]:
    return [
        {
            "hardware": hardware,
            "point": ids[hardware, point.candidate],
            "share": point.trials[0].dram_share,
            "by_tensor": dram_by_tensor(costs[point.trials[0].cost_key].breakdown),
        }
        for point in select_front(points, hardware)
    ]


def _proxies(points: Sequence[StudyPoint], hardware: str, costs: dict[str, CostRecord]) -> list[Json]:
    tables = [costs[point.trials[0].cost_key].breakdown.get("proxies") for point in points]
    if not points or not all(isinstance(table, dict) for table in tables):
        return []
    pairs = [(point.energy_pj, point.accuracy) for point in points]
    energies = [energy for energy, _ in pairs]
    found: list[Json] = []
    for proxy in PROXIES:
        values = [float(cast("dict[str, float]", table)[proxy]) for table in tables]
        judged = regret(pairs, values)
        found.append(
            {
                "hardware": hardware,
                "proxy": proxy,
                "spearman": _known(spearman(values, energies)),
                "kendall": _known(kendall(values, energies)),
                "regret_max": judged.max,
                "regret_median": judged.median,
                "targets": list(judged.targets),
                "regrets": list(judged.values),
            }
        )
    return found


def _failures(trials: Sequence[Trial], store: Store) -> list[Json]:
    """By kind. A failure is shared by all hardware of its candidate and shown once; what is infeasible
    belongs to one hardware. Failed measurements on the test split have no trial and are listed too."""
    items: dict[str, dict[object, Json]] = {}
    for trial in trials:
        failure = trial.failure
        if failure is None:
            continue
        shared = failure.kind != "infeasible"
        items.setdefault(failure.kind, {}).setdefault(
            trial.accuracy_key if shared else trial.number,
            {
                "number": trial.number,
                "hardware": None if shared else trial.hardware,
                "label": trial.candidate.label,
                "text": str(failure),
            },
        )
    for row in store.accuracies():
        if row.failure is not None and row.payload.get("split") == "test":
            label = f"{row.payload.get('scheme')} seed {row.seed} on the test split"
            items.setdefault(row.failure.kind, {})[row.key] = {
                "number": None,
                "hardware": None,
                "label": label,
                "text": str(row.failure),
            }
    return [
        {"kind": kind, "count": len(items[kind]), "items": list(items[kind].values())}
        for kind in FAILURE_KINDS
        if kind in items
    ]


def _assumptions(file: StudyFile, card: Json, *, mapped: bool) -> list[str]:
    share = 100 * file.data.validation
    found = [
        f"Selection looks at the validation split only: {share:g} % of the training images, by index hash.",
        f"Test accuracies are means over {file.accuracy.seeds_front} seeds; sd: sample standard deviation.",
        "Families are compared by log-energy interpolation on their fronts, without extrapolation; "
        "the maximum is biased upwards, the median is the number to quote.",
        f"Intervals are bootstrap quantiles 2.5 and 97.5 % of {N_BOOT} replicates; a candidate with one seed "
        "is drawn from the binomial of its validation images.",
        "Proxies count floating-point formats with their storage bits; peak_activation_bits is the greatest "
        "sum of the input and output of one layer.",
    ]
    if file.accuracy.init == "parent":
        found.append("Quantized networks start from a float32 parent of the same topology and seed.")
    if mapped:
        found.append(
            "On memory hierarchies every layer runs by the mapping that is proven cheapest in its map space; "
            "the certificate stands beside each loop nest."
        )
    if card.get("lossy"):
        found.append("The images were compressed with loss: compare accuracies within this study only.")
    return found


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
