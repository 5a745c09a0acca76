"""What a Cost says of N:M pruned weights: what is counted as stored, and that no MAC is skipped."""

from __future__ import annotations

from bitjoule.workload import Workload

__all__ = ["sparsity_notes"]


def sparsity_notes(workload: Workload) -> tuple[str, ...]:
    """One line for a pruned workload, none for a dense one.

    No hardware description says that its units skip zeros, so every MAC is executed and priced: pruning saves
    storage and traffic of weights only.

    >>> from bitjoule.workload import Layer
    >>> sparsity_notes(Workload("net", "w4a4", (Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1),)))
    ()
    """
    sparse = [layer for layer in workload.layers if layer.sparsity is not None]
    if not sparse:
        return ()
    rules = ", ".join(sorted({str(layer.sparsity) for layer in sparse}))
    weighted = sum(layer.has_weights for layer in workload.layers)
    return (
        f"weights of {len(sparse)} of {weighted} layers are pruned {rules}: survivors and their places are "
        "stored and moved, expanded at the MAC units; every MAC is executed, none is skipped",
    )
