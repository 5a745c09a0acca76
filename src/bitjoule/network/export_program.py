"""Run torch.export on a model for any batch, and say in plain words where and why it cannot be."""

from __future__ import annotations

import contextlib
import io
import linecache
import logging
import os
import traceback
from collections.abc import Iterator
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from bitjoule.network.aten_call import is_fixed
from bitjoule.network.regroup import is_leaf

__all__ = ["FIXED_BATCH", "CaptureError", "exported", "first_run"]

FIXED_BATCH = (
    "cannot capture {}: its forward fixes the batch, so other batches cannot run "
    "(write x.view(x.size(0), ...) or x.flatten(1), not a number)"
)
"""Start of the message for a model with a batch of its own."""

TORCH_FOLDER = os.path.dirname(torch.__file__)


class CaptureError(ValueError):
    """A model or an input that cannot be captured; the text says what, where and how to mend it."""


def first_run(model: nn.Module, inputs: tuple[Tensor, ...]) -> object:
    """The model's own outputs for `inputs`, in evaluation mode; a clear error when it cannot take them."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return model.eval()(*inputs)
    except Exception as problem:
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs)
        raise CaptureError(
            f"{type(model).__name__} cannot run inputs of shape {shapes}: {_first_line(problem)}"
            f"{_place(model, problem.__traceback__)}. Give input_shape=(batch, ...) or example_inputs=(...) "
            "as its forward expects them"
        ) from problem


def exported(
    model: nn.Module, inputs: tuple[Tensor, ...], batched: tuple[bool, ...], *, training: bool
) -> ExportedProgram:
    """`model` as an exported program; the first dimension of `batched` inputs, now 2, becomes any batch.

    Raises:
        CaptureError: control flow that depends on data, a fixed batch, or anything else torch.export refuses.
    """
    model.train(training)
    dynamic = tuple({0: Dim.AUTO} if first else None for first in batched)
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.random.fork_rng(devices=[]),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            _quiet("torch.fx.experimental.symbolic_shapes", "torch.__trace"),
            _numeric_momentum(model),
        ):
            program = torch.export.export(model, inputs, dynamic_shapes=dynamic, strict=False)
    except Exception as problem:
        raise CaptureError(_refusal(model, problem)) from problem
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    _check_batch(model, program, batched)
    return program


@contextlib.contextmanager
def _numeric_momentum(model: nn.Module) -> Iterator[None]:
    """Batch norms with momentum=None (a cumulative average) are traced with a number.

    Their update counts calls in a tensor and takes a Python number from it, which no export can follow. The
    capture calls the module itself, whose own momentum is back by then.
    """
    cumulative = [
        module
        for module in model.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.momentum is None and is_leaf(module)
    ]
    try:
        for module in cumulative:
            module.momentum = 0.1
        yield
    finally:
        for module in cumulative:
            module.momentum = None


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Errors only from these loggers: the refusal says what they would, and their traces cost seconds."""
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.ERROR)
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _check_batch(model: nn.Module, program: ExportedProgram, batched: tuple[bool, ...]) -> None:
    """Refuse a program that only works for the two samples it was traced with."""
    sizes = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    for name, first in zip(program.graph_signature.user_inputs, batched, strict=True):
        if first and is_fixed(sizes[str(name)][0]):
            raise CaptureError(
                f"{FIXED_BATCH.format(type(model).__name__)}: it takes only 2 samples of input {str(name)!r}"
            )


def _refusal(model: nn.Module, problem: Exception) -> str:
    place = _place(model, problem.__traceback__)
    kind = type(model).__name__
    if isinstance(problem, GuardOnDataDependentSymNode):
        for path, module in model.named_modules():
            if getattr(module, "momentum", 0) is None and f"in module {path or kind!r}" in place:
                return (
                    f"cannot capture {kind}: batch norm with momentum=None{place} takes a Python number "
                    "from its count of batches. A plain torch.nn.BatchNorm is called whole and may do so; "
                    "this one has hooks or a forward of its own: give it a momentum such as 0.1"
                )
        return (
            f"cannot capture {kind}: its control flow depends on the values of a tensor{place}. A captured "
            "network is one fixed graph: write the choice as arithmetic (relu, clamp, a product), or move "
            "the branch out of forward and capture each side. torch.where and torch.cond can be exported, "
            "but the Graph has no node for them"
        )
    if "is invalid for input of size" in str(problem):
        return f"{FIXED_BATCH.format(kind)}: {_first_line(problem)}{place}"
    return (
        f"cannot capture {kind}: torch.export stopped with {type(problem).__name__}: {_first_line(problem)}"
        f"{place}. Forward must be tensor operations only, and work with a batch of 1 and of 2"
    )


def _first_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__).rstrip(".")


def _place(model: nn.Module, trace: TracebackType | None) -> str:
    """` in module 'a.b' (file.py:12: code)`: the innermost module of the model, its innermost own line."""
    paths = {id(module): path for path, module in model.named_modules()}
    module_name, line = "", ""
    for frame, number in traceback.walk_tb(trace):
        owner = frame.f_locals.get("self")
        if id(owner) in paths:
            module_name = paths[id(owner)] or type(model).__name__
        code = frame.f_code
        file = code.co_filename
        if module_name and not file.startswith(TORCH_FOLDER) and os.path.isfile(file) and file != __file__:
            source = linecache.getline(file, number).strip()
            line = f" ({os.path.basename(file)}:{number}: {source})"
    return f" in module {module_name!r}{line}" if module_name else line
