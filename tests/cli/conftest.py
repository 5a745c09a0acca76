"""Fixtures of the commands' tests."""

from tests.read_only import read_only_folder

__all__ = ["read_only_folder"]
