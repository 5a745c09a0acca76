"""A Scheme says which Format the tensors of a network have; it prints and parses.

    scheme    := [ "hpr" [h] "-" ] base { "+" repair } [ "[" options "]" ] [ "{" overrides "}" ]
    base      := "w" token "a" token | "int" b | "fp16" | "bf16" | "float32" | "moons-" b | format
    token     := bits | FORMAT                       w4a4, wTERNARYa8
    option    := "first=" p | "last=" p | "downsample=" p | "depthwise=" p | "preadd=" ("acc" | "b" | "h")
               | "prune=" N ":" M             N weights of every M are kept    w4a4[prune=2:4]
    p         := bits | "same"                    options and overrides are separated by commas
    repair    := a name of `repairs.py`, for schemes with binary layers   w1a1+double_residual+rprelu
    override  := layer-pattern ":" "w" token "a" token

Graph modes (de Putter et al., IEEE Access 13, 2025): SP stores every tensor at the same precision, HPR
keeps the operands and results of residual adds at `high_bits`. First and last layer: at least 8 bits
unless the options say otherwise. Which edge gets what is decided in `workload/assign.py`.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bitjoule.formats import Format, TensorFormat, parse_tensor_format
from bitjoule.scheme.repairs import RepairError, check_repairs, repair

__all__ = ["GraphMode", "Override", "Precision", "Scheme", "SchemeError", "parse_scheme"]

GraphMode = Literal["SP", "HPR"]
DEFAULT_HIGH_BITS = 16
EDGE_LAYER_BITS = 8
LONGEST_BLOCK = 64
"""Weights in a block of N:M pruning, at most."""
KNOWN_NAMES = (
    *(
        "int8",
        "w8a8",
        "w6a6",
        "w4a8",
        "w4a4",
        "w3a3",
        "w2a2",
        "w1a1",
        "fp16",
        "bf16",
        "float32",
        "int4",
        "int2",
    ),
    *(
        "hpr-w4a4",
        "hpr-w2a2",
        "hpr-int8",
        "hpr12-w4a4",
        "moons-1",
        "moons-2",
        "moons-4",
        "moons-8",
        "moons-16",
    ),
)
EXAMPLES = "w4a4, int8, hpr-w4a4, fp16, moons-4, w4a4[first=8,last=8], w4a4{layer3.*:w8a8}, w1a1+rprelu"

_TOKEN = r"[0-9]{1,6}|[A-Z][A-Z0-9_.]*"
_PAIR = re.compile(rf"[wW]({_TOKEN})[aA]({_TOKEN})")
_SHAPE = re.compile(
    r"(?:[hH][pP][rR](?P<high>[0-9]{0,6})-)?(?P<base>[^\[\]{}]*)(?:\[(?P<options>[^\[\]]*)\])?(?:\{(?P<overrides>[^{}]*)\})?"
)


class SchemeError(ValueError):
    """A scheme that cannot be read; the text names the part, what is allowed, and the nearest name."""


@dataclass(frozen=True)
class Precision:
    """What one layer works with: its weights, and the activation it reads.

    A token is a number of bits (`"4"`) or the name of a Format (`"TERNARY"`).
    """

    weight: str
    activation: str

    def __str__(self) -> str:
        return f"w{self.weight}a{self.activation}"

    def weight_format(self) -> TensorFormat:
        """Format of the weights: symmetric, one scale per output channel (formats.md section 3)."""
        if self.weight.isdigit():
            bits = int(self.weight)
            return parse_tensor_format("BIPOLAR/channel" if bits == 1 else f"INT{bits}_NARROW/channel")
        return parse_tensor_format(self.weight if _scale_free(self.weight) else f"{self.weight}/channel")

    def activation_format(self, *, signed: bool) -> TensorFormat:
        """Format of an activation, by the sign of what it can hold; one scale per tensor.

        One bit is the sign (BIPOLAR), or 0 and 1 where values cannot be negative (UINT1). The token of a
        family with signed and unsigned Formats means the pair of that width: UAPOT4 where values cannot be
        negative, APOT4 where they can.
        """
        token = self.activation
        if token.isdigit():
            bits = int(token)
            if signed:
                return parse_tensor_format("BIPOLAR" if bits == 1 else f"INT{bits}")
            return parse_tensor_format(f"UINT{bits}")
        if re.fullmatch(r"MOONS[0-9]+", token) and token != "MOONS1" and not signed:
            return parse_tensor_format(f"{token}_RELU")
        return parse_tensor_format(signed_twin(token) if signed else token)

    @property
    def activation_bits(self) -> int:
        """Storage bits of an activation."""
        return self.activation_format(signed=True).format.bits

    @property
    def weight_bits(self) -> int:
        """Storage bits of a weight."""
        return self.weight_format().format.bits

    @property
    def is_float(self) -> bool:
        """True when both are floating point."""
        return all(_is_float(token) for token in (self.weight, self.activation))


@dataclass(frozen=True)
class Override:
    """Layers whose names match `pattern` (shell wildcards) have `precision` of their own."""

    pattern: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.pattern}:{self.precision}"


@dataclass(frozen=True)
class Scheme:
    """Formats for a whole network. Build it with `parse_scheme`; `str` prints the canonical name.

    `first`, `last`, `downsample`, `depthwise`: bits that those layers have at least, or None for the
    scheme's own. `repairs` are names of binary repairs, in canonical order. `prune`: (N, M), at most N of
    every M weights along the input channels are not zero; `workload/sparsity.py` says in which layers.

    >>> scheme = parse_scheme("w8a8")
    >>> str(scheme), str(parse_scheme("hpr16-w4a4[first=8]"))
    ('int8', 'hpr-w4a4')
    """

    precision: Precision
    mode: GraphMode = "SP"
    high_bits: int = DEFAULT_HIGH_BITS
    first: int | None = None
    last: int | None = None
    downsample: int | None = None
    depthwise: int | None = None
    preadd: Literal["acc", "b", "h"] = "acc"
    overrides: tuple[Override, ...] = field(default=())
    repairs: tuple[str, ...] = ()
    prune: tuple[int, int] | None = None

    @cached_property
    def name(self) -> str:
        """The canonical name; parsing it gives an equal Scheme."""
        prefix = ""
        if self.mode == "HPR":
            prefix = "hpr-" if self.high_bits == DEFAULT_HIGH_BITS else f"hpr{self.high_bits}-"
        usual = _defaults(self.precision, self.mode)
        options = [
            f"{key}={'same' if value is None else value}"
            for key, value in (
                ("first", self.first),
                ("last", self.last),
                ("downsample", self.downsample),
                ("depthwise", self.depthwise),
                ("preadd", self.preadd),
            )
            if value != usual[key]
        ]
        if self.prune is not None:
            options.append("prune={}:{}".format(*self.prune))
        text = prefix + "+".join((_base_name(self.precision), *self.repairs))
        if options:
            text += f"[{','.join(options)}]"
        if self.overrides:
            text += "{" + ",".join(map(str, self.overrides)) + "}"
        return text

    def __str__(self) -> str:
        return self.name

    @property
    def family(self) -> str:
        """What iso-accuracy comparisons group by: the name."""
        return self.name

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical name, the same in every process."""
        return hashlib.sha256(f"bitjoule:scheme:1\n{self.name}".encode()).hexdigest()

    def to_json(self) -> str:
        """The canonical name is the JSON form."""
        return self.name

    @property
    def is_float32(self) -> bool:
        """True when nothing is quantized."""
        return self.precision == Precision("FLOAT32", "FLOAT32")

    @property
    def weights(self) -> TensorFormat:
        """Weight format of a layer without a rule of its own."""
        return self.precision.weight_format()

    def activation(self, *, signed: bool) -> TensorFormat:
        """Activation format of a layer without a rule of its own."""
        return self.precision.activation_format(signed=signed)

    def high(self) -> TensorFormat:
        """Format of residual tensors in HPR: signed, `high_bits` wide."""
        return parse_tensor_format(f"INT{self.high_bits}")

    @property
    def topology_repairs(self) -> tuple[str, ...]:
        """The repairs that change the Graph; the others change the training or a Format."""
        return tuple(name for name in self.repairs if repair(name).rewrites)

    @property
    def hpr_is_sp(self) -> bool:
        """True for an HPR scheme whose activations already have `high_bits` or more (or are float)."""
        return self.mode == "HPR" and (
            self.precision.is_float or self.precision.activation_bits >= self.high_bits
        )


