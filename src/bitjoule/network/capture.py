"""Capture any torch.nn.Module as a Network: export, regroup, check.

The capture never changes the caller's model: it works on a deep copy, whose modules then belong to the
Network. It compares itself with the model once, on the example, so a Network that computes something else is
never handed out.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bitjoule.network.build import Built, UnsupportedCall, build
from bitjoule.network.captured_module import CapturedModule
from bitjoule.network.export_program import FIXED_BATCH, CaptureError, exported, first_run
from bitjoule.network.network import Network
from bitjoule.network.slopes import PReLU

__all__ = ["CaptureError", "capture"]

TOLERANCE = 1e-4
"""Largest difference allowed between model and capture, relative to the largest output."""


def capture(
    model: nn.Module,
    *,
    input_shape: tuple[int, ...] | None = None,
    example_inputs: tuple[Tensor, ...] | None = None,
    name: str | None = None,
) -> Network:
    """The Network of a model, for any batch.

    Give either `input_shape`, batch first, or `example_inputs`, one tensor per argument of forward.
    Dimension 0 of every input that is as long as the first one's is the batch. The model is copied, not
    changed; the Network starts with its weights and in its training or evaluation mode, and in-place
    activations become ordinary ones.

    Raises:
        CaptureError: bad arguments; an input the model cannot run; control flow that depends on data;
            operators the Graph cannot hold, all of them in one report.

    >>> net = capture(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), input_shape=(1, 3, 8, 8))
    >>> [(node.name, node.op) for node in net.graph.nodes]
    [('0', 'conv'), ('1', 'relu')]
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(
            f"capture takes a torch.nn.Module, not {type(model).__name__}: build the module first"
        )
    inputs = _example(model, input_shape, example_inputs)
    modes = [module.training for module in model.modules()]
    reference = copy.deepcopy(model)
    batched = tuple(value.dim() > 0 and value.shape[0] == inputs[0].shape[0] for value in inputs)
    first_run(reference, inputs)
    pairs = zip(inputs, batched, strict=True)
    inputs = tuple(torch.cat([value[:1], value[-1:]]) if first else value for value, first in pairs)
    try:
        expected = first_run(reference, inputs)
    except CaptureError as problem:
        raise CaptureError(
            f"{FIXED_BATCH.format(type(model).__name__)}, or its input has no batch dimension: {problem}"
        ) from problem
    notes = _defaults(model, inputs)
    built = _build(model, inputs, batched, name, training=True)
    if not _agree(built.module, inputs, expected):
        built = _build(model, inputs, batched, name, training=False)
        notes += (
            "captured in evaluation mode, because forward itself depends on self.training: "
            "only torch.nn modules (batch norm, dropout) behave differently in training",
        )
        if not _agree(built.module, inputs, expected):
            raise CaptureError(
                f"cannot capture {type(model).__name__}: the captured graph computes something else than the "
                "model, so its forward must change a tensor in place through a view, or depend on state "
                "outside of it. Write the in-place operation as an ordinary one (x = x + y)"
            )
    assert built.module is not None and built.graph is not None
    if not built.graph.outputs:
        raise CaptureError(
            f"cannot capture {type(model).__name__}: nothing it returns is computed from an input, so there "
            "is no network; return the tensor that forward computes"
        )
    added = set(built.module._modules) - set(model._modules)
    own = [module for path, module in _modules(built.module, added) if path]
    for module, mode in zip(own, modes[1:], strict=True):
        module.training = mode
    built.module.training = modes[0]
    for path in added:
        built.module.get_submodule(path).train(modes[0])
    return Network(built.graph, built.module, notes=notes + built.notes)


