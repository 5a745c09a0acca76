"""Which blocks of student and teacher pair, and what is read of them."""

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.quant.repairs import attention_loss
from bitjoule.scheme import RepairError
from bitjoule.train import prepare_qat
from bitjoule.train.matching import AttentionMatch, matching_blocks, tapped

BLOCKS = ("block1.add", "block2.add", "block3.add")


@pytest.mark.parametrize("repairs", ["", "+double_residual+rprelu+bases_2", "+pre_bn", "+se8+hp_downsample"])
def test_residual_blocks_pair_by_their_adds_whatever_repairs_put_in(residual, repairs):
    assert matching_blocks(prepare_qat(residual, f"w1a1{repairs}"), residual) == BLOCKS


def test_without_adds_the_last_operator_before_the_next_layer_pairs():
    options = {"depths": (2, 1), "filters": (8, 16), "in_channels": 1, "image_size": 8}
    net = capture(zoo.build("moons", options, 0), input_shape=(1, 1, 8, 8))
    expected = ("blocks.block1.pool", "blocks.block2.pool")
    assert matching_blocks(prepare_qat(net, "w1a1+double_residual"), net) == expected


def test_another_resolution_pairs_nothing(residual):
    larger = capture(
        zoo.build("resnet8", {"in_channels": 1, "image_size": 16, "width": 0.5}, 0),
        input_shape=(1, 1, 16, 16),
    )
    with pytest.raises(RepairError) as error:
        matching_blocks(prepare_qat(residual, "w1a1+attention_match"), larger)
    assert str(error.value) == (
        "attention_match: no block of resnet8 with binary layers ends in an operator that the teacher "
        "ResNet8 has too, by name and resolution; give the float parent of the same network as teacher, and "
        "a network of convolutions"
    )


def test_vectors_have_no_maps(mlp):
    with pytest.raises(RepairError, match=r"no block of tfc with binary layers ends in an operator"):
        matching_blocks(prepare_qat(mlp, "w1a1"), mlp)


def test_taps_read_the_network_itself(residual):
    net = residual.eval()
    module = tapped(net, BLOCKS)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits, found = module(x)
    assert torch.equal(logits, net(x)) and [tuple(f.shape[2:]) for f in found] == [(8, 8), (4, 4), (2, 2)]
    with torch.no_grad():
        net.module.linear.bias.add_(1)
    assert torch.equal(module(x)[0], net(x))  # the parameters are shared
    block = torch.relu(found[0])
    assert torch.equal(block, tapped(net, ["block1.relu2"])(x)[1][0])


def test_a_network_matches_itself_and_the_gradient_stays_with_the_student(residual):
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    student = prepare_qat(residual, "w1a1").train()
    logits, loss = AttentionMatch(student, residual.eval())(x)
    assert logits.shape == (4, 10) and float(loss.detach()) > 0.01
    loss.backward()
    assert student.module.block1.conv1.weight.grad is not None
    assert all(p.grad is None for p in residual.parameters())
    ours = tapped(residual, BLOCKS)(x)[1]
    assert float(attention_loss(ours, ours).detach()) == pytest.approx(0, abs=1e-9)
