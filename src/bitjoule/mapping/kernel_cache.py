"""Compiled code on disk is as new as every kernel file.

numba keeps compiled functions in `__pycache__` and renews one when its own file changes, but not when a file
changes whose functions it calls.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["drop_stale"]


def drop_stale(folder: Path = Path(__file__).parent) -> None:
    """Delete compiled kernels that are older than any kernel file of `folder`."""
    newest = max((path.stat().st_mtime for path in folder.glob("kernel_*.py")), default=0.0)
    for path in (folder / "__pycache__").glob("kernel_*.nb[ic]"):
        try:
            if path.stat().st_mtime < newest:
                path.unlink()
        except OSError:
            continue  # another process was faster, or the folder is not ours to change
