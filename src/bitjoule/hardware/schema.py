"""Schema `bitjoule.hardware/1`: what a hardware description may say, key by key.

Numbers are strict (no booleans, no numbers in quotes, no NaN), keys are closed, and every number has a
source: `source` of its section, or an entry of `sources` for that key, names a `provenance` entry; a key that
the file leaves out has the default of this file, whose provenance stands beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from bitjoule.hardware.document import plain
from bitjoule.hardware.fields import (
    Closed,
    Count,
    DefaultSource,
    Name,
    NaturalNumber,
    Positive,
    Provenance,
    Share,
    SizeBits,
    Technology,
)
from bitjoule.hardware.hierarchy import LevelSection, MacSection, OpsSection, PsumBits
from bitjoule.hardware.hierarchy_sources import hierarchy_keys, hierarchy_source
from bitjoule.hardware.hierarchy_warnings import hierarchy_warnings

__all__ = [
    "HIERARCHY_KEYS",
    "KINDS",
    "SCHEMA",
    "CyclePrices",
    "Hardware",
    "MoonsSection",
    "OverheadSplit",
    "Provenance",
    "Technology",
    "TtaSection",
]

SCHEMA = "bitjoule.hardware/1"
KINDS = ("hierarchy", "moons", "tta")
"""Cost models that can be described."""

HIERARCHY_KEYS = ("mac", "psum_bits", "packing", "levels", "ops")
"""Keys of a description that belong to kind `hierarchy`; the other kinds have one section of their name."""


class MoonsSection(Closed):
    """Parameters and rules of the closed form of Moons et al. 2017 (arXiv 1711.00215); see `energy/moons.py`.

    `weight_share` of the on-chip bits holds weights; of the rest `input_share` holds a layer's input, what
    remains its output. `s_re_rule`: which weights are fetched again when they do not fit; `f_re_rule`: which
    feature-map words; `mac_width_rule`: the width of a MAC whose operands differ.
    """

    e_mac16_pj: Annotated[
        Positive, DefaultSource("assumed", "3.4 to 3.7 pJ in the sources, ratios do not depend on it")
    ] = 3.7
    exponent: Annotated[
        Positive, DefaultSource("derived", "Moons et al. 2017, sign fixed so that fewer bits cost less")
    ] = 1.25
    dram_ratio: Annotated[
        Positive, DefaultSource("published", "public restatement of Moons et al. 2017: 0.4608/0.0036")
    ] = 128.0
    main_ratio: Annotated[Positive, DefaultSource("published", "Moons et al. 2017")] = 2.0
    local_ratio: Annotated[Positive, DefaultSource("published", "Moons et al. 2017")] = 1.0
    p16: Annotated[
        Positive, DefaultSource("published", "Moons et al. 2017: 64 16-bit MACs in the reference area")
    ] = 64.0
    input_bits: Annotated[Count, DefaultSource("published", "Moons et al. 2017: 8-bit images")] = 8
    on_chip_bits: Annotated[SizeBits, DefaultSource("assumed", "4 Mb typical; 1 Mb = 2^20 bit")] = 4 * 2**20
    weight_share: Annotated[Share, DefaultSource("assumed", "split between weights and activations")] = 0.5
    input_share: Annotated[
        Share, DefaultSource("published", "Moons et al. 2017: half of the activations")
    ] = 0.5
    s_re_rule: Annotated[Literal["excess", "all"], DefaultSource("assumed", "only words that do not fit")] = (
        "excess"
    )
    f_re_rule: Annotated[Literal["output_excess", "none"], DefaultSource("assumed", "output side only")] = (
        "output_excess"
    )
    mac_width_rule: Annotated[Literal["geomean", "max"], DefaultSource("assumed", "width of a mixed MAC")] = (
        "geomean"
    )
    first_layer_slices: Annotated[bool, DefaultSource("assumed", "open in the paper")] = False
    biases_counted: Annotated[bool, DefaultSource("assumed", "biases count as weights")] = True
    source: Name
    sources: dict[str, Name] = Field(default_factory=dict)


class CyclePrices(Closed):
    """Energy in pJ of one cycle of the full MAC array, by operand width."""

    BIPOLAR: Positive
    TERNARY: Positive
    INT2: Positive
    INT4: Positive
    INT8: Positive


class OverheadSplit(Closed):
    """Shares of the overhead of a cycle; they sum to 1."""

    weight_memory: Positive
    activation_memory: Positive
    transport: Positive
    instruction: Positive
    clock_and_leakage: Positive


class TtaSection(Closed):
    """Parameters of a BrainTTA-like transport-triggered core; see `energy/braintta.py`.

    `lanes` output channels work at once, each on a word of `word_bits`. `depthwise`: `taps` (one tap per
    cycle, 32 channels) or `lanes` (a core that gathers taps into a word). Splits are for reports, not prices.
    """

    model: Annotated[Literal["nominal"], DefaultSource("derived", "full window, additive epilogue")] = (
        "nominal"
    )
    lanes: Count
    word_bits: Count
    e_cycle_pj: CyclePrices
    e_overhead_pj: Positive
    overhead_split: OverheadSplit
    depthwise: Annotated[
        Literal["taps", "lanes"], DefaultSource("derived", "what the core of tta.md does")
    ] = "taps"
    epilogue_cycles: Annotated[NaturalNumber, DefaultSource("assumed", "cycles per output vector")] = 2
    pmem_bits: Annotated[SizeBits, DefaultSource("assumed", "weight memory")] = 4 * 2**20
    dmem_bits: Annotated[SizeBits, DefaultSource("assumed", "feature-map memory")] = 4 * 2**20
    dram_pj_per_bit: Annotated[Positive, DefaultSource("assumed", "LPDDR4; 4..20 in studies")] = 8.0
    source: Name
    sources: dict[str, Name] = Field(default_factory=dict)


class Hardware(Closed):
    """A validated hardware description. Make it with `load`; every number in it has a provenance.

    Kind `hierarchy` describes itself in `mac`, `psum_bits`, `packing`, `levels` (outermost first) and `ops`.
    """

    schema_id: Literal["bitjoule.hardware/1"] = Field(alias="schema")
    name: Name
    kind: Literal["hierarchy", "moons", "tta"]
    technology: Technology | None = None
    provenance: dict[str, Provenance] = Field(min_length=1)
    moons: MoonsSection | None = None
    tta: TtaSection | None = None
    mac: MacSection | None = None
    psum_bits: PsumBits = "auto"
    packing: Literal["floor", "dense"] = "floor"
    levels: Annotated[tuple[LevelSection, ...], Field(strict=False)] = ()
    ops: OpsSection | None = None
    allow_unusual: bool = False

    @property
    def section(self) -> MoonsSection | TtaSection:
        """The section of this hardware's kind; kind `hierarchy` has `mac`, `levels` and `ops` instead."""
        section = self.moons if self.kind == "moons" else self.tta if self.kind == "tta" else None
        if section is None:
            raise ValueError(f"hardware {self.name!r} of kind {self.kind} has no section {self.kind}")
        return section

    def level(self, name: str) -> LevelSection:
        """The level of that name.

        Raises:
            KeyError: no such level; the names are listed.
        """
        for level in self.levels:
            if level.name == name:
                return level
        has = ", ".join(level.name for level in self.levels) or "none"
        raise KeyError(f"hardware {self.name!r} has no level {name!r} (has: {has})")

    @cached_property
    def hash(self) -> str:
        """`sha256:...` of the canonical JSON without comments and provenance: what decides a cost.

        Keys of kind `hierarchy` that stand at their default do not count, so that a new key changes no hash.
        """
        hierarchy = self.kind == "hierarchy"
        left_out = ("moons", "tta") if hierarchy else HIERARCHY_KEYS
        document = self.model_dump(
            by_alias=True, exclude={"provenance", "allow_unusual", *left_out}, exclude_defaults=hierarchy
        )
        canonical = _without_sources(document)
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def source_of(self, key: str) -> Provenance:
        """Where the number of `key` ("moons.dram_ratio", "levels.glb.read_pj") comes from.

        Raises:
            KeyError: this hardware has no such key.
        """
        if self.kind == "hierarchy":
            return hierarchy_source(self, key)
        section_name, _, rest = key.partition(".")
        first = rest.partition(".")[0]
        fields = type(self.section).model_fields
        if section_name != self.kind or first not in fields or first in ("source", "sources"):
            raise KeyError(f"{key} is no key of hardware {self.name!r}; its keys start with {self.kind}.")
        if first not in self.section.model_fields_set:
            default = next(entry for entry in fields[first].metadata if isinstance(entry, DefaultSource))
            return Provenance(status=default.status, cite=default.cite)
        while rest:
            if rest in self.section.sources:
                return self.provenance[self.section.sources[rest]]
            rest = rest.rpartition(".")[0]
        return self.provenance[self.section.source]

    @property
    def keys(self) -> tuple[str, ...]:
        """Dotted keys of every number and rule, what `source_of` answers for."""
        return hierarchy_keys(self) if self.kind == "hierarchy" else _keys(self.section, self.kind)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and yet deserves a look, one line each."""
        return hierarchy_warnings(self.mac, self.levels)

    def to_mapping(self) -> Mapping[str, object]:
        """The description as plain data that `load` reads back to an equal Hardware."""
        document = plain(self.model_dump(by_alias=True, exclude_unset=True))
        return document if isinstance(document, dict) else {}


def _keys(section: Closed, prefix: str) -> tuple[str, ...]:
    """Dotted keys below a section."""
    found: list[str] = []
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Closed):
            found += _keys(value, f"{prefix}.{key}")
        elif key not in ("source", "sources"):
            found.append(f"{prefix}.{key}")
    return tuple(found)


def _without_sources(value: Any) -> Any:
    """A document without its `source` and `sources` keys, at any depth."""
    if isinstance(value, dict):
        kept = {key: child for key, child in value.items() if key not in ("source", "sources")}
        return {key: _without_sources(child) for key, child in kept.items()}
    if isinstance(value, tuple | list):
        return [_without_sources(child) for child in value]
    return value
