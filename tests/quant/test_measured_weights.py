"""Terms and storage of the weights of quantized networks, from the weights to the energy."""

import numpy as np
import pytest
import torch

import bitjoule as bj
from bitjoule import zoo
from bitjoule.formats import SuccessiveVector, approximate, csd_count, parse_format
from bitjoule.network import NetworkError, capture
from bitjoule.quant import measured_workload
from bitjoule.quant.measured_weights import stored_rows
from bitjoule.train import prepare_qat


def quantized(scheme):
    torch.manual_seed(0)
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    return prepare_qat(net, scheme)


def weight_of(net, layer):
    return dict(net.named_parameters())[f"{layer}.weight"].detach().numpy()


@pytest.mark.parametrize("name", ["SVA0.75", "SVA1.5", "SVA2_CSD_STRICT"])
def test_vectors_are_measured_row_by_row(name):
    net = quantized(f"w{name}a8")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    workload = measured_workload(net)
    for layer in workload.layers:
        rows = parse_format(name).rows(weight_of(net, layer.name))
        assert (
            layer.measured_weight_bits == sum(row.storage_bits() for row in rows) == layer.weight_storage_bits
        )
        terms = sum(int(csd_count(row.integer).sum()) for row in rows)
        assert layer.weight_terms == terms / layer.weight_elements
        assert layer.measured_weight_bits < layer.weight_elements * layer.weight_bits
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items()), "measuring leaves no trace"


def test_other_formats_store_their_codes():
    for scheme in ("wPOT4a8", "wSPOT2a8", "w4a4[prune=2:4]", "w1a1"):
        net = quantized(scheme)
        plain, workload = net.workload(), measured_workload(net)
        assert all(layer.measured_weight_bits is None for layer in workload.layers)
        assert all(layer.weight_terms is not None for layer in workload.layers)
        assert workload.weight_bits == plain.weight_bits
        assert bj.energy(workload, hardware="moons-4mb") == bj.energy(net, hardware="moons-4mb")


def test_energy_of_measured_vectors():
    net = quantized("wSVA1a8")
    dense, measured = (bj.energy(found, hardware="moons-4mb") for found in (net, measured_workload(net)))
    assert measured.energy_pj < 0.5 * dense.energy_pj
    assert measured.notes[-1].startswith("stored weights of 4 of 4 layers as measured, ")


def test_networks_without_quantizers():
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=(1, 1, 8, 8), name="tfc")
    with pytest.raises(NetworkError, match="tfc has no quantized weights to count the terms of"):
        measured_workload(net)


def test_rows_of_another_budget_are_stored_without_or_with_other_steps():
    fmt = parse_format("SVA1")
    assert isinstance(fmt, SuccessiveVector)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 40))
    held = np.array([approximate(row, 1.0, terms_per_row=8 * k).values() for k, row in enumerate(weight)])
    found = stored_rows(fmt, held, held)  # after training, weights are what is held
    integers = [approximate(row, 1.0, terms_per_row=8 * k).integer for k, row in enumerate(weight)]
    assert found.terms == sum(int(csd_count(integer).sum()) for integer in integers)
    at_most = sum(8 + 40 * (1 + int(np.abs(i).max()).bit_length()) * bool(i.any()) for i in integers)
    assert 6 * 8 < found.bits <= at_most


def test_any_row_has_a_store():
    """A row that no list of steps gives: dense words of 1 + 9 bits, or 6 bits for each of 4 terms."""
    fmt = parse_format("SVA0.1")
    held = np.array([[257.0, 0.0, 0.0, 3.0]], np.float32)
    found = stored_rows(fmt, held, held)
    assert found.terms == 4
    assert found.bits <= 8 + min(4 * 10, 4 * (2 + 1 + 4))
    assert stored_rows(fmt, held * 0, held * 0).bits == 8