def parse_scheme(text: str) -> Scheme:
    """The Scheme of a name.

    Raises:
        SchemeError: the text does not follow the grammar of this module; the nearest known name is offered.

    >>> parse_scheme("hpr12-w4a4{layer3.*:w8a8}").overrides[0].pattern
    'layer3.*'
    """
    if not isinstance(text, str):
        raise SchemeError(f"a scheme is a text such as {EXAMPLES}, not {type(text).__name__}")
    stripped = text.strip()
    shape = _SHAPE.fullmatch(stripped)
    if shape is None:
        raise SchemeError(_unknown(stripped))
    base, *repairs = (part.strip() for part in shape["base"].split("+"))
    precision = _parse_base(base, stripped)
    mode: GraphMode = "HPR" if shape["high"] is not None else "SP"
    high_bits = int(shape["high"]) if shape["high"] else DEFAULT_HIGH_BITS
    if mode == "HPR" and not 2 <= high_bits <= 16:
        raise SchemeError(
            f"scheme {stripped!r}: the residual width of hpr must be 2 to 16 bits, not {high_bits}"
        )
    settings = _parse_options(shape["options"], stripped, {**_defaults(precision, mode), "prune": None})
    prune = _parse_prune(settings.pop("prune"), precision, stripped)
    overrides = _parse_overrides(shape["overrides"], stripped)
    return Scheme(
        precision=precision,
        mode=mode,
        high_bits=high_bits,
        overrides=overrides,
        repairs=_parse_repairs(repairs, (precision, *(each.precision for each in overrides)), stripped),
        prune=prune,
        **settings,  # type: ignore[arg-type]
    )


