"""Units learned together: judged by the network's output, kept unless worse, binary at the end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network, fold_batch_norm
from bitjoule.scheme import parse_scheme
from bitjoule.train.ptq import PRESETS, configured, ptq
from bitjoule.train.ptq.float_rest import FloatRest, importance_of
from bitjoule.train.ptq.judge import clearly_worse, mean_cost
from bitjoule.train.ptq.place import placed
from bitjoule.train.ptq.reconstruct import chance_mask
from bitjoule.train.ptq.trace import Trace

SCHEME = "w3a4[first=same,last=same]"


def traced(net: Network, images: Tensor) -> tuple[Trace, list[Tensor]]:
    """The trace of a network placed under int8, its float values run, and the float outputs."""
    plain = fold_batch_norm(net)
    made = placed(plain, parse_scheme("int8"), asymmetric_below_bits=5, image_signed=True, per_tensor=False)
    trace = Trace(made, list(images.split(32)))
    for node in trace.order:
        trace.run_float(node)
    with torch.no_grad():
        return trace, [plain(batch) for batch in trace.images]


def places(trace: Trace) -> list[int]:
    """Where one tensor alone is alive."""
    return [i for i in range(len(trace.order)) if FloatRest.after(trace, i) is not None]


def test_the_float_result_diverges_by_nothing(tiny: Network, images: Tensor) -> None:
    trace, outputs = traced(tiny, images)
    found = places(trace)
    assert 4 < len(found) < len(trace.order)
    for place in found:
        rest = FloatRest.after(trace, place)
        assert rest is not None
        results = [x for x in trace.original[trace.order[place]] if isinstance(x, Tensor)]
        assert rest.divergence(results, outputs).abs().max() < 1e-5
        worse = rest.divergence([x + 0.3 * x.std() for x in results], outputs)
        assert worse.shape == (len(images),) and worse.min() > -1e-6
    assert worse.abs().max() < 1e-5  # the same shift of all logits changes nothing


def test_gradients_are_those_of_the_divergence(tiny: Network, images: Tensor) -> None:
    trace, outputs = traced(tiny, images)
    rest = FloatRest.after(trace, places(trace)[3])
    assert rest is not None
    generator = torch.Generator().manual_seed(0)
    results = [x + 0.3 * torch.randn(x.shape, generator=generator) for x in trace.original[rest.node]]
    gradients = rest.gradients(results, outputs)
    way = gradients / gradients.norm()
    step = 1e-2 / float(gradients.norm())
    parts = way.split([len(x) for x in results])
    above, below = (
        rest.divergence(
            [x + sign * step * part for x, part in zip(results, parts, strict=True)], outputs
        ).sum()
        for sign in (1, -1)
    )
    assert float(above - below) / (2 * step) == pytest.approx(float(gradients.norm()), rel=0.05)


def test_importance_keeps_the_scale_of_costs() -> None:
    gradients = torch.tensor([[0.0, 3.0], [-1.0, 2.0]])
    found = importance_of(gradients)
    torch.testing.assert_close(found, importance_of(10 * gradients))
    assert float(found.mean()) == pytest.approx(1)
    assert found[0, 1] > found[1, 1] > found[1, 0] > found[0, 0]


def test_cost_per_image() -> None:
    wanted = [torch.zeros(2, 3, 2, 2), torch.zeros(1, 3, 2, 2)]
    results = [torch.ones(2, 3, 2, 2), 2 * torch.ones(1, 3, 2, 2)]
    assert mean_cost(wanted, None)(results).tolist() == [3, 3, 12]
    importance = torch.cat([torch.full((2, 3, 2, 2), 0.5), torch.ones(1, 3, 2, 2)])
    assert mean_cost(wanted, importance)(results).tolist() == [1.5, 1.5, 12]


def test_a_rise_within_its_error_is_none() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1000, generator=generator)
    assert not clearly_worse(torch.zeros(1000), noise - noise.mean() + 0.02)
    assert clearly_worse(torch.zeros(1000), noise - noise.mean() + 0.05)
    assert clearly_worse(torch.zeros(1), torch.ones(1)) and not clearly_worse(torch.ones(1), torch.ones(1))


def test_what_is_worse_is_not_kept(tiny: Network, images: Tensor) -> None:
    alone = ptq(tiny, images, SCHEME, config=configured(PRESETS["best"], ["reconstruct=none"]))
    settings = ["iterations=1", "drop=0"]  # one step from rounding to nearest
    learned = ptq(tiny, images, SCHEME, config=configured(PRESETS["best"], settings))
    kept = [row for row in learned.quantization_report.rows if row.method == "block reconstruction"]
    weights = [row for row in learned.quantization_report.rows if row.role == "weight"]
    assert len(kept) < len(weights)
    same = {row.name: row for row in alone.quantization_report.rows}
    first = weights[0]
    assert first.method != "block reconstruction" and first == same[first.name]


@pytest.mark.parametrize("drop", [0, 0.5, 1])
def test_roundings_end_binary(tiny: Network, images: Tensor, drop: float) -> None:
    config = configured(PRESETS["best"], ["iterations=200", f"drop={drop}"])
    report = ptq(tiny, images, SCHEME, config=config).quantization_report
    assert any(row.method == "block reconstruction" for row in report.rows)
    assert not any("not binary" in note for note in report.notes)


def test_roundings_that_are_not_decided_are_told(tiny: Network, images: Tensor) -> None:
    config = configured(PRESETS["best"], ["iterations=2"])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bitjoule.train.ptq.reconstruct.clearly_worse", lambda before, after: False)
        report = ptq(tiny, images, SCHEME, config=config).quantization_report
    assert any("of the learned roundings were not binary" in note for note in report.notes)


def learned(net: Network, images: Tensor, drop: float) -> dict[str, Tensor]:
    """The state after learning, kept whatever it is worth."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bitjoule.train.ptq.reconstruct.clearly_worse", lambda before, after: False)
        config = configured(PRESETS["best"], ["iterations=20", f"drop={drop}"])
        return ptq(net, images, SCHEME, config=config).state_dict()


def test_nothing_dropped_is_brecq(tiny: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = learned(tiny, images, 0.0)
    mixed = learned(tiny, images, 0.5)
    assert any(not torch.equal(found[name], mixed[name]) for name in found)

    def refuse(*_arguments: object) -> Tensor:
        raise AssertionError("BRECQ mixes nothing")

    monkeypatch.setattr("bitjoule.train.ptq.reconstruct.chance_mask", refuse)
    again = learned(tiny, images, 0.0)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_everything_dropped_learns_no_step(tiny: Network, images: Tensor) -> None:
    alone = ptq(tiny, images, SCHEME, config=configured(PRESETS["best"], ["reconstruct=none"])).state_dict()
    scales = [name for name in alone if name.endswith("scale") and alone[name].numel() == 1]
    dropped, half = learned(tiny, images, 1.0), learned(tiny, images, 0.5)
    assert scales and all(torch.equal(dropped[name], alone[name]) for name in scales)
    assert any(not torch.equal(half[name], alone[name]) for name in scales)


def test_share_of_quantized_activations() -> None:
    mask = chance_mask(torch.zeros(64, 3, 16, 16), 0.25, torch.Generator().manual_seed(0))
    assert set(mask.unique().tolist()) == {0.0, 1.0} and float(mask.mean()) == pytest.approx(0.25, abs=0.01)
