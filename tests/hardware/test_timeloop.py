"""Timeloop architectures, tables and constraints become hardware of ours; what cannot be read is named."""

from pathlib import Path
from typing import Any

import pytest

from bitjoule.hardware import load
from bitjoule.hardware.timeloop import read_timeloop
from bitjoule.hardware.timeloop_document import TimeloopError
from bitjoule.hardware.timeloop_yaml import hardware_yaml
from tests.hardware.timeloop import EXAMPLES, HERE, needs_spec

ARCH, ERT, ART = (HERE / f"tiny.{kind}.yaml" for kind in ("arch", "ERT", "ART"))
ALL = ["weights", "inputs", "outputs"]


def levels(**options: Any) -> dict[str, dict[str, object]]:
    document = read_timeloop(ARCH, ERT, **options).document
    return {level["name"]: level for level in document["levels"]}  # type: ignore[attr-defined]


def changed(tmp_path: Path, file: Path, old: str, new: str) -> Path:
    """A copy of a fixture with one text replaced."""
    text = file.read_text()
    assert text.count(old) >= 1, old
    copy = tmp_path / file.name
    copy.write_text(text.replace(old, new, 1))
    return copy


def test_levels_of_a_nested_architecture() -> None:
    read = read_timeloop(ARCH, ERT, constraints=False)
    document = read.document
    assert document["name"] == "tiny"
    assert document["mac"] == {
        "count": 8,
        "anchor_pj": 0.25,
        "relative": "constant",
        "native_bits": 8,
        "source": "timeloop",
    }
    found = levels(constraints=False)
    assert list(found) == ["store", "buffer", "row", "weight_reg", "sum_reg"]
    assert found["store"] == {
        "name": "store",
        "keeps": ALL,
        "size_bits": "unbounded",
        "word_bits": 8,
        "width_bits": 32,
        "read_pj": 256.0,
        "write_pj": 256.0,
        "source": "timeloop",
    }
    assert found["buffer"] == {
        "name": "buffer",
        "keeps": ALL,
        "bypass_allowed": ALL,
        "size_bits": 2048,
        "word_bits": 8,
        "width_bits": 32,
        "read_words_per_cycle": 4.0,
        "write_words_per_cycle": 2.5,
        "read_pj": 8.0,
        "write_pj": 10.0,
        "update_pj": 11.0,
        "leak_pj_per_cycle": 0.01,
        "source": "timeloop",
        "fanout": {"x": {"size": 4, "dims": list("NGKCPQRS")}},
    }
    assert found["row"]["keeps"] == []
    assert found["row"]["fanout"] == {"y": {"size": 2, "dims": list("NGKCPQRS")}}
    assert (found["weight_reg"]["size_bits"], found["weight_reg"]["cluster"]) == (16, 2)
    assert (found["sum_reg"]["size_bits"], found["sum_reg"]["multiple_buffering"]) == (96, 2)
    assert read.notes == ()
    assert read.priced


def test_constraints() -> None:
    found = levels()
    assert found["buffer"]["keeps"] == ["inputs", "outputs"]
    assert found["buffer"]["bypass_allowed"] == ["outputs"]
    assert found["buffer"]["fanout"] == {"x": {"size": 4, "dims": ["G", "K", "Q"]}}
    assert found["buffer"]["fixed_spatial"] == {"K": 4}
    assert found["row"]["fixed_spatial"] == {"C": 2}
    assert "temporal_dims" not in found["buffer"]
    assert found["weight_reg"]["keeps"] == ["weights"]
    assert "bypass_allowed" not in found["weight_reg"]
    assert found["weight_reg"]["temporal_dims"] == ["C", "R", "S"]
    assert found["weight_reg"]["temporal_order"] == ["R", "C"]
    assert found["weight_reg"]["max_temporal"] == {"C": 2}
    assert found["sum_reg"]["temporal_dims"] == ["G", "K"]
    assert "temporal_order" not in found["sum_reg"]


def test_fixed_factors_of_m_bind_groups_of_a_depthwise_layer() -> None:
    assert levels(depthwise=True)["buffer"]["fixed_spatial"] == {"G": 4}


