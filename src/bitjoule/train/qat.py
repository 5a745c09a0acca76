"""From a float network and a Scheme to the network that is trained: fake quantizers on every edge.

Where nobody asks for a method, the Format decides: MOONSb trains by `moons`, FP16 and BF16 by `float_cast`,
BIPOLAR by `binary`, integers by `lsq`. The input has a fixed scale when the data have one (image bytes).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.network import Network, insert_quantizers
from bitjoule.network.surgery import QUANTIZERS
from bitjoule.quant import (
    METHODS,
    FakeQuantizer,
    QuantizerConfig,
    QuantizerError,
    make_activation_quantizer,
    make_weight_quantizer,
    natural_method,
)
from bitjoule.quant.config import ZERO_POINT_METHODS, Role
from bitjoule.quant.pruning import first_values, insert_masks, mask_of, parameter_node
from bitjoule.quant.repairs import HeavisideQuantizer, repair_settings, repaired
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.train.scales import fitted, fitted_assignment
from bitjoule.workload import Node, QuantPoint, assign
from bitjoule.workload.sparsity import sparse_layers

__all__ = ["QatConfig", "moons_initialize", "prepare_qat", "quantizers", "uses_moons"]

REAL = parse_tensor_format("FLOAT32")


@dataclass(frozen=True)
class QatConfig:
    """Methods of weights and activations; None lets each Format decide.

    A method given here trains the tensors that have the scheme's own Formats. Layers at other Formats (first
    and last at 8 bits, overrides, the wide residuals of HPR) keep the method of their Format; so do
    activations that can be negative where the method holds none of these (pact, dorefa). With `tqt` scales
    are powers of two, with `dorefa` one per tensor. `zero_point`: activations have one, by `lsq+` (its
    offset) or an observed `ste`.

    >>> QatConfig(activation=QuantizerConfig("pact")).weight is None
    True
    """

    weight: QuantizerConfig | None = None
    activation: QuantizerConfig | None = None
    zero_point: bool = False

    def __post_init__(self) -> None:
        method = None if self.activation is None else self.activation.method
        if self.zero_point and method not in ZERO_POINT_METHODS:
            raise QuantizerError(
                f"QatConfig: zero_point needs activations by {' or '.join(ZERO_POINT_METHODS)}, such as "
                f"QuantizerConfig('lsq+'), not by {method or 'the method of their Format'}"
            )

    def to_json(self) -> dict[str, object]:
        """A JSON document, for fingerprints."""
        document: dict[str, object] = {
            role: None if config is None else dict(vars(config))
            for role, config in (("weight", self.weight), ("activation", self.activation))
        }
        return document | ({"zero_point": True} if self.zero_point else {})


def prepare_qat(
    net: Network,
    scheme: Scheme | str,
    config: QatConfig | None = None,
    *,
    input_scale: float | None = None,
    image_signed: bool = True,
    real_weights: bool = False,
) -> Network:
    """A new Network with a fake quantizer on every weight and edge; `float32` gives a plain copy. The binary
    repairs of the scheme come first: their operators, and what they say about one-bit quantizers.

    `input_scale`: the exact step of an 8-bit input (`Preprocessing.input_scale`); None observes the range of
    the input in training. `image_signed`: whether inputs hold negative values. `real_weights`: leave weights
    of one bit in float32, as in the first of two stages. Weight quantizers are initialized here, activation
    quantizers by the first training batch.

    Raises:
        QuantizerError: a method cannot train a Format, or clips latent weights (moons, binary) and stands on
            a part of a parameter, or does not keep weights at 0 that the scheme prunes.
        SchemeError: the scheme does not parse, or an override matches no layer.
        RepairError: a repair of the scheme finds no binary layer.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> net = capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8))
    >>> print(prepare_qat(net, "w4a4", input_scale=2 / 255).module.quantizers.hidden_hidden2_linear_weight)
    LsqQuantizer(INT4_NARROW/channel, weight)
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    config = config or QatConfig()
    if parsed.is_float32:
        return net.clone()
    net = repaired(net, parsed)
    repairs = repair_settings(parsed)
    assignment = fitted_assignment(
        assign(net.graph, parsed, image_signed=image_signed),
        config.weight,
        config.activation,
        zero_point=config.zero_point,
    )
    own = {fitted(parsed.weights, config.weight, "weight")}
    unsigned = parsed.activation(signed=False)
    for signed in (False, True):
        found = parsed.activation(signed=signed)
        own.add(fitted(found, config.activation, "activation", zero_point=config.zero_point))

    def weight(node: Node, tensor_format: TensorFormat) -> FakeQuantizer:
        if real_weights and tensor_format.format.bits == 1:
            return make_weight_quantizer(node, REAL, QuantizerConfig("float_cast"))
        asked = _config(config.weight, tensor_format, own, "weight")
        if asked == QuantizerConfig("binary"):
            asked = repairs.weight
        return make_weight_quantizer(node, tensor_format, asked)

    def activation(point: QuantPoint) -> FakeQuantizer:
        if point.kind == "input" and point.format.format.kind == "integer":
            return make_activation_quantizer(point, _input_config(point, input_scale))
        if "heaviside" in parsed.repairs and point.format.format.name == "UINT1":
            return HeavisideQuantizer(point.format, repairs.activation, "activation", name=point.name)
        wanted = None if _only_unsigned(config.activation, point, unsigned) else config.activation
        asked = _config(wanted, point.format, own, "activation")
        if asked == QuantizerConfig("binary"):
            asked = repairs.activation
        return make_activation_quantizer(point, asked)

    quantized = insert_quantizers(net, assignment, weight, activation)
    quantized = insert_masks(quantized, sparse_layers(net.graph, parsed))
    paths = {quantizer: path for path, quantizer in quantizers(quantized).items()}
    with torch.no_grad():
        for quantizer, value in _weights(quantized):
            mask = mask_of(quantized, paths[quantizer])
            quantizer.initialize(first_values(quantizer, mask, value))
    return quantized


