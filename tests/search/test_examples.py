"""The examples in the docstrings of this room run."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import bitjoule.search

MODULES = sorted(module.name for module in pkgutil.iter_modules(bitjoule.search.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = import_module(f"bitjoule.search.{name}")
    assert doctest.testmod(module).failed == 0
    assert set(module.__all__) <= set(vars(module))