def _defaults(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[str, ...]:
    """A note on the arguments of forward that the example does not give."""
    fixed = []
    for index, argument in enumerate(inspect.signature(model.forward).parameters.values()):
        given = index < len(inputs) and argument.kind is not inspect.Parameter.KEYWORD_ONLY
        if not given and argument.default is not inspect.Parameter.empty:
            fixed.append(f"{argument.name}={argument.default!r}")
    if not fixed:
        return ()
    return (f"arguments of forward that the example does not give are fixed: {', '.join(fixed)}",)


def _modules(module: CapturedModule, added: set[str]) -> list[tuple[str, nn.Module]]:
    return [(path, part) for path, part in module.named_modules() if path.split(".")[0] not in added]


def _build(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    batched: tuple[bool, ...],
    name: str | None,
    *,
    training: bool,
) -> Built:
    copied = copy.deepcopy(model)
    program = exported(copied, inputs, batched, training=training)
    built = build(program, copied, name or type(model).__name__, training=training)
    for module in copied.modules():
        if type(module) is nn.PReLU:
            module.__class__ = PReLU  # the same module with a faster backward pass on processors
    if built.unsupported:
        raise CaptureError(_report(type(model).__name__, built.unsupported))
    return built


def _example(
    model: nn.Module, input_shape: tuple[int, ...] | None, example_inputs: tuple[Tensor, ...] | None
) -> tuple[Tensor, ...]:
    """The example as tensors on the device of the model."""
    if (input_shape is None) == (example_inputs is None):
        given = "neither" if input_shape is None else "both"
        raise CaptureError(
            "capture needs either input_shape=(1, 3, 32, 32) or example_inputs=(tensor, ...), "
            f"and got {given}"
        )
    weight = next((value for value in model.parameters() if value.is_floating_point()), torch.empty(0))
    if input_shape is not None:
        shape = tuple(input_shape) if isinstance(input_shape, list | tuple) else ()
        if len(shape) < 2 or not all(type(size) is int and size > 0 for size in shape):
            raise CaptureError(
                "input_shape must be the batch and at least one more size, all positive integers, "
                f"such as (1, 3, 32, 32), not {input_shape!r}"
            )
        generator = torch.Generator().manual_seed(0)
        return (torch.randn(shape, generator=generator).to(weight.device, weight.dtype),)
    if isinstance(example_inputs, Tensor):
        raise CaptureError(
            "example_inputs must be a tuple with one tensor per argument of forward: (tensor,), not a tensor"
        )
    if not isinstance(example_inputs, list | tuple) or not example_inputs:
        raise CaptureError(f"example_inputs must be a tuple of tensors, not {example_inputs!r}")
    for index, value in enumerate(example_inputs):
        if not isinstance(value, Tensor):
            raise CaptureError(
                f"example_inputs[{index}] must be a tensor, not {type(value).__name__}; wrap the model in a "
                "module that fixes its other arguments"
            )
    if example_inputs[0].dim() == 0:
        raise CaptureError("example_inputs[0] must have a batch dimension, not shape ()")
    return tuple(value.detach().to(weight.device) for value in example_inputs)


def _agree(module: CapturedModule | None, inputs: tuple[Tensor, ...], expected: object) -> bool:
    """True when the capture gives the model's outputs."""
    assert module is not None
    found = first_run(module, inputs)
    left, left_spec = pytree.tree_flatten(expected)
    right, right_spec = pytree.tree_flatten(found)
    if left_spec != right_spec:
        return False
    for a, b in zip(left, right, strict=True):
        if not isinstance(a, Tensor):
            if a != b:
                return False
        elif a.shape != b.shape or a.dtype != b.dtype:
            return False
        elif a.is_floating_point():
            scale = float(a.detach().abs().nan_to_num(0.0, 0.0, 0.0).amax()) if a.numel() else 0.0
            if not torch.allclose(a, b, rtol=0.0, atol=TOLERANCE * max(scale, 1e-30), equal_nan=True):
                return False
        elif not torch.equal(a, b):
            return False
    return True


def _report(model: str, calls: tuple[UnsupportedCall, ...]) -> str:
    """All unsupported operators: module path, operator, count, reason."""
    counts = Counter(calls)
    rows = []
    for call, count in counts.items():
        where = f"module {call.module!r}" if call.module else "the model's own forward"
        line = f" ({call.line})" if call.line else ""
        reason = f": {call.reason}" if call.reason else ""
        rows.append(f"  {call.operator} x{count} in {where}{line}{reason}")
    noun = "operator is" if len(rows) == 1 else "operators are"
    return (
        f"cannot capture {model}: {len(rows)} {noun} not supported\n"
        + "\n".join(rows)
        + "\nWrite them with supported operators (docs/network.md lists them), or move them out of the model"
    )
