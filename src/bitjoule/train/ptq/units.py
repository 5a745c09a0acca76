"""Units of reconstruction: runs of nodes between places where one activation alone is alive.

A residual block has two activations alive from its fork to its add, so it is one unit; a plain layer is one
with the activation after it (`ptq.md` section 4.4). A unit begins with the quantizer of what it reads.
"""

from __future__ import annotations

from torch import fx

from bitjoule.train.ptq.trace import Trace, quantizer_of, weight_readers

__all__ = ["units"]


def units(trace: Trace) -> list[list[fx.Node]]:
    """The nodes of a network in order, cut into units with at least one weight layer each.

    What precedes the first layer belongs to the first unit, what follows the last to the last.
    """
    readers = weight_readers(trace.net)
    found: list[list[fx.Node]] = [[]]
    has_layer = False
    for place, node in enumerate(trace.order):
        begins = quantizer_of(trace.net, node) is not None or node in readers
        if has_layer and begins and len(trace.live_after(place - 1)) == 1:
            found.append([])
            has_layer = False
        found[-1].append(node)
        has_layer = has_layer or node in readers
    if not has_layer and len(found) > 1:
        found[-2] += found.pop()
    return found
