"""Trials as they are stored, joined with their accuracies, costs and test measurements."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from bitjoule.search.accuracy_key import without_seed
from bitjoule.search.space import Candidate
from bitjoule.search.store import AccuracyRow, Store, TrialRow
from bitjoule.search.trial import CostRecord, Failure, Json, Status, Trial

__all__ = ["stored_trials", "trial_of"]


def trial_of(
    stored: TrialRow, hardware: Mapping[str, str], row: AccuracyRow | None, cost: CostRecord
) -> Trial:
    """One Trial of its stored parts; `hardware` gives names by content hash."""
    failure = None if row is None else row.failure
    if stored.status == "infeasible":
        failure = Failure("infeasible", cost.reason or "no mapping")
    return Trial(
        number=stored.number,
        candidate=Candidate.from_json(stored.candidate),
        family=stored.family,
        hardware=hardware.get(stored.hardware_hash, stored.hardware_hash[:12]),
        hardware_hash=stored.hardware_hash,
        seed=stored.seed,
        epochs=stored.epochs,
        status=cast(Status, stored.status),
        accuracy_key=stored.accuracy_key,
        cost_key=stored.cost_key,
        accuracy=None if row is None else row.accuracy,
        loss=None if row is None else row.loss,
        energy_pj=cost.energy_pj,
        latency_cycles=cost.latency_cycles,
        dram_pj=cost.dram_pj,
        weight_bits=cast("int | None", cost.breakdown.get("weight_bits")),
        failure=failure,
        metrics={} if row is None else row.metrics,
        wall_s=None if row is None else row.wall_s,
    )


def stored_trials(store: Store, hardware: Mapping[str, str]) -> list[Trial]:
    """Every trial by number. Test accuracies of all seeds of a candidate are joined to each of its trials."""
    rows = {row.key: row for row in store.accuracies()}
    payloads: dict[str, Json] = {key: row.payload for key, row in rows.items()}
    tests: dict[str, list[float]] = {}
    for key, row in rows.items():
        if row.payload.get("split") == "test" and row.accuracy is not None:
            tests.setdefault(without_seed(payloads, key), []).append(row.accuracy)
    costs: dict[str, CostRecord] = {}
    trials = []
    for stored in store.trials():
        if stored.cost_key not in costs:
            costs[stored.cost_key] = store.cost_summary(stored.cost_key) or CostRecord(None, None, None)
        accuracy = None if stored.accuracy_key is None else rows[stored.accuracy_key]
        trial = trial_of(stored, hardware, accuracy, costs[stored.cost_key])
        if tests and accuracy is not None:
            measured = tests.get(without_seed(payloads, accuracy.key), [])
            trial = replace(
                trial,
                accuracy_test=statistics.fmean(measured) if measured else None,
                accuracy_sd=statistics.stdev(measured) if len(measured) > 1 else None,
                seeds=len(measured),
            )
        trials.append(trial)
    return trials
