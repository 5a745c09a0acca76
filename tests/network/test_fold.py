"""Folded batch norm gives the same numbers; what cannot be folded stays and is named."""

import pytest
import torch
from torch import Tensor, nn

from bitjoule.network import NetworkError, apply_scheme, capture, fold_batch_norm, insert_quantizers
from bitjoule.network.fold import folded
from tests.network.models import Residual, SharedRelu, alike

IMAGE = (1, 3, 8, 8)


def lived_in(model: nn.Module) -> nn.Module:
    """Statistics and affine parameters that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
            if module.running_mean is not None and module.running_var is not None:
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.1, 2.0)
    return model.eval()


def test_golden_vector() -> None:
    # training.md section 1.5: gamma .8, var .09, eps 1e-5, beta .1, mu .3
    norm = nn.BatchNorm1d(1, eps=1e-5)
    with torch.no_grad():
        norm.weight.fill_(0.8)
        norm.bias.fill_(0.1)
        norm.running_mean.fill_(0.3)  # type: ignore[union-attr]
        norm.running_var.fill_(0.09)  # type: ignore[union-attr]
    weight, bias = folded(torch.tensor([[1.5, -2.0]]), None, norm)
    assert weight.tolist()[0] == pytest.approx([3.999778, -5.333037], abs=1e-6)
    assert bias.item() == pytest.approx(-0.699956, abs=1e-6)


@pytest.mark.parametrize("model", [Residual, SharedRelu])
def test_outputs_stay_and_batch_norms_go(model: type[nn.Module]) -> None:
    net = capture(lived_in(model()), input_shape=IMAGE)
    found = fold_batch_norm(net)
    assert found.notes == ()
    assert not [node for node in found.graph.nodes if node.op == "batch_norm"]
    assert not [key for key in found.state_dict() if ".running" in key]
    assert "bias" in found.graph.node("conv1").parameters and "conv1.bias" in found.state_dict()
    x = torch.randn(5, *IMAGE[1:])
    assert alike(found(x), net(x)) < 1e-4
    assert found.workload().macs == net.workload().macs
    assert "conv1.bias" not in net.state_dict()


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ((nn.Linear(6, 4), nn.BatchNorm1d(4)), (1, 6)),
        ((nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4, affine=True)), (1, 6)),
        ((nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4)), (1, 3, 8)),
        ((nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4)), (1, 4, 8, 8)),
        ((nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), (1, 4, 8, 8)),
        ((nn.ConvTranspose1d(4, 6, 3, groups=2, bias=False), nn.BatchNorm1d(6)), (1, 4, 8)),
    ],
)
def test_every_kind_of_layer(layers: tuple[nn.Module, ...], shape: tuple[int, ...]) -> None:
    net = capture(lived_in(nn.Sequential(*layers)), input_shape=shape)
    found = fold_batch_norm(net)
    assert [node.name for node in found.graph.nodes] == ["0"]
    x = torch.randn(3, *shape[1:])
    assert alike(found(x), net(x)) < 1e-5


class Read(nn.Module):
    """Batch norms that must stay: before a layer, behind a layer read twice, without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.BatchNorm2d(3)
        self.last = nn.Conv2d(3, 3, 1)
        self.third = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.first(x))
        return self.third(self.last(self.second(x) + x))


def test_what_cannot_be_folded_stays_and_is_named() -> None:
    net = capture(lived_in(Read()), input_shape=IMAGE)
    found = fold_batch_norm(net)
    assert found.notes == (
        "batch norm 'first' was not folded: "
        "it follows the network input 'x', not a convolution or linear layer",
        "batch norm 'second' was not folded: the result of 'conv' is read elsewhere too",
        "batch norm 'third' was not folded: it keeps no running statistics",
    )
    assert found.graph == net.graph
    x = torch.randn(2, *IMAGE[1:])
    assert alike(found(x), net(x)) == 0


def test_shared_layers_and_sequence_features_stay() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.bn = nn.BatchNorm1d(4)
            self.bn2 = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn2(self.fc(self.bn(self.fc(x))))

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.bn = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(self.fc(x))

    notes = fold_batch_norm(capture(lived_in(Shared()), input_shape=(1, 4))).notes
    assert notes[0] == "batch norm 'bn' was not folded: 'fc' is called or read more than once"
    notes = fold_batch_norm(capture(lived_in(Sequence()), input_shape=(1, 3, 4))).notes
    assert notes == ("batch norm 'bn' was not folded: it does not normalise the features of 'fc'",)


def test_folding_after_quantizers_is_refused() -> None:
    net = apply_scheme(capture(Residual(), input_shape=IMAGE), "int8")
    assert net.assignment is not None
    found = insert_quantizers(net, net.assignment, lambda n, f: nn.Identity(), lambda p: nn.Identity())
    with pytest.raises(NetworkError) as caught:
        fold_batch_norm(found)
    assert str(caught.value) == "Residual has quantizers already: fold batch norm before inserting them"
