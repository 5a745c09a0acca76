"""Energy from one silicon node and voltage to another: Stillmaker and Baas, Integration 58:74-81, 2017.

Energy per operation is proportional to f_n(V) = a V^2 + b V + c. It scales on-chip logic and memory; DRAM
is another chip and does not follow.
"""

from __future__ import annotations

import bisect
import math

__all__ = ["COEFFICIENTS", "DEFAULT_VDD_V", "energy_factor"]

COEFFICIENTS: dict[int, tuple[float, float, float]] = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.103, -0.362, 0.2767),
    32: (0.9559, -0.7823, 0.471),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
"""Node in nm -> (a, b, c) [published]. Nodes between are linear in f at the same voltage."""

DEFAULT_VDD_V = 0.8
VDD_RANGE_V = (0.5, 1.2)
"""Range of the fit [assumed]."""


def energy_factor(
    from_nm: float, to_nm: float, *, from_vdd_v: float = DEFAULT_VDD_V, to_vdd_v: float = DEFAULT_VDD_V
) -> float:
    """What energy at `from_nm` is multiplied by at `to_nm`.

    Raises:
        ValueError: a node outside 7..130 nm or a voltage outside 0.5..1.2 V.

    >>> round(energy_factor(65, 45), 6)
    0.806025
    """
    return _relative_energy(to_nm, to_vdd_v) / _relative_energy(from_nm, from_vdd_v)


def _relative_energy(node_nm: float, vdd_v: float) -> float:
    """f_n(V)."""
    nodes = sorted(COEFFICIENTS)
    if not nodes[0] <= node_nm <= nodes[-1]:
        raise ValueError(f"technology scaling covers {nodes[0]}..{nodes[-1]} nm, not {node_nm} nm")
    if math.isnan(vdd_v) or not VDD_RANGE_V[0] <= vdd_v <= VDD_RANGE_V[1]:
        raise ValueError(f"technology scaling covers {VDD_RANGE_V[0]}..{VDD_RANGE_V[1]} V, not {vdd_v} V")
    above = bisect.bisect_left(nodes, node_nm)
    high = _polynomial(nodes[above], vdd_v)
    if nodes[above] == node_nm:
        return high
    low = _polynomial(nodes[above - 1], vdd_v)
    share = (node_nm - nodes[above - 1]) / (nodes[above] - nodes[above - 1])
    return low + share * (high - low)


def _polynomial(node_nm: int, vdd_v: float) -> float:
    a, b, c = COEFFICIENTS[node_nm]
    return a * vdd_v * vdd_v + b * vdd_v + c
