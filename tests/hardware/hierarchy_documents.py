"""Descriptions of kind `hierarchy` for tests: a small sound one, and edits of it."""

from collections.abc import Callable
from typing import Any

import pytest

from bitjoule.hardware import HardwareError, load

__all__ = ["faults_of", "small", "with_levels"]


def small() -> dict[str, Any]:
    """DRAM, a buffer with a fan-out of 4, registers."""
    tensors = ["weights", "inputs", "outputs"]
    store = {"word_bits": 16, "source": "me"}
    return {
        "schema": "bitjoule.hardware/1",
        "name": "small",
        "kind": "hierarchy",
        "technology": {"node_nm": 45, "vdd_v": 0.8, "freq_mhz": 500},
        "provenance": {"me": {"status": "assumed", "cite": "a test"}},
        "mac": {"count": 4, "anchor_pj": 0.344, "source": "me"},
        "levels": [
            {"name": "dram", "keeps": tensors, "size_bits": "unbounded", "width_bits": 64, **store,
             "read_pj": 512, "write_pj": 512},
            {"name": "glb", "keeps": tensors, "size_bits": 65536, "width_bits": 64, **store, "read_pj": 6,
             "write_pj": 7, "fanout": {"x": {"size": 4, "dims": ["K"]}}},
            {"name": "rf", "keeps": ["outputs"], "size_bits": 64, "width_bits": 16, **store, "read_pj": 0.1,
             "write_pj": 0.1},
        ],
        "ops": {"relative": "qkeras45", "scale_to_node": True, "source": "me"},
    }  # fmt: skip


def with_levels(change: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    """`small` after `change` has edited its levels."""
    document = small()
    change(document["levels"])
    return document


def faults_of(document: dict[str, Any]) -> list[str]:
    """Texts of all faults."""
    with pytest.raises(HardwareError) as caught:
        load(document)
    return [fault.text for fault in caught.value.faults]
