"""Every code block of docs/formats.md and every docstring example runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import bitjoule.formats
from bitjoule.formats import names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block(block, capsys, monkeypatch):
    monkeypatch.setattr(names, "_FAMILIES", dict(names._FAMILIES))
    exec(compile(block, str(PAGE), "exec"), {"__name__": "docs"})
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^print\(.*\)  # (.+)$", block, flags=re.M)
    assert [line.split() for line in printed if promised] == [line.split() for line in promised]


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(bitjoule.formats.__path__)])
def test_docstring_examples(module):
    assert doctest.testmod(importlib.import_module(f"bitjoule.formats.{module}")).failed == 0
