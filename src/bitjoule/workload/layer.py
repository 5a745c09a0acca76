"""A Layer: the loop bounds of one multiply-accumulate operator, and the Formats of its three tensors.

Dimensions as in Timeloop: N batch, K output channels, C input channels, P Q output rows and columns,
R S kernel rows and columns, plus groups. A linear layer over t tokens has P = t and C, K as its
features; a matrix product with h heads has groups = h, C = h * depth, K = h * columns, P = rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bitjoule.formats import TensorFormat
from bitjoule.workload.document import Entry
from bitjoule.workload.graph import Graph, GraphError, Node
from bitjoule.workload.sparsity import Sparsity, parse_sparsity

__all__ = ["Layer", "layer_of"]

UNQUANTIZED_BITS = 32

SHARED = ("weight_name", "bias_name")
"""Fields that a document has only where a parameter is shared."""

MEASURED = ("weight_terms", "measured_weight_bits")
"""Fields that a document has only where the weights themselves were measured."""

OPTIONAL = (*SHARED, "sparsity", *MEASURED)


@dataclass(frozen=True)
class Layer:
    """One convolution, linear layer or matrix product.

    `K` and `C` are totals over all groups. `padding` is (top, left, bottom, right). `inputs` are the
    stored tensors it reads: its operand(s), then the shortcuts of a residual add fused behind it.
    `output` is the stored tensor its pipeline ends in; `output_format` is the Format of that tensor
    (INT32 for logits, which stay accumulators). A Format of None means FLOAT32. `weight_name` and
    `bias_name` name parameters that other layers read too; "" means its own. `sparsity`: N:M, None for dense
    weights; it changes what is stored, not how many MACs are executed.

    Measured on the weights as they are, None where they were not: `weight_terms`, mean canonical signed
    digits per weight; `measured_weight_bits`, storage of all weights and of what stands beside them, for
    Formats whose storage depends on the values (SVA: the smallest of three layouts per row).

    >>> conv = Layer("conv1", "conv", 1, 64, 3, 32, 32, 3, 3, padding=(1, 1, 1, 1))
    >>> conv.macs, conv.weight_elements, conv.input_elements, conv.output_elements
    (1769472, 1728, 3072, 65536)
    """

    name: str
    kind: Literal["conv", "linear", "matmul"]
    N: int
    K: int
    C: int
    P: int
    Q: int
    R: int
    S: int
    groups: int = 1
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    bias: bool = False
    inputs: tuple[str, ...] = ()
    output: str = ""
    input_elements: int = 0
    weight_format: TensorFormat | None = None
    input_format: TensorFormat | None = None
    output_format: TensorFormat | None = None
    reads_network_input: bool = False
    weight_name: str = ""
    bias_name: str = ""
    sparsity: Sparsity | None = None
    weight_terms: float | None = None
    measured_weight_bits: int | None = None

    def __post_init__(self) -> None:
        for field in ("N", "K", "C", "P", "Q", "R", "S", "groups"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise GraphError(f"layer {self.name!r}: {field} must be a positive integer, not {value!r}")
        if self.K % self.groups or self.C % self.groups:
            raise GraphError(
                f"layer {self.name!r}: groups={self.groups} must divide K={self.K} and C={self.C}"
            )
        self._check_measured()
        if not self.input_elements:
            object.__setattr__(self, "input_elements", self._window_elements())

    def _check_measured(self) -> None:
        terms, bits = self.weight_terms, self.measured_weight_bits
        if terms is not None and not (0 <= terms < math.inf):
            raise GraphError(f"layer {self.name!r}: weight_terms must be finite and >= 0, not {terms!r}")
        if bits is not None and (not isinstance(bits, int) or bits < 1):
            raise GraphError(
                f"layer {self.name!r}: measured_weight_bits must be a positive integer, not {bits!r}"
            )
        if not self.has_weights and (terms is not None or bits is not None):
            raise GraphError(
                f"layer {self.name!r}: a matrix product of two activations has no weights to measure"
            )

    def _window_elements(self) -> int:
        """Input elements from the loop bounds: what the sliding window covers, less the padding."""
        rows = (self.P - 1) * self.stride[0] + (self.R - 1) * self.dilation[0] + 1
        columns = (self.Q - 1) * self.stride[1] + (self.S - 1) * self.dilation[1] + 1
        top, left, bottom, right = self.padding
        return self.N * self.C * max(1, rows - top - bottom) * max(1, columns - left - right)

    @property
    def macs(self) -> int:
        """Multiply-accumulates: N K P Q (C/groups) R S."""
        return self.N * self.K * self.P * self.Q * (self.C // self.groups) * self.R * self.S

    @property
    def has_weights(self) -> bool:
        """False for a product of two activations."""
        return self.kind != "matmul"

    @property
    def weight_elements(self) -> int:
        """Stationary operand: K (C/groups) R S; 0 for a matrix product of two activations."""
        return self.K * (self.C // self.groups) * self.R * self.S if self.has_weights else 0

    @property
    def bias_elements(self) -> int:
        """K with a bias, else 0."""
        return self.K if self.bias else 0

    @property
    def stored_weight(self) -> str:
        """What this layer's weights are in memory: layers with the same text read the same words."""
        return f"{self.weight_name} in {self.weight_format}" if self.weight_name else self.name

    @property
    def stored_bias(self) -> str:
        """What this layer's bias is in memory."""
        return self.bias_name or self.name

    @property
    def output_elements(self) -> int:
        """Results of the operator itself, before any pooling: N K P Q."""
        return self.N * self.K * self.P * self.Q

    @property
    def is_depthwise(self) -> bool:
        """One input channel per group, more than one group."""
        return self.groups > 1 and self.groups == self.C

    @property
    def weight_bits(self) -> int:
        """Storage bits of a weight."""
        return _bits(self.weight_format)

    @property
    def weight_storage_bits(self) -> int:
        """Storage of all weights: values, under N:M sparsity the survivors and their places, and the scales
        of groups and blocks. A scale per tensor or output channel is none of them: it is folded into the
        multiplier of the requantization. What was measured on the weights stands in the place of all this;
        SVA that was not measured counts as dense words, the most it takes.

        >>> layer = Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1, sparsity=Sparsity(2, 4))
        >>> layer.weight_elements * layer.weight_bits, layer.weight_storage_bits  # 64 of 128 weights, 2 bits
        (4096, 2176)
        """
        if self.measured_weight_bits is not None:
            return self.measured_weight_bits
        if self.sparsity is None:
            return self.weight_elements * self.weight_bits + self.shared_scale_bits
        return self.sparsity.storage_bits(self.weight_elements, self.weight_bits) + self.shared_scale_bits

    @property
    def shared_scale_bits(self) -> int:
        """Storage of the scales of groups and blocks of weights, which stand beside the weights in memory.

        >>> from bitjoule.formats import parse_tensor_format
        >>> int4 = parse_tensor_format("INT4/group16")
        >>> Layer("fc", "linear", 1, 8, 32, 1, 1, 1, 1, weight_format=int4).shared_scale_bits
        512
        """
        chosen = self.weight_format
        if chosen is None or not self.has_weights:
            return 0
        if chosen.format.kind != "block" and chosen.scaling.granularity != "group":
            return 0
        return chosen.overhead_bits((self.K, self.weight_elements // self.K))

    @property
    def stored_bits_per_weight(self) -> int:
        """Bits that each weight takes in a tile: whole ones, rounded up where N:M, the scales of groups and
        blocks or measured storage give a fraction.
        """
        if self.sparsity is None and not self.shared_scale_bits and self.measured_weight_bits is None:
            return self.weight_bits
        return -(-self.weight_storage_bits // self.weight_elements)

    @property
    def input_bits(self) -> int:
        """Storage bits of an input value as this layer reads it."""
        return _bits(self.input_format)

    @property
    def output_bits(self) -> int:
        """Storage bits of a result as it is stored."""
        return _bits(self.output_format)

    def to_json(self) -> dict[str, object]:
        """Plain JSON; `from_json` reads it back exactly."""
        return {
            "name": self.name,
            "kind": self.kind,
            **{dimension: getattr(self, dimension) for dimension in "NKCPQRS"},
            "groups": self.groups,
            "stride": list(self.stride),
            "dilation": list(self.dilation),
            "padding": list(self.padding),
            "bias": self.bias,
            "inputs": list(self.inputs),
            "output": self.output,
            "input_elements": self.input_elements,
            "weight_format": _text(self.weight_format),
            "input_format": _text(self.input_format),
            "output_format": _text(self.output_format),
            "reads_network_input": self.reads_network_input,
            **{key: getattr(self, key) for key in SHARED if getattr(self, key)},
            **({"sparsity": str(self.sparsity)} if self.sparsity else {}),
            **{key: getattr(self, key) for key in MEASURED if getattr(self, key) is not None},
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, object]) -> Layer:
        """The Layer of a mapping that `to_json` wrote; `GraphError` for anything else."""
        name = entry.get("name") if isinstance(entry, Mapping) else None
        read = Entry(
            entry,
            f"layer {name!r}" if isinstance(name, str) else "layer",
            tuple(field for field in cls.__dataclass_fields__ if field not in OPTIONAL),
            optional=OPTIONAL,
        )
        top, left, bottom, right = read.integers("padding", 4)
        (rows, columns), (row_gap, column_gap) = (read.integers(key, 2, 1) for key in ("stride", "dilation"))
        return cls(
            name=read.text("name"),
            kind=read.choice("kind", ("conv", "linear", "matmul")),  # type: ignore[arg-type]
            **{dimension: read.count(dimension) for dimension in "NKCPQRS"},
            groups=read.count("groups"),
            stride=(rows, columns),
            dilation=(row_gap, column_gap),
            padding=(top, left, bottom, right),
            bias=read.flag("bias"),
            inputs=read.texts("inputs"),
            output=read.text("output"),
            input_elements=read.count("input_elements"),
            weight_format=read.format("weight_format"),
            input_format=read.format("input_format"),
            output_format=read.format("output_format"),
            reads_network_input=read.flag("reads_network_input"),
            weight_name=read.text("weight_name"),
            bias_name=read.text("bias_name"),
            sparsity=_sparsity(read),
            weight_terms=read.number("weight_terms"),
            measured_weight_bits=(
                read.count("measured_weight_bits") if "measured_weight_bits" in read.values else None
            ),
        )


def layer_of(graph: Graph, node: Node) -> Layer:
    """The Layer of a MAC node, without Formats.

    Raises:
        GraphError: shapes of the node do not fit its operator.
    """
    source = graph.tensors[node.inputs[0]].shape
    result = graph.tensors[node.output].shape
    if node.op == "conv":
        return _conv(node, source, result)
    if node.op == "linear":
        return _linear(node, source, result)
    if node.op == "matmul":
        return _matmul(node, source, graph.tensors[node.inputs[1]].shape, result)
    raise GraphError(f"node {node.name!r} is a {node.op}, not a multiply-accumulate operator")


def _conv(node: Node, source: tuple[int, ...], result: tuple[int, ...]) -> Layer:
    if len(source) not in (3, 4):
        raise GraphError(
            f"{node.name}: convolutions of 1 or 2 dimensions are counted, input has shape {source}"
        )
    one_dimensional = len(source) == 3
    kernel, stride, dilation = (node.ints(key, 2, 1) for key in ("kernel", "stride", "dilation"))
    padding = node.ints("padding", 4, 0)
    groups = node.ints("groups", 1, 1)[0]
    if node.attributes.get("transposed", False):
        raise GraphError(f"{node.name}: transposed convolutions cannot be counted yet; use upsample + conv")
    if one_dimensional:
        kernel, stride, dilation = (1, kernel[-1]), (1, stride[-1]), (1, dilation[-1])
    return Layer(
        name=node.name,
        kind="conv",
        N=result[0],
        K=result[1],
        C=source[1],
        P=1 if one_dimensional else result[2],
        Q=result[-1],
        R=kernel[0],
        S=kernel[1],
        groups=groups,
        stride=(stride[0], stride[1]),
        dilation=(dilation[0], dilation[1]),
        padding=(padding[0], padding[1], padding[2], padding[3]),
        bias="bias" in node.parameters,
        input_elements=math.prod(source),
        weight_name=node.shared.get("weight", ""),
        bias_name=node.shared.get("bias", ""),
    )


def _linear(node: Node, source: tuple[int, ...], result: tuple[int, ...]) -> Layer:
    return Layer(
        name=node.name,
        kind="linear",
        N=source[0],
        K=result[-1],
        C=source[-1],
        P=math.prod(source[1:-1]),
        Q=1,
        R=1,
        S=1,
        bias="bias" in node.parameters,
        input_elements=math.prod(source),
        weight_name=node.shared.get("weight", ""),
        bias_name=node.shared.get("bias", ""),
    )


def _matmul(node: Node, left: tuple[int, ...], right: tuple[int, ...], result: tuple[int, ...]) -> Layer:
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2]:
        raise GraphError(f"{node.name}: cannot multiply shapes {left} and {right}")
    heads = math.prod(result[:-2])
    return Layer(
        name=node.name,
        kind="matmul",
        N=1,
        K=heads * right[-1],
        C=heads * left[-1],
        P=left[-2],
        Q=1,
        R=1,
        S=1,
        groups=heads,
        input_elements=math.prod(left),
    )


def _sparsity(read: Entry) -> Sparsity | None:
    text = read.text("sparsity")
    try:
        return parse_sparsity(text) if text else None
    except ValueError:
        raise read.fault("sparsity", "N:M with 1 <= N < M, such as 2:4") from None


def _bits(tensor_format: TensorFormat | None) -> int:
    return UNQUANTIZED_BITS if tensor_format is None else int(tensor_format.format.bits)


def _text(tensor_format: TensorFormat | None) -> str | None:
    return None if tensor_format is None else str(tensor_format)
