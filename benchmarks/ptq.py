"""Post-training quantization of one network: our presets, and other tools where they are installed.

    BITJOULE_DATA=FOLDER python benchmarks/ptq.py [--network resnet20] [--option KEY=VALUE]...
        [--weights resnet20-12fca82f.th] [--normalise imagenet|signed|unit] [--schemes w8a8,w4a4]
        [--presets fast,best] [--set FIELD=VALUE]... [--seeds 0,1,2] [--images 10000] [--choose]
        [--held 2000] [--apart 1000] [--json FILE]
        [--peers] [--python PATH]... [--tools Brevitas,AIMET,...] [--recipes default]

FOLDER holds cifar10/ (JPEG Parquet) and weights/; --weights is a name in weights/ or the path of a file, and
--normalise says what it was trained with. Protocol: 512 calibration images of the training split
drawn by the seed, no labels; top-1 on the test images; every convolution, the linear layer, the image and
the operands of adds at the stated width (`first=same, last=same, preadd=b`). Seconds are wall and processor
time without evaluation. Recipes were chosen on training images that were not used for calibration (`--choose`
shows these numbers, and runs no network on a test image), not on the test images; the spread over seeds is
shown. `--apart 1000` first scales the channels inside every residual block apart, the function kept.
`--peers` runs Brevitas, AIMET, NNCF, torchao and ONNX Runtime on the same weights, calibration images and
test images; each where it is installed: the running interpreter, or one that --python names.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from ptq_peers import TOOLS, Answer, Job, run_peers, widths
from torch import Tensor

import bitjoule as bj
from bitjoule.cli.network_argument import parse_settings
from bitjoule.train.ptq import configured, preset_config, ptq
from bitjoule.zoo.data import Preprocessing, Split

NORMALISED = {
    "imagenet": Preprocessing("standard", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "signed": Preprocessing("signed"),
    "unit": Preprocessing("unit"),
}
POOL, HELD = 6000, 2000


@dataclass(frozen=True)
class Row:
    """One run: top-1 in percent on `split`; without numbers the note is the reason."""

    tool: str
    scheme: str
    preset: str
    seed: int | None
    split: str
    top1: float | None
    agreement: float | None
    wall_s: float | None
    cpu_s: float | None
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="resnet20-12fca82f.th", help="a name in weights/, or a path")
    parser.add_argument("--network", default="resnet20", help="a network of the zoo")
    parser.add_argument("--option", action="append", default=[], help="a network option, KEY=VALUE")
    parser.add_argument("--normalise", choices=tuple(NORMALISED), default="imagenet", help="of the images")
    parser.add_argument("--schemes", default="w8a8,w6a6,w4a8,w4a4")
    parser.add_argument("--presets", default="fast,best", help="of ours; an empty text: none")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--images", type=int, default=10_000, help="test images, 10,000 in all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--choose", action="store_true", help="held-out training images, not the test images")
    parser.add_argument("--held", type=int, default=HELD, help="held-out training images of --choose")
    parser.add_argument("--set", action="append", default=[], help="a field of every recipe, FIELD=VALUE")
    parser.add_argument("--apart", type=float, default=1.0, help="ratio of the ranges of a block's channels")
    parser.add_argument("--peers", action="store_true", help="run other tools where they are installed")
    parser.add_argument("--python", action="append", default=[], help="an interpreter that has some of them")
    parser.add_argument("--tools", default=",".join(tool.name for tool in TOOLS), help="which other tools")
    parser.add_argument("--recipes", choices=("all", "default"), default="all", help="of each other tool")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tools = [tool for tool in TOOLS if tool.name in arguments.tools.split(",")]
    if unknown := set(arguments.tools.split(",")) - {tool.name for tool in tools}:
        parser.error(f"--tools: {', '.join(unknown)}; there are {', '.join(tool.name for tool in TOOLS)}")
    folder = Path(os.environ.get("BITJOULE_DATA", "../shared/data"))
    options = parse_settings(arguments.option)
    model = bj.zoo.build(arguments.network, options, 0)
    bj.zoo.load_weights(model, weights_file(folder, arguments.weights))
    scale_apart(model, arguments.apart)
    net = bj.capture(model.eval(), input_shape=(1, 3, 32, 32), name=arguments.network).eval()
    normalised = NORMALISED[arguments.normalise]
    if not 1 <= arguments.held <= HELD:
        parser.error(f"--held must be 1 .. {HELD}, not {arguments.held}")
    limit = 1 if arguments.choose else arguments.images
    data = bj.zoo.load_dataset("cifar10", folder / "cifar10", limit_test=limit)
    pool, pool_labels = first(data.train, POOL + HELD, normalised)
    if arguments.choose:
        split, images, labels = "held-out training", pool[POOL:], pool_labels[POOL:]
        images, labels = images[: arguments.held], labels[: arguments.held]
    else:
        split = "test"
        images, labels = first(data.test, arguments.images, normalised)
    wanted = results(net, images)
    print(f"{arguments.weights}: float {top1(wanted, labels):.2f} % of {len(images)} {split} images")
    rows: list[Row] = []
    for base in arguments.schemes.split(","):
        scheme = base if "[" in base else f"{base}[first=same,last=same,preadd=b]"
        for preset in filter(None, arguments.presets.split(",")):
            for seed in map(int, arguments.seeds.split(",")):
                calibration = None if preset == "data-free" else drawn(pool[:POOL], seed)
                wall, cpu = time.perf_counter(), time.process_time()
                config = configured(preset_config(preset), arguments.set) if arguments.set else None
                made = ptq(net, calibration, scheme, preset=preset, config=config, seed=seed)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                found = results(made, images)
                agreement = top1(found, wanted.argmax(1))
                rows.append(
                    Row("bitjoule", base, preset, seed, split, top1(found, labels), agreement, wall, cpu)
                )
                tell(rows[-1])
    if arguments.peers:
        drawings = {f"calibration/{s}": drawn(pool[:POOL], s) for s in map(int, arguments.seeds.split(","))}
        weights = {f"weights/{name}": value for name, value in model.state_dict().items()}
        job = Job(
            arguments.network,
            options,
            {base: bits for base in arguments.schemes.split(",") if (bits := widths(base))},
            tuple(map(int, arguments.seeds.split(","))),
            arguments.threads,
            {"images": images, "labels": labels, "float_logits": wanted, **drawings, **weights},
            arguments.recipes == "all",
        )
        run_peers(job, arguments.python, tools, lambda answer: rows.append(tell(row_of(answer, split))))
        for base in set(arguments.schemes.split(",")) - set(job.schemes):
            rows.append(
                Row("other tools", base, "-", None, split, None, None, None, None, "only wNaM is asked")
            )
    show(rows)
    print(
        f"top-1 of {split} images, float {top1(wanted, labels):.2f} %; spread: greatest less least of seeds "
        f"{arguments.seeds}. Recipes were chosen on training images, none on test images."
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


@torch.no_grad()
def scale_apart(model: torch.nn.Module, ratio: float) -> None:
    """Scale the channels between bn1 and conv2 of every block by factors `ratio` apart, undone in conv2."""
    for path, norm in model.named_modules():
        if ratio != 1 and path.endswith(".bn1") and isinstance(norm, torch.nn.BatchNorm2d):
            weight = model.get_parameter(path.removesuffix("bn1") + "conv2.weight")
            factor = torch.logspace(0, 1, norm.num_features, base=ratio) / ratio**0.5
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
            weight.div_(factor.view(1, -1, 1, 1))


def weights_file(folder: Path, name: str) -> Path:
    """`name` in the folder's weights/, else the path `name`; an absolute path is itself."""
    inside = folder / "weights" / name
    return inside if inside.is_file() or not Path(name).is_file() else Path(name)


