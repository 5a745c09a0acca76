"""Candidate spaces: which networks and schemes a study may try.

A space has genes, each a name and the values it may take; a genome is one index per gene. Genomes run in
lexicographic order, and of two that decode to the same Candidate the first counts and the other is dropped.

| space | genes | source |
|---|---|---|
| `grid_space` | width, scheme, graph mode | POQ: de Putter, Eissa, Corporaal, IEEE Access 13, 2025 |
| `topology_space` | n_A F_A n_B F_B n_C F_C, scheme | Moons et al. 2017, arXiv 1711.00215 |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Literal

from bitjoule.scheme import Override, Precision, Scheme, parse_scheme

__all__ = [
    "DEPTHS",
    "FILTERS",
    "HIGH_BITS",
    "MAX_GENOMES",
    "WIDTHS",
    "Candidate",
    "Fixed",
    "Gene",
    "Genome",
    "Space",
    "grid_space",
    "topology_space",
]

WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.4, 2.0)
DEPTHS = (1, 2, 3)
FILTERS = (32, 64, 128, 256, 512)
HIGH_BITS = 16
MAX_GENOMES = 1_000_000
"""Spaces with more genomes are refused: they are counted one by one."""

Genome = tuple[int, ...]
Value = int | float | str


@dataclass(frozen=True)
class Candidate:
    """One network to evaluate. `topology` holds the parameters that make it, such as (("width", 0.5),)."""

    network: str
    topology: tuple[tuple[str, int | float], ...]
    scheme: Scheme

    @property
    def family(self) -> str:
        """The scheme's name without the width: what iso-accuracy compares."""
        return self.scheme.family

    @property
    def width(self) -> float | None:
        """The width multiplier, or None where the topology has none."""
        width = dict(self.topology).get("width")
        return None if width is None else float(width)

    @property
    def label(self) -> str:
        """For people: `w4a4 width 0.5`."""
        return " ".join([self.scheme.name, *(f"{name} {value:g}" for name, value in self.topology)])

    def with_scheme(self, scheme: Scheme) -> Candidate:
        """The same topology under another scheme."""
        return replace(self, scheme=scheme)

    def to_json(self) -> dict[str, object]:
        """A JSON document; `from_json` reads it back exactly."""
        return {
            "network": self.network,
            "topology": [[name, value] for name, value in self.topology],
            "scheme": self.scheme.name,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Candidate:
        """The Candidate of a document that `to_json` wrote."""
        topology = document["topology"]
        if not isinstance(topology, list | tuple):
            raise ValueError(f"candidate.topology must be a list of [name, number], not {topology!r}")
        return cls(
            network=str(document["network"]),
            topology=tuple((str(name), value) for name, value in topology),
            scheme=parse_scheme(str(document["scheme"])),
        )


@dataclass(frozen=True)
class Gene:
    """A choice with a name."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"gene {self.name!r} needs at least one value")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"gene {self.name!r} has a value twice: {list(self.values)}")


@dataclass(frozen=True)
class Space:
    """Genes, and what their values mean: `build` returns None for values that are no candidate of the space.

    >>> space = grid_space("mobilenet_v2", widths=(0.5, 1.0), schemes=("int8", "w4a4"), graph_modes=("SP",))
    >>> space.size, space.decode((1, 0, 0)).label
    (4, 'int8 width 1')
    """

    genes: tuple[Gene, ...]
    build: Callable[[Mapping[str, Value]], Candidate | None]

    def __post_init__(self) -> None:
        names = [gene.name for gene in self.genes]
        if len(set(names)) < len(names):
            raise ValueError(f"gene names must differ: {names}")
        genomes = math.prod(len(gene.values) for gene in self.genes)
        if genomes > MAX_GENOMES:
            raise ValueError(
                f"space has {genomes:,} genomes, at most {MAX_GENOMES:,} are counted: narrow genes"
            )

    @property
    def size(self) -> int:
        """Number of different candidates, exact."""
        return len(self._genomes)

    def __iter__(self) -> Iterator[Candidate]:
        """Candidates in genome order, each once."""
        return iter(self._genomes)

    def decode(self, genome: Genome) -> Candidate:
        """The candidate of a genome; `ValueError` for one outside the space."""
        if len(genome) != len(self.genes):
            raise ValueError(f"a genome of this space has {len(self.genes)} genes, not {len(genome)}")
        for gene, index in zip(self.genes, genome, strict=True):
            if not 0 <= index < len(gene.values):
                raise ValueError(f"gene {gene.name!r} takes 0 to {len(gene.values) - 1}, not {index}")
        candidate = self._build(genome)
        if candidate is None:
            values = {g.name: g.values[i] for g, i in zip(self.genes, genome, strict=True)}
            raise ValueError(f"genome {genome} is no candidate of this space: {values}")
        return candidate

    def encode(self, candidate: Candidate) -> Genome:
        """The first genome that decodes to `candidate`; `ValueError` when there is none."""
        try:
            return self._genomes[candidate]
        except KeyError:
            raise ValueError(f"candidate {candidate.label!r} is not in this space") from None

    def _build(self, genome: Genome) -> Candidate | None:
        return self.build({g.name: g.values[i] for g, i in zip(self.genes, genome, strict=True)})

    @cached_property
    def _genomes(self) -> dict[Candidate, Genome]:
        first: dict[Candidate, Genome] = {}
        for genome in product(*(range(len(gene.values)) for gene in self.genes)):
            candidate = self._build(genome)
            if candidate is not None:
                first.setdefault(candidate, genome)
        return first


@dataclass(frozen=True)
class Fixed:
    """Layers whose precision no gene decides: bits of the first and last layer (None: the scheme's own rule,
    8 bits at least), and (layer pattern, bits) for others. Floating-point schemes are left as they are."""

    first: int | None = None
    last: int | None = None
    layers: tuple[tuple[str, int], ...] = ()

    def apply(self, scheme: Scheme) -> Scheme:
        """`scheme` with these layers fixed."""
        if scheme.is_float32 or scheme.precision.is_float:
            return scheme
        fixed = tuple(Override(pattern, Precision(str(bits), str(bits))) for pattern, bits in self.layers)
        return replace(
            scheme,
            first=scheme.first if self.first is None else self.first,
            last=scheme.last if self.last is None else self.last,
            overrides=(*fixed, *(o for o in scheme.overrides if o not in fixed)),
        )


def grid_space(
    network: str,
    *,
    widths: Sequence[float] = WIDTHS,
    schemes: Sequence[str] = ("fp16", "int8", "w4a4", "w2a2"),
    graph_modes: Sequence[Literal["SP", "HPR"]] = ("SP", "HPR"),
    hpr_bits: int = HIGH_BITS,
    fixed: Fixed | None = None,
) -> Space:
    """Width times scheme times graph mode (POQ).

    HPR of a scheme whose activations already have `hpr_bits` or more equals SP and is dropped; a scheme that
    is named `hpr-...` keeps its own mode.

    >>> [c.family for c in grid_space("m", widths=(1.0,), schemes=("fp16", "w4a4"))]
    ['fp16', 'w4a4', 'hpr-w4a4']
    """
    for width in widths:
        if not (width > 0 and math.isfinite(width)):
            raise ValueError(
                f"space.widths: a width must be a positive number such as 0.25 or 1.0, not {width}"
            )
    rules = fixed or Fixed()
    prefix = "hpr-" if hpr_bits == HIGH_BITS else f"hpr{hpr_bits}-"

    def build(values: Mapping[str, Value]) -> Candidate | None:
        scheme = parse_scheme(str(values["scheme"]))
        if values["graph_mode"] == "HPR" and scheme.mode == "SP":
            scheme = parse_scheme(prefix + str(values["scheme"]))
            if scheme.hpr_is_sp:
                return None
        return Candidate(network, (("width", float(values["width"])),), rules.apply(scheme))

    genes = (
        Gene("width", tuple(widths)),
        Gene("scheme", tuple(schemes)),
        Gene("graph_mode", tuple(graph_modes)),
    )
    return Space(genes, build)


def topology_space(
    network: str = "moons",
    *,
    depths: Sequence[int] = DEPTHS,
    filters: Sequence[int] = FILTERS,
    schemes: Sequence[str] = ("float32",),
    blocks: int = 3,
    monotone: bool = True,
    shared: bool = False,
    fixed: Fixed | None = None,
) -> Space:
    """Depths n and filters F of blocks A, B, C (Moons), crossed with schemes.

    `monotone` keeps F_A <= F_B <= F_C; `shared` gives all blocks one n and one F.

    >>> topology_space().size, topology_space(monotone=False).size, topology_space(shared=True).size
    (945, 3375, 15)
    """
    for name, numbers in (("depths", depths), ("filters", filters)):
        for number in numbers:
            if number < 1:
                raise ValueError(f"space.{name}: must be at least 1, not {number}")
    if not 1 <= blocks <= 26:
        raise ValueError(f"space.blocks: must be 1 to 26, not {blocks}")
    letters = [chr(ord("A") + block) for block in range(blocks)]
    rules = fixed or Fixed()

    def build(values: Mapping[str, Value]) -> Candidate | None:
        topology = tuple(
            (f"{kind}_{letter}", int(values[kind if shared else f"{kind}_{letter}"]))
            for letter in letters
            for kind in ("n", "F")
        )
        counts = [number for name, number in topology if name.startswith("F_")]
        if monotone and counts != sorted(counts):
            return None
        return Candidate(network, topology, rules.apply(parse_scheme(str(values["scheme"]))))

    genes = [
        Gene(kind if shared else f"{kind}_{letter}", tuple(numbers))
        for letter in (letters[:1] if shared else letters)
        for kind, numbers in (("n", depths), ("F", filters))
    ]
    return Space((*genes, Gene("scheme", tuple(schemes))), build)
