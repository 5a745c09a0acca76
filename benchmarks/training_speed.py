"""Training speed of one network in many formats: milliseconds per step, compiled and not.

    python benchmarks/training_speed.py [--network resnet20] [--batch 128] [--rounds 9] [--threads 1]
                                        [--eager]

Rows: float32, LSQ at 8 and at 4 bits (weights and activations), BIPOLAR, the same with repairs (a second
shortcut of 16 bits, two shifts and a PReLU per convolution are work of their own), APOT4 weights with UAPOT4
activations (reparametrised clip, weight normalisation), and FP8 under an observed range. Steps are those of
`qat_step.py`. Each row is printed when it is measured: its steps alternate with float32 steps of its own, and
the ratios are to these, which are not compiled; the lower quartile over the rounds. --eager leaves
torch.compile out, which needs a C++ compiler and about a minute per row.
"""

from __future__ import annotations

import argparse
import sys

import torch
from qat_step import measure

ROWS = {
    "float32": "float32",
    "LSQ W8A8": "int8",
    "LSQ W4A4": "w4a4",
    "BIPOLAR": "w1a1",
    "BIPOLAR, repaired": "w1a1+double_residual+rprelu+grad=approx+scale_xnor",
    "APOT4": "wAPOT4aUAPOT4",
    "FP8 E4M3": "wFP8_E4M3aFP8_E4M3",
}


def main() -> int:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9, help="timed steps per row, at least 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error(f"--rounds must be 2 or more for a quartile, not {arguments.rounds}")
    torch.set_num_threads(arguments.threads)
    setting = f"batch {arguments.batch}, {arguments.threads} threads, torch {torch.__version__}"
    print(f"{arguments.network}, {setting}", flush=True)
    print("| format | ms per step | ratio | compiled, ms | ratio |\n|---|---|---|---|---|", flush=True)
    for row, scheme in ROWS.items():
        seconds = measure(
            arguments.network,
            arguments.batch,
            arguments.rounds,
            tuple(dict.fromkeys(("float32", scheme))),
            compiled=() if arguments.eager else (scheme,),
            peers=False,
        )
        cells = []
        for key in (scheme, f"{scheme} compiled"):
            found = seconds.get(key)
            cells += (
                ["-", "-"] if found is None else [f"{1e3 * found:.0f}", f"{found / seconds['float32']:.2f}"]
            )
        print(f"| {row} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