def _defaults(precision: Precision, mode: GraphMode) -> dict[str, int | str | None]:
    """What the options are when a name does not say: training.md section 2, first and last layer."""
    usual: dict[str, int | str | None] = dict.fromkeys(("first", "last", "downsample", "depthwise"))
    usual["preadd"] = "h" if mode == "HPR" else "acc"
    narrowest = min(precision.weight_bits, precision.activation_bits)
    if precision.weight.startswith("MOONS") or (precision.is_float and narrowest >= EDGE_LAYER_BITS):
        return usual
    usual["first"] = usual["last"] = EDGE_LAYER_BITS
    if precision.weight_bits == 1:
        usual["downsample"] = EDGE_LAYER_BITS
    return usual


def _base_name(precision: Precision) -> str:
    """The shortest name that parses back to `precision`."""
    weight, activation = precision.weight, precision.activation
    if weight == activation == "8":
        return "int8"
    short = ""
    if weight == activation and weight in ("FP16", "BF16", "FLOAT32"):
        short = weight.lower()
    elif weight == activation and weight.startswith("MOONS"):
        short = f"moons-{weight.removeprefix('MOONS')}"
    elif activation == "8" and not weight.isdigit():
        short = weight.lower()
    return short if short and _parse_base(short, short) == precision else str(precision)


def _parse_base(base: str, text: str) -> Precision:
    if pair := _pair(base):
        precision = pair
    elif number := re.fullmatch(r"int([0-9]{1,6})", base.lower()):
        precision = Precision(_token(number[1]), _token(number[1]))
    elif number := re.fullmatch(r"moons-?([0-9]+)", base.lower()):
        precision = Precision(f"MOONS{number[1]}", f"MOONS{number[1]}")
    elif base.lower() in ("fp16", "bf16", "float32"):
        precision = Precision(base.upper(), base.upper())
    elif re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*", base) and _known_format(base.upper()):
        precision = Precision(base.upper(), "8")
    else:
        raise SchemeError(_unknown(text))
    _check(precision, text)
    return precision


