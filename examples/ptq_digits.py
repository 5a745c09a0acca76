"""A network of your own, trained in plain PyTorch, quantized after training, on the embedded digits.

    python examples/ptq_digits.py [--output FOLDER]

Takes about ten seconds and no data file. Prints accuracy and energy at several widths, with images and
without, and the layer that suffers most. docs/ptq.md explains every step.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

import bitjoule as bj
from bitjoule.train.ptq import load_quantized, save_quantized


class Digits(nn.Module):
    """A depthwise separable block with a residual add: any module that torch.export takes will do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.pointwise = nn.Conv2d(16, 16, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(16)
        self.activation = nn.Hardswish()
        self.pool = nn.AvgPool2d(2)
        self.classifier = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.activation(self.depthwise_norm(self.depthwise(x)))
        x = x + self.pointwise_norm(self.pointwise(y))
        x = self.pool(x)
        return self.classifier(torch.flatten(x, 1))


def trained(data: bj.zoo.Dataset, epochs: int) -> nn.Module:
    """Stands for the network that you have: an ordinary training loop, nothing of bitjoule in it."""
    torch.manual_seed(0)
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for x, labels in bj.zoo.batches(data.train, 64, preprocessing=data.preprocessing):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", help="folder for the last result; none is kept without it")
    output = parser.parse_args().output
    data = bj.zoo.load_dataset("digits")
    model = trained(data, epochs=4)

    # 1. the module as a Network. Quantization reads its batch norms, so evaluation mode
    net = bj.capture(model, input_shape=data.input_shape).eval()
    # 2. training images as the network was trained on (normalised), without labels; 512 are enough
    images = next(iter(bj.zoo.batches(data.train, 256, preprocessing=data.preprocessing)))[0]

    def accuracy(network: bj.Network) -> str:
        return f"{100 * bj.train.measure(network, data.test, data.preprocessing).fraction:.1f} %"

    print(f"{'float':30} {accuracy(net)}")
    for scheme in ("w8a8", "w4a8", "w4a4", "w3a4[first=same,last=same]"):
        # 3. a new Network; `net` stays as it is
        quantized = bj.ptq(net, images, scheme)
        energy = bj.energy(quantized, hardware="moons-4mb").energy_uj
        print(f"{scheme:30} {accuracy(quantized)}   {1000 * energy:.1f} nJ per inference")
    free = bj.ptq(net, None, "w8a8", preset="data-free")
    print(f"{'w8a8 without any image':30} {accuracy(free)}")

    worst = quantized.quantization_report.worst_layer
    if worst is not None:
        print(f"{scheme}: the worst layer is {worst.name}, {worst.output_sqnr_db:.1f} dB")

    # 4. to a folder and back: the float network says the structure, all values come from the folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(output or temporary)
        save_quantized(folder, quantized)
        again = load_quantized(folder, net)
        print(f"saved, loaded, equal: {torch.equal(again(images), quantized(images))}")


if __name__ == "__main__":
    main()