def first(
    split: Split, count: int, normalised: Preprocessing = NORMALISED["imagenet"]
) -> tuple[Tensor, Tensor]:
    """The first `count` images and labels of a split, as the network takes them."""
    images, labels = [], []
    for x, y in bj.zoo.batches(split, 500, preprocessing=normalised):
        images.append(x)
        labels.append(y)
        if sum(map(len, images)) >= count:
            break
    return torch.cat(images)[:count], torch.cat(labels)[:count]


def drawn(pool: Tensor, seed: int, count: int = 512) -> Tensor:
    """Calibration images."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    return pool[order[:count]]


@torch.no_grad()
def results(net: bj.Network, images: Tensor) -> Tensor:
    """Logits of all images."""
    parts = (p.contiguous(memory_format=torch.channels_last) for p in torch.split(images, 250))
    return torch.cat([net(part) for part in parts])


def top1(logits: Tensor, labels: Tensor) -> float:
    """Percent of rows whose greatest value stands at the label."""
    return 100 * float((logits.argmax(1) == labels).double().mean())


def row_of(answer: Answer, split: str) -> Row:
    """A run of another tool."""
    numbers = answer.top1, answer.agreement, answer.wall_s, answer.cpu_s
    note = answer.reason or answer.note
    return Row(answer.tool, answer.scheme, answer.recipe, answer.seed, split, *numbers, note)


def tell(row: Row) -> Row:
    """Progress: one run."""
    name = f"  {row.scheme} {row.tool} {row.preset}" + ("" if row.seed is None else f" seed {row.seed}")
    print(
        f"{name}: {row.note}" if row.top1 is None else f"{name}: {row.top1:.2f} %, {row.cpu_s:.1f} CPU-s",
        flush=True,
    )
    return row


def show(rows: list[Row]) -> None:
    """Mean and spread over seeds; a row without numbers says why."""
    keys = list(dict.fromkeys((row.scheme, row.tool, row.preset) for row in rows))
    schemes = list(dict.fromkeys(row.scheme for row in rows))
    wide = 2 + max((len(f"{tool}: {preset}") for _, tool, preset in keys), default=0)
    head = ("seeds", 6), ("top-1 %", 9), ("spread", 8), ("agree %", 9), ("wall s", 8), ("CPU-s", 8)
    print(f"{'scheme':8}{'recipe':{wide}}" + "".join(f"{text:>{width}}" for text, width in head))
    for key in sorted(keys, key=lambda key: schemes.index(key[0])):
        these = [row for row in rows if (row.scheme, row.tool, row.preset) == key]
        name, there = (
            f"{key[0]:8}{f'{key[1]}: {key[2]}':{wide}}",
            [row for row in these if row.top1 is not None],
        )
        for reason in dict.fromkeys(row.note for row in these if row.top1 is None):
            print(f"{name}{'-':>6}  {reason}")
        if there:
            values = [row.top1 for row in there if row.top1 is not None]
            agreement, wall, cpu = (
                statistics.fmean(getattr(row, field) for row in there)
                for field in ("agreement", "wall_s", "cpu_s")
            )
            print(
                f"{name}{len(there):6}{statistics.fmean(values):9.2f}{max(values) - min(values):8.2f}"
                f"{agreement:9.2f}{wall:8.1f}{cpu:8.1f}  {there[0].note}".rstrip()
            )


if __name__ == "__main__":
    main()
