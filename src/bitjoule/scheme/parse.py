"""From a name to a Scheme.

    scheme    := [ "hpr" [h] "-" ] base { "+" repair } [ "[" options "]" ] [ "{" overrides "}" ]
    base      := "w" token "a" token | "int" b | "fp16" | "bf16" | "float32" | "moons-" b | format
    token     := bits | FORMAT                       w4a4, wTERNARYa8
               | token "/group" n             weights alone: a scale per n weights of a channel, w4/group128a8
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

import re

from bitjoule.scheme.base_name import (
    EXAMPLES,
    SchemeError,
    check_precision,
    parse_base,
    parse_pair,
    unknown_scheme,
)
from bitjoule.scheme.precision import Precision
from bitjoule.scheme.repairs import RepairError, check_repairs, repair
from bitjoule.scheme.scheme import DEFAULT_HIGH_BITS, GraphMode, Override, Scheme, usual_options

__all__ = ["parse_scheme"]

LONGEST_BLOCK = 64
"""Weights in a block of N:M pruning, at most."""
_SHAPE = re.compile(
    r"(?:[hH][pP][rR](?P<high>[0-9]{0,6})-)?(?P<base>[^\[\]{}]*)(?:\[(?P<options>[^\[\]]*)\])?(?:\{(?P<overrides>[^{}]*)\})?"
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
        raise SchemeError(unknown_scheme(stripped))
    base, *repairs = (part.strip() for part in shape["base"].split("+"))
    precision = parse_base(base, stripped)
    mode: GraphMode = "HPR" if shape["high"] is not None else "SP"
    high_bits = int(shape["high"]) if shape["high"] else DEFAULT_HIGH_BITS
    if mode == "HPR" and not 2 <= high_bits <= 16:
        raise SchemeError(
            f"scheme {stripped!r}: the residual width of hpr must be 2 to 16 bits, not {high_bits}"
        )
    settings = _parse_options(shape["options"], stripped, {**usual_options(precision, mode), "prune": None})
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
        precision = parse_pair(value)
        if not pattern or not colon or precision is None:
            raise SchemeError(
                f"scheme {text!r}: override {override.strip()!r} must be PATTERN:wXaY, such as layer3.*:w8a8"
            )
        check_precision(precision, text)
        parsed.append(Override(pattern, precision))
    return tuple(parsed)
