"""A hierarchy small enough for full enumeration, and the mapper that enumerates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from bitjoule.hardware import Hardware, load
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Evaluation, Mode, evaluate
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.nest import Mapping
from bitjoule.mapping.problem import Problem
from tests.mapping.exhaustive import optima

__all__ = ["Found", "enumerating", "tiny"]


@dataclass(frozen=True)
class Found:
    """A mapping that no other beats."""

    mapping: Mapping
    evaluation: Evaluation
    optimal: bool = True


@lru_cache(maxsize=4096)
def _best(problem: Problem, accelerator: Accelerator, mode: Mode) -> Found | None:
    found = optima(problem, accelerator, mode)
    if found is None:
        return None
    mapping = found.energy.mapping
    return Found(mapping, evaluate(problem, mapping, accelerator, mode=mode))


def enumerating(problem: Problem, accelerator: Accelerator, *, mode: Mode) -> Found:
    """Every mapping tried."""
    found = _best(replace(problem, name=""), accelerator, mode)
    if found is None:
        raise InfeasibleMapping(problem.name, accelerator.name, conflicts=("nothing fits",))
    return found


def tiny(
    buffer_bits: int = 512, *, keeps: tuple[str, ...] = ("inputs", "outputs"), **changed: object
) -> Hardware:
    """Two levels: a buffer of 8-bit words for feature maps, and DRAM; one MAC unit."""
    level = {"word_bits": 8, "source": "rule"}
    buffer = {
        "name": "buffer",
        "size_bits": buffer_bits,
        "width_bits": 8,
        "keeps": list(keeps),
        "bypass_allowed": list(keeps),
        "read_pj": 1.0,
        "write_pj": 1.5,
        **level,
        **changed,
    }
    dram = {
        "name": "dram",
        "size_bits": "unbounded",
        "width_bits": 16,
        "keeps": ["weights", "inputs", "outputs"],
        "read_pj": 128.0,
        "write_pj": 128.0,
        "read_words_per_cycle": 1.0,
        "write_words_per_cycle": 0.5,
        **level,
    }
    return load(
        {
            "schema": "bitjoule.hardware/1",
            "name": "tiny",
            "kind": "hierarchy",
            "technology": {"node_nm": 45, "vdd_v": 0.9, "freq_mhz": 100},
            "provenance": {"rule": {"status": "assumed", "cite": "a test"}},
            "mac": {"count": 1, "anchor_pj": 0.344, "source": "rule"},
            "psum_bits": 24,
            "levels": [dram, buffer],
            "ops": {"relative": "qkeras45", "scale_to_node": True, "source": "rule"},
        }
    )