def _token(text: str, *, weight: bool = False) -> str:
    """Canonical token: activations of INTb and UINTb are b bits, their sign follows from what they hold."""
    if text.isdigit():
        return str(int(text))
    integer = re.fullmatch(r"U?INT([0-9]+)", text.upper())
    return str(int(integer[1])) if integer and not weight else text.upper()


def _pair(text: str) -> Precision | None:
    """`w4a4`, in any case."""
    pair = _PAIR.fullmatch(text)
    return Precision(_token(pair[1], weight=True), _token(pair[2])) if pair else None


def _check(precision: Precision, text: str) -> None:
    """Both tokens must name Formats; bits run from 1 to 16."""
    for role, token in (("weights", precision.weight), ("activations", precision.activation)):
        if token.isdigit() and not 1 <= int(token) <= 16:
            raise SchemeError(f"scheme {text!r}: {role} take 1 to 16 bits, not {token}")
    if re.fullmatch(r"UINT[0-9]+|INT1|INT24|INT32", precision.weight):
        raise SchemeError(
            f"scheme {text!r}: weights are signed, 1 to 16 bits: {precision.weight} is no format for them"
        )
    try:
        weight = precision.weight_format().format
        precision.activation_format(signed=True)
        activation = precision.activation_format(signed=False).format
    except ValueError as error:
        raise SchemeError(f"scheme {text!r}: {error}") from None
    if not weight.signed:
        raise SchemeError(
            f"scheme {text!r}: weights are signed, and {weight.name} holds nothing below 0; "
            f"use w{signed_twin(weight.name)}"
        )
    if why := _only_weights(activation):
        raise SchemeError(
            f"scheme {text!r}: {activation.name} is for weights: {why}; give activations another format, "
            f"such as w{precision.weight}a8 or w{precision.weight}aUAPOT4"
        )


def signed_twin(name: str) -> str:
    """The Format of the same width that also holds negative values; a signed one is its own.

    >>> signed_twin("UAPOT4"), signed_twin("UPOT3_LOG"), signed_twin("MOONS4_RELU"), signed_twin("POT4")
    ('APOT4', 'POT3_LOG', 'MOONS4', 'POT4')
    """
    return name.removeprefix("U").removesuffix("_RELU")


def _only_weights(format_: Format) -> str | None:
    """Why a Format cannot be that of activations, which are not known beforehand; None if it can."""
    if format_.kind == "vector":
        return "it approximates whole rows at once, by search"
    if re.fullmatch(r"POT[0-9]+_(INQ|DS|ZF)(_LOG)?", format_.name):
        return {
            "INQ": "its exponents come from the largest weight of the trained layer",
            "DS": "it never gives 0",
            "ZF": "it has no 0",
        }[format_.name.split("_")[1]]
    return None


def _parse_options(
    options: str | None, text: str, usual: dict[str, int | str | None]
) -> dict[str, int | str | None]:
    settings = dict(usual)
    said: set[str] = set()
    for option in options.split(",") if options else ():
        key, equals, value = (part.strip() for part in option.partition("="))
        if key in said:
            raise SchemeError(f"scheme {text!r}: option {key} stands twice; keep one")
        said.add(key)
        if key not in usual or not equals:
            raise SchemeError(
                f"scheme {text!r}: unknown option {option.strip()!r}; options: "
                "first=8, last=8, downsample=8, depthwise=8 (bits or same), preadd=acc|b|h, prune=2:4"
            )
        if key == "preadd":
            if value not in ("acc", "b", "h"):
                raise SchemeError(f"scheme {text!r}: preadd must be acc, b or h, not {value!r}")
            if value == "h" and usual["preadd"] != "h":
                raise SchemeError(f"scheme {text!r}: preadd=h needs hpr, which has a high precision")
            settings[key] = value
        elif key == "prune":
            settings[key] = value
        elif value == "same":
            settings[key] = None
        elif re.fullmatch(r"[0-9]{1,6}", value) and 1 <= int(value) <= 16:
            settings[key] = int(value)
        else:
            raise SchemeError(f"scheme {text!r}: {key} must be 1 to 16 bits or same, not {value!r}")
    return settings


