"""Find the torch.nn modules in an exported graph: which aten calls were one call of one leaf module.

`torch.export` notes with every aten call the stack of modules that ran it. A leaf module of `LEAVES` whose
forward is a single call on activations is put back as a call of that module, so its parameters keep their
names and its behaviour in training (batch statistics, dropout) stays. Everything else (attention, modules
with hooks, subclasses with a forward of their own) stays as the aten calls it made.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

__all__ = ["LEAVES", "LeafCall", "Role", "is_leaf", "leaf_calls", "module_path", "roles_of"]

LEAVES: tuple[type[nn.Module], ...] = (
    *(nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear, nn.Embedding),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm),
    *(nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh),
    *(nn.Softmax, nn.Hardswish, nn.Hardsigmoid, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    *(nn.Flatten, nn.Unflatten, nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d),
)
"""Modules that are put back whole."""

Role = Literal["activation", "static", "shape", "effect"]
"""What an exported node is: computed from an input; from parameters only; a size; nothing (an assertion)."""


@dataclass(frozen=True)
class LeafCall:
    """One call of a leaf module: `core` is its only aten call on activations, `source` what it read."""

    path: str
    core: fx.Node
    source: fx.Node


def roles_of(graph: fx.Graph, inputs: frozenset[str]) -> dict[fx.Node, Role]:
    """The role of every node; `inputs` names the placeholders that are the network's inputs."""
    roles: dict[fx.Node, Role] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            roles[node] = "activation" if node.name in inputs else "static"
        elif node.op == "output":
            continue
        else:
            value = node.meta.get("val")
            made = value if isinstance(value, list | tuple) else (value,)
            reads = any(roles[source] == "activation" for source in node.all_input_nodes)
            if any(isinstance(item, torch.Tensor) for item in made):
                roles[node] = "activation" if reads else "static"
            elif value is None and not node.users:
                roles[node] = "effect"
            else:
                roles[node] = "shape" if value is not None or not reads else "activation"
    return roles


def module_path(node: fx.Node) -> str:
    """Path of the module whose forward made this call, "" for the root."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values() if not str(path).startswith("_empty_nn_module")]
    return paths[-1] if paths else ""


def leaf_calls(
    graph: fx.Graph, model: nn.Module, roles: Mapping[fx.Node, Role]
) -> tuple[dict[fx.Node, LeafCall], frozenset[fx.Node]]:
    """The calls of leaf modules by their core node, and all nodes that such a call stands for."""
    groups: dict[tuple[str, ...], list[fx.Node]] = {}
    paths: dict[tuple[str, ...], str] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for node in graph.nodes:
        if node.op != "call_function" or not (stack := node.meta.get("nn_module_stack")):
            continue
        if node.target is operator.getitem:  # picks a result; the call itself decides
            continue
        keys = tuple(stack)
        for depth, (path, _) in enumerate(stack.values()):
            if path and path in modules and is_leaf(modules[path]):
                key = keys[: depth + 1]
                groups.setdefault(key, []).append(node)
                paths[key] = path
                break
    calls: dict[fx.Node, LeafCall] = {}
    covered: set[fx.Node] = set()
    for key, nodes in groups.items():
        cores = [node for node in nodes if roles[node] == "activation"]
        if len(cores) != 1:
            continue
        sources = {source for source in cores[0].all_input_nodes if roles[source] == "activation"}
        if len(sources) == 1:
            calls[cores[0]] = LeafCall(paths[key], cores[0], sources.pop())
            covered.update(nodes)
    return calls, frozenset(covered)


def is_leaf(module: nn.Module) -> bool:
    """True when calling the module does what its torch.nn class says, and nothing besides."""
    if module._forward_hooks or module._forward_pre_hooks or parametrize.is_parametrized(module):
        return False
    if getattr(module, "return_indices", False):
        return False  # two results
    if "weight" in module.__dict__:
        return False  # a computed weight (torch.nn.utils.weight_norm of old): not a parameter of this module
    kind = next((leaf for leaf in LEAVES if isinstance(module, leaf)), None)
    if kind is None:
        return False
    own = type(module).__mro__[: type(module).__mro__.index(kind)]
    return not any({"forward", "_conv_forward", "__call__"} & set(vars(level)) for level in own)
