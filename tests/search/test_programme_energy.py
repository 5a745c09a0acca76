"""Tables of energies: sums equal the energy model, Schemes say what was chosen, groups share one width."""

import random

import pytest

from bitjoule.energy import CostOptions, cost
from bitjoule.hardware import Hardware, load
from bitjoule.scheme import parse_scheme
from bitjoule.search.programme import Budget, Programme, ProgrammeError, solve
from bitjoule.search.programme_energy import EnergyTable, Streaming, energy_table
from bitjoule.search.programme_genes import OPERATORS, NetworkGenes, network_genes
from bitjoule.workload import Graph, Node, assign, workload_of
from bitjoule.workload.graph import Tensor


def conv(name: str, source: str, channels: tuple[int, int], size: int, *, kernel: int = 3) -> Node:
    """A convolution that keeps the size."""
    pad = kernel // 2
    attributes: dict[str, object] = {
        "kernel": (kernel, kernel), "stride": (1, 1), "padding": (pad,) * 4, "dilation": (1, 1),
        "groups": 1, "in_channels": channels[0], "out_channels": channels[1], "transposed": False,
    }  # fmt: skip
    weight = (channels[1], channels[0], kernel, kernel)
    return Node(name, "conv", (source,), name, attributes, {"weight": weight})  # type: ignore[arg-type]


def residual_graph() -> Graph:
    """Stem, two residual blocks, global pool, classifier."""
    nodes = [conv("stem", "x", (3, 8), 8), Node("r0", "relu", ("stem",), "r0")]
    for block in ("1", "2"):
        before = f"r{int(block) - 1}"
        nodes += [
            conv(f"b{block}.conv1", before, (8, 8), 8),
            Node(f"b{block}.relu", "relu", (f"b{block}.conv1",), f"b{block}.relu"),
            conv(f"b{block}.conv2", f"b{block}.relu", (8, 8), 8),
            Node(f"b{block}.add", "add", (f"b{block}.conv2", before), f"b{block}.add"),
            Node(f"r{block}", "relu", (f"b{block}.add",), f"r{block}"),
        ]
    nodes.append(Node("pool", "global_avg_pool", ("r2",), "pool", {"keepdim": False}))
    linear = {"in_features": 8, "out_features": 10}
    nodes.append(Node("fc", "linear", ("pool",), "fc", linear, {"weight": (10, 8), "bias": (10,)}))
    shapes = {"x": (1, 3, 8, 8), "pool": (1, 8), "fc": (1, 10)}
    tensors = {
        name: Tensor(name, shapes.get(name, (1, 8, 8, 8))) for name in ("x", *(node.name for node in nodes))
    }
    return Graph("residual", ("x",), ("fc",), tuple(nodes), tensors)


WIDTHS = ("2", "4", "8")


def genes_of(scheme: str = "int8[first=same,last=same]") -> NetworkGenes:
    return network_genes(residual_graph(), scheme, weights=WIDTHS, activations=WIDTHS)


def drawn(genes: NetworkGenes, rng: random.Random) -> dict[str, str]:
    """A random assignment that keeps groups at least as wide as operators."""
    found = {gene: rng.choice(genes.choices(gene)) for gene in (*genes.weights, *genes.groups)}
    for name, group in genes.groups.items():
        if group.above_operators and OPERATORS in found:
            found[name] = max(found[name], found[OPERATORS], key=int)
    return found


