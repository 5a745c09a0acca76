"""Weights with scales in groups: against the Format itself, gradients, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.quant.grouped import GroupedQuantizer, row_scales

FIXED = QuantizerConfig("ste", range="fixed", scale=1.0)


def made(text: str, shape: tuple[int, ...], axis: int = 0, seed: int = 0) -> GroupedQuantizer:
    quantizer = GroupedQuantizer(
        parse_tensor_format(text), FIXED, "weight", name="fc.weight", shape=shape, axis=axis
    )
    generator = torch.Generator().manual_seed(seed)
    quantizer.scale.copy_(torch.rand(quantizer.scale_shape, generator=generator) + 0.1)
    return quantizer.eval()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["INT4_NARROW", "INT8", "TERNARY", "POT4", "APOT4"]),
    st.integers(1, 20),
    st.integers(0, 1),
    st.integers(0, 99),
)
def test_as_the_format_at_the_scales_of_formats(text: str, size: int, axis: int, seed: int) -> None:
    shape = (4, 3, 2, 2)
    quantizer = made(f"{text}/group{size}", shape, axis, seed)
    tf = quantizer.tensor_format
    w = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3
    scale = tf.scaling.expand(quantizer.scale.numpy(), shape, axis).astype(np.float32)
    levels = tf.format.quantize((w.numpy() / scale).astype(np.float32))
    assert np.array_equal(quantizer(w).numpy(), np.asarray(levels, np.float32) * scale)
    assert torch.equal(quantizer(quantizer(w)), quantizer(w))


def test_a_scale_for_every_weight_of_a_row() -> None:
    quantizer = made("INT4/group3", (2, 2, 2, 2))
    found = row_scales(quantizer, 8)
    assert found.shape == (2, 8)
    assert found[1].tolist() == [quantizer.scale[1, i // 3].item() for i in range(8)]


def test_gradients_pass_inside_the_range_of_each_group() -> None:
    quantizer = made("INT4/group2", (1, 4))
    quantizer.scale.copy_(torch.tensor([[1.0, 0.25]]))
    w = torch.tensor([[3.0, 9.0, 1.0, 3.0]], requires_grad=True)
    quantizer(w).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_scales_are_exported_and_saved() -> None:
    quantizer, other = made("INT4/group2", (2, 5)), made("INT4/group2", (2, 5), seed=1)
    assert quantizer.parameters_exported().scale.shape == (2, 3)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.scale, quantizer.scale)


def test_refusals() -> None:
    tf = parse_tensor_format("INT4/group2")
    with pytest.raises(
        QuantizerError, match=r"fc: scales in groups are given from outside; use range='fixed'"
    ):
        GroupedQuantizer(tf, QuantizerConfig("ste", range="minmax"), "weight", name="fc", shape=(1, 4))
    with pytest.raises(
        QuantizerError, match=r"fc: ste cannot train activations in INT4/group2; it trains fixed"
    ):
        GroupedQuantizer(tf, FIXED, "activation", name="fc", shape=(1, 4))
    assert not GroupedQuantizer.accepts(parse_tensor_format("INT4/channel"), "weight")
