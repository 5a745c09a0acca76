"""Random networks: the capture computes what the model does, folded and with neutral quantizers too."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bitjoule.network import apply_scheme, capture, edges, fold_batch_norm, insert_quantizers
from tests.network.models import alike

SCHEMES = ("int8", "w4a4", "hpr-w4a4", "w1a1", "w2a2[preadd=b]")


class Chain(nn.Module):
    """Steps in a row; a step may add the value before it."""

    def __init__(self, steps: list[tuple[str, bool]]) -> None:
        super().__init__()
        kinds: dict[str, list[nn.Module]] = {"plain": [], "norm": [nn.BatchNorm2d(4)]}
        kinds["activated"] = [nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
        kinds["clipped"] = [nn.ReLU6()]
        self.stem = nn.Conv2d(3, 4, 1)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), *(type(m)(4) if isinstance(m, nn.BatchNorm2d) else m
                                                           for m in kinds[kind]))
            for kind, _ in steps
        )  # fmt: skip
        self.residual = [residual for _, residual in steps]
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for step, residual in zip(self.steps, self.residual, strict=True):
            y = step(x)
            x = self.relu(y + x) if residual else y
        return self.fc(x.mean((2, 3)))


CHAINS = st.lists(
    st.tuples(st.sampled_from(["plain", "norm", "activated", "clipped"]), st.booleans()),
    min_size=1,
    max_size=3,
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(CHAINS, st.sampled_from(SCHEMES), st.integers(1, 5))
def test_random_residual_networks(steps: list[tuple[str, bool]], scheme: str, batch: int) -> None:
    model = Chain(steps).eval()
    net = capture(model, input_shape=(1, 3, 6, 6))
    x = torch.randn(batch, 3, 6, 6)
    expected = model(x)
    assert alike(net(x), expected) < 1e-5
    assert alike(fold_batch_norm(net)(x), expected) < 1e-4
    assert sum(node.op == "add" for node in net.graph.nodes) == sum(residual for _, residual in steps)
    scheduled = apply_scheme(net, scheme)
    assert scheduled.assignment is not None
    assert len(edges(scheduled)) == sum(len(node.inputs) for node in net.graph.nodes) + 1
    quantized = insert_quantizers(
        net, scheduled.assignment, lambda node, tensor_format: nn.Identity(), lambda point: nn.Identity()
    )
    count = len(quantized.module.get_submodule("quantizers")._modules)
    assert count == len(scheduled.assignment.points) + len(scheduled.assignment.weights)
    if not scheduled.assignment.absorbed:
        assert alike(quantized(x), expected) < 1e-5
