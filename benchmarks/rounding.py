"""Rounding and calibration after training: errors against the proven optimum, and seconds on one thread.

    python benchmarks/rounding.py [--large]

Errors: 96 rows of ten correlated inputs against all 1,024 choices of floor and ceil; then AdaRound's strength
on INT3 with clipping at 0.8 of the maximum, relative to nearest rounding, before and after flips. Seconds:
one layer of 64 x 576 (--large: of 512 x 4608 too), and calibrators on eight batches of activations.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bitjoule.formats import parse_format, parse_tensor_format
from bitjoule.quant.calibration import parse_calibrator, weight_params
from bitjoule.quant.rounding import LevelGrid, adaround, flips, gptq, level_grid, quadratic_error

CALIBRATORS = ("minmax", "percentile(p=99.99)", "mse(power=2.4)", "aciq", "entropy")


def correlated(n: int, samples: int, seed: int) -> Tensor:
    """Second moments (1, n, n) of inputs that are mixed and cut at 0."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(samples, n, generator=generator, dtype=torch.float64)
    mixed = (mixed @ torch.randn(n, n, generator=generator, dtype=torch.float64) / n**0.5).relu()
    return (mixed.T @ mixed / samples)[None]


def layer(
    n: int, rows: int, seed: int, name: str, step: float | None = None
) -> tuple[Tensor, Tensor, LevelGrid]:
    """Weights (rows, n), moments, and the grid of `step`, or of 0.8 of each row's maximum."""
    w = torch.randn(rows, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fmt = parse_format(name)
    scale = 0.8 * w.abs().amax(1) / float(fmt.max_level) if step is None else torch.full((rows,), step)
    return w, correlated(n, max(500, 4 * n), seed), level_grid(fmt, scale)


def optimum(w: Tensor, a: Tensor, grid: LevelGrid) -> Tensor:
    """Least error of every row over all choices of the level below and above."""
    low, high = grid.around(w)
    choices = (torch.tensor(pick) for pick in itertools.product((False, True), repeat=w.shape[1]))
    errors = [quadratic_error(grid.values(torch.where(pick, high, low)), w, a) for pick in choices]
    return torch.stack(errors).amin(0)


def against_the_optimum() -> None:
    """Error over the optimum: median, 95th percentile, share of rows that are optimal."""
    found: dict[str, list[Tensor]] = {"nearest": [], "GPTQ": [], "AdaRound": [], "flips": []}
    for seed in range(4):
        w, a, grid = layer(10, 24, seed, "INT8", step=0.15)
        best = optimum(w, a, grid).clamp_min(1e-30)
        near = grid.nearest(w)
        for name, levels in (
            ("nearest", near),
            ("GPTQ", gptq(w, a, grid).levels),
            ("AdaRound", adaround(w, a, grid).levels),
            ("flips", flips(near, w, a, grid)),
        ):
            found[name].append(quadratic_error(grid.values(levels), w, a) / best)
    print("| method | median | 95th percentile | optimal |\n|---|---|---|---|")
    for name, parts in found.items():
        ratio = torch.cat(parts)
        optimal = 100 * float((ratio <= 1 + 1e-9).double().mean())
        print(f"| {name} | {ratio.median():.3f} | {ratio.quantile(0.95):.3f} | {optimal:.0f} % |")


def strengths() -> None:
    """Error over that of nearest rounding, before and after flips, by AdaRound's strength."""
    print("\n| AdaRound's strength | 144 inputs | 576 inputs |\n|---|---|---|")
    layers = [layer(n, 32, 0, "INT3_NARROW") for n in (144, 576)]
    for strength in (0.1, 1.0, 10.0):
        cells = []
        for w, a, grid in layers:
            base = quadratic_error(grid.values(grid.nearest(w)), w, a).sum()
            soft = adaround(w, a, grid, strength=strength).levels
            both = (soft, flips(soft, w, a, grid))
            cells.append(", ".join(f"{quadratic_error(grid.values(x), w, a).sum() / base:.3f}" for x in both))
        print(f"| {strength:g} | {' | '.join(cells)} |")


def seconds(work: Callable[..., object], *inputs: object) -> str:
    """Processor time of `work(*inputs)` after one call that compiles what is to be compiled."""
    work(*inputs)
    begin = time.process_time()
    work(*inputs)
    return f"{time.process_time() - begin:.2f}"


def timings(large: bool) -> None:
    """Seconds of one layer by every method, and of calibrators."""
    print("\n| layer | GPTQ, s | flips, s | AdaRound, s | mse range, s |\n|---|---|---|---|---|")
    for rows, n in ((64, 576), (512, 4608))[: 1 + large]:
        w, a, grid = layer(n, rows, 0, "INT4_NARROW")
        cells = [
            seconds(gptq, w, a, grid),
            seconds(flips, grid.nearest(w), w, a, grid),
            "-" if n > 576 else seconds(adaround, w, a, grid),
            seconds(weight_range, w.float()),
        ]
        print(f"| {rows} x {n} | {' | '.join(cells)} |")
    print("\n| calibrator, 8 batches of 64 x 16 x 32 x 32 | s |\n|---|---|")
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(64, 16, 32, 32, generator=generator).relu() for _ in range(8)]
    for name in CALIBRATORS:
        print(f"| `{name}` | {seconds(calibrate, name, batches)} |")


def weight_range(w: Tensor) -> None:
    """The mse range of every row of a weight."""
    weight_params(w, parse_tensor_format("INT4_NARROW/channel"), parse_calibrator("mse"), name="layer")


def calibrate(name: str, batches: list[Tensor]) -> None:
    """The range of one activation by the calibrator `name`."""
    made = parse_calibrator(name).make("x")
    for batch in batches:
        made.update(batch)
    made.range(parse_tensor_format("UINT4"))


def main() -> int:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="also a layer of 512 x 4608")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    against_the_optimum()
    strengths()
    timings(arguments.large)
    return 0


if __name__ == "__main__":
    sys.exit(main())
