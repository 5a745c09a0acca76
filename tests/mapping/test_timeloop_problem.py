"""Timeloop problems: projections decide what a dimension is; what fits none of ours is refused."""

from pathlib import Path
from typing import Any

import pytest

from bitjoule.hardware.timeloop_document import Node, TimeloopError
from bitjoule.mapping.problem import DIMS, Problem
from bitjoule.mapping.timeloop_problem import TimeloopProblem, problem_of_document, read_problem, with_bits
from tests.hardware.timeloop import EXAMPLES, HERE, needs_spec


def problem(
    weights: str, inputs: str, outputs: str, bounds: dict[str, int], **instance: Any
) -> TimeloopProblem:
    """A problem of texts such as "N; C; R*dil + P*step"."""
    names = sorted({part for text in (inputs,) for part in _steps(text)})
    spaces = [
        {"name": name, "projection": [_axis(axis) for axis in text.split("; ")]}
        for name, text in (("Weights", weights), ("Inputs", inputs), ("Outputs", outputs))
    ]
    shape = {
        "dimensions": list(bounds),
        "coefficients": [{"name": name, "default": 1} for name in names],
        "data_spaces": spaces,
    }
    document = {"problem": {"version": "0.4", "instance": bounds | instance, "shape": shape}}
    return problem_of_document(Node(document, "p.yaml"), "p")


def _steps(text: str) -> list[str]:
    return [term.split("*")[1] for axis in text.split("; ") for term in axis.split(" + ") if "*" in term]


def _axis(axis: str) -> list[list[str]]:
    return [term.split("*") for term in axis.split(" + ")]


def sizes(read: TimeloopProblem) -> dict[str, int]:
    return {dim: bound for dim, bound in zip(DIMS, read.problem.bounds, strict=True) if bound > 1}


CONV = ("C; M; R; S", "N; C; R*a + P*b; S*c + Q*d", "N; M; Q; P")


def test_coefficients_go_by_their_dimension_not_by_their_name() -> None:
    bounds = {"C": 2, "M": 3, "R": 5, "S": 7, "N": 11, "P": 13, "Q": 17}
    read = problem(*CONV, bounds, a=2, b=3, c=4, d=5)
    assert sizes(read) == {"N": 11, "K": 3, "C": 2, "P": 13, "Q": 17, "R": 5, "S": 7}
    assert (read.problem.stride, read.problem.dilation) == ((3, 5), (2, 4))
    assert read.dims["M"] == "K"
    assert read.notes == ()


def test_the_fixture() -> None:
    read = read_problem(HERE / "conv.problem.yaml")
    assert read.problem == Problem("conv", (1, 1, 4, 2, 8, 1, 3, 1))


def test_depthwise_m_is_our_g() -> None:
    bounds = {"C": 1, "M": 6, "R": 3, "S": 3, "N": 1, "P": 4, "Q": 4}
    read = problem("C; M; R; S", "N; M; R*a + P*b; S*c + Q*d", "N; M; Q; P", bounds)
    assert sizes(read) == {"G": 6, "P": 4, "Q": 4, "R": 3, "S": 3}
    assert read.dims["C"] is None


def test_groups_heads_and_batch() -> None:
    grouped = problem(
        "G; C; M; R", "N; G; C; R*a + P*b", "N; G; M; P", {"G": 2, "C": 3, "M": 5, "R": 3, "N": 7, "P": 4}
    )
    assert sizes(grouped) == {"N": 7, "G": 2, "K": 5, "C": 3, "P": 4, "R": 3}
    attention = problem("B; H; D; L", "B; H; T; D", "B; H; T; L", {"B": 2, "H": 3, "T": 5, "D": 7, "L": 11})
    assert sizes(attention) == {"G": 6, "N": 5, "C": 7, "K": 11}


def test_matrix_product_by_any_names() -> None:
    read = problem("K; N", "M; K", "M; N", {"M": 4, "K": 5, "N": 6})
    assert sizes(read) == {"N": 4, "C": 5, "K": 6}
    assert dict(read.dims) == {"M": "N", "K": "C", "N": "K"}


def test_one_window_with_a_step_alone() -> None:
    read = problem("M; C", "C; P*b", "M; P", {"M": 2, "C": 3, "P": 5}, b=2)
    assert sizes(read) == {"K": 2, "C": 3, "P": 5}
    assert read.problem.stride == (2, 1)


def test_bits_of_the_instance() -> None:
    bounds = dict.fromkeys("CMRSNPQ", 2)
    assert problem(*CONV, bounds, commonBitwidth=4).bits == {"weights": 4, "inputs": 4, "outputs": 4}
    single = problem(*CONV, bounds, bitwidths={"Inputs": 8, "Weights": 2, "Outputs": 6})
    assert single.bits == {"weights": 2, "inputs": 8, "outputs": 6}
    with pytest.raises(
        TimeloopError, match="bitwidths must give all three tensors; inputs, outputs is missing"
    ):
        problem(*CONV, bounds, bitwidths={"Weights": 2})
    with pytest.raises(TimeloopError, match=r"bitwidths\.Psums is no tensor"):
        problem(*CONV, bounds, bitwidths={"Psums": 2})


