"""Candidate spaces: sizes of search.md section 1, round trips, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.search.grid import check_size, grid
from bitjoule.search.space import Candidate, Fixed, Gene, Space, grid_space, topology_space
from bitjoule.search.trial import Request, Result


def test_sizes_of_the_document() -> None:
    """15^3 = 3,375; monotone 35 x 27 = 945; shared 15 [derived]."""
    assert topology_space(monotone=False).size == 3375
    assert topology_space().size == 945
    assert topology_space(shared=True).size == 15
    moons = topology_space(schemes=[f"moons-{q}" for q in (1, 2, 4, 8, 16)])
    assert moons.size == 5 * 945


def test_poq_grid_drops_hpr_that_equals_sp() -> None:
    space = grid_space("mobilenet_v2", widths=(0.5, 1.0), schemes=("fp16", "int8", "w4a4"))
    families = [candidate.family for candidate in space if candidate.width == 0.5]
    assert families == ["fp16", "int8", "hpr-int8", "w4a4", "hpr-w4a4"]
    assert space.size == 10
    narrow = grid_space("m", widths=(1.0,), schemes=("int8", "w4a4"), hpr_bits=8)
    assert [candidate.family for candidate in narrow] == ["int8", "w4a4", "hpr8-w4a4"]


def test_the_first_of_equal_genomes_counts() -> None:
    space = grid_space("m", widths=(1.0,), schemes=("int8", "w8a8", "hpr-w4a4"))
    assert [candidate.family for candidate in space] == ["int8", "hpr-int8", "hpr-w4a4"]
    assert space.encode(space.decode((0, 1, 0))) == (0, 0, 0)


@pytest.mark.parametrize(
    "space", [topology_space(schemes=("moons-2", "float32")), topology_space(shared=True), grid_space("m")]
)
def test_encode_inverts_decode(space: Space) -> None:
    genomes = [space.encode(candidate) for candidate in space]
    assert genomes == sorted(genomes)
    assert [space.decode(genome) for genome in genomes] == list(space)
    assert len(set(space)) == space.size


def test_topology_candidates() -> None:
    first = next(iter(topology_space(schemes=("moons-4",))))
    assert first.topology == (("n_A", 1), ("F_A", 32), ("n_B", 1), ("F_B", 32), ("n_C", 1), ("F_C", 32))
    assert first.width is None
    shared = list(topology_space(shared=True, filters=(64,), depths=(2,)))
    assert dict(shared[0].topology) == {"n_A": 2, "F_A": 64, "n_B": 2, "F_B": 64, "n_C": 2, "F_C": 64}


def test_fixed_layers_become_part_of_the_scheme() -> None:
    fixed = Fixed(first=8, layers=(("features.0.0", 8),))
    space = grid_space("m", widths=(1.0,), schemes=("w2a2", "fp16"), graph_modes=("SP",), fixed=fixed)
    assert [candidate.family for candidate in space] == ["w2a2{features.0.0:w8a8}", "fp16"]
    assert Fixed(first=4).apply(next(iter(space)).scheme).first == 4


@given(st.sampled_from(list(grid_space("m", schemes=("fp16", "w4a4", "moons-2")))))
def test_candidates_survive_json(candidate: Candidate) -> None:
    assert Candidate.from_json(candidate.to_json()) == candidate
    assert isinstance(dict(Candidate.from_json(candidate.to_json()).topology)["width"], float)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="gene 'width' needs at least one value"):
        grid_space("m", widths=())
    with pytest.raises(ValueError, match=r"a width must be a positive number such as 0\.25 or 1\.0, not -1"):
        grid_space("m", widths=(-1,))
    with pytest.raises(ValueError, match=r"gene 'F_A' has a value twice: \[8, 8\]"):
        topology_space(filters=(8, 8))
    with pytest.raises(ValueError, match="gene names must differ"):
        Space((Gene("w", (1,)), Gene("w", (2,))), lambda values: None)
    with pytest.raises(ValueError, match="at most 1,000,000 are counted: narrow genes"):
        topology_space(blocks=6)
    space = topology_space()
    with pytest.raises(ValueError, match=r"genome .* is no candidate of this space"):
        space.decode((0, 4, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="a genome of this space has 7 genes, not 1"):
        space.decode((0,))
    with pytest.raises(ValueError, match="gene 'n_A' takes 0 to 2, not 3"):
        space.decode((3, 0, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"candidate 'fp16 width 0\.25' is not in this space"):
        space.encode(next(iter(grid_space("m"))))


def test_grid_asks_for_everything_once_in_order() -> None:
    asked: list[Request] = []

    def evaluate(requests: object) -> list[Result]:
        asked.extend(requests)  # type: ignore[call-overload]
        return []

    space = topology_space(shared=True)
    grid(space, evaluate, seeds=(0, 1))
    assert [request.candidate for request in asked[::2]] == list(space)
    assert [request.seed for request in asked[:4]] == [0, 1, 0, 1]
    with pytest.raises(ValueError) as caught:
        check_size(topology_space(monotone=False), 1000)
    assert str(caught.value) == (
        "space has 3,375 candidates, max_trials is 1,000: narrow genes or raise limits.max_trials"
    )
