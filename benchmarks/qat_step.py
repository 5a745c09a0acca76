"""What a quantized training step costs relative to the float32 step of the same network.

    python benchmarks/qat_step.py [--network resnet20] [--batch 128] [--rounds 15] [--threads 2] [--check]

A step is forward, loss, backward and the optimizer's update, as the training loop does it (channels_last
where there are convolutions). The float32 and quantized steps alternate within one run, so that a busy
machine slows all of them alike; shown is the lower quartile over the rounds and its ratio to float32. Target
of int8 and w4a4: 1.35 on a CPU; hpr-w4a4 has a second quantizer on every residual tensor.
With --check a missed target exits with 1.

Left out, of what a training does: batches and augmentation, clipping of the gradient, the weight average,
distillation, validation and the re-estimation of batch norm; the ratio of whole trainings is another one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from bitjoule.network import Network, capture
from bitjoule.train import PRESETS, prepare_qat
from bitjoule.train.parameters import make_optimizer
from bitjoule.zoo import build, input_shape

SCHEMES = ("float32", "int8", "w4a4", "hpr-w4a4")
AIMED = ("int8", "w4a4")
TARGET = 1.35


class Step:
    """One network with its optimizer, ready to train on a fixed batch."""

    def __init__(self, net: Network, scheme: str, images: Tensor, labels: Tensor) -> None:
        self.net = prepare_qat(net, scheme).train()
        layout = torch.channels_last if images.dim() == 4 else torch.contiguous_format
        self.net.to(memory_format=layout)
        self.images, self.labels = images.contiguous(memory_format=layout), labels
        self.optimizer = make_optimizer(self.net, PRESETS["qat_default"])
        self.seconds: list[float] = []

    def run(self) -> None:
        """One timed step."""
        started = time.perf_counter()
        loss = F.cross_entropy(self.net(self.images), self.labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - started)


def measure(network: str, batch: int, rounds: int) -> dict[str, float]:
    """Seconds per step of every scheme."""
    torch.manual_seed(0)
    shape = input_shape(network, {})
    net = capture(build(network, {}, 0), input_shape=shape)
    images = torch.randn(batch, *shape[1:])
    labels = torch.randint(0, 10, (batch,))
    steps = {scheme: Step(net, scheme, images, labels) for scheme in SCHEMES}
    for _ in range(rounds + 2):
        for step in steps.values():
            step.run()
    return {scheme: statistics.quantiles(step.seconds[2:], n=4)[0] for scheme, step in steps.items()}


def main() -> int:
    """Parse the command line and print the table; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    seconds = measure(arguments.network, arguments.batch, arguments.rounds)
    setting = f"batch {arguments.batch}, {arguments.threads} threads, torch {torch.__version__}"
    print(f"{arguments.network}, {setting}")
    missed = False
    for scheme, value in seconds.items():
        ratio = value / seconds["float32"]
        missed |= scheme in AIMED and ratio > TARGET
        verdict = f"  target {TARGET}: {'met' if ratio <= TARGET else 'missed'}" if scheme in AIMED else ""
        print(f"{scheme:10s} {1e3 * value:8.1f} ms  {ratio:5.2f}x{verdict}")
    return int(missed and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
