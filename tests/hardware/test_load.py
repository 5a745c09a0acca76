"""Loading and validation: all faults at once, in the order of the document, texts pinned."""

from pathlib import Path

import pytest

from bitjoule.hardware import HardwareError, load, preset_text, presets


def text_of(**changes: str) -> str:
    """The moons-4mb preset with lines replaced: key -> new line (empty: no line)."""
    lines = []
    for line in preset_text("moons-4mb").splitlines():
        key = line.strip().partition(":")[0]
        if key in changes and not line.startswith("    "):
            if changes[key]:
                lines.append(("  " if line.startswith("  ") else "") + changes[key])
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(text)
    with pytest.raises(HardwareError) as caught:
        load("my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"e_mac16_pj": "e_mac16_pj: -3"}, "moons.e_mac16_pj must be > 0, not -3"),
        ({"e_mac16_pj": "e_mac16_pj: 0.0"}, "moons.e_mac16_pj must be > 0, not 0"),
        ({"e_mac16_pj": "e_mac16_pj: .nan"}, "moons.e_mac16_pj must be a finite number, not nan"),
        ({"e_mac16_pj": "e_mac16_pj: .inf"}, "moons.e_mac16_pj must be a finite number, not inf"),
        ({"p16": "p16: true"}, "moons.p16 must be a number, not true"),
        ({"p16": 'p16: "64"'}, "moons.p16 must be a number, not '64'"),
        ({"p16": "p16:"}, "moons.p16 must be a number, not nothing"),
        ({"input_bits": "input_bits: 8.5"}, "moons.input_bits must be a whole number, not 8.5"),
        (
            {"on_chip_bits": "on_chip_bits: -1"},
            "moons.on_chip_bits must be a whole number of bits > 0, or unbounded, not -1",
        ),
        ({"weight_share": "weight_share: 1"}, "moons.weight_share must be > 0 and < 1, not 1"),
        ({"s_re_rule": "s_re_rule: some"}, "moons.s_re_rule must be 'excess' or 'all', not 'some'"),
        (
            {"first_layer_slices": "first_layer_slices: 3"},
            "moons.first_layer_slices must be true or false, not 3",
        ),
        ({"dram_ratio": "dram_ration: 128"}, "moons.dram_ration is not a key; did you mean dram_ratio?"),
        ({"kind": "kind: closed"}, "kind must be hierarchy, moons or tta, not 'closed'"),
        ({"name": ""}, "name is missing"),
        ({"schema": ""}, "schema is missing; write schema: bitjoule.hardware/1"),
        ({"schema": "schema: 2"}, "schema must be 'bitjoule.hardware/1', not 2"),
        (
            {"e_mac16_pj": "e_mac16_pj: 3700"},
            "moons.e_mac16_pj = 3700 is outside 0.0001..100 pJ per MAC; is it in fJ? "
            "(set allow_unusual: true to keep it)",
        ),
        (
            {"source": "source: isca17"},
            "moons.source names 'isca17', which is not in provenance "
            "(has: moons17, restated, sign, anchor, memory, rules)",
        ),
        (
            {"source": ""},
            "moons.source is missing; it names the entry of provenance that this section's numbers come from",
        ),
    ],
)
def test_one_fault_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    assert faults(tmp_path, monkeypatch, text_of(**changes)) == f"my.yaml: {message}"


def test_all_faults_at_once_in_document_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of(
        source="source: isca17",
        p16="p16: true",
        e_mac16_pj="e_mac16_pj: -3",
        local_ratio="local_ratoi: 1",
        kind="kind: closed\nkind: moons",
    )
    assert faults(tmp_path, monkeypatch, text) == "\n  ".join(
        [
            "my.yaml: 6 faults",
            "kind stands twice, again in line 6; keep one",
            "kind must be hierarchy, moons or tta, not 'closed'",
            "moons.e_mac16_pj must be > 0, not -3",
            "moons.local_ratoi is not a key; did you mean local_ratio?",
            "moons.p16 must be a number, not true",
            "moons.source names 'isca17', which is not in provenance "
            "(has: moons17, restated, sign, anchor, memory, rules)",
        ]
    )


def test_provenance_is_mandatory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = "schema: bitjoule.hardware/1\nname: mine\nkind: moons\nmoons: {source: guess}\n"
    assert faults(tmp_path, monkeypatch, bare) == (
        "my.yaml: provenance is missing; "
        "name where the numbers come from: {mine: {status: assumed, cite: '...'}}"
    )
    empty = faults(tmp_path, monkeypatch, bare + "provenance: {}\n")
    assert empty == "my.yaml: provenance must be a mapping with at least one entry, not an empty one"
    guessed = bare + "provenance: {guess: {status: guessed, cite: me}}\n"
    assert faults(tmp_path, monkeypatch, guessed) == (
        "my.yaml: provenance.guess.status must be "
        "'published', 'measured', 'derived' or 'assumed', not 'guessed'"
    )


def test_sections_belong_to_kinds() -> None:
    document = dict(load("moons-4mb").to_mapping())
    with pytest.raises(HardwareError) as caught:
        load({**document, "kind": "tta"})
    assert [fault.text for fault in caught.value.faults] == [
        "moons is not a key of kind tta; it belongs to kind moons",
        "tta is missing; hardware of kind tta describes itself there",
        "technology is missing; write {node_nm: 22, vdd_v: 0.8, freq_mhz: 300}",
    ]


def test_source_keys_must_be_keys() -> None:
    document = load("braintta22").to_mapping()
    section = dict(document["tta"])  # type: ignore[call-overload]
    section["sources"] = {"e_cycle_pj.INT3": "fit"}
    with pytest.raises(
        HardwareError, match=r"tta\.sources\.e_cycle_pj\.INT3 is not a key of tta; did you mean"
    ):
        load({**document, "tta": section})
    section = {**section, "sources": {}, "overhead_split": {**section["overhead_split"], "transport": 0.5}}
    with pytest.raises(HardwareError, match=r"tta\.overhead_split must sum to 1, not 1\.36"):
        load({**document, "tta": section})


def test_unusual_numbers_may_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text_of(e_mac16_pj="e_mac16_pj: 3700") + "allow_unusual: true\n")
    assert load(path).moons.e_mac16_pj == 3700  # type: ignore[union-attr]


def test_defaults_stand_in_for_what_a_file_leaves_out() -> None:
    mine = load(
        {
            "schema": "bitjoule.hardware/1",
            "name": "mine",
            "kind": "moons",
            "provenance": {"me": {"status": "assumed", "cite": "a guess"}},
            "moons": {"e_mac16_pj": 3.4, "source": "me"},
        }
    )
    assert mine.moons is not None and mine.moons.dram_ratio == 128
    assert mine.source_of("moons.e_mac16_pj").cite == "a guess"
    assert mine.source_of("moons.dram_ratio").status == "published"
    with pytest.raises(KeyError, match=r"moons\.e_mac is no key of hardware 'mine'"):
        mine.source_of("moons.e_mac")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "moons-5mb",
            f"moons-5mb: is no preset (has: {', '.join(presets())}) and no YAML file; did you mean moons-",
        ),
        ("xyz", f"xyz: is no preset (has: {', '.join(presets())}) and no YAML file"),
        (
            "nowhere/my.yaml",
            "nowhere/my.yaml: there is no such file; give a preset's name or the path of a YAML file",
        ),
    ],
)
def test_unknown_names(name: str, text: str) -> None:
    with pytest.raises(HardwareError) as caught:
        load(name)
    assert str(caught.value).startswith(text)


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="hardware is a preset's name, a path or a mapping, not int"):
        load(3)  # type: ignore[arg-type]
