"""What a hardware cannot run: a result of its own, stored by studies, never a cost of zero."""

from __future__ import annotations

__all__ = ["Infeasible"]


class Infeasible(ValueError):
    """A workload that this hardware cannot run.

    `layer` names the layer or step, `reason` says what it needs and what the hardware has, `remedy` what
    would mend it.

    >>> print(Infeasible("conv1", "takes FP16 x FP16, the core multiplies 1, 2, 4 and 8 bits", "choose int8"))
    conv1 takes FP16 x FP16, the core multiplies 1, 2, 4 and 8 bits; choose int8
    """

    def __init__(self, layer: str, reason: str, remedy: str) -> None:
        self.layer = layer
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{layer} {reason}; {remedy}")

    def __reduce__(self) -> tuple[type[Infeasible], tuple[str, str, str]]:
        return type(self), (self.layer, self.reason, self.remedy)
