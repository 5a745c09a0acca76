"""Random convolutional chains: groups, stride, padding, bias or none, dead channels, activations, adds."""

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

__all__ = ["CHAINS", "RandomChain", "chain_input", "lived_in"]

CHAINS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 4, "depthwise"]),  # groups
        st.sampled_from([1, 2]),  # stride
        st.sampled_from([0, 1]),  # padding
        st.booleans(),  # bias
        st.booleans(),  # batch norm
        st.sampled_from(["relu", "relu6", "prelu", "none", "hardswish"]),
        st.booleans(),  # a dead channel
        st.booleans(),  # a shortcut, where shapes allow
    ),
    min_size=1,
    max_size=4,
)


class RandomChain(nn.Module):
    """Convolutions of 4 to 8 channels in a row, then pooling, flattening and a classifier."""

    def __init__(self, steps: list[tuple[object, ...]]) -> None:
        super().__init__()
        self.shortcuts = [bool(step[7]) for step in steps]
        blocks = []
        for groups, stride, padding, bias, norm, activation, dead, _ in steps:
            count = 8 if groups == "depthwise" else int(groups)  # type: ignore[call-overload]
            conv = nn.Conv2d(8, 8, 3, stride=stride, padding=padding, groups=count, bias=bias)  # type: ignore[arg-type]
            if dead:
                with torch.no_grad():
                    conv.weight[1].zero_()
            kinds = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "none": nn.Identity}
            act = nn.PReLU(8) if activation == "prelu" else kinds[str(activation)]()
            blocks.append(nn.Sequential(conv, *([nn.BatchNorm2d(8)] if norm else []), act))
        self.stem = nn.Conv2d(4, 8, 1)
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            if min(x.shape[2:]) < 3:
                continue
            y = block(x)
            x = x + y if shortcut and x.shape == y.shape else y
        return self.fc(torch.flatten(self.pool(x), 1))


def chain_input(seed: int) -> Tensor:
    """Images for a RandomChain."""
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def lived_in(model: nn.Module) -> nn.Module:
    """Batch norms with statistics that are not 0 and 1; one gamma is 0."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
            if module.num_features > 4:
                with torch.no_grad():
                    module.weight[2] = 0.0
            if module.running_mean is not None and module.running_var is not None:
                nn.init.normal_(module.running_mean, std=0.3)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model
