"""Fixtures that every room's tests may ask for."""

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Mappings are remembered in a folder of the run's own, never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITJOULE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
