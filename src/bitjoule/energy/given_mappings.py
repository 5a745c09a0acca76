"""Layers whose nests are given instead of searched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bitjoule.energy.mapping_table import LayerSolver, Solved
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.evaluate import Evaluation, Mode, evaluate
from bitjoule.mapping.infeasible import InfeasibleMapping
from bitjoule.mapping.nest import Mapping as Nest
from bitjoule.mapping.problem import Problem

__all__ = ["GivenMappings"]


@dataclass(frozen=True)
class GivenMapping:
    """A nest that nobody searched for, and its cost."""

    mapping: Nest
    evaluation: Evaluation
    optimal: bool = False


@dataclass(frozen=True)
class GivenMappings:
    """Layers whose nests are given; the others go to the mapper."""

    nests: Mapping[str, Nest]
    otherwise: LayerSolver

    def __call__(self, problem: Problem, accelerator: Accelerator, *, mode: Mode) -> Solved:
        """The given nest, with resident tensors kept where they live.

        Raises:
            InfeasibleMapping: it does not fit.
            MappingError: it is not a nest of this layer.
        """
        if problem.name not in self.nests:
            return self.otherwise(problem, accelerator, mode=mode)
        levels = tuple(
            replace(
                nest,
                keeps=tuple(
                    tensor for tensor in level.keeps if tensor in level.holds or tensor in nest.keeps
                ),
            )
            if nest.name == level.name
            else nest
            for nest, level in zip(self.nests[problem.name].levels, accelerator.levels, strict=False)
        )
        nest = Nest(levels)
        evaluation = evaluate(problem, nest, accelerator, mode=mode)
        if evaluation.violations:
            raise InfeasibleMapping(problem.name, accelerator.name, conflicts=evaluation.violations)
        return GivenMapping(nest, evaluation)
