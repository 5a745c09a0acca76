"""Seconds of the integer programme: HiGHS and dynamic programming on chains of the toy (search.md section 9).

python benchmarks/programme.py [--layers 20 53] [--budgets 5]
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.search.toy_programme import toy_programme

from bitjoule.search.programme import Budget, solve
from bitjoule.search.programme_front import budgets_between, exact_front


def main() -> None:
    """Print one line per budget and one for the whole front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[20, 53])
    parser.add_argument("--budgets", type=int, default=5)
    options = parser.parse_args()
    print("layers  widths  solver  budget uJ   loss        status   seconds")
    for layers in options.layers:
        programme = toy_programme(layers, range(2, 9))
        started = time.perf_counter()
        points = exact_front(programme, quantum_pj=1000.0)
        seconds = time.perf_counter() - started
        print(f"{layers:6}  2..8    dp      whole front of {len(points):,} points          {seconds:8.2f}")
        for energy_pj in budgets_between(points[0].energy_pj, points[-1].energy_pj, options.budgets + 2)[
            1:-1
        ]:
            for solver in ("milp", "dp"):
                found = solve(programme, Budget(energy_pj=energy_pj), solver=solver, quantum_pj=1000.0)  # type: ignore[arg-type]
                print(
                    f"{layers:6}  2..8    {solver:6}  {energy_pj / 1e6:9.3f}  {found.loss:9.6f}  "
                    f"{found.status:>8}  {found.seconds:8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
