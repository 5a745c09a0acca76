"""Kind `hierarchy`: what a sound description holds; defaults, hashes, sources, tables, warnings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.hardware import energy_factor, load, memory_energy_pj
from tests.hardware.hierarchy_documents import faults_of, small, with_levels


def test_defaults() -> None:
    hardware = load(small())
    assert (hardware.psum_bits, hardware.packing) == ("auto", "floor")
    register = hardware.level("rf")
    assert (register.words, register.banks, register.cluster, register.fanout.size) == (4, 1, 1, 1)
    assert register.temporal_dims == tuple("NGKCPQRS") and register.bypass_allowed == ()
    assert hardware.level("dram").words is None
    with pytest.raises(KeyError, match=r"hardware 'small' has no level 'l2' \(has: dram, glb, rf\)"):
        hardware.level("l2")
    with pytest.raises(ValueError, match="hardware 'small' of kind hierarchy has no section hierarchy"):
        hardware.section  # noqa: B018


def test_double_buffering_halves_the_words() -> None:
    hardware = load(with_levels(lambda levels: levels[1].update(multiple_buffering=2)))
    assert hardware.level("glb").words == 65536 // 32


def test_prices_per_bit_are_prices_per_access() -> None:
    def per_bit(levels: list[dict[str, object]]) -> None:
        del levels[1]["read_pj"], levels[1]["write_pj"]
        levels[1].update(read_pj_per_bit=0.5, write_pj_per_bit=0.25)

    level = load(with_levels(per_bit)).level("glb")
    assert (level.read_energy_pj, level.write_energy_pj) == (32, 16)


def test_hash_ignores_sources_and_written_defaults_and_nothing_else() -> None:
    plain = load(small())
    told = small() | {"psum_bits": "auto", "packing": "floor"}
    told["levels"][1] |= {"banks": 1, "bypass_allowed": [], "temporal_dims": list("NGKCPQRS")}
    told["mac"] |= {"macs_per_cycle": {"default": 1}, "relative": "dot32"}
    told["provenance"]["other"] = {"status": "published", "cite": "a book"}
    told["levels"][2]["sources"] = {"read_pj": "other"}
    assert load(told).hash == plain.hash
    hashes = {plain.hash}
    for index, change in enumerate(
        ({"read_pj": 6.5}, {"size_bits": 65600}, {"charge_drain": True}, {"temporal_dims": ["K"]},
         {"cluster": 2}, {"max_temporal": {"K": 2}}, {"bypass_allowed": ["inputs"]}, {"noc_pj_per_word": 1.0})
    ):  # fmt: skip
        hashes.add(load(with_levels(lambda levels, new=change: levels[1].update(new))).hash)
        assert len(hashes) == index + 2
    assert load(small() | {"psum_bits": 24}).hash not in hashes


def test_sources() -> None:
    document = small()
    document["provenance"]["other"] = {"status": "published", "cite": "a book"}
    document["levels"][1]["sources"] = {"read_pj": "other"}
    document["mac"]["sources"] = {"psum_bits": "other"}
    hardware = load(document | {"psum_bits": 24})
    assert hardware.source_of("levels.glb.read_pj").cite == "a book"
    assert hardware.source_of("levels.glb.write_pj").cite == "a test"
    assert hardware.source_of("levels.glb.leak_pj_per_cycle").status == "assumed"
    assert hardware.source_of("psum_bits").cite == "a book"
    assert load(small() | {"psum_bits": 24}).source_of("psum_bits").cite == "a test"
    assert load(small()).source_of("psum_bits").cite == "as wide as no sum of the layer can overflow"
    assert hardware.source_of("mac.relative").status == "measured"
    with pytest.raises(
        KeyError, match=r"levels\.l2\.read_pj is no key of hardware 'small'; its keys are psum_bits"
    ):
        hardware.source_of("levels.l2.read_pj")


def tabled(table: object, **keys: object) -> dict[str, object]:
    def change(levels: list[dict[str, object]]) -> None:
        del levels[1]["read_pj"], levels[1]["write_pj"]
        levels[1].update(from_table=table, **keys)

    return with_levels(change)


def test_energies_from_the_sram_table() -> None:
    hardware = load(tabled({"kind": "sram", "technology": 45}, size_bits=16 * 8192))
    level = hardware.level("glb")
    assert (level.read_pj, level.write_pj) == memory_energy_pj(45, 16 * 8192, 64)
    assert level.read_pj == pytest.approx(10.2267, rel=1e-5)
    source = hardware.source_of("levels.glb.read_pj")
    assert source.status == "derived"
    assert source.cite == "CACTI 45 nm, 131072 bits, 64 bits an access, hardware/memory_tables.py"
    assert hardware.source_of("levels.glb.size_bits").cite == "a test"
    again = load(hardware.to_mapping())
    assert again == hardware and again.hash == hardware.hash


def test_banks_and_another_node() -> None:
    table = {"kind": "sram", "technology": 22, "scale_to_nm": 16}
    level = load(tabled(table, size_bits=4 * 65536, banks=4)).level("glb")
    factor = energy_factor(22, 16)
    assert level.read_pj == pytest.approx(memory_energy_pj(22, 65536, 64)[0] * factor, rel=1e-12)


def test_energies_from_the_dram_table() -> None:
    document = small()
    for key in ("read_pj", "write_pj"):
        del document["levels"][0][key]
    document["levels"][0]["from_table"] = {"kind": "dram", "type": "HBM2"}
    assert load(document).level("dram").read_energy_pj == 6.25 * 64


@pytest.mark.parametrize(
    ("table", "keys", "text"),
    [
        ({"kind": "flash"}, {}, "must be {kind: sram, technology: 45} or {kind: dram, type: LPDDR4}"),
        (3, {}, "must be {kind: sram, technology: 45} or {kind: dram, type: LPDDR4}"),
        (
            {"kind": "sram", "technology": 40},
            {},
            "there are memory tables for 65, 45, 28 and 22 nm, not for 40",
        ),
        ({"kind": "sram"}, {}, "technology must be 65, 45, 28 or 22 nm, not nothing"),
        ({"kind": "sram", "technology": [45]}, {}, "technology must be 65, 45, 28 or 22 nm, not a list"),
        (
            {"kind": "sram", "technology": 45, "node": 3},
            {},
            "node is not a key of kind sram (keys: kind, technology, scale_to_nm)",
        ),
        (
            {"kind": "sram", "technology": 45, "scale_to_nm": 5},
            {},
            "technology scaling covers 7..130 nm, not 5 nm",
        ),
        (
            {"kind": "sram", "technology": 45, "scale_to_nm": "16"},
            {},
            "scale_to_nm must be a node in nm, not '16'",
        ),
        (
            {"kind": "sram", "technology": 45},
            {"size_bits": 2048 * 8192},
            "the memory tables end at 1024 KiB, not 2048 KiB; split the memory into banks or give "
            "read_pj and write_pj",
        ),
        (
            {"kind": "dram", "type": "LPDDR5"},
            {},
            "no published energy for DRAM 'LPDDR5' (has: LPDDR4, LPDDR, DDR3, HBM2, HBM3, HBM4); "
            "give pJ per bit with a source",
        ),
    ],
)
def test_tables_that_cannot_be_read(table: object, keys: dict[str, object], text: str) -> None:
    assert faults_of(tabled(table, **keys)) == [f"levels[1].from_table: {text}"]


def test_numbers_or_a_table() -> None:
    document = with_levels(lambda levels: levels[1].update(from_table={"kind": "sram", "technology": 45}))
    assert faults_of(document) == [
        "levels[1].from_table stands beside read_pj; give numbers or a table, not both"
    ]


def test_warnings() -> None:
    assert load(small()).warnings == ()
    document = with_levels(lambda levels: levels[2].update(read_pj=160.0))
    document["mac"]["relative"] = "qkeras"
    assert load(document).warnings == (
        "mac.relative: qkeras overstates the gain of few bits: its MAC energy is quadratic in the bits, "
        "measured units have exponents of 1.37 to 1.55",
        "levels: a read of 'dram' costs 8 pJ per bit, less than one of 'rf' inside it (10); "
        "are both in pJ per access of width_bits?",
    )


@given(st.integers(1, 64), st.integers(1, 8), st.sampled_from([1, 2]), st.integers(0, 63))
def test_words_are_whole_and_never_more_than_fit(
    words: int, word_bits: int, buffers: int, spare: int
) -> None:
    size = words * word_bits * buffers + spare % (word_bits * buffers)
    keys = {"size_bits": size, "word_bits": word_bits, "width_bits": word_bits, "multiple_buffering": buffers}
    assert load(with_levels(lambda levels: levels[1].update(keys))).level("glb").words == words
