"""Fixtures that every room's tests may ask for."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def bitjoule_data() -> Path:
    """The folder of real data (`BITJOULE_DATA`, default `../shared/data`); skips where it is absent."""
    folder = Path(os.environ.get("BITJOULE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set BITJOULE_DATA to a folder of cifar10/, mnist/, weights/")
    return folder
