"""Timeloop mappings: read, written, read back equal, and refused with the reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.hardware.timeloop_document import Node, TimeloopError
from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.evaluate import evaluate
from bitjoule.mapping.nest import LevelNest, Mapping, MappingError
from bitjoule.mapping.problem import DIMS, TENSORS, Problem
from bitjoule.mapping.timeloop_accelerator import read_accelerator
from bitjoule.mapping.timeloop_mapping import mapping_of_entries, read_mapping, to_timeloop
from bitjoule.mapping.timeloop_problem import TimeloopProblem, read_problem
from tests.hardware.timeloop import HERE

ALL = ("weights", "inputs", "outputs")
STACK = Accelerator(
    "stack",
    (
        StorageLevel("regs", ("outputs", "weights")),
        StorageLevel("lanes", (), x=Axis(8), y=Axis(8)),
        StorageLevel("n", ALL, x=Axis(8)),
        StorageLevel("far store", ALL),
    ),
    mac_count=512,
)


def tiny() -> tuple[Accelerator, TimeloopProblem, Mapping]:
    accelerator = read_accelerator(HERE / "tiny.arch.yaml", HERE / "tiny.ERT.yaml").accelerator
    problem = read_problem(HERE / "conv.problem.yaml")
    return accelerator, problem, read_mapping(HERE / "conv.map.yaml", problem, accelerator)


def named(problem: Problem, dims: dict[str, str | None]) -> TimeloopProblem:
    bounds = {theirs: problem.bound(ours) if ours else 1 for theirs, ours in dims.items()}
    return TimeloopProblem(problem, dims, bounds)


def test_the_fixture() -> None:
    _, _, mapping = tiny()
    assert mapping == Mapping(
        (
            LevelNest("sum_reg", ("outputs",)),
            LevelNest("weight_reg", ("weights",)),
            LevelNest("row", ()),
            LevelNest("buffer", ("inputs",), temporal=(("P", 2), ("R", 3)), x=(("K", 4),)),
            LevelNest("store", ALL, temporal=(("P", 4), ("C", 2))),
        )
    )


def test_counts_of_the_fixture() -> None:
    """By hand: inputs 10 rows for each of 2 channels; a partial sum is handed down 40 times a PE."""
    accelerator, problem, mapping = tiny()
    cost = evaluate(problem.problem, mapping, accelerator, mode="native")
    found = {
        (level.name, tensor.tensor): (tensor.read_words, tensor.fill_words, tensor.update_words)
        for level in cost.levels
        for tensor in level.tensors
    }
    assert found == {
        ("sum_reg", "outputs"): (40, 40, 48),
        ("weight_reg", "weights"): (48, 24, 0),
        ("buffer", "inputs"): (48, 20, 0),
        ("store", "weights"): (96, 0, 0),
        ("store", "inputs"): (20, 0, 0),
        ("store", "outputs"): (160, 0, 192),
    }


def test_a_bare_list_and_levels_left_out(tmp_path: Path) -> None:
    accelerator, problem, _ = tiny()
    file = tmp_path / "m.yaml"
    file.write_text(
        "- {target: store, type: temporal, factors: 'C=2, M=4, P=8, R=3', permutation: [R, P, M, C]}\n"
    )
    mapping = read_mapping(file, problem, accelerator)
    assert mapping.levels[-1] == LevelNest("store", ALL, (("R", 3), ("P", 8), ("K", 4), ("C", 2)))
    assert [level.keeps for level in mapping.levels] == [ALL, ALL, (), ALL, ALL]


@pytest.mark.parametrize(
    ("split", "x", "y"),
    [
        ("", (("K", 4), ("C", 2)), ()),
        (", split: 0", (), (("K", 4), ("C", 2))),
        (", split: 2", (("K", 4),), (("C", 2),)),
        (", split: 999", (("K", 4), ("C", 2)), ()),
    ],
)
def test_split(
    tmp_path: Path, split: str, x: tuple[tuple[str, int], ...], y: tuple[tuple[str, int], ...]
) -> None:
    accelerator, problem, _ = tiny()
    file = tmp_path / "m.yaml"
    file.write_text(
        f"- {{target: row, type: spatial, factors: M4 C2, permutation: NMC{split}}}\n"
        "- {target: store, type: temporal, factors: P8 R3, permutation: PR}\n"
    )
    row = read_mapping(file, problem, accelerator).levels[2]
    assert (row.x, row.y) == (x, y)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P=2 R=3", "P=2 R=2", "mapping does not fit problem 'conv': R is 2, the problem has 3"),
        ("'P4,C2'", "'P8'", "problem 'conv': C is 1, the problem has 2; P is 16, the problem has 8"),
        ("'P4,C2'", "'P4,2 C2'", "factors must be factors such as 'C=1,M=4' or 'C1 M4', not 'P4,2'"),
        ("P=2 R=3", "P=0 R=3", "mapping[4].factors must be exact factors >= 1 in a mapping, not P 0"),
        ("P=2 R=3", "P=2 T=3", "factors names 'T', which is no dimension of the problem (has: C, M, R"),
        ("permutation: PR", "permutation: P", "mapping[4] has no permutation that places R; loops need"),
        (", permutation: PR", "", "mapping[4] has no permutation that places P, R; loops need an order"),
        ("permutation: PR", "permutation: PRX", "mapping[4].permutation names 'X', which is no dimension"),
        ("target: store", "target: shop", "no level (has, outermost first: store, buffer, row"),
        ("type: temporal", "type: timely", "type must be temporal, spatial or datatype, not 'timely'"),
        ("target: store", "target: buffer", "mapping[5] is the second temporal entry of buffer; keep one"),
        ("bypass: [Weights, Outputs]", "bypass: [Inputs]", "mapping[2] keeps and bypasses inputs at buffer"),
        ("target: weight_reg", "target: row", "names weights, which row cannot keep (it keeps nothing,"),
        ("split: 1", "splits: 1", "mapping[3] has keys that are not read: mapping[3].splits"),
        ("split: 1", "split: -1", "mapping[3].split must be a whole number >= 0, not -1"),
        ("mapping:", "mappings:", "mapping is missing; it has 'mappings'"),
    ],
)  # fmt: skip
def test_bad_mappings(tmp_path: Path, old: str, new: str, message: str) -> None:
    accelerator, problem, _ = tiny()
    text = (HERE / "conv.map.yaml").read_text()
    assert old in text
    file = tmp_path / "m.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TimeloopError) as caught:
        read_mapping(file, problem, accelerator)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_written_text() -> None:
    accelerator, problem, mapping = tiny()
    text = to_timeloop(mapping, accelerator, problem.problem)
    assert text.splitlines() == [
        "mapping:",
        "- {target: sum_reg, type: datatype, keep: [Outputs], bypass: [Weights, Inputs]}",
        "- {target: weight_reg, type: datatype, keep: [Weights], bypass: [Inputs, Outputs]}",
        "- {target: row, type: datatype, keep: [], bypass: [Weights, Inputs, Outputs]}",
        "- {target: buffer, type: datatype, keep: [Inputs], bypass: [Weights, Outputs]}",
        "- {target: store, type: datatype, keep: [Weights, Inputs, Outputs], bypass: []}",
        "- {target: sum_reg, type: temporal, factors: C1 M1 R1 S1 N1 P1 Q1, permutation: CMRSNPQ}",
        "- {target: weight_reg, type: temporal, factors: C1 M1 R1 S1 N1 P1 Q1, permutation: CMRSNPQ}",
        "- {target: row, type: spatial, factors: C1 M1 R1 S1 N1 P1 Q1, permutation: CMRSNPQ, split: 0}",
        "- {target: buffer, type: spatial, factors: C1 M4 R1 S1 N1 P1 Q1, permutation: MCRSNPQ, split: 1}",
        "- {target: buffer, type: temporal, factors: C1 M1 R3 S1 N1 P2 Q1, permutation: PRCMSNQ}",
        "- {target: store, type: temporal, factors: C2 M1 R1 S1 N1 P4 Q1, permutation: PCMRSNQ}",
    ]


def test_depthwise_is_written_with_m() -> None:
    mapping = Mapping(
        (
            LevelNest("regs", ()),
            LevelNest("lanes", (), x=(("G", 2),), y=(("R", 3),)),
            LevelNest("n", ALL),
            LevelNest("far store", ALL, (("G", 3),)),
        )
    )
    text = to_timeloop(mapping, STACK)
    assert "factors: C1 M2 R3 S1 N1 P1 Q1, permutation: MRCSNPQ, split: 1}" in text
    assert '- {target: "n", type: datatype' in text
    assert '- {target: "far store", type: temporal, factors: C1 M3 ' in text


@pytest.mark.parametrize(
    ("nest", "message"),
    [
        (
            LevelNest("n", ALL, x=(("K", 2),), y=(("K", 2),)),
            "n unrolls M on x and on y, and a Timeloop mapping",
        ),
        (
            LevelNest("n", ALL, (("K", 2), ("C", 3), ("K", 2))),
            "n has two loops over K with another between them, and a Timeloop mapping gives",
        ),
    ],
)
def test_what_timeloop_cannot_say(nest: LevelNest, message: str) -> None:
    levels = (LevelNest("regs", ()), LevelNest("lanes", ()), nest, LevelNest("far store", ALL))
    with pytest.raises(ValueError, match=message):
        to_timeloop(Mapping(levels), STACK)


def test_levels_of_another_hardware_are_not_written() -> None:
    with pytest.raises(
        ValueError, match=r"another hardware: its levels are sum_reg, .*those of stack regs, lanes"
    ):
        to_timeloop(tiny()[2], STACK)


def test_a_mapping_of_another_problem_is_not_written() -> None:
    accelerator, _, mapping = tiny()
    with pytest.raises(MappingError, match="loop products do not match the layer: K is 4, the layer has 5"):
        to_timeloop(mapping, accelerator, Problem("other", (1, 1, 5, 2, 8, 1, 3, 1)))


@st.composite
def nests(draw: st.DrawFn) -> Mapping:
    """Mappings of STACK that Timeloop can say: a dimension once per level and axis pair."""
    grouped = draw(st.booleans())
    dims = DIMS if grouped else tuple(dim for dim in DIMS if dim != "G")
    levels = []
    for level in STACK.levels:
        order = draw(st.permutations(dims))
        bounds = st.integers(1, 3)
        temporal = tuple((dim, draw(bounds)) for dim in order) if level.keeps else ()
        spatial = [(dim, draw(bounds)) for dim in draw(st.permutations(dims))] if level.fanout > 1 else []
        cut = draw(st.integers(0, len(spatial)))
        outermost = level is STACK.levels[-1]
        keeps = tuple(t for t in TENSORS if t in level.keeps and (outermost or draw(st.booleans())))
        levels.append(LevelNest(level.name, keeps, temporal, tuple(spatial[:cut]), tuple(spatial[cut:])))
    return Mapping(tuple(levels))


@given(nests())
def test_written_and_read_back(mapping: Mapping) -> None:
    from ruamel.yaml import YAML

    n, g, k, c, p, q, r, s = mapping.bounds
    problem = Problem("any", (n, g, k, c, p, q, r, s))
    text = to_timeloop(mapping, STACK, problem)
    depthwise = g > 1 and k == c == 1
    dims: dict[str, str | None] = {dim: dim for dim in "CRSNPQ"} | {"M": "G" if depthwise else "K"}
    if g > 1 and not depthwise:
        dims["G"] = "G"
    entries = Node(YAML(typ="safe", pure=True).load(text)["mapping"], "text")
    assert mapping_of_entries(entries, named(problem, dims), STACK).canonical == mapping.canonical
