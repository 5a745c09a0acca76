"""What a quantized training step costs relative to the float32 step of the same network.

    python benchmarks/qat_step.py [--network resnet20] [--batch 128] [--rounds 15] [--threads 2] [--check]
                                  [--compile]

A step is forward, loss, backward and the optimizer's update, as the training loop does it (channels_last
where there are convolutions). The float32 and quantized steps alternate within one run, so that a busy
machine slows all of them alike; shown is the lower quartile over the rounds and its ratio to float32. Every
edge is quantized, sums included; hpr-w4a4 has a second quantizer on every residual tensor. Target of int8 and
w4a4: 1.25. With --check a miss by more than a fifth exits with 1. --compile adds the same steps through
torch.compile (needs a C++ compiler; a minute each); their ratio is to the float32 step that is not compiled.
Where Brevitas is installed, its 4-bit layers (weights per channel, a quantized ReLU and sum) run beside.

Left out, of what a training does: batches and augmentation, clipping of the gradient, the weight average,
distillation, validation and the re-estimation of batch norm; the ratio of whole trainings is another one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitjoule.network import Network, capture
from bitjoule.train import PRESETS, prepare_qat
from bitjoule.train.parameters import make_optimizer
from bitjoule.zoo import build, input_shape

SCHEMES = ("float32", "int8", "w4a4", "hpr-w4a4")
AIMED = ("int8", "w4a4")
TARGET = 1.25
SLACK = 1.2


class Step:
    """One network with its optimizer, ready to train on a fixed batch."""

    def __init__(
        self, net: Network | nn.Module, images: Tensor, labels: Tensor, compiled: bool = False
    ) -> None:
        module = net.module if isinstance(net, Network) else net
        layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
        module.train().to(memory_format=layout)
        self.images, self.labels = images.contiguous(memory_format=layout), labels
        module(self.images)  # ranges of activations start here
        if isinstance(net, Network):
            self.optimizer = make_optimizer(net, PRESETS["qat_default"])
        else:
            self.optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.forward = torch.compile(module) if compiled else module
        self.seconds: list[float] = []

    def run(self) -> None:
        """One timed step."""
        started = time.perf_counter()
        loss = F.cross_entropy(self.forward(self.images), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - started)


def brevitas_resnet20() -> nn.Module | None:
    """ResNet-20 of Brevitas layers at 4 bits, sums requantized; None where it is not installed."""
    try:
        import brevitas.nn as qnn
    except ImportError:
        return None

    def conv(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
        return qnn.QuantConv2d(
            inputs,
            outputs,
            size,
            stride=stride,
            padding=size // 2,
            bias=False,
            weight_bit_width=4,
            weight_scaling_per_output_channel=True,
        )

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.norm1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.norm2 = conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
            self.act1, self.act2 = qnn.QuantReLU(bit_width=4), qnn.QuantReLU(bit_width=4)
            self.stride, self.padding = stride, (outputs - inputs) // 2

        def forward(self, x: Tensor) -> Tensor:
            skip = x[:, :, :: self.stride, :: self.stride]
            skip = F.pad(skip, (0, 0, 0, 0, self.padding, self.padding)) if self.padding else skip
            y = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
            return self.act2(y + skip)  # type: ignore[no-any-return]

    layers: list[nn.Module] = [conv(3, 16, 3, 1), nn.BatchNorm2d(16), qnn.QuantReLU(bit_width=4)]
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            first = block == 0 and stage > 0
            layers.append(Block(width // 2 if first else width, width, 2 if first else 1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def measure(
    network: str,
    batch: int,
    rounds: int,
    schemes: Sequence[str] = SCHEMES,
    *,
    compiled: Sequence[str] = (),
    peers: bool = True,
) -> dict[str, float]:
    """Seconds per step of every scheme, of those in `compiled` through torch.compile (`name compiled`), and
    of Brevitas' layers with `peers`.
    """
    torch.manual_seed(0)
    shape = input_shape(network, {})
    net = capture(build(network, {}, 0), input_shape=shape)
    images = torch.randn(batch, *shape[1:])
    labels = torch.randint(0, 10, (batch,))
    steps = {scheme: Step(prepare_qat(net, scheme), images, labels) for scheme in schemes}
    for scheme in compiled:
        steps[f"{scheme} compiled"] = Step(prepare_qat(net, scheme), images, labels, compiled=True)
    peer = brevitas_resnet20() if peers and network == "resnet20" else None
    if peer is not None:
        steps["brevitas w4a4"] = Step(peer, images, labels)
    for _ in range(rounds + 2):
        for step in steps.values():
            step.run()
    return {name: statistics.quantiles(step.seconds[2:], n=4)[0] for name, step in steps.items()}


def main() -> int:
    """Parse the command line and print the table; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15, help="timed steps per row, at least 2")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed by a fifth")
    parser.add_argument("--compile", action="store_true", help="also through torch.compile")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error(f"--rounds must be 2 or more for a quartile, not {arguments.rounds}")
    torch.set_num_threads(arguments.threads)
    compiled = SCHEMES if arguments.compile else ()
    seconds = measure(arguments.network, arguments.batch, arguments.rounds, compiled=compiled)
    setting = f"batch {arguments.batch}, {arguments.threads} threads, torch {torch.__version__}"
    print(f"{arguments.network}, {setting}")
    missed = False
    for scheme, value in seconds.items():
        ratio = value / seconds["float32"]
        missed |= scheme in AIMED and ratio > TARGET * SLACK
        verdict = f"  target {TARGET}: {'met' if ratio <= TARGET else 'missed'}" if scheme in AIMED else ""
        print(f"{scheme:18s} {1e3 * value:8.1f} ms  {ratio:5.2f}x{verdict}")
    return int(missed and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