def test_groups_of_a_residual_network() -> None:
    genes = genes_of()
    groups = {name.removeprefix("activation "): group for name, group in genes.groups.items()}
    assert list(groups) == ["x", "r0", "b1.relu", "b2.relu", "pool", "of operators"]
    assert groups["r0"].tensors == ("r0", "r1") and groups["r0"].layers == ("b1.conv1", "b2.conv1")
    assert groups["r0"].above_operators  # adds read it too
    assert groups["of operators"].tensors == ("r2",)
    fixed = network_genes(residual_graph(), "int8", weights=WIDTHS, activations=WIDTHS)
    assert fixed.weight_choices["weight stem"] == fixed.weight_choices["weight fc"] == ("8",)
    assert fixed.groups["activation x"].choices == fixed.groups["activation pool"].choices == ("8",)
    high = genes_of("hpr-int8[first=same,last=same]")
    assert high.groups["activation r0"].tensors == () and "r1" not in high.stored
    assert high.groups["activation r0"].layers == ("b1.conv1",)
    assert high.groups["activation r1"].layers == ("b2.conv1",)


@pytest.mark.parametrize("scheme", ["int8", "int8[first=same,last=same]", "hpr-int8[first=same,last=same]"])
def test_schemes_print_parse_and_assign_what_was_chosen(scheme: str) -> None:
    genes, rng = genes_of(scheme), random.Random(0)
    for _ in range(20):
        chosen = drawn(genes, rng)
        made = genes.scheme_of(chosen)
        assert parse_scheme(str(made)) == made
        formats = assign(genes.graph, parse_scheme(str(made)))
        for gene, layers in genes.weights.items():
            assert {str(formats.weights[layer]) for layer in layers} == {f"INT{chosen[gene]}_NARROW/channel"}
        for layer, gene in genes.reads.items():
            read = formats.reads[layer, 0]
            assert read is not None and str(read.format.bits) == chosen[gene]
        for tensor, gene in genes.stored.items():
            stored = formats.stored[tensor]
            assert stored is not None and str(stored.format.bits) == chosen[gene]


def narrow_memory() -> Hardware:
    """The BrainTTA-like core with too little room for all feature maps."""
    document = load("braintta22").to_mapping()
    tta = document["tta"]
    assert isinstance(tta, dict)
    tta["dmem_bits"] = 12_000
    return load(document)


@pytest.mark.parametrize("residency", ["none", "ideal"])
@pytest.mark.parametrize("scheme", ["int8[first=same,last=same]", "hpr-int8[first=same,last=same]"])
@pytest.mark.parametrize("hardware", ["braintta22", "moons-unbounded", "narrow"])
def test_the_sum_is_the_energy_of_the_model(hardware: str, scheme: str, residency: Streaming) -> None:
    described = narrow_memory() if hardware == "narrow" else load(hardware)
    genes, rng = genes_of(scheme), random.Random(1)
    table = energy_table(genes, described, residency=residency)
    for _ in range(6):
        compared = table.compare(drawn(genes, rng))
        assert compared.predicted_pj == pytest.approx(compared.modelled_pj, rel=1e-12)
        assert compared.additive
        if residency == "none":
            assert compared.real_pj <= compared.predicted_pj * (1 + 1e-12)
        else:
            assert compared.real_pj >= compared.predicted_pj * (1 - 1e-12)


@pytest.mark.parametrize("residency", ["none", "ideal"])
def test_the_sum_on_a_memory_hierarchy(residency: Streaming) -> None:
    graph, rng = residual_graph(), random.Random(2)
    genes = network_genes(graph, "int8", weights=("8",), activations=("4", "8"))
    told: list[tuple[int, int]] = []
    table = energy_table(
        genes, load("eyeriss"), residency=residency, progress=lambda done, all_: told.append((done, all_))
    )
    assert (
        told[-1][0]
        == told[-1][1]
        == sum(term.energy_pj.size for term in table.terms if "above" not in term.name)
    )
    for _ in range(2):
        compared = table.compare(drawn(genes, rng))
        assert compared.predicted_pj == pytest.approx(compared.modelled_pj, rel=1e-12)


