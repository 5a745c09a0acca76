"""A small accelerator of our own in Timeloop's words, and where the specification's example files are."""

import os
from pathlib import Path

import pytest

__all__ = ["CASES", "EXAMPLES", "HERE", "needs_spec"]

HERE = Path(__file__).resolve().parent
SPEC = Path(os.environ.get("BITJOULE_SPEC", HERE.parents[3] / "shared" / "spec"))
CASES = SPEC / "timeloop_dev_cases.jsonl"
EXAMPLES = SPEC / "timeloop"

needs_spec = pytest.mark.skipif(
    not CASES.is_file() or not EXAMPLES.is_dir(),
    reason=f"no Timeloop cases in {SPEC}; BITJOULE_SPEC names their folder",
)
