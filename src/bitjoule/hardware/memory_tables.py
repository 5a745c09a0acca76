"""Energy of one access to an SRAM, a register file or DRAM, with the source of every number."""

from __future__ import annotations

import bisect
import math

__all__ = [
    "CACTI_SRAM_PJ",
    "DRAM_PJ_PER_BIT",
    "dram_pj_per_bit",
    "memory_energy_pj",
    "qkeras_sram_pj_per_bit",
]

CACTI_SRAM_PJ: dict[int, dict[int, tuple[float, float]]] = {
    65: {
        4: (6.168, 11.953),
        8: (11.125, 14.693),
        32: (30.102, 28.691),
        64: (47.045, 37.304),
        128: (59.336, 49.595),
        1024: (174.538, 146.110),
    },
    45: {
        4: (3.386, 6.454),
        8: (6.137, 7.878),
        32: (17.042, 15.398),
        64: (25.870, 19.649),
        128: (32.286, 26.065),
        1024: (93.519, 76.183),
    },
    28: {
        4: (2.063, 2.321),
        8: (2.702, 3.272),
        32: (6.469, 5.718),
        64: (9.992, 8.234),
        128: (13.854, 10.930),
        1024: (40.604, 31.736),
    },
    22: {
        4: (1.171, 1.246),
        8: (1.590, 1.771),
        32: (3.786, 3.104),
        64: (5.670, 4.427),
        128: (7.402, 6.160),
        1024: (23.467, 17.501),
    },
}
"""nm -> KiB -> (read, write), pJ per 64 bits. CACTI, itrs-lstp, 300 K [measured: hwcomponents-cacti]."""

DRAM_PJ_PER_BIT: dict[str, float] = {
    "LPDDR4": 8.0,
    "LPDDR": 40.0,
    "DDR3": 70.0,
    "HBM2": 6.25,
    "HBM3": 4.05,
    "HBM4": 3.2,
}
"""[published in Accelergy and AccelForge sources]. LPDDR5 has no published value here and is refused."""

TABLE_WIDTH_BITS = 64
SMALL_EXPONENT = 0.83
"""E ~ size^0.83 below the table: fit to the 256 register-file shapes of cpc/openasip [derived]."""

QKERAS_SRAM = (9.02427321e-4, -2.68847858e-2, 2.08900804e-1, 0.0)


def memory_energy_pj(technology: int, size_bits: float, width_bits: float) -> tuple[float, float]:
    """(read, write) in pJ of one access of `width_bits` to a memory of `size_bits` at `technology` nm.

    Log-log interpolation in size between the rows of `CACTI_SRAM_PJ`, linear in width [assumed].

    Raises:
        ValueError: a technology without a table, a size above 1024 KiB, a size or width that is not positive.

    >>> round(memory_energy_pj(45, 16 * 8192, 64)[0], 3)
    10.227
    """
    if technology not in CACTI_SRAM_PJ:
        raise ValueError(f"there are memory tables for 65, 45, 28 and 22 nm, not for {technology}")
    if not (size_bits > 0 and width_bits > 0):
        raise ValueError(f"size_bits and width_bits must be > 0, not {size_bits} and {width_bits}")
    table = CACTI_SRAM_PJ[technology]
    sizes = sorted(table)
    kibibytes = size_bits / 8192
    if kibibytes > sizes[-1]:
        raise ValueError(
            f"the memory tables end at {sizes[-1]} KiB, not {kibibytes:g} KiB; "
            "split the memory into banks or give read_pj and write_pj"
        )
    words = width_bits / TABLE_WIDTH_BITS
    read, write = (_interpolated(sizes, [table[size][port] for size in sizes], kibibytes) for port in (0, 1))
    return read * words, write * words


def _interpolated(sizes: list[int], energies: list[float], size: float) -> float:
    if size < sizes[0]:
        return energies[0] * float((size / sizes[0]) ** SMALL_EXPONENT)
    above = bisect.bisect_left(sizes, size)
    if sizes[above] == size:
        return energies[above]
    share = math.log(size / sizes[above - 1]) / math.log(sizes[above] / sizes[above - 1])
    return energies[above - 1] * float((energies[above] / energies[above - 1]) ** share)


def dram_pj_per_bit(kind: str) -> float:
    """Energy of one bit to or from DRAM.

    Raises:
        ValueError: a DRAM without a published value (LPDDR5 among them).

    >>> dram_pj_per_bit("LPDDR4")
    8.0
    """
    if kind not in DRAM_PJ_PER_BIT:
        raise ValueError(
            f"no published energy for DRAM {kind!r} (has: {', '.join(DRAM_PJ_PER_BIT)}); "
            "give pJ per bit with a source"
        )
    return DRAM_PJ_PER_BIT[kind]


def qkeras_sram_pj_per_bit(size_bits: float) -> float:
    """QKeras' fit of SRAM reads at 45 nm [published, google/qkeras].

    10, 20 and 100 pJ per 64 bits at 8, 32 and 1024 KiB.

    >>> round(64 * qkeras_sram_pj_per_bit(32 * 8192), 1)
    20.0
    """
    x = math.log2(size_bits)
    return math.fsum(coefficient * x ** (3 - power) for power, coefficient in enumerate(QKERAS_SRAM))
