"""How fast formats quantize, encode and decode: million elements per second and format, one core.

    python benchmarks/formats.py [--elements 2000000] [--formats POT4,APOT4,...] [--json out.json]

Normal float32 values at scale 0.1; the fastest of --repeat runs. `rint` is `numpy.rint` on the same array.
Successive vector approximation is timed on rows of 576. Goals: INT encode at most 6 times `rint`, 50 M/s for
sets of levels and floats.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bitjoule.formats import parse_format

FORMATS = (
    "INT4,INT8,UINT8,INT16,BIPOLAR,TERNARY,MIDRISE4,MOONS4,POT4,POT4_LOG,POT4_DS,POT6,UPOT4_LOG,APOT4,APOT6,UAPOT4,"
    "SPOT1,SPOT2,SPOT3_9,SPOT4_15,FP16,BF16,FP8_E4M3,FP8_E5M2,FP4_E2M1,SVA1,SVA2"
)
ROW = 576


def rate(call: Callable[[], object], elements: int, repeat: int) -> float:
    """Million elements per second of the fastest call."""
    call()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return elements / min(seconds) / 1e6


def measure(name: str, x: np.ndarray, repeat: int) -> dict[str, float]:
    """Rates of one format; greedy too where it has that rounding."""
    f = parse_format(name)
    if f.kind == "vector":
        rows = x[: len(x) // ROW // 4 * ROW].reshape(-1, ROW)
        scale = f.row_scale(rows)
        return {"quantize": rate(lambda: f.quantize(rows, scale), rows.size, min(repeat, 3))}
    scale = 0.1 if f.fixed_scale is None else f.fixed_scale
    code = f.encode(x, scale)
    rates = {
        "quantize": rate(lambda: f.quantize(x, scale), x.size, repeat),
        "encode": rate(lambda: f.encode(x, scale), x.size, repeat),
        "decode": rate(lambda: f.to_level(code), x.size, repeat),
    }
    if "greedy" in getattr(f, "roundings", ()):
        rates["greedy"] = rate(lambda: f.quantize(x, scale, rounding="greedy"), x.size, min(repeat, 3))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--elements", type=int, default=2_000_000)
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    x = np.random.default_rng(0).normal(size=arguments.elements).astype(np.float32)
    results = {"rint": {"quantize": rate(lambda: np.rint(x), x.size, arguments.repeat)}}
    columns = ("quantize", "encode", "decode", "greedy")
    print(f"{arguments.elements} float32 elements, {platform.processor() or platform.machine()}, M/s")
    print(f"{'':12}" + "".join(f"{column:>10}" for column in columns))
    for name in ("rint", *arguments.formats.split(",")):
        if name not in results:
            results[name] = measure(name, x, arguments.repeat)
        cells = (
            f"{results[name][column]:10.1f}" if column in results[name] else " " * 10 for column in columns
        )
        print(f"{name:12}" + "".join(cells).rstrip(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
