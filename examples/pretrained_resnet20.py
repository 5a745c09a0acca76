"""A pretrained ResNet-20 through the capture: the same logits, with batch norm folded too, and what it costs.

    BITJOULE_DATA=FOLDER python examples/pretrained_resnet20.py [--images 10000]

FOLDER holds cifar10/ (JPEG Parquet: networks trained on lossless CIFAR-10 lose about ten points there) and
weights/resnet20-12fca82f.th.
"""

import argparse
import os
from pathlib import Path

import torch

import bitjoule as bj
from bitjoule.network import fold_batch_norm
from bitjoule.zoo.data import Preprocessing

IMAGENET = Preprocessing("standard", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="test images, 10,000 in all")
    images = parser.parse_args().images
    folder = Path(os.environ.get("BITJOULE_DATA", "../shared/data"))

    model = bj.zoo.resnet20().eval()
    bj.zoo.load_weights(model, folder / "weights" / "resnet20-12fca82f.th")
    net = bj.capture(model, input_shape=(1, 3, 32, 32)).eval()
    folded = fold_batch_norm(net).eval()

    data = bj.zoo.load_dataset("cifar10", folder / "cifar10", limit_train=100, limit_test=images)
    correct = {"original": 0, "captured": 0, "folded": 0}
    difference = {"captured": 0.0, "folded": 0.0}
    with torch.no_grad():
        for x, labels in bj.zoo.batches(data.test, 500, preprocessing=IMAGENET):
            logits = {"original": model(x), "captured": net(x), "folded": folded(x)}
            for name, value in logits.items():
                correct[name] += int((value.argmax(1) == labels).sum())
            for name in difference:
                largest = (logits[name] - logits["original"]).abs().max().item()
                difference[name] = max(difference[name], largest)
    for name, count in correct.items():
        print(
            f"{name:9} top-1 {100 * count / len(data.test):.2f} % of {len(data.test)} JPEG test images",
            end="",
        )
        print(f", logits differ by at most {difference[name]:.1e}" if name in difference else "")
    for scheme in ("int8", "w4a4", "hpr-w4a4"):
        cost = bj.energy(net, scheme, "moons-4mb")
        print(f"{scheme:9} {cost.energy_uj:.1f} uJ per inference, DRAM share {100 * cost.dram_share:.0f} %")


if __name__ == "__main__":
    main()
