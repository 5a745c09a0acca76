"""`bases_m`: m binary bases per layer (ABC-Net, Lin et al. 2017; Group-Net, Zhuang et al. 2019)."""

from __future__ import annotations

from bitjoule.workload.repairs.edit import Edit
from bitjoule.workload.repairs.sites import norm_of

__all__ = ["binary_bases"]


def binary_bases(edit: Edit, layers: tuple[str, ...], bases: int) -> None:
    """The layer and its batch norm `bases` times over one input, their results added: m times everything and
    (m - 1) K P Q adds. Each further base starts from what the signs before it left of the weights.
    """
    for layer in layers:
        node = edit.nodes[layer]
        norm = norm_of(edit, node.output)
        total = node.output if norm is None else norm.output
        shape = edit.shape(node.output)
        first = total
        readers = {reader.name for reader, _ in edit.consumers(total)}
        for base in range(1, bases):
            attributes = {**node.attributes, "base_of": layer, "base": base}
            weight = {"weight": node.parameters["weight"]}
            part = edit.make(f"{layer}.base{base}", node.op, node.inputs, shape, attributes, weight, bits=0)
            if norm is not None:
                part = edit.make(
                    f"{layer}.base{base}_norm",
                    "batch_norm",
                    (part,),
                    shape,
                    norm.attributes,
                    norm.parameters,
                    bits=0,
                )
            total = edit.make(f"{layer}.sum{base}", "add", (total, part), shape)
        edit.redirect(first, total, lambda reader, names=readers: reader.name in names)  # type: ignore[misc]
