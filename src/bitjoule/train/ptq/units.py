"""Units of reconstruction: runs of nodes between places where one activation alone is alive.

A residual block has two activations alive from its fork to its add, so it is one unit; a plain layer is one
with the activation after it (`ptq.md` section 4.4). A unit begins with the quantizer of what it reads. A unit
of more than 8 layers is cut before the ninth.
"""

from __future__ import annotations

from torch import fx

from bitjoule.train.ptq.trace import Trace, quantizer_of, weight_readers

__all__ = ["units"]

_MOST_LAYERS = 8


def units(trace: Trace) -> list[list[fx.Node]]:
    """The nodes of a network in order, cut into units with at least one weight layer each.

    What precedes the first layer belongs to the first unit, what follows the last to the last.
    """
    readers = weight_readers(trace.net)
    found: list[list[fx.Node]] = [[]]
    layers = 0
    for place, node in enumerate(trace.order):
        begins = quantizer_of(trace.net, node) is not None or node in readers
        alone = begins and layers > 0 and len(trace.live_after(place - 1)) == 1
        if alone or (layers == _MOST_LAYERS and begins):
            found.append([])
            layers = 0
        found[-1].append(node)
        layers += node in readers
    if not layers and len(found) > 1:
        tail = found.pop()
        found[-1] += tail
    return found