@pytest.mark.parametrize(
    ("split", "x", "y"),
    [("0", None, "NGKCPQRS"), ("1", "GK", "NCPQRS"), ("7", "NGKCPQRS", None), ("3", "GKCQ", "NPRS")],
)
def test_split_parts_the_axes(tmp_path: Path, split: str, x: str | None, y: str | None) -> None:
    rule = "- {target: buffer, type: spatial, factors: N=1 R=1 S=1 P=1 M=4, permutation: QMC, split: 2}"
    new = f"- {{target: buffer, type: spatial, permutation: [M, C, Q], split: {split}}}"
    arch = changed(tmp_path, ARCH, rule, new)
    meshes = {"meshX: 4": "meshX: 2", "2, meshY: 2": "2, meshY: 4", "2, meshY: 1": "2, meshY: 2"}
    text = arch.read_text()
    for old, other in meshes.items():
        text = text.replace(old, other)
    arch.write_text(text)
    document = read_timeloop(arch, ERT).document
    axes = document["levels"][1]["fanout"]  # type: ignore[index]
    assert {axis: entry["size"] for axis, entry in axes.items()} == {"x": 2, "y": 2}
    assert "".join(axes["x"]["dims"]) == (x or "")
    assert "".join(axes["y"]["dims"]) == (y or "")


def test_hardware_file_reads_back_equal() -> None:
    read = read_timeloop(ARCH, ERT, ART)
    text = hardware_yaml(read)
    assert text.startswith("# area of buffer: 1000.5 um2\n# area of mac: 400 um2\n")
    assert read.areas_um2 == {"buffer": 1000.5, "mac": 400.0}
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(text)
    assert load(document) == load(read.document)


def test_without_prices_there_is_no_hardware_file() -> None:
    read = read_timeloop(ARCH)
    assert not read.priced
    with pytest.raises(
        ValueError, match="a hardware file needs energies: read the architecture with its ERT"
    ):
        hardware_yaml(read)


