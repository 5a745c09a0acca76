"""Report data in the schema bitjoule.report_data/1, made up; its fronts and comparisons are computed."""

import math
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from bitjoule.search.bootstrap import Interval
from bitjoule.search.compare import Family, NoOverlap, Saving, iso_accuracy, iso_accuracy_attained, iso_energy
from bitjoule.search.pareto import front, hypervolume, ranks

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "<b>bold</b> & 'quoted' $x^2$ {{title}}",
)
BITS = {"int8": 8, "hpr-w4a4": 4.4, "w4a4": 4, "w2a2": 2, "fp16": 16, "w3a3": 3}
LOSS = {"int8": 0.002, "hpr-w4a4": 0.008, "w4a4": 0.02, "w2a2": 0.09, "fp16": 0.0, "w3a3": 0.04}
FORMATS = {"int8": "INT8", "fp16": "FP16"}
COMPONENTS = (
    ("moons:dram", "weights", 0.30),
    ("moons:dram", "inputs", 0.12),
    ("moons:main", "weights", 0.08),
    ("moons:main", "outputs", 0.06),
    ("moons:local", "weights", 0.12),
    ("moons:local", "inputs", 0.12),
    ("moons:compute", "none", 0.20),
)


def report_data(
    *,
    families: tuple[str, ...] = ("fp16", "int8", "hpr-w4a4", "w4a4", "w2a2"),
    widths: int = 8,
    layers: int = 12,
    hardware: tuple[str, ...] = ("moons-4mb", "braintta22"),
    hostile: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """A study of `families` x `widths` candidates on each hardware; `hostile` puts markup into every name."""
    rng = np.random.default_rng(seed)
    names = {f: f + (HOSTILE[i % 3] if hostile else "") for i, f in enumerate(families)}
    places = {h: h + (HOSTILE[1] if hostile else "") for h in hardware}
    points: list[dict[str, Any]] = []
    for h, on in enumerate(hardware):
        rng = np.random.default_rng(seed)
        for family in families:
            for k in range(widths):
                width = round(0.25 + 0.75 * k / max(1, widths - 1), 4)
                points.append(_point(rng, len(points), family, width, layers, h, places[on], names, hostile))
    fronts = [_rank(points, places[on]) for on in hardware]
    pairs = [
        _compare(points, places[on], names[a], names[b])
        for on in hardware
        for a, b in combinations(families, 2)
    ]
    kept = {p["id"]: p for p in points}
    mark = HOSTILE[0] if hostile else ""
    failed = [p for p in points if p["status"] == "failed"]
    return {
        "schema": "bitjoule.report_data/1",
        "header": {
            "name": "poq-mobilenetv2" + mark,
            "command": "bitjoule search poq.yaml" + mark,
            "seed": 0,
            "method": "poq",
            "network": "mobilenet_v2" + mark,
            "code_version": "0.1.0",
            "created_utc": "2026-11-21T09:30:00Z",
            "data": {
                "name": "cifar10",
                "manifest_hash": "sha256:" + "ab12" * 16,
                "classes": 10,
                "lossy": False,
                "sizes": {"train": 45000, "validation": 5000, "test": 10000},
            },
            "counts": {
                "trials": len(points),
                "done": len(points) - len(failed) - 1,
                "failed": len(failed),
                "infeasible": 1,
            },
            "seeds_search": 1,
            "seeds_front": 3,
            "selection": "validation",
        },
        "hardware": [
            {
                "name": places[on],
                "hash": "sha256:" + "cd34" * 16,
                "reference": {"energy_pj": 3e8, "accuracy": 0.1},
                "hypervolume": hypervolume(
                    [(kept[i]["energy_pj"], kept[i]["validation"]["mean"]) for i in fronts[h]], (3e8, 0.1)
                ),
                "front": fronts[h],
            }
            for h, on in enumerate(hardware)
        ],
        "families": [names[f] for f in families],
        "points": points,
        "iso_accuracy": [accuracy for accuracy, _ in pairs],
        "iso_energy": [energy for _, energy in pairs],
        "dram": [_dram(kept[i]) for members in fronts for i in members],
        "proxies": [
            {
                "hardware": places[on],
                "proxy": proxy,
                "spearman": rho,
                "kendall": None if rho is None else rho - 0.07,
                "regret_max": 1.8,
                "regret_median": 1.1,
                "targets": [0.6],
                "regrets": [1.8],
            }
            for on in hardware
            for proxy, rho in (("macs", 0.71), ("bops", 0.93), ("weight_bits", None))
        ],
        "failures": [
            {
                "kind": "out_of_memory",
                "count": len(failed),
                "items": [
                    {"number": p["number"], "hardware": None, "label": p["label"], "text": p["reason"]}
                    for p in failed
                ],
            },
            {
                "kind": "infeasible",
                "count": 1,
                "items": [
                    {
                        "number": points[-1]["number"],
                        "hardware": points[-1]["hardware"],
                        "label": points[-1]["label"],
                        "text": points[-1]["reason"],
                    }
                ],
            },
        ],
        "assumptions": ["accuracy after 5 epochs of quantization-aware training" + mark, "pooling is free"],
    }


def _point(
    rng: np.random.Generator,
    number: int,
    family: str,
    width: float,
    layers: int,
    h: int,
    on: str,
    names: dict[str, str],
    hostile: bool,
) -> dict[str, Any]:
    mark = HOSTILE[1] if hostile else ""
    bits = BITS[family]
    macs = int(9e7 * width**2)
    energy = 0.45 * macs * (bits / 8) ** 1.25 * (1.0 + 0.6 * h) * float(rng.uniform(0.93, 1.07)) + 6e5 * bits
    accuracy = 0.945 - LOSS[family] * (1.4 - 0.5 * width) - 0.11 * math.exp(-3.2 * width)
    accuracy += float(rng.normal(0, 0.003))
    status, reason = "done", None
    if family == "w2a2" and width < 0.3:
        status, reason = "failed", f"out of memory at epoch 1{mark}"
    label = f"{names[family]} width {width:g}"
    cost = _cost(rng, names[family], energy, macs, layers, on, mark)
    return {
        "id": number,
        "number": number,
        "numbers": [number],
        "key": f"{number:04x}",
        "hardware": on,
        "family": names[family],
        "scheme": names[family],
        "width": width,
        "topology": {"width": width},
        "label": label,
        "status": status,
        "reason": reason,
        "validation": {"mean": accuracy, "sd": None, "seeds": 1} if status == "done" else None,
        "test": None,
        "energy_pj": energy,
        "latency_cycles": macs // 64,
        "dram_pj": energy * 0.42,
        "dram_share": 0.42,
        "weight_bits": int(2.2e6 * width**2 * bits),
        "macs": macs,
        "rank": None,
        "cost": cost,
        "formats": [
            {
                "layer": layer["name"],
                "kind": "linear" if i == layers - 1 else "conv",
                "macs": layer["macs"],
                "weights": FORMATS.get(family, "INT4_NARROW/channel") + (mark if i == 0 else ""),
                "input": "UINT8" if i == 0 else FORMATS.get(family, "UINT4"),
                "output": "INT32" if i == layers - 1 else FORMATS.get(family, "UINT4"),
            }
            for i, layer in enumerate(cost["layers"][:-1])
        ],
        "proxies": {"macs": macs},
        "mappings": _mappings(cost, bits, mark) if h else [],
    }


def _mappings(cost: dict[str, Any], bits: float, mark: str) -> list[dict[str, Any]]:
    """Of every other layer of the second hardware, which is a memory hierarchy here."""
    names = [layer["name"] for layer in cost["layers"] if "macs" in layer]
    return [
        {
            "layers": [name, *names[1:6]] if k == 0 else [name],
            "mapping": {"schema": "bitjoule.mapping/1", "levels": []},
            "nest": f"dram  weights 864 ({bits:g} bit) in {100 + k} words\n|  for K in 0:4\n"
            f"glb   inputs 64 in 16 words, 67 % of 24{mark}\nmac   3 of 4 units",
            "utilization": 0.671 - 0.05 * k,
            "bounding": f"glb reads{mark}",
            "energy_pj": 1e6,
            "latency_cycles": 100,
            "certificate": "proven optimal (energy): bound = value, 12 complete mappings evaluated",
        }
        for k, name in enumerate(names[::2])
    ]


def _cost(
    rng: np.random.Generator, scheme: str, energy: float, macs: int, layers: int, on: str, mark: str
) -> dict[str, Any]:
    shares = np.abs(np.sin(np.arange(layers) * 1.7)) + 0.3
    shares /= shares.sum()
    rows = []
    for i, share in enumerate(shares):
        drawn = rng.uniform(0.4, 1.6, len(COMPONENTS)) * [c[2] for c in COMPONENTS]
        drawn *= energy * share / drawn.sum()
        rows.append(
            {
                "name": f"features.{i}.conv.{i % 3}" + (mark if i == 1 else ""),
                "latency_cycles": int(macs * share / 64),
                "macs": int(macs * share),
                "mapping_hash": None,
                "items": [
                    {
                        "component": component,
                        "tensor": tensor,
                        "action": "read",
                        "count": 1000,
                        "energy_pj": float(value),
                        "bits_moved": 8000,
                    }
                    for (component, tensor, _), value in zip(COMPONENTS, drawn, strict=True)
                ],
            }
        )
    rows.append(
        {
            "name": "features.1.add",
            "latency_cycles": 12,
            "items": [{**rows[-1]["items"][-1], "energy_pj": 1e-4 * energy}],
        }
    )
    return {
        "schema": "bitjoule.cost/1",
        "hardware": on,
        "hardware_hash": "sha256:cd34",
        "scheme": scheme,
        "totals": {"energy_pj": energy},
        "layers": rows,
        "footprint_bits": {"main": 32000},
        "notes": ["model extrapolated" + mark] if scheme.startswith("fp16") else [],
        "provenance": {},
    }


def _rank(points: list[dict[str, Any]], on: str) -> list[int]:
    """Fill in ranks, test accuracies and seeds of the front; the last point of the study does not fit."""
    if points[-1]["hardware"] == on:
        reason = "layer features.1 needs 9 Mb, main has 4 Mb; use fewer bits"
        points[-1] |= {"status": "infeasible", "reason": reason, "formats": []}
        points[-1] |= dict.fromkeys(
            ("validation", "energy_pj", "dram_share", "dram_pj", "cost", "latency_cycles")
        )
    here = [p for p in points if p["hardware"] == on and p["validation"]]
    places = [(p["energy_pj"], p["validation"]["mean"]) for p in here]
    for p, rank in zip(here, ranks(places), strict=True):
        p["rank"] = rank
    chosen = [here[i] for i in front(places)]
    for p in chosen:
        p["validation"] |= {"sd": 0.0035, "seeds": 3}
        p["test"] = {"mean": p["validation"]["mean"] - 0.006, "sd": 0.0042, "seeds": 3}
    return [p["id"] for p in chosen]


def _compare(points: list[dict[str, Any]], on: str, a: str, b: str) -> tuple[dict[str, Any], dict[str, Any]]:
    one, two = (
        Family(
            name,
            tuple(
                (p["energy_pj"], p["validation"]["mean"])
                for p in points
                if p["hardware"] == on and p["family"] == name and p["validation"]
            ),
        )
        for name in (a, b)
    )
    saving = iso_accuracy(one, two)
    if isinstance(saving, Saving) and saving.median < 1:
        one, two = two, one
        saving = iso_accuracy(one, two)
    attained, gain = iso_accuracy_attained(one, two), iso_energy(one, two)
    row: dict[str, Any] = {"hardware": on, "a": one.name, "b": two.name}
    if isinstance(saving, NoOverlap):
        accuracy = row | {"saving": None, "attained": None, "interval": None, "reason": saving.reason}
    else:
        best = (0.93 * saving.max, saving.max, 1.1 * saving.max)
        middle = (0.94 * saving.median, saving.median, 1.05 * saving.median)
        accuracy = row | {
            "saving": asdict(saving),
            "attained": asdict(attained) if isinstance(attained, Saving) else None,
            "interval": asdict(Interval(best, middle, 1000, 0, "")),
            "reason": None,
        }
    if isinstance(gain, NoOverlap):
        return accuracy, row | {"gain": None, "reason": gain.reason}
    return accuracy, row | {"gain": asdict(gain), "reason": None}


def _dram(point: dict[str, Any]) -> dict[str, Any]:
    sums: dict[str, float] = {}
    for layer in point["cost"]["layers"]:
        for item in layer["items"]:
            if item["component"] == "moons:dram":
                sums[item["tensor"]] = sums.get(item["tensor"], 0.0) + item["energy_pj"]
    return {
        "hardware": point["hardware"],
        "point": point["id"],
        "share": sum(sums.values()) / point["energy_pj"],
        "by_tensor": sums,
    }
