"""From Layer and Hardware to Problem: bounds per group, widths of partial sums, MAC prices by mode."""

from dataclasses import replace

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.mapping.layer_problem import auto_psum_bits, problem_of, psum_warning
from bitjoule.workload import Layer

EYERISS = load("eyeriss")


def layer(weights: str | None, inputs: str | None, outputs: str | None, **changes: object) -> Layer:
    formats = [None if text is None else parse_tensor_format(text) for text in (weights, inputs, outputs)]
    plain = Layer("conv1", "conv", 1, 64, 128, 14, 14, 3, 3)
    return replace(  # type: ignore[misc]
        plain,
        **{"weight_format": formats[0], "input_format": formats[1], "output_format": formats[2], **changes},
    )


def with_psum(bits: int | str) -> Hardware:
    return EYERISS.model_copy(update={"psum_bits": bits})


def test_bounds_are_per_group() -> None:
    conv = layer("INT8", "INT8", "INT8", N=2, groups=4, stride=(2, 1), dilation=(1, 3))
    problem = problem_of(conv, EYERISS)
    assert problem.bounds == (2, 4, 16, 32, 14, 14, 3, 3)
    assert (problem.stride, problem.dilation, problem.name) == ((2, 1), (1, 3), "conv1")
    assert problem.macs == conv.macs
    depthwise = problem_of(layer("INT8", "INT8", "INT8", K=128, groups=128), EYERISS)
    assert depthwise.bounds == (1, 128, 1, 1, 14, 14, 3, 3)


def test_a_product_of_activations_has_its_second_operand_as_weights() -> None:
    heads = layer("INT4", "INT8", "INT8", kind="matmul", groups=8, K=8 * 16, C=8 * 32, P=10, Q=1, R=1, S=1)
    problem = problem_of(heads, EYERISS)
    assert problem.bounds == (1, 8, 16, 32, 10, 1, 1, 1)
    assert (problem.weight_bits, problem.input_bits) == (4, 8)


@pytest.mark.parametrize(
    ("weights", "inputs", "bits"),
    [
        ("INT8_NARROW", "UINT8", 27),
        ("BIPOLAR", "BIPOLAR", 12),
        ("INT4", "INT4", 18),
        ("FP16", "FP16", 16),
        ("FP16", "INT8", 32),
        (None, None, 32),
    ],
)
def test_auto_is_what_no_sum_overflows(weights: str | None, inputs: str | None, bits: int) -> None:
    """C R S = 1152: the vectors of formats.md section 8; one group sums less."""
    wide = layer(weights, inputs, "INT8")
    assert auto_psum_bits(wide) == bits
    if weights == "BIPOLAR":
        assert auto_psum_bits(replace(wide, groups=64)) == 6


def test_a_partial_sum_is_never_narrower_than_its_result() -> None:
    narrow = with_psum(12)
    assert problem_of(layer("INT8", "INT8", "INT16"), narrow).psum_bits == 16
    assert problem_of(layer("INT8", "INT8", "INT8"), narrow).psum_bits == 12
    assert problem_of(layer("INT8", "INT8", "INT8"), with_psum("auto")).psum_bits == 26
    assert problem_of(layer("BIPOLAR", "BIPOLAR", "INT16"), with_psum("auto")).psum_bits == 16


def test_logits_stay_accumulators() -> None:
    logits = layer("INT8", "INT4", "INT32")
    problem = problem_of(logits, with_psum(24))
    assert (problem.output_bits, problem.psum_bits) == (24, 24)
    auto = problem_of(logits, with_psum("auto"))
    assert auto.output_bits == auto.psum_bits == auto_psum_bits(logits) == 22
    paper = problem_of(logits, with_psum(24), mode="paper")
    assert (paper.output_bits, paper.psum_bits) == (8, 8)


def test_modes() -> None:
    conv = layer("INT4", "INT4", "INT4")
    physical, paper, native = (
        problem_of(conv, EYERISS, mode=mode) for mode in ("physical", "paper", "native")
    )
    assert (physical.weight_bits, physical.input_bits, physical.output_bits, physical.psum_bits) == (
        4,
        4,
        4,
        16,
    )
    assert (paper.weight_bits, paper.input_bits, paper.output_bits, paper.psum_bits) == (4, 4, 4, 4)
    assert (native.weight_bits, native.input_bits, native.output_bits, native.psum_bits) == (None,) * 4
    assert physical.mac_pj == pytest.approx(0.366 * 0.37165, rel=1e-12)
    assert paper.mac_pj == native.mac_pj == pytest.approx(0.37165, rel=1e-12)
    assert physical.macs_per_cycle == paper.macs_per_cycle == 1


def test_a_narrow_accumulator_is_named_with_both_numbers() -> None:
    conv = layer("INT8", "INT8", "INT8")
    assert psum_warning(conv, EYERISS) == (
        "layer 'conv1': partial sums may overflow: eyeriss has psum_bits 16, INT8 x INT8 over 1152 products "
        "can need 26"
    )
    assert psum_warning(layer("FP8_E4M3", "FP16", "FP16"), EYERISS) == (
        "layer 'conv1': partial sums may lose precision: eyeriss has psum_bits 16, FP8_E4M3 x FP16 over 1152 "
        "products can need 32"
    )
    assert psum_warning(layer("BIPOLAR", "BIPOLAR", "INT8"), EYERISS) is None
    assert psum_warning(layer("FP16", "FP16", "FP16"), EYERISS) is None
    assert psum_warning(conv, with_psum("auto")) is None


def test_refusals() -> None:
    moons = load("moons-4mb")
    text = r"^hardware 'moons-4mb' is of kind moons; layers are mapped on kind hierarchy$"
    with pytest.raises(ValueError, match=text):
        problem_of(layer("INT8", "INT8", "INT8"), moons)
    with pytest.raises(ValueError, match=text):
        psum_warning(layer("INT8", "INT8", "INT8"), moons)
    with pytest.raises(ValueError, match="FLOAT32"):
        problem_of(layer(None, None, None), EYERISS)