def test_unknown_keys_are_named_once(tmp_path: Path) -> None:
    arch = changed(tmp_path, ARCH, "n_banks: 2", "n_banks: 2, colour: red, smell: 3")
    notes = read_timeloop(arch, ERT).notes
    at = "architecture.subtree[0].local[1].attributes"
    assert notes == (f"{arch}: not read: {at}.colour, {at}.smell",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'0.4'", "'0.3'", "architecture.version must be '0.4', the version that is read, not '0.3'"),
        ("  version: '0.4'\n", "", "architecture.version must be '0.4', the version that is read, not noth"),
        (
            "class: smartbuffer_SRAM",
            "class: SRAM",
            "architecture.subtree[0].local[1].class must be DRAM, smartbuffer_SRAM, smartbuffer_RF, storage, "
            "dummy_storage, compute or a name with 'mac', not 'SRAM'",
        ),
        (
            "depth: 64",
            "depth: 6.5",
            "architecture.subtree[0].local[1].attributes.depth must be a whole number >= 1, not 6.5",
        ),
        (
            "width: 32, n_banks",
            "width: 30, n_banks",
            "(buffer): width 30 must be a multiple of datawidth 8 times cluster_size 1",
        ),
        (
            "depth: 64, width: 32",
            "depth: 64",
            "architecture.subtree[0].local[1] (buffer) has no attribute 'width'; it needs",
        ),
        ("read_bandwidth: 4", "read_bandwidth: -4", "read_bandwidth must be a finite number >= 0, not -4"),
        ("pe[0..3]", "pe[3..0]", "subtree[0].name must count upwards, not 'pe[3..0]'"),
        ("name: buffer", "name: 'a b'", "must be a name, or name[a..b] for b - a + 1 instances"),
        ("meshX: 4, meshY: 2", "meshX: 4, meshY: 3", "meshX 4 times meshY 3 must be its 8 instances"),
        (
            "meshX: 4, meshY: 1",
            "meshX: 1, meshY: 4",
            "(weight_reg): its mesh 4 x 2 must be a multiple of that of row outside it, 1 x 4",
        ),
        ("name: sum_reg[0..1]", "name: weight_reg[0..1]", "architecture gives the name weight_reg twice"),
        ("class: intmac", "class: storage", "architecture must end in one arithmetic component"),
        ("class: DRAM", "class: dummy_storage", "architecture must begin with a memory"),
        ("target: buffer, type: bypass", "target: buf, type: bypass", "'buf', which is no level (has: store"),
        ("target: buffer, type: bypass", "target: store, type: bypass", "bypasses tensors at store"),
        ("type: bypass", "type: power", "must be temporal, spatial, bypass or datatype, not 'po"),
        ("keep: [Inputs]", "keep: [Psums]", "keep[0] must be Weights, Inputs or Outputs, not 'Psums'"),
        ("bypass: [Weights]", "bypass: [Inputs]", "targets[0] keeps and bypasses inputs"),
        ("permutation: QMC", "permutation: QMX", "targets[1].permutation names 'X', which is no dimension"),
        ("permutation: QMC", "permutation: QMQ", "targets[1].permutation names Q twice"),
        ("factors: N1 P1", "factors: N1/3 P1", "must be factors such as 'C=1,M=4' or 'C1 M4', not 'N1/3'"),
        ("factors: N=1 R=1", "factors: N=1 N=1", "targets[1].factors names N twice"),
        ("factors: N=1 R=1", "factors: N=1 Z=1", "targets[1].factors names 'Z', which is no dimension"),
        ("M=4,", "M<=4,", "targets[1].factors must be exact in a fan-out, not M<=4"),
        ("'N=1, C=1,", "'N=1, C=2,", "targets[3].factors must be 1 on a dummy_storage, a pure fan-out"),
        ("{target: row, type: spatial, factors: C=2}", "{target: row, type: datatype, keep: [Inputs]}",
         "targets[2].keep must be empty: a dummy_storage is a pure fan-out"),
        ("target: row, type: spatial", "target: buffer, type: spatial", "targets[2] is the second spatial"),
    ],
)  # fmt: skip
def test_bad_architectures(tmp_path: Path, old: str, new: str, message: str) -> None:
    arch = changed(tmp_path, ARCH, old, new)
    with pytest.raises(TimeloopError) as caught:
        read_timeloop(arch, ERT)
    assert str(caught.value).startswith(f"{arch}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chip.buffer[1..1]", "chip.other[1..1]", "ERT.tables has no level 'buffer'"),
        ("{name: write, energy: 10}", "{name: leak, energy: 10}", "gives 'leak' of buffer twice"),
        ("{name: write, energy: 0.3}", "{name: idle, energy: 0.3}",
         "level 'weight_reg' has no action 'write' (has: read)"),
        ("name: compute", "name: multiply", "ERT.tables: level 'mac' has no action 'compute' (has: leak)"),
        ("energy: 8", "energy: .nan", "tables[1].actions[0].energy must be a finite number >= 0, not nan"),
        ("energy: 8", "energy: eight", "tables[1].actions[0].energy must be a finite number >= 0, not 'ei"),
        ("sum_reg", "weight_reg", "ERT.tables[3].name gives level 'weight_reg' twice"),
        ("version: '0.4'", "version: '0.2'", "ERT.version must be '0.4', not '0.2'"),
        ("ERT:", "ERTS:", "ERT is missing; it has 'ERTS'"),
        ("ERT:", "ERT: {}\nERT:", "is not YAML: line"),
    ],
)  # fmt: skip
def test_bad_energy_tables(tmp_path: Path, old: str, new: str, message: str) -> None:
    ert = changed(tmp_path, ERT, old, new)
    with pytest.raises(TimeloopError) as caught:
        read_timeloop(ARCH, ert)
    assert str(caught.value).startswith(f"{ert}: ")
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: \xe9\n")
    big = tmp_path / "big.yaml"
    big.write_text("#" * ((4 << 20) + 1))
    deep = tmp_path / "deep.yaml"
    deep.write_text("[" * 1000)
    tagged = tmp_path / "tagged.yaml"
    tagged.write_text("architecture: !!python/object:os.system {}\n")
    for path, message in [
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "is a directory; give the YAML file in it"),
        (empty, "is empty"),
        (latin, "must be UTF-8 text; byte 6 is not"),
        (big, "must be at most 4 MiB"),
        (deep, "nests too deeply"),
        (tagged, "is not YAML"),
    ]:
        with pytest.raises(TimeloopError) as caught:
            read_timeloop(path)
        assert str(caught.value).startswith(f"{path}: {message}")


@needs_spec
@pytest.mark.parametrize(
    ("design", "macs", "sizes"),
    [
        ("eyeriss_like", 168, {"shared_glb": 131072 * 8, "psum_spad": 16 * 16, "weights_spad": 192 * 16}),
        ("simba_like", 256, {"GlobalBuffer": 65536 * 8, "PEWeightRegs": 8, "PEAccuBuffer": 128 * 24}),
    ],
)
def test_example_designs(design: str, macs: int, sizes: dict[str, int]) -> None:
    ert, art = (EXAMPLES / "ert" / f"{design}.{table}.yaml" for table in ("ERT", "ART"))
    read = read_timeloop(EXAMPLES / "arch" / f"{design}.yaml", ert, art)
    hardware = load(read.document)
    assert hardware.mac is not None
    assert hardware.mac.count == macs
    assert read.notes == ()
    assert {level.name: level.size_bits for level in hardware.levels if level.name in sizes} == sizes
    assert read.areas_um2["DRAM"] == 0
