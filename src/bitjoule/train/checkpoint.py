"""Checkpoints: one safetensors file with all tensors, everything else as JSON in its header; never a pickle.

A file is written beside its name, flushed to the disk and renamed, so a reader finds the old or the new one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "load_checkpoint",
    "optimizer_tensors",
    "restore_optimizer",
    "save_checkpoint",
    "save_weights",
    "write_json",
]

SCHEMA = "bitjoule.checkpoint/1"
OS_ERROR = re.compile(r"\(os error (\d+)\)")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or belongs to another training."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors in named sections, and a JSON document."""

    document: Mapping[str, object]
    tensors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def section(self, name: str) -> dict[str, Tensor]:
        """Tensors of one section; empty when there is none."""
        return dict(self.tensors.get(name, {}))


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; the folder must exist."""
    flat = {
        f"{section}/{key}": tensor.detach().cpu().contiguous().clone()
        for section, tensors in checkpoint.tensors.items()
        for key, tensor in tensors.items()
    }
    metadata = {"schema": SCHEMA, "document": json.dumps(checkpoint.document, allow_nan=True)}
    _save(path, flat, metadata)


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state dict as plain safetensors, atomically; `zoo.load_weights` reads it."""
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    _save(path, flat, None)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; CheckpointError for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise CheckpointError(
                    f"{path}: schema {metadata.get('schema')!r} is not {SCHEMA!r}; delete the file"
                )
            tensors: dict[str, dict[str, Tensor]] = {}
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                section, _, key = name.partition("/")
                tensors.setdefault(section, {})[key] = file.get_tensor(name)
            return Checkpoint(json.loads(metadata["document"]), tensors)
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: unreadable checkpoint ({error}); delete it to train anew") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as tensors named `index.key`, the index counting parameters over all groups."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        for index, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    document = optimizer.state_dict()
    document["state"] = state
    optimizer.load_state_dict(document)


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a JSON document atomically."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    with _written_beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _save(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None) -> None:
    """safetensors tells a full disk in a text: say it as the OSError it was."""
    with _written_beside(path) as partial:
        try:
            save_file(dict(tensors), partial, metadata=metadata)
        except SafetensorError as error:
            found = OS_ERROR.search(str(error))
            if found is None:
                raise
            number = int(found[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        partial.chmod(0o644)  # safetensors keeps its files to their owner


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A name to write to; renamed to `path` at the end, removed when the writing failed."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        _replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _replace(partial: Path, path: Path) -> None:
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
