"""Activations held as bytes: what is read is bit for bit what a quantizer gave, and memory falls."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bitjoule.formats import parse_tensor_format
from bitjoule.network import Network
from bitjoule.quant import QuantizerConfig
from bitjoule.quant.ste import SteQuantizer
from bitjoule.train.ptq import PRESETS, configured, ptq
from bitjoule.train.ptq import trace as trace_module
from bitjoule.train.ptq.held import HeldBatches, Levels, byte_grid, joined, release

FORMATS = (
    "INT8",
    "UINT8",
    "INT4+zp",
    "INT8+zp",
    "UINT2",
    "TERNARY",
    "POT4",
    "UPOT4",
    "APOT4",
    "UAPOT6",
    "SPOT2",
)


def quantizer(text: str, scale: float, zero_point: int = 0) -> SteQuantizer:
    fixed = QuantizerConfig("ste", range="fixed", scale=1.0)
    made = SteQuantizer(parse_tensor_format(text), fixed, "activation", name="x").eval()
    made.scale.fill_(scale)
    made.zero_point.fill_(zero_point)
    return made


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(FORMATS),
    st.floats(2.0**-120, 2.0**100, allow_subnormal=False, width=32),
    st.integers(-8, 7),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_what_is_read_is_what_was_computed(text: str, scale: float, zero: int, seed: int, last: bool) -> None:
    made = quantizer(text, scale, zero if "+zp" in text else 0)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 4, 5, generator=generator) * scale * 2.0 ** float(seed % 9)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    y = made(x)
    grid = byte_grid(made)
    assert grid is not None
    codes = grid.encode(y)
    found = grid.decode(codes)
    assert codes.dtype == torch.uint8
    assert torch.equal(found.contiguous().view(torch.int32), y.contiguous().view(torch.int32))
    assert found.stride() == y.stride()


@pytest.mark.parametrize(("text", "scale"), [("INT16", 1.0), ("FP8_E4M3", 1.0), ("UINT8", 2.0**127)])
def test_what_bytes_cannot_hold_stays_float(text: str, scale: float) -> None:
    assert byte_grid(quantizer(text, scale)) is None


def test_weights_are_no_activations() -> None:
    fixed = QuantizerConfig("ste", range="fixed", scale=1.0)
    tf = parse_tensor_format("INT8/channel")
    assert byte_grid(SteQuantizer(tf, fixed, "weight", name="w", channels=2)) is None


def test_batches_and_joined_images() -> None:
    made = quantizer("UINT4", 0.3)
    batches = [made(torch.rand(n, 3) * 5) for n in (4, 2)]
    grid = byte_grid(made)
    assert grid is not None
    held = HeldBatches(grid, [grid.encode(y) for y in batches])
    assert len(held) == 2
    assert all(torch.equal(a, b) for a, b in zip(held, batches, strict=True))
    assert torch.equal(held[:1][0], batches[0])
    whole = joined(held)
    assert isinstance(whole, Levels)
    chosen = torch.tensor([5, 0])
    assert torch.equal(whole[chosen], torch.cat(batches)[chosen])
    assert torch.equal(whole[1:5], torch.cat(batches)[1:5])
    plain = joined(batches)
    assert isinstance(plain, Tensor)
    release(held, 0)
    release(batches, 0)
    assert held.codes[0] is None
    assert batches[0] is None


@pytest.mark.parametrize("preset", ["fast", "best"])
def test_results_do_not_depend_on_how_values_are_held(
    tiny: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    config = configured(PRESETS[preset], ["iterations=5", "batch_size=16", "rounding=gptq"])
    held = ptq(tiny, images, "w4a4", config=config).state_dict()
    monkeypatch.setattr(trace_module, "byte_grid", lambda _quantizer: None)
    monkeypatch.setattr(trace_module.Trace, "_is_spent", lambda *_args: False)
    floats = ptq(tiny, images, "w4a4", config=config).state_dict()
    assert all(torch.equal(held[name], value) for name, value in floats.items())


def test_fewer_bytes_are_held(tiny: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two float activations of the widest layer and bytes of the quantized ones, not four float ones."""
    run, most = trace_module.Trace._run, [0]

    def measured(self, *args):  # type: ignore[no-untyped-def]
        found = run(self, *args)
        stores = {}
        for values in (self.original, self.quantized, {None: found}):
            for batches in values.values():
                for x in batches.codes if isinstance(batches, HeldBatches) else batches:
                    if isinstance(x, Tensor):
                        stores[x.data_ptr()] = x.numel() * x.element_size()
        most[0] = max(most[0], sum(stores.values()))
        return found

    monkeypatch.setattr(trace_module.Trace, "_run", measured)
    config = configured(PRESETS["fast"], ["batch_size=8"])
    ptq(tiny, images, "w8a8", config=config)
    few = most[0]
    monkeypatch.setattr(trace_module, "byte_grid", lambda _quantizer: None)
    monkeypatch.setattr(trace_module.Trace, "_is_spent", lambda *_args: False)
    most[0] = 0
    ptq(tiny, images, "w8a8", config=config)
    assert few < 0.7 * most[0]
