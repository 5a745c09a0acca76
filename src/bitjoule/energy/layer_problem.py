"""The Problem of a layer in a network on a hierarchy, or why this hardware cannot run it."""

from __future__ import annotations

from bitjoule.energy.infeasible import Infeasible
from bitjoule.hardware import Hardware
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Mode
from bitjoule.mapping.layer_problem import problem_of
from bitjoule.mapping.problem import Problem
from bitjoule.workload import Layer

__all__ = ["layer_problem"]


def layer_problem(layer: Layer, hardware: Hardware, accelerator: Accelerator, mode: Mode) -> Problem:
    """What the mapper needs of `layer`.

    Raises:
        Infeasible: its Formats have no price, or in paper mode are wider than the words of a level that
            cannot let the tensor pass.
    """
    try:
        problem = problem_of(layer, hardware, mode=mode)
    except ValueError as error:
        reason, _, remedy = str(error).partition("; ")
        raise Infeasible(
            layer.name, f"cannot be priced on {hardware.name}: {reason}", remedy or "choose other Formats"
        ) from None
    if mode == "paper":
        _check_words(problem, accelerator)
    return problem


def _check_words(problem: Problem, accelerator: Accelerator) -> None:
    """Paper mode puts whole elements into words."""
    widths = {"weights": problem.weight_bits, "inputs": problem.input_bits, "outputs": problem.output_bits}
    for level in accelerator.levels:
        for tensor in level.keeps:
            bits = widths[tensor]
            if bits is not None and bits > level.word_bits and tensor not in level.bypass_allowed:
                raise Infeasible(
                    problem.name,
                    f"has {tensor} of {bits} bits, and in paper mode {level.name} of {accelerator.name} "
                    f"takes 1..{level.word_bits}",
                    f"choose mode physical, or at most {level.word_bits} bits",
                )