def test_weights_that_do_not_fit_a_closed_form_are_noted() -> None:
    document = load("moons-4mb").to_mapping()
    moons = document["moons"]
    assert isinstance(moons, dict)
    moons["on_chip_bits"] = 30_000
    genes = genes_of()
    table = energy_table(genes, load(document))
    assert table.notes[0].startswith(
        "the share of weights that is fetched from DRAM is that of the reference"
    )
    widest = genes.widest()
    assert table.compare(widest).additive  # exact at the reference
    narrow = {gene: genes.choices(gene)[0] for gene in widest}
    compared = table.compare(narrow)
    assert not compared.additive and compared.real_pj < compared.predicted_pj
    again = energy_table(genes, load(document), reference=narrow)
    assert again.compare(narrow).additive


def losses_of(genes: NetworkGenes) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """4^-bits times a factor per tensor."""
    weights = {
        layer: {bits: (1 + index) * 4.0 ** -int(bits) for bits in WIDTHS}
        for index, layer in enumerate(layer for layers in genes.weights.values() for layer in layers)
    }
    tensors = [tensor for group in genes.groups.values() for tensor in group.points]
    return weights, {
        tensor: {bits: (1 + index) * 2.0 ** -int(bits) for bits in WIDTHS}
        for index, tensor in enumerate(tensors)
    }


def solved(table: EnergyTable, share: float) -> tuple[Programme, float, float]:
    programme = table.programme(*losses_of(table.genes))
    least = solve(programme, Budget(), minimise="energy").energy_pj
    most = solve(programme, Budget()).energy_pj
    return programme, least, least + share * (most - least)


@pytest.mark.parametrize("scheme", ["int8", "hpr-int8[first=same,last=same]"])
def test_from_sensitivities_to_a_scheme_within_the_budget(scheme: str) -> None:
    genes = genes_of(scheme)
    hardware = load("braintta22")
    table = energy_table(genes, hardware, residency="ideal")
    programme, least, budget = solved(table, 0.3)
    found = solve(programme, Budget(energy_pj=budget))
    same = solve(programme, Budget(energy_pj=budget), solver="dp", quantum_pj=10.0)
    assert found.proven and found.energy_pj <= budget
    assert same.loss == pytest.approx(found.loss, rel=1e-2)
    compared = table.compare(found)
    options = CostOptions(residency="ideal")
    priced = cost(workload_of(genes.graph, compared.scheme), hardware, options=options)
    assert priced.energy_pj == pytest.approx(found.energy_pj, rel=1e-12)
    assert workload_of(genes.graph, compared.scheme).weight_bits == found.size_bits
    assert priced.total_cycles == found.latency_cycles
    with pytest.raises(ProgrammeError, match=r"least energy is \d\.\d{3} uJ, the budget asks for"):
        solve(programme, Budget(energy_pj=least / 2))


def test_faults_are_named() -> None:
    graph = residual_graph()
    cases = [
        (
            lambda: network_genes(graph, "int8{fc:w4a4}"),
            "scheme 'int8{fc:w4a4}': the programme chooses all widths",
        ),
        (
            lambda: network_genes(graph, "w4/group32a8"),
            "scheme 'w4/group32a8': the programme chooses all widths itself, give it a scheme without "
            "overrides, repairs and scales in groups, such as int8",
        ),
        (lambda: network_genes(graph, activations=("1",)), "activations take bits from 2 to 16, not '1'"),
        (
            lambda: network_genes(graph, activations=("POT4",)),
            "activations take bits from 2 to 16, not 'POT4'",
        ),
        (lambda: network_genes(graph, weights=()), "weights and activations need at least one choice each"),
        (
            lambda: network_genes(graph, "hpr8-w4a4"),
            "activations of 8 bits are no narrower than the residuals of 'hpr8-w4a4': choose less than 8",
        ),
        (
            lambda: energy_table(genes_of(), load("moons-unbounded")).programme({}, {}),
            "no sensitivity of 'stem', which 'weight stem' decides; measured: nothing",
        ),
    ]
    for call, text in cases:
        with pytest.raises(ProgrammeError) as caught:
            call()
        assert str(caught.value).startswith(text)
