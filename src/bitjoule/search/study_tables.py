"""Files a study leaves: front.csv, trials.parquet, and a folder for each front point.

| file | one row or folder per | |
|---|---|---|
| front.csv | point on the front of each hardware | `rank` counts from 1, cheapest first |
| trials.parquet | trial | accuracy and cost joined, energy by component |
| best/NN-scheme/ | candidate on any front | weights.safetensors, scheme.yaml, card.json |

Everything is written beside its place and renamed into it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from bitjoule import __version__
from bitjoule.search.breakdown import by_component
from bitjoule.search.key import key
from bitjoule.search.points import Front, StudyPoint
from bitjoule.search.store import Store
from bitjoule.search.study_directory import write_atomically
from bitjoule.search.task import WEIGHTS
from bitjoule.search.trial import Json, Trial

__all__ = ["FRONT_COLUMNS", "write_best", "write_front", "write_trials"]

FRONT_COLUMNS = (
    *("hardware", "rank", "number", "family", "scheme", "width", "accuracy_val", "accuracy_test"),
    *("accuracy_sd", "seeds", "energy_uj", "latency_cycles", "dram_share", "weight_bits", "key"),
)


def write_front(path: Path, fronts: Sequence[Front]) -> None:
    """front.csv: empty cells for what was not measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FRONT_COLUMNS)
    for front in fronts:
        for rank, point in enumerate(front, start=1):
            trial = point.trials[0]
            values = (
                *(front.hardware, rank, point.number, point.family, trial.scheme, trial.width),
                *(point.accuracy, trial.accuracy_test, trial.accuracy_sd, trial.seeds, point.energy_pj / 1e6),
                *(trial.latency_cycles, trial.dram_share, trial.weight_bits, trial.accuracy_key),
            )
            writer.writerow("" if value is None else value for value in values)
    write_atomically(path, text.getvalue().encode())


def write_trials(path: Path, trials: Sequence[Trial], store: Store) -> None:
    """trials.parquet: one row per trial; a component that a trial has not is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Json] = []
    components: dict[str, None] = {}
    for trial in trials:
        record = store.cost(trial.cost_key)
        parts = {} if record is None else by_component(record.breakdown)
        named = {f"energy_{_word(name)}_pj": energy for name, energy in parts.items()}
        components.update(dict.fromkeys(named))
        rows.append({**_columns(trial), **named})
    names = [*(rows[0] if rows else _NO_ROWS)]
    names += [name for name in components if name not in names]
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_atomically(path, sink.getvalue().to_pybytes())


def write_best(folder: Path, fronts: Sequence[Front], store: Store, study: Path, name: str) -> list[str]:
    """best/: weights, scheme and card of every candidate on a front, numbered in the order of the fronts.

    Weights come from the checkpoints, or else from the old best/, wherever the stored hash says they are the
    right ones. Returns a line for each point whose weights are nowhere; its card keeps their hash.
    """
    building = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    points: dict[object, list[StudyPoint]] = {}
    for front in fronts:
        for point in front:
            points.setdefault(point.candidate, []).append(point)
    gone: list[str] = []
    for number, group in enumerate(points.values(), start=1):
        place = f"{number:02d}-{_word(group[0].trials[0].scheme)}"
        if missing := _write_point(building / place, group, store, study, name, folder):
            gone.append(f"{folder.name}/{place}: {missing}")
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        building.rename(folder)
        shutil.rmtree(old)
    else:
        building.rename(folder)
    return gone


def _write_point(
    folder: Path, group: Sequence[StudyPoint], store: Store, study: Path, name: str, before: Path
) -> str | None:
    """The folder of one point; says what is missing. `before` is best/ as it was."""
    folder.mkdir()
    trial = group[0].trials[0]
    row = None if trial.accuracy_key is None else store.accuracy(trial.accuracy_key)
    training = weights = missing = None
    if row is not None:
        training = key("training", {item: value for item, value in row.payload.items() if item != "split"})
        weights = row.weights_sha256
    if training is not None and weights is not None:
        source = _weights_of(weights, study / "checkpoints" / training / WEIGHTS, before)
        if source is not None:
            shutil.copyfile(source, folder / WEIGHTS)
        else:
            missing = (
                f"the weights are gone: neither checkpoints/{training}/{WEIGHTS} nor the old best/ holds "
                f"them (sha256 {weights[:12]}...); run the study in a new folder to train them again"
            )
    candidate = trial.candidate
    topology = "".join(f"  {item}: {value!r}\n" for item, value in candidate.topology)
    (folder / "scheme.yaml").write_text(
        f"bitjoule: 1\nnetwork: {candidate.network}\ntopology:\n{topology}"
        f"scheme: {json.dumps(candidate.scheme.name)}\n",
        encoding="utf-8",
    )
    card = {
        "bitjoule": 1,
        "study": name,
        "number": trial.number,
        "candidate": candidate.to_json(),
        "accuracy_validation": group[0].accuracy,
        "accuracy_test": trial.accuracy_test,
        "accuracy_sd": trial.accuracy_sd,
        "seeds": trial.seeds,
        "metrics": trial.metrics,
        "hardware": [
            {
                "name": point.hardware,
                "hash": point.trials[0].hardware_hash,
                "energy_pj": point.energy_pj,
                "latency_cycles": point.trials[0].latency_cycles,
                "dram_share": point.trials[0].dram_share,
                "cost_key": point.trials[0].cost_key,
            }
            for point in group
        ],
        "weight_bits": trial.weight_bits,
        "accuracy_key": trial.accuracy_key,
        "accuracy_payload": None if row is None else row.payload,
        "training_key": training,
        "weights_sha256": weights,
        "code_version": __version__,
        "command": store.meta("command") or f"bitjoule search {name}.yaml",
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return missing


def _weights_of(sha256: str, checkpoint: Path, before: Path) -> Path | None:
    """The file with exactly these weights: the checkpoint, or one of the old best/."""
    for path in (checkpoint, *sorted(before.glob(f"*/{WEIGHTS}"))):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    return None


def _columns(trial: Trial) -> Json:
    return {
        "number": trial.number,
        "candidate": json.dumps(trial.candidate.to_json(), sort_keys=True),
        "family": trial.family,
        "hardware": trial.hardware,
        "hardware_hash": trial.hardware_hash,
        "scheme": trial.scheme,
        "width": trial.width,
        "seed": trial.seed,
        "epochs": trial.epochs,
        "status": trial.status,
        "failure": None if trial.failure is None else str(trial.failure),
        "accuracy": trial.accuracy,
        "loss": trial.loss,
        "accuracy_test": trial.accuracy_test,
        "accuracy_sd": trial.accuracy_sd,
        "seeds": trial.seeds,
        "energy_pj": trial.energy_pj,
        "latency_cycles": trial.latency_cycles,
        "energy_dram_pj": trial.dram_pj,
        "dram_share": trial.dram_share,
        "weight_bits": trial.weight_bits,
        "wall_s": trial.wall_s,
        "metrics": json.dumps(trial.metrics, sort_keys=True),
        "accuracy_key": trial.accuracy_key,
        "cost_key": trial.cost_key,
    }


_NO_ROWS = ("number", "candidate", "family", "hardware", "scheme", "status", "accuracy", "energy_pj")


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")