def test_with_bits() -> None:
    layer = Problem("conv", (1, 1, 8, 16, 4, 4, 3, 3))
    wide = with_bits(layer, {"weights": 4, "inputs": 8, "outputs": 8, "psum": 20})
    assert (wide.weight_bits, wide.input_bits, wide.output_bits, wide.psum_bits) == (4, 8, 8, 20)
    # 16 * 9 * 2^3 * (2^8 - 1) = 293760 < 2^19, and a sign
    assert with_bits(layer, {"weights": 4, "inputs": 8, "outputs": 8}).psum_bits == 20
    assert with_bits(layer, {"weights": 4, "inputs": 8, "outputs": 32, "psum": 16}).psum_bits == 32
    with pytest.raises(ValueError, match="problem 'conv': no bits of inputs, outputs; bits are of weights"):
        with_bits(layer, {"weights": 4})
    with pytest.raises(ValueError, match="problem 'conv': no tensor is called psums"):
        with_bits(layer, {"weights": 4, "inputs": 8, "outputs": 8, "psums": 20})


@pytest.mark.parametrize(
    ("shape", "bounds", "message"),
    [
        (
            ("C; M", "N; M; X", "N; M"),
            {"C": 3, "M": 2, "N": 1, "X": 1},
            "C (bound 3) is in weights, as no dimension of ours (read weights[C, M]; inputs[N, M, X]",
        ),
        (
            ("C; M; R", "C; R*a + P*b + Q", "M; P; Q"),
            dict.fromkeys("CMRPQ", 2),
            "inputs has the window R + P + Q, not",
        ),
        (
            ("C; M", "C; P + Q", "M; P; Q"),
            dict.fromkeys("CMPQ", 2),
            "inputs has the window P + Q, not stride*P",
        ),
        (("C + M", "C", "M"), dict.fromkeys("CM", 2), "weights has an axis that is not one dimension"),
        (("C; M", "C; C", "M"), dict.fromkeys("CM", 2), "inputs names C twice"),
        (
            ("C; M; R; S; T", "C; P + R; Q + S; Z + T", "M; P; Q; Z"),
            dict.fromkeys("CMRSTPQZ", 2),
            "inputs has more windows than rows and columns",
        ),
    ],
)
def test_projections_that_are_none_of_ours(
    shape: tuple[str, str, str], bounds: dict[str, int], message: str
) -> None:
    with pytest.raises(TimeloopError) as caught:
        problem(*shape, bounds)
    text = str(caught.value)
    assert text.startswith("p.yaml: problem.shape.data_spaces[")
    assert "cannot be mapped: " in text
    assert message in text
    assert "expected weights[G, K, C, R, S], inputs[N, G, C, stride*P + dilation*R" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P: 8,", "", "problem.instance.P is missing"),
        ("P: 8,", "P: 0,", "problem.instance.P must be a whole number >= 1, not 0"),
        ("P: 8,", "P: true,", "problem.instance.P must be a whole number >= 1, not true"),
        ("across: 1}", "across: 0}", "problem.instance.across must be a whole number >= 1, not 0"),
        ("name: gap, default: 1", "name: gap", "problem.instance.gap is missing; the shape gives this"),
        (
            "[R, gap]",
            "[R, hole]",
            "[1].projection[2][0] must be [dimension] or [dimension, coefficient]",
        ),
        (
            "name: Weights",
            "name: Filters",
            "data_spaces[0].name must be Weights, Inputs and Outputs, once each",
        ),
        (
            "name: Weights",
            "name: Outputs",
            "data_spaces[2].name must be Weights, Inputs and Outputs, once each",
        ),
        ("shape:", "shapes:", "problem.shape is missing; it has 'shapes'"),
        ("dimensions:", "dims:", "problem.shape.dimensions is missing"),
    ],
)
def test_bad_problem_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (HERE / "conv.problem.yaml").read_text()
    assert old in text
    file = tmp_path / "p.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TimeloopError) as caught:
        read_problem(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_unknown_keys_are_named_once() -> None:
    read = problem(*CONV, dict.fromkeys("CMRSNPQ", 2), colour=3)
    assert read.notes == ("p.yaml: not read: problem.instance.colour",)


@needs_spec
@pytest.mark.parametrize(
    ("name", "bounds", "stride"),
    [
        ("L0_default_mnv2_conv0_3x3s2", (1, 1, 32, 3, 112, 112, 3, 3), (2, 2)),
        ("L2_mnv2_dw_144_3x3_56", (1, 144, 1, 1, 56, 56, 3, 3), (1, 1)),
        ("L7_r18_fc_512to1000", (1, 1, 1000, 512, 1, 1, 1, 1), (1, 1)),
    ],
)
def test_example_problems(name: str, bounds: tuple[int, ...], stride: tuple[int, int]) -> None:
    read = read_problem(EXAMPLES / "problems" / f"{name}.yaml")
    assert (read.problem.bounds, read.problem.stride, read.notes) == (bounds, stride, ())
