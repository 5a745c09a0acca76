"""The base of a scheme's name, `w4a4` or `int8` or `pot4`: read, checked, printed or refused."""

from __future__ import annotations

import difflib
import re

from bitjoule.formats import Format, parse_tensor_format
from bitjoule.scheme.precision import Precision, signed_twin

__all__ = [
    "EXAMPLES",
    "SchemeError",
    "base_name",
    "check_precision",
    "parse_base",
    "parse_pair",
    "unknown_scheme",
]

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
    *("hpr-w4a4", "hpr-w2a2", "hpr-int8", "hpr12-w4a4"),
    *(f"moons-{bits}" for bits in (1, 2, 4, 8, 16)),
)
"""What a name is compared with when it is unknown."""
EXAMPLES = "w4a4, int8, hpr-w4a4, fp16, moons-4, w4a4[first=8,last=8], w4a4{layer3.*:w8a8}, w1a1+rprelu"
_TOKEN = r"[0-9]{1,6}|[A-Z][A-Z0-9_.]*"
_PAIR = re.compile(rf"[wW]((?:{_TOKEN})(?:/[gG][rR][oO][uU][pP][0-9]{{1,9}})?)[aA]({_TOKEN})")


class SchemeError(ValueError):
    """A scheme that cannot be read; the text names the part, what is allowed, and the nearest name."""


def base_name(precision: Precision) -> str:
    """The shortest name that parses back to `precision`."""
    weight, activation = precision.weight, precision.activation
    if weight == activation == "8":
        return "int8"
    short = ""
    if weight == activation and weight in ("FP16", "BF16", "FLOAT32"):
        short = weight.lower()
    elif weight == activation and weight.startswith("MOONS"):
        short = f"moons-{weight.removeprefix('MOONS')}"
    elif activation == "8" and not weight.isdigit() and "/" not in weight:
        short = weight.lower()
    return short if short and parse_base(short, short) == precision else str(precision)


def parse_base(base: str, text: str) -> Precision:
    if pair := parse_pair(base):
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
        raise SchemeError(unknown_scheme(text))
    check_precision(precision, text)
    return precision


def _token(text: str, *, weight: bool = False) -> str:
    """Canonical token: activations of INTb and UINTb are b bits, their sign follows from what they hold."""
    if "/" in text:
        name, _, group = text.partition("/")
        return f"{_token(name, weight=weight)}/group{int(group[len('group') :])}"
    if text.isdigit():
        return str(int(text))
    integer = re.fullmatch(r"U?INT([0-9]+)", text.upper())
    return str(int(integer[1])) if integer and not weight else text.upper()


def parse_pair(text: str) -> Precision | None:
    """`w4a4`, in any case."""
    pair = _PAIR.fullmatch(text)
    return Precision(_token(pair[1], weight=True), _token(pair[2])) if pair else None


def check_precision(precision: Precision, text: str) -> None:
    """Both tokens must name Formats; bits run from 1 to 16."""
    weights, grouped, _ = precision.weight.partition("/")
    for role, token in (("weights", weights), ("activations", precision.activation)):
        if token.isdigit() and not 1 <= int(token) <= 16:
            raise SchemeError(f"scheme {text!r}: {role} take 1 to 16 bits, not {token}")
    if re.fullmatch(r"UINT[0-9]+|INT1|INT24|INT32", weights):
        raise SchemeError(
            f"scheme {text!r}: weights are signed, 1 to 16 bits: {weights} is no format for them"
        )
    try:
        weight = precision.weight_format().format
        precision.activation_format(signed=True)
        activation = precision.activation_format(signed=False).format
    except ValueError as error:
        raise SchemeError(f"scheme {text!r}: {error}") from None
    if grouped and (weight.kind not in ("integer", "levels") or weight.bits == 1):
        raise SchemeError(
            f"scheme {text!r}: {weight.name} has no scales in groups, only integers of 2 bits and more "
            f"and sets of levels have; use w{weights}a{precision.activation}"
        )
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


def _known_format(name: str) -> bool:
    try:
        parse_tensor_format(name)
    except ValueError:
        return False
    return True


def _usable(token: str) -> bool:
    return token.isdigit() or _known_format(token)


def unknown_scheme(text: str) -> str:
    if lower := re.fullmatch(r"w([a-z0-9_.]+?)a([a-z0-9_.]+)", text):
        name = f"w{lower[1].upper()}a{lower[2].upper()}"
        if name != text and (pair := parse_pair(name)) and all(map(_usable, (pair.weight, pair.activation))):
            return f"unknown scheme {text!r}, did you mean {name!r}? formats stand in capitals"
    if moved := re.fullmatch(
        rf"([wW](?:{_TOKEN}))([aA](?:{_TOKEN}))(/[gG][rR][oO][uU][pP][0-9]{{1,9}})(.*)", text
    ):
        return f"unknown scheme {text!r}: groups are of weights, {moved[1]}{moved[3]}{moved[2]}{moved[4]}"
    if late := re.fullmatch(r"([^\[{+]+)([\[{].*[\]}])((?:\+[^\[\]{}]+)+)", text):
        return f"unknown scheme {text!r}: repairs stand before options, {late[1]}{late[3]}{late[2]}"
    near = difflib.get_close_matches(text.lower(), KNOWN_NAMES, n=1, cutoff=0.6)
    mend = f", did you mean {near[0]!r}?" if near else f"; examples: {EXAMPLES}"
    return f"unknown scheme {text!r}{mend}"
