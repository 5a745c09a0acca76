"""Docstring examples print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import bitjoule.quant.calibration as room

NAMES = [room.__name__, *(f"{room.__name__}.{m.name}" for m in pkgutil.iter_modules(room.__path__))]


@pytest.mark.parametrize("name", NAMES)
def test_docstring_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
