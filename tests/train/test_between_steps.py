"""The loop calls quantizers between its steps: INQ ends on levels, EDA sharpens, oscillations are held."""

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig
from bitjoule.train import QatConfig, prepare_qat, recipe, train
from bitjoule.train.qat import quantizers


@pytest.fixture(scope="module")
def data():
    return zoo.load_dataset("digits", limit_train=400)


def trained(data, scheme, weight, epochs):
    net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    net = prepare_qat(net, scheme, QatConfig(weight=weight))
    chosen = recipe("smoke", epochs=epochs, keep="last")
    return train(net, data, chosen, seed=0).network


def of_method(net, method):
    found = [q for q in quantizers(net).values() if q.method == method and q.role == "weight"]
    assert found
    return found


def test_inq_ends_with_all_weights_on_levels(data):
    net = trained(data, "wPOT5_INQa8", QuantizerConfig("inq"), 4)
    weights = dict(net.named_parameters())
    for q in of_method(net, "inq"):
        assert bool(q.fixed.all())
        levels = weights[q.parameter] / q.scale[:, None]
        assert set(levels.abs().unique().tolist()) <= {0.0, *(2.0**e for e in range(8))}


def test_oscillations_are_tracked_and_dampened(data):
    config = QuantizerConfig("lsq", freeze_oscillations=True, dampen_oscillations=True)
    net = trained(data, "w4a4", config, 1)
    for q in of_method(net, "lsq"):
        if q.config.freeze_oscillations:
            assert q.oscillation_frequency.shape == dict(net.named_parameters())[q.parameter].shape
            assert torch.isfinite(q.oscillation_average).all()
            break
    else:
        raise AssertionError("no quantizer had the config")


def test_eda_is_sharper_in_later_epochs(data):
    net = trained(data, "w1a1", QuantizerConfig("binary", gradient="eda", normalize="libra"), 2)
    assert {round(float(q.sharpness), 6) for q in of_method(net, "binary")} == {1.0}
