"""Kind `hierarchy`: every fault at once, in the order of the document, texts pinned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bitjoule.hardware import HardwareError, load, preset_text
from bitjoule.hardware.fault import value_at
from tests.hardware.hierarchy_documents import faults_of, small, with_levels


def test_five_faults_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # energy.md 4.1, word for word
    text = preset_text("eyeriss")
    for old, new in (
        ("keeps: [weights, inputs, outputs]", "keeps: [inputs, outputs]"),
        ("read_pj: 26.4, ", "read_pj: -3, read_pjs: 26.4, "),
        ("temporal_dims: [], read_pj: 1.1", "temporal_dims: [], read_pj_per_bit: 1100"),
        ("temporal_dims: [C, R], read_pj: 1.1, write_pj: 1.1, source: isca16",
         "temporal_dims: [C, R], read_pj: 1.1, write_pj: 1.1, source: isca17"),
    ):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    # the example's file has three entries of provenance
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("  units:", "  link:", "  dataflow:", "  words:"))
    ]
    lines = []
    for line in kept:
        if line.strip().startswith("sources:"):
            closing = line[line.index("}") + 1 :]
            lines[-1] = lines[-1].rstrip(",") + closing
        else:
            lines.append(line)
    monkeypatch.chdir(tmp_path)
    Path("eyeriss.yaml").write_text("\n".join(lines))
    with pytest.raises(HardwareError) as caught:
        load("eyeriss.yaml")
    assert str(caught.value) == (
        "eyeriss.yaml: 5 faults\n"
        "  levels[1].read_pj must be >= 0, not -3\n"
        "  levels[1].read_pjs is not a key; did you mean read_pj?\n"
        "  levels: the outermost level must keep weights, inputs and outputs; 'dram' lacks weights\n"
        "  levels[2].read_pj_per_bit = 1100 is outside 0.0001..100 pJ per bit; is it in fJ? "
        "(set allow_unusual: true to keep it)\n"
        "  levels[3].source names 'isca17', which is not in provenance (has: isca16, jssc17, anchor)"
    )


def put(index: int, **keys: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda levels: levels[index].update(keys)


def drop(index: int, *keys: str) -> Callable[[list[dict[str, Any]]], object]:
    return lambda levels: [levels[index].pop(key) for key in keys]


UNUSUAL = "(set allow_unusual: true to keep it)"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(1, read_pj=float("nan")), "levels[1].read_pj must be a finite number, not nan"),
        (put(1, read_pj=True), "levels[1].read_pj must be a number, not true"),
        (put(1, write_pj="7"), "levels[1].write_pj must be a number, not '7'"),
        (put(1, keeps="inputs"), "levels[1].keeps must be a list, not 'inputs'"),
        (
            put(2, keeps=["output"]),
            "levels[2].keeps[0] must be 'weights', 'inputs' or 'outputs', not 'output'",
        ),
        (put(2, keeps=["outputs", "outputs"]), "levels[2].keeps names outputs twice"),
        (put(1, allow=1), "levels[1].allow is not a key (keys: name, keeps, size_bits, "),
        (
            put(1, size_bits="unbounded"),
            "levels[1].size_bits must be a number of bits; only the outermost level may be unbounded",
        ),
        (put(1, size_bits=0), "levels[1].size_bits must be a whole number of bits > 0, or unbounded, not 0"),
        (put(1, size_bits=32), "levels[1].size_bits must be >= width_bits (64), not 32"),
        (
            put(2, size_bits=16, multiple_buffering=2),
            "levels[2].size_bits must hold 2 word(s) of 16 bits, not 16",
        ),
        (
            put(2, size_bits=16, width_bits=64, cluster=3),
            "levels[2].size_bits must be >= width_bits (64) over the 3 instances of a cluster, not 16",
        ),
        (put(2, multiple_buffering=3), "levels[2].multiple_buffering must be 1 or 2, not 3"),
        (put(1, width_bits=60), "levels[1].width_bits must be a multiple of word_bits (16), not 60"),
        (put(2, name="glb"), "levels[2].name is 'glb', and so is levels[1].name; names must differ"),
        (drop(1, "size_bits"), "levels[1].size_bits is missing; the bits of one instance, or unbounded"),
        (drop(1, "read_pj"), "levels[1].read_pj is missing; give read_pj or read_pj_per_bit"),
        (drop(2, "write_pj"), "levels[2].write_pj is missing; give write_pj or write_pj_per_bit"),
        (put(1, read_pj_per_bit=0.1), "levels[1] gives both read_pj and read_pj_per_bit; keep one"),
        (
            drop(1, "source"),
            "levels[1].source is missing; it names the entry of provenance that this section's ",
        ),
        (
            put(1, sources={"read": "me"}),
            "levels[1].sources.read is not a key of levels[1]; did you mean read_pj?",
        ),
        (
            put(1, sources={"read_pj": "you"}),
            "levels[1].sources.read_pj names 'you', which is not in provenance (has: me)",
        ),
        (
            put(2, bypass_allowed=["inputs"]),
            "levels[2].bypass_allowed names inputs, which the level does not keep (keeps: outputs)",
        ),
        (
            put(0, bypass_allowed=["inputs"]),
            "levels[0].bypass_allowed must be empty: the outermost level keeps every tensor",
        ),
        (
            put(1, temporal_dims=["K", "M"]),
            "levels[1].temporal_dims[1] must be 'N', 'G', 'K', 'C', 'P', 'Q', 'R' or 'S', not 'M'",
        ),
        (put(1, temporal_order=["K", "K"]), "levels[1].temporal_order names K twice"),
        (
            put(1, fixed_temporal={"M": 2}),
            "levels[1].fixed_temporal must map N G K C P Q R S to whole numbers >= 1; {M: 2} does not",
        ),
        (
            put(1, max_temporal={"K": 0}),
            "levels[1].max_temporal must map N G K C P Q R S to whole numbers >= 1; {K: 0} does not",
        ),
        (
            put(1, fixed_temporal={"C": 2}, temporal_dims=["K"]),
            "levels[1].fixed_temporal fixes C, which is not in temporal_dims",
        ),
        (
            put(1, fixed_temporal={"C": 4}, max_temporal={"C": 2}),
            "levels[1].fixed_temporal fixes C at 4, above 2 of max_temporal",
        ),
        (
            put(2, residency=True),
            "levels[2].residency must be on a level that keeps inputs and outputs, where feature maps stay",
        ),
        (put(1, fanout={"x": {"size": 4}, "z": {"size": 1}}), "levels[1].fanout.z is not a key (keys: x, y)"),
        (
            put(1, fanout={"x": {"size": 4, "dim": ["K"]}}),
            "levels[1].fanout.x.dim is not a key; did you mean dims?",
        ),
        (put(1, fanout={"x": {"size": 4, "dims": ["K", "K"]}}), "levels[1].fanout.x.dims names K twice"),
        (
            put(1, fanout={"x": {"size": 3}}),
            "mac.count must be the product of the fan-outs, 3 (glb 3 x 1), not 4",
        ),
        (drop(1, "fanout"), "mac.count must be the product of the fan-outs, 1 (no level has one), not 4"),
        (
            put(0, read_pj=51200),
            f"levels[0].read_pj = 51200 (800 pJ per bit) is outside 1..200 pJ per bit; "
            f"is it in fJ? {UNUSUAL}",
        ),
        (
            put(0, read_pj=0.5),
            f"levels[0].read_pj = 0.5 (0.0078125 pJ per bit) is outside 1..200 pJ per bit; "
            f"is it in nJ? {UNUSUAL}",
        ),
        (
            put(2, update_pj=1e-4),
            f"levels[2].update_pj = 0.0001 (6.25e-06 pJ per bit) is outside 0.0001..100 "
            f"pJ per bit; is it in nJ? {UNUSUAL}",
        ),
    ],
)
def test_one_fault_of_a_level(change: Callable[[list[dict[str, Any]]], object], text: str) -> None:
    found = faults_of(with_levels(change))
    assert any(fault.startswith(text) for fault in found), found
    assert len(found) <= 2, found


@pytest.mark.parametrize(
    ("mac", "text"),
    [
        (
            {"anchor_pj": 371},
            f"mac.anchor_pj = 371 is outside 0.0001..100 pJ per MAC; is it in fJ? {UNUSUAL}",
        ),
        ({"anchor_pj": 0}, "mac.anchor_pj must be > 0, not 0"),
        ({"count": 4.5}, "mac.count must be a whole number, not 4.5"),
        (
            {"relative": "dot64"},
            "mac.relative must be dot32, qkeras, constant or a table like {INT4xINT4: 0.366}, not 'dot64'",
        ),
        (
            {"relative": {"INT4": 0.3}},
            "mac.relative must map rows like INT4xINT4 to numbers > 0; {INT4: 0.3} does not",
        ),
        (
            {"relative": {"INT4xINT4": -1}},
            "mac.relative must map rows like INT4xINT4 to numbers > 0; {INT4xINT4: -1} does not",
        ),
        ({"macs_per_cycle": 2}, "mac.macs_per_cycle must be a table like {default: 1, INT4xINT4: 2}, not 2"),
        (
            {"macs_per_cycle": {"defaults": 2}},
            "mac.macs_per_cycle must map rows like INT4xINT4 or default to numbers > 0; "
            "{defaults: 2} does not",
        ),
        ({"mixed": "min"}, "mac.mixed must be 'max', 'geomean', 'composable' or 'serial_weights', not 'min'"),
        ({"sources": {"psum": "me"}}, "mac.sources.psum is not a key of mac; did you mean psum_bits?"),
        ({"anchor": 1}, "mac.anchor is not a key; did you mean anchor_pj?"),
    ],
)
def test_one_fault_of_the_macs(mac: dict[str, object], text: str) -> None:
    document = small()
    document["mac"] |= mac
    assert faults_of(document) == [text]


def test_anchor_is_needed_except_for_the_fit() -> None:
    document = small()
    del document["mac"]["anchor_pj"]
    assert faults_of(document) == ["mac.anchor_pj is missing; the energy in pJ of one INT8 x INT8 MAC"]
    document["mac"]["relative"] = "qkeras"
    assert load(document).mac is not None


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"psum_bits": 0}, "psum_bits must be a whole number of bits from 1 to 256, or auto, not 0"),
        ({"psum_bits": True}, "psum_bits must be a whole number of bits from 1 to 256, or auto, not true"),
        ({"packing": "tight"}, "packing must be 'floor' or 'dense', not 'tight'"),
        ({"levels": []}, "levels must have at least one entry, the outermost memory"),
        ({"levels": None}, "levels is missing; hardware of kind hierarchy describes itself there"),
        ({"mac": None}, "mac is missing; hardware of kind hierarchy describes itself there"),
        ({"moons": {"source": "me"}}, "moons is not a key of kind hierarchy; it belongs to kind moons"),
        ({"kind": "moons"}, "mac is not a key of kind moons; it belongs to kind hierarchy"),
        ({"levls": []}, "levls is not a key; did you mean levels?"),
        (
            {"technology": None},
            "technology is missing; ops.scale_to_node needs it: {node_nm: 65, vdd_v: 1.0, freq_mhz: 200}",
        ),
        ({"ops": {"source": "you"}}, "ops.source names 'you', which is not in provenance (has: me)"),
    ],
)
def test_faults_of_the_top(keys: dict[str, object], text: str) -> None:
    assert text in faults_of(small() | keys)


def test_a_pure_fan_out_says_little() -> None:
    fan = {"name": "array", "keeps": [], "fanout": {"y": {"size": 2, "dims": ["C"]}}}
    document = with_levels(lambda levels: levels.append({**fan, "read_pj": 1, "source": "me"}))
    document["mac"]["count"] = 8
    takes = "is not a key of a pure fan-out (keeps: []); it takes name, keeps, fanout, fixed_spatial"
    assert faults_of(document) == [f"levels[3].read_pj {takes}", f"levels[3].source {takes}"]
    document["levels"][3] = {**fan, "fixed_spatial": {"C": 2}}
    hardware = load(document)
    assert not hardware.levels[3].stores and hardware.levels[3].fanout.size == 2
    assert hardware.source_of("levels.array.fanout") == hardware.source_of("mac.count")


def test_a_level_that_is_no_mapping() -> None:
    document = small()
    document["levels"][1] = "glb"
    assert "levels[1] must be a mapping of keys, not 'glb'" in faults_of(document)


def test_feature_maps_stay_on_one_level() -> None:
    document = with_levels(lambda levels: [level.update(residency=True) for level in levels[:2]])
    assert faults_of(document) == ["levels[1].residency stands on 'dram' too; feature maps stay on one level"]


def test_unusual_prices_may_be_kept() -> None:
    document = with_levels(put(0, read_pj=51200)) | {"allow_unusual": True}
    assert load(document).levels[0].read_pj == 51200


def test_outermost_lacking_two() -> None:
    text = (
        "levels: the outermost level must keep weights, inputs and outputs; 'dram' lacks weights and inputs"
    )
    assert faults_of(with_levels(put(0, keeps=["outputs"]))) == [text]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.just(10**400),
    st.floats(allow_nan=True),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.lists(st.one_of(st.integers(0, 3), st.text(max_size=2), st.none(), st.just([])), max_size=3),
    st.dictionaries(st.sampled_from(["x", "size", "K", "kind", "default"]), st.integers(-1, 3), max_size=2),
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Paths of every value in a document."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(child, (*path, key))
    return found


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_junk_anywhere_is_a_list_of_faults_and_never_a_crash(data: st.DataObject) -> None:
    document = small()
    document["levels"][1] |= {
        "fixed_temporal": {"K": 2},
        "max_temporal": {"C": 2},
        "cluster": 1,
        "sources": {},
    }
    if data.draw(st.booleans()):
        del document["levels"][1]["read_pj"], document["levels"][1]["write_pj"]
        document["levels"][1]["from_table"] = {"kind": "sram", "technology": 45}
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        parent = value_at(document, path[:-1])
        parent[path[-1]] = data.draw(JUNK)
    try:
        hardware = load(document)
    except HardwareError as error:
        assert error.faults and all(fault.text.strip() for fault in error.faults)
    else:
        assert load(hardware.to_mapping()) == hardware


@pytest.mark.parametrize("size", [-5, "x", None, 0])
def test_a_faulty_size_is_told_once_where_a_table_needs_it(size: object) -> None:
    document = YAML(typ="safe").load(preset_text("eyeriss"))
    glb = document["levels"][1]
    del glb["read_pj"], glb["write_pj"]
    glb |= {"from_table": {"technology": 65, "kind": "sram"}, "size_bits": size}
    with pytest.raises(HardwareError) as error:
        load(document)
    assert [fault.path for fault in error.value.faults] == [("levels", 1, "size_bits")]
