"""Masks in a quantized Network: prune first, then quantize; refusals; the training loop keeps the rule."""

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.quant.pruning import NMMask, mask_of, nm_mask, weight_values
from bitjoule.train import QatConfig, prepare_qat, quantizers, train_network
from bitjoule.workload.sparsity import Sparsity


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def resnet8():
    return capture(zoo.build("resnet8", {"image_size": 8}, 0), input_shape=(1, 3, 8, 8), name="resnet8")


def test_masks_stand_before_quantizers_and_notes_name_the_dense():
    net = prepare_qat(resnet8(), "w4a4[prune=2:4]")
    assert net.notes == ("not pruned, because it reads the network input: conv1",)
    assert mask_of(net, "quantizers.conv1_weight") is None
    mask = mask_of(net, "quantizers.block2_conv1_weight")
    weight = net.module.get_parameter("block2.conv1.weight")
    assert mask.parameter == "block2.conv1.weight"
    assert torch.equal(mask.mask, nm_mask(weight, Sparsity(2, 4)))
    assert len([m for m in net.module.modules() if isinstance(m, NMMask)]) == 9


def test_scales_start_from_the_survivors():
    net = prepare_qat(resnet8(), "w4a4[prune=2:4]")
    weight = net.module.get_parameter("block2.conv1.weight").detach()
    mask = nm_mask(weight, Sparsity(2, 4))
    found = quantizers(net)["quantizers.block2_conv1_weight"].scale
    mean = (weight.abs() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))
    assert torch.allclose(found, 2 * mean / 7**0.5, rtol=1e-5)  # LSQ: 2 mean |w| / sqrt(p)


@pytest.mark.parametrize(
    ("scheme", "config"),
    [
        ("w4a4[prune=2:4]", None),
        ("int8[prune=1:4]", QatConfig(weight=QuantizerConfig("ste", range="minmax"))),
        ("w4a4[prune=2:4]", QatConfig(weight=QuantizerConfig("lsq+"))),
        ("w4a4[prune=2:4]", QatConfig(weight=QuantizerConfig("lsq", csd_penalty=1e-5))),
        ("fp16[prune=2:4]", None),
        ("moons-4[prune=2:4]", None),
        ("wTERNARYa8[prune=2:4]", None),
    ],
)
def test_training_keeps_the_rule(scheme, config):
    data = zoo.load_dataset("digits", limit_train=200)
    net = capture(zoo.build("tfc", {"inputs": 64}, 0), input_shape=data.input_shape, name="tfc")
    trained = train_network(net, data, scheme, epochs=2, parent_epochs=1, config=config).network
    sparsity = Sparsity(*trained.scheme.prune)
    masks = {m.parameter: m for m in trained.module.modules() if isinstance(m, NMMask)}
    assert len(masks) == 3
    for quantizer, weight in weight_values(trained):
        if quantizer.parameter in masks:
            blocks = quantizer(weight).reshape(weight.shape[0], -1, sparsity.block)
            assert int((blocks != 0).sum(-1).max()) <= sparsity.kept


def test_a_pruned_network_survives_its_state_dict():
    net, other = (prepare_qat(resnet8(), "w4a4[prune=2:4]").train() for _ in range(2))
    with torch.no_grad():
        net.module.get_parameter("block2.conv1.weight").mul_(-1.5)
        mask = mask_of(net, "quantizers.block2_conv1_weight")
        mask.mask.copy_(mask.mask.roll(1, 1))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    net(x)
    other(x)
    other.load_state_dict(net.state_dict())
    net.eval()
    other.eval()
    assert torch.equal(net(x), other(x))


def test_a_method_that_moves_zeros_is_refused():
    with pytest.raises(QuantizerError) as error:
        prepare_qat(resnet8(), "apot4[prune=2:4]")
    assert str(error.value) == (
        "block1.conv1.weight: apot does not keep masked weights at 0, so prune=2:4 cannot train with it; use "
        "one of ste, moons, lsq, lsq+, tqt, twn, deepshift_q, float_cast"
    )