def _config(
    asked: QuantizerConfig | None, tensor_format: TensorFormat, own: set[TensorFormat], role: Role
) -> QuantizerConfig:
    if asked is not None and tensor_format in own:
        return asked
    return QuantizerConfig(natural_method(tensor_format, role))


def _only_unsigned(asked: QuantizerConfig | None, point: QuantPoint, unsigned: TensorFormat) -> bool:
    """Whether the method trains the scheme's activations, but not those that can be negative."""
    if asked is None or not point.signed:
        return False
    method = METHODS[asked.method]
    return method.accepts(unsigned, "activation") and not method.accepts(point.format, "activation")


def _input_config(point: QuantPoint, input_scale: float | None) -> QuantizerConfig:
    if input_scale is not None and point.format.format.bits == 8:
        return QuantizerConfig("ste", range="fixed", scale=input_scale)
    return QuantizerConfig("ste", range="minmax")


def quantizers(net: Network) -> dict[str, FakeQuantizer]:
    """Every fake quantizer of a network by its path in `net.module`."""
    return {path: module for path, module in net.module.named_modules() if isinstance(module, FakeQuantizer)}


def uses_moons(net: Network) -> bool:
    """Whether weights have the fixed scale of Moons 2017, so that only latent weights in [-1, 1] make
    sense.
    """
    return any(q.method == "moons" and q.role == "weight" for q in quantizers(net).values())


def moons_initialize(net: Network, seed: int) -> None:
    """Draw every weight under a `moons` quantizer from U(-1, 1), in place: the start of Moons 2017."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for quantizer, weight in _weights(net):
            if quantizer.method == "moons":
                drawn = torch.rand(weight.shape, generator=generator) * 2 - 1
                weight.copy_(drawn)


def _weights(net: Network) -> list[tuple[FakeQuantizer, Tensor]]:
    """Weight quantizers with the parameter each one reads; sets `parameter` to its path."""
    found = []
    for node in net.module.graph.nodes:
        if node.op != "call_module" or not str(node.target).startswith(f"{QUANTIZERS}."):
            continue
        quantizer = net.module.get_submodule(str(node.target))
        source = parameter_node(net, node.args[0])
        if not isinstance(quantizer, FakeQuantizer) or quantizer.role != "weight":
            continue
        if isinstance(source, fx.Node) and source.op == "get_attr":
            quantizer.parameter = str(source.target)
            owner, _, name = quantizer.parameter.rpartition(".")
            found.append((quantizer, getattr(net.module.get_submodule(owner), name)))
        elif quantizer.latent_limit is not None:
            layer, limit = quantizer.name.removesuffix(".weight"), quantizer.latent_limit
            raise QuantizerError(
                f"{quantizer.name}: {quantizer.method} clips latent weights to [-{limit:g}, {limit:g}] after "
                "each step, but this layer reads a part of a parameter, which is not clipped alone; give it "
                f"another format ({net.scheme}{{{layer}:w8a8}}) or a parameter of its own"
            )
        else:
            quantizer.parameter = None  # a part of a parameter: its range starts with the first batch
    return found