def _parse_prune(value: int | str | None, precision: Precision, text: str) -> tuple[int, int] | None:
    """N and M of `prune=N:M`; the weights must have a zero."""
    if value is None:
        return None
    pattern = re.fullmatch(r"([0-9]{1,6}):([0-9]{1,6})", str(value))
    kept, block = (int(pattern[1]), int(pattern[2])) if pattern else (0, 0)
    if not 1 <= kept < block <= LONGEST_BLOCK:
        channels = str(value).startswith("channels")
        hint = "; whole channels are cut before the scheme: bitjoule prune NETWORK --channels 0.3" * channels
        raise SchemeError(
            f"scheme {text!r}: prune must be N:M, N of every M weights kept with 1 <= N < M <= "
            f"{LONGEST_BLOCK}, such as 2:4, not {str(value)!r}{hint}"
        )
    if precision == Precision("FLOAT32", "FLOAT32"):
        raise SchemeError(
            f"scheme {text!r}: prune masks the weights that a quantizer reads, and float32 has none; "
            f"use fp16[prune={value}] or fewer bits"
        )
    weights = precision.weight_format().format
    if not weights.has_zero:
        raise SchemeError(
            f"scheme {text!r}: {weights.name} has no zero, so none of its weights can be pruned; use weights "
            "with a zero, such as TERNARY or INT2"
        )
    return kept, block


def _parse_repairs(names: list[str], precisions: tuple[Precision, ...], text: str) -> tuple[str, ...]:
    """The repairs in canonical order; one of `precisions` must be binary."""
    try:
        checked = check_repairs(names)
    except RepairError as error:
        raise SchemeError(f"scheme {text!r}: {error}") from None
    for name in checked:
        both = repair(name).reads_bits
        if not any(p.weight_bits == 1 and (p.activation_bits == 1 or not both) for p in precisions):
            what = "weights and activations" if both else "weights"
            raise SchemeError(
                f"scheme {text!r}: repair {name!r} mends layers with binary {what}, and this scheme "
                "has none; start from w1a1"
            )
    return checked


def _parse_overrides(overrides: str | None, text: str) -> tuple[Override, ...]:
    parsed = []
    for override in overrides.split(",") if overrides else ():
        pattern, colon, value = (part.strip() for part in override.partition(":"))
        precision = _pair(value)
        if not pattern or not colon or precision is None:
            raise SchemeError(
                f"scheme {text!r}: override {override.strip()!r} must be PATTERN:wXaY, such as layer3.*:w8a8"
            )
        _check(precision, text)
        parsed.append(Override(pattern, precision))
    return tuple(parsed)


def _known_format(name: str) -> bool:
    try:
        parse_tensor_format(name)
    except ValueError:
        return False
    return True


def _is_float(token: str) -> bool:
    return not token.isdigit() and parse_tensor_format(token).format.kind == "float"


def _scale_free(token: str) -> bool:
    """Formats whose scale is part of their definition: floats, blocks with a scale of their own, MOONS."""
    if token.isdigit():
        return False
    format_ = parse_tensor_format(token).format
    return format_.kind in ("float", "block") or format_.fixed_scale is not None


def _usable(token: str) -> bool:
    return token.isdigit() or _known_format(token)


def _unknown(text: str) -> str:
    if lower := re.fullmatch(r"w([a-z0-9_.]+?)a([a-z0-9_.]+)", text):
        name = f"w{lower[1].upper()}a{lower[2].upper()}"
        if name != text and (pair := _pair(name)) and all(map(_usable, (pair.weight, pair.activation))):
            return f"unknown scheme {text!r}, did you mean {name!r}? formats stand in capitals"
    if late := re.fullmatch(r"([^\[{+]+)([\[{].*[\]}])((?:\+[^\[\]{}]+)+)", text):
        return f"unknown scheme {text!r}: repairs stand before options, {late[1]}{late[3]}{late[2]}"
    near = difflib.get_close_matches(text.lower(), KNOWN_NAMES, n=1, cutoff=0.6)
    mend = f", did you mean {near[0]!r}?" if near else f"; examples: {EXAMPLES}"
    return f"unknown scheme {text!r}{mend}"
