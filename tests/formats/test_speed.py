"""Speed of the hot paths on 2 million float32 elements, in CPU time, relative to NumPy or per second."""

import subprocess
import sys
import time

import numpy as np
import pytest

from bitjoule.formats import parse_format

COUNT = 2_000_000


def best_seconds(call, repeats=15):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=COUNT).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INT4", "INT8", "UINT8", "INT16"])
def test_integer_encode_is_at_most_six_roundings(name, x):
    f = parse_format(name)
    assert best_seconds(lambda: f.encode(x, 0.1)) <= 6 * best_seconds(lambda: np.rint(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("FP16", "BF16", "FP8_E4M3", "FP4_E2M1", "FLOAT32", "BIPOLAR", "MIDRISE4"),
        *("POT4", "POT4_LOG", "POT4_DS", "UPOT4_LOG", "APOT4", "APOT7", "SPOT2", "SPOT3_9"),
    ],
)
def test_fifty_million_elements_a_second(name, x):
    f = parse_format(name)
    code = f.encode(x, 0.1)
    for call in (lambda: f.quantize(x, 0.1), lambda: f.encode(x, 0.1), lambda: f.to_level(code)):
        assert COUNT / best_seconds(call) >= 50e6


@pytest.mark.slow
def test_import_takes_at_most_150_ms():
    code = "import time; t = time.process_time(); import bitjoule.formats; print(time.process_time() - t)"
    command = [sys.executable, "-c", code]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5)]
    assert min(times) <= 0.15
