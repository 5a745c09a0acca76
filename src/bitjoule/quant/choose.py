"""From a TensorFormat and a QuantizerConfig to the module that trains it."""

from __future__ import annotations

from collections.abc import Mapping

from bitjoule.formats import TensorFormat
from bitjoule.quant.apot import ApotQuantizer
from bitjoule.quant.binary import BinaryQuantizer
from bitjoule.quant.config import Method, QuantizerConfig, Role
from bitjoule.quant.deepshift import DeepShiftPsQuantizer, DeepShiftQQuantizer
from bitjoule.quant.dorefa import DorefaQuantizer
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.float_cast import FloatCastQuantizer
from bitjoule.quant.grouped import GroupedQuantizer
from bitjoule.quant.inq import InqQuantizer
from bitjoule.quant.lsq import LsqQuantizer
from bitjoule.quant.lsq_plus import LsqPlusQuantizer
from bitjoule.quant.moons import MoonsQuantizer
from bitjoule.quant.pact import PactQuantizer
from bitjoule.quant.ste import SteQuantizer
from bitjoule.quant.sva import SvaQuantizer
from bitjoule.quant.tqt import TqtQuantizer
from bitjoule.quant.twn import TwnQuantizer
from bitjoule.workload.assign import QuantPoint
from bitjoule.workload.graph import Node

__all__ = ["METHODS", "make_activation_quantizer", "make_weight_quantizer", "natural_method"]

METHODS: Mapping[Method, type[FakeQuantizer]] = {
    "ste": SteQuantizer,
    "moons": MoonsQuantizer,
    "dorefa": DorefaQuantizer,
    "pact": PactQuantizer,
    "lsq": LsqQuantizer,
    "lsq+": LsqPlusQuantizer,
    "tqt": TqtQuantizer,
    "apot": ApotQuantizer,
    "deepshift_q": DeepShiftQQuantizer,
    "deepshift_ps": DeepShiftPsQuantizer,
    "inq": InqQuantizer,
    "sva": SvaQuantizer,
    "twn": TwnQuantizer,
    "binary": BinaryQuantizer,
    "float_cast": FloatCastQuantizer,
}
"""Every method by its name; a new method is one file and a line here."""


def natural_method(tensor_format: TensorFormat, role: Role) -> Method:
    """The method for a Format when nobody asks for one: the first that accepts it, lsq before ste.

    >>> from bitjoule.formats import parse_tensor_format
    >>> natural_method(parse_tensor_format("MOONS4"), "weight")
    'moons'
    """
    order: tuple[Method, ...] = (
        "moons",
        "float_cast",
        "binary",
        "lsq",
        "dorefa",
        "sva",
        "deepshift_q",
        "inq",
        "apot",
        "ste",
    )
    for method in order:
        if method == "apot" and "APOT" not in tensor_format.format.name:
            continue  # it trains plain powers of two too, but is natural for none
        if METHODS[method].accepts(tensor_format, role):
            return method
    if tensor_format.scaling.granularity == "group":
        raise ValueError(
            f"no method trains {role}s in {tensor_format}: scales in groups are found after training "
            "(bitjoule ptq, bj.ptq); train with a scale per channel, such as w4a8"
        )
    raise ValueError(
        f"no method trains {role}s in {tensor_format}: "
        + "; ".join(f"{method} trains {METHODS[method].trains}" for method in order)
    )


def make_weight_quantizer(node: Node, tensor_format: TensorFormat, config: QuantizerConfig) -> FakeQuantizer:
    """The quantizer of the weight of `node`, one scale per output channel where the Format says so.

    Output channels are axis 0, for a transposed convolution axis 1. Scales in groups are held fixed (`ste`
    with a fixed range), no method trains them. QuantizerError for a Format that the method cannot train.
    """
    axis = 1 if node.attributes.get("transposed") else 0
    fixed = config.method == "ste" and config.range == "fixed"
    if fixed and GroupedQuantizer.accepts(tensor_format, "weight"):
        return GroupedQuantizer(
            tensor_format,
            config,
            "weight",
            name=f"{node.name}.weight",
            shape=node.parameters["weight"],
            parameter=f"{node.module}.weight" if node.module else "weight",
            axis=axis,
        )
    return METHODS[config.method](
        tensor_format,
        config,
        "weight",
        name=f"{node.name}.weight",
        parameter=f"{node.module}.weight" if node.module else "weight",
        axis=axis,
        channels=node.parameters["weight"][axis],
    )


def make_activation_quantizer(point: QuantPoint, config: QuantizerConfig) -> FakeQuantizer:
    """The quantizer of one QuantPoint; QuantizerError for a Format that the method cannot train."""
    return METHODS[config.method](point.format, config, "activation", name=point.name)
