"""Memory tables: golden interpolations of energy.md 3.2, the edges, and monotonicity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.hardware.memory_tables import (
    CACTI_SRAM_PJ,
    dram_pj_per_bit,
    memory_energy_pj,
    qkeras_sram_pj_per_bit,
)

KIB = 8192


def test_golden_interpolation() -> None:
    assert memory_energy_pj(45, 16 * KIB, 64)[0] == pytest.approx(10.2267, rel=1e-5)
    assert memory_energy_pj(65, 100 * KIB, 64)[0] == pytest.approx(54.628, rel=1e-5)


def test_rows_are_returned_exactly() -> None:
    for technology, table in CACTI_SRAM_PJ.items():
        for kibibytes, row in table.items():
            assert memory_energy_pj(technology, kibibytes * KIB, 64) == row


def test_width_is_linear_and_small_memories_follow_the_register_file_exponent() -> None:
    assert memory_energy_pj(45, 8 * KIB, 128)[0] == 2 * 6.137
    assert memory_energy_pj(45, 2 * KIB, 64)[0] == pytest.approx(3.386 * 0.5**0.83)


@given(st.sampled_from([65, 45, 28, 22]), st.floats(64, 1024 * KIB), st.floats(1, 2))
def test_reads_never_get_cheaper_with_size(technology: int, size_bits: float, factor: float) -> None:
    larger = min(size_bits * factor, 1024 * KIB)
    assert (
        memory_energy_pj(technology, larger, 64)[0] >= memory_energy_pj(technology, size_bits, 64)[0] - 1e-12
    )


def test_refusals() -> None:
    with pytest.raises(ValueError, match="memory tables for 65, 45, 28 and 22 nm, not for 40"):
        memory_energy_pj(40, KIB, 64)
    with pytest.raises(ValueError, match="the memory tables end at 1024 KiB, not 2048 KiB; split the memory"):
        memory_energy_pj(45, 2048 * KIB, 64)
    with pytest.raises(ValueError, match="must be > 0, not 0 and 64"):
        memory_energy_pj(45, 0, 64)
    with pytest.raises(ValueError, match=r"no published energy for DRAM 'LPDDR5' \(has: LPDDR4, "):
        dram_pj_per_bit("LPDDR5")


def test_dram_and_qkeras_anchors() -> None:
    assert dram_pj_per_bit("LPDDR4") == 512 / 64
    for kibibytes, golden in ((8, 10), (32, 20), (1024, 100)):  # Horowitz ISSCC 2014, cache reads per 64 bits
        assert 64 * qkeras_sram_pj_per_bit(kibibytes * KIB) == pytest.approx(golden, rel=1e-3)
