"""Signed digits of weights: targets, penalty, gradient, measurement."""

import pytest
import torch

from bitjoule import zoo
from bitjoule.formats import csd_count, parse_format, parse_tensor_format
from bitjoule.network import NetworkError, capture
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.quant.config import quantizer_config
from bitjoule.quant.lsq import LsqQuantizer
from bitjoule.quant.pruning import fewer_digits, term_penalty, weight_terms
from bitjoule.train import QatConfig, prepare_qat, train_network


def quantizer(scale=0.5, text="INT4"):
    made = LsqQuantizer(parse_tensor_format(text), QuantizerConfig("lsq"), "weight", name="fc")
    with torch.no_grad():
        made.scale.fill_(scale)
    made.initialized.fill_(True)
    made._ready = True
    return made


@pytest.mark.parametrize("name", ["INT2", "INT4", "INT4_NARROW", "INT6", "TERNARY", "POT4", "APOT4"])
def test_the_target_is_the_nearest_level_with_fewer_digits(name):
    levels, digits, targets = fewer_digits(parse_format(name))
    for level, count, target in zip(levels, digits, targets, strict=True):
        fewer = [other for other in levels if csd_count(int(other)) < count]
        if not fewer:
            assert target == level
        else:
            assert csd_count(int(target)) < count
            assert abs(target - level) == min(abs(other - level) for other in fewer)


def test_value_and_gradient():
    weight = torch.tensor([[3.6, 2.4, 0.4, 0.0, -2.6]], requires_grad=True)  # u = 7.2 4.8 0.8 0 -5.2
    found = term_penalty(quantizer(), weight)
    assert found.item() == 2 + 2 + 1 + 0 + 2  # 7 5 1 0 -5
    found.backward()
    assert weight.grad.tolist() == [[2.0, 2.0, 2.0, 0.0, -2.0]]  # to 4 4 0 - -4, over s = 0.5


def test_a_format_without_integer_levels_is_refused():
    with pytest.raises(QuantizerError) as error:
        fewer_digits(parse_format("FP8_E4M3"))
    assert str(error.value) == (
        "csd_penalty counts digits of integer levels of at most 16 bits; FP8_E4M3 has none; use INT, TERNARY "
        "or a power-of-two format"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"method": "lsq", "csd_penalty": -1}, "csd_penalty must be finite and >= 0, not -1"),
        ({"method": "lsq", "csd_penalty": "much"}, "csd_penalty must be a number, not 'much'"),
        (
            {"method": "twn", "csd_penalty": 1e-4},
            r"csd_penalty is for ste and lsq and lsq\+ and tqt weights, not for twn weights",
        ),
    ],
)
def test_bad_settings_are_refused(document, message):
    with pytest.raises(QuantizerError, match=message):
        quantizer_config(document, "weight")


def test_training_with_the_penalty_leaves_fewer_terms():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    data = zoo.load_dataset("digits")
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=data.input_shape, name="tfc")
    terms = []
    for strength in (0.0, 1e-3):
        config = QatConfig(weight=QuantizerConfig("lsq", csd_penalty=strength))
        report = train_network(net, data, "w4a4", epochs=3, parent_epochs=2, config=config)
        found = weight_terms(report.network)
        terms.append(found["hidden.hidden2.linear"])
    torch.set_num_threads(before)
    assert terms[1] < 0.75 * terms[0]


def test_terms_are_those_of_the_levels():
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    quantized = prepare_qat(net, "w4a4[prune=2:4]")
    found = weight_terms(quantized)
    assert set(found) == {node.name for node in net.graph.mac_nodes()}
    assert 0 < found["hidden.hidden2.linear"] < 0.7 * found["hidden.hidden1.linear"]
    assert quantized.module.quantizers.hidden_hidden2_linear_weight.training
    with pytest.raises(NetworkError) as error:
        weight_terms(net)
    assert str(error.value) == "tfc has no quantized weights to count the terms of: prepare_qat first"
