"""What `to_json` wrote is read back exactly; anything else is a GraphError that names the place."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.workload import Graph, GraphError, Layer, Workload, workload_of
from tests.graphs import ALL, resnet_block

GRAPH = resnet_block(downsample=True)
WORKLOAD = workload_of(GRAPH, "hpr-w4a4")
GRAPH_TEXT, WORKLOAD_TEXT = json.dumps(GRAPH.to_json()), json.dumps(WORKLOAD.to_json())
LAYER_TEXT = json.dumps(WORKLOAD.layers[1].to_json())
MEASURED = replace(WORKLOAD.layers[1], weight_terms=1.25, measured_weight_bits=3000)
READERS = {
    "graph": (Graph, GRAPH_TEXT),
    "workload": (Workload, WORKLOAD_TEXT),
    "layer": (Layer, LAYER_TEXT),
    "measured": (Layer, json.dumps(MEASURED.to_json())),
}


@pytest.mark.parametrize("scheme", ["float32", "w4a4", "hpr-w4a4[preadd=b]", "w1a1", "moons-4", "fp16"])
@pytest.mark.parametrize("name", ALL)
def test_round_trip(name: str, scheme: str) -> None:
    graph = Graph.from_json(json.loads(json.dumps(ALL[name].to_json())))
    assert graph == ALL[name]
    workload = workload_of(graph, scheme)
    assert Workload.from_json(json.loads(json.dumps(workload.to_json()))) == workload


def places(document: object, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value below `document`."""
    if here:
        yield here
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from places(value, (*here, key))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70),
    st.floats(allow_nan=False),
    st.sampled_from(["", "x", "INT4", "int4", "INT99", "conv", "conv1", "relu", "image", "input"]),
    st.lists(st.integers(-1, 4), max_size=4),
    st.dictionaries(st.sampled_from(["name", "weight", "x"]), st.integers(-1, 4), max_size=2),
)


def damaged(document: object, data: st.DataObject) -> None:
    """Delete, replace, repeat or add one value somewhere below `document`."""
    way = data.draw(st.sampled_from(list(places(document))))
    for key in way[:-1]:
        document = document[key]  # type: ignore[index]
    action = data.draw(st.sampled_from(["delete", "replace", "replace", "repeat", "add"]))
    if action == "delete":
        del document[way[-1]]  # type: ignore[attr-defined]
    elif action == "replace":
        document[way[-1]] = data.draw(VALUES)  # type: ignore[index]
    elif isinstance(document, list):
        document.append(copy.deepcopy(document[-1]) if action == "repeat" else data.draw(VALUES))
    else:
        document["extra"] = data.draw(VALUES)  # type: ignore[index]


@pytest.mark.parametrize("kind", READERS)
@given(st.data())
def test_damage_is_refused_or_was_none(kind: str, data: st.DataObject) -> None:
    reader, text = READERS[kind]
    document = json.loads(text)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged(document, data)
    before = json.dumps(document, sort_keys=True)
    try:
        found = reader.from_json(document)
    except GraphError as error:
        assert str(error).split()[0].strip(":") in ("a", "graph", "workload", "layer")
    else:
        assert json.dumps(found.to_json(), sort_keys=True) == before
    assert json.dumps(document, sort_keys=True) == before, "reading changes no document"


@pytest.mark.parametrize("value", [None, 3, "text", [], [1], {}, {"schema": "bitjoule.graph/2"}, {1: 2}])
@pytest.mark.parametrize("reader", [Graph, Workload])
def test_other_documents(reader: type[Graph] | type[Workload], value: object) -> None:
    kind = reader.__name__.lower()
    with pytest.raises(GraphError, match=f"a {kind} document has schema 'bitjoule.{kind}/1', not "):
        reader.from_json(value)  # type: ignore[arg-type]


Document = dict[str, list[dict[str, object]]]


def layer_format(text: str) -> Callable[[Document], object]:
    return lambda document: document["layers"][0].update(weight_format=text)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda d: d.pop("order"), "workload: key 'order' is missing; keys: schema, network, "),
        (lambda d: d.update(more=1), "workload: unknown key 'more'; keys: schema, network, "),
        (
            lambda d: d["layers"][0].pop("K"),
            "workload: layers[0]: layer 'conv1': key 'K' is missing; keys: name, kind, N, K, C, ",
        ),
        (
            lambda d: d["layers"][1].update(K="8"),
            "workload: layers[1]: layer 'block.conv1': K must be an integer of at least 1, not '8'",
        ),
        (lambda d: d["layers"].insert(0, 7), "workload: layers[0]: layer must be a mapping of texts, not 7"),
        (
            layer_format("INT99"),
            "workload: layers[0]: layer 'conv1': weight_format: unknown format 'INT99'",
        ),
        (
            layer_format("int4"),
            "workload: layers[0]: layer 'conv1': weight_format must be written 'INT4', not 'int4'",
        ),
        (
            lambda d: d["layers"][0].update(stride=[1]),
            "workload: layers[0]: layer 'conv1': stride must be a list of 2 integers of at least 1, not [1]",
        ),
        (
            lambda d: d["order"].append("nothing"),
            "workload: order[7] names 'nothing'; steps: conv1, ",
        ),
        (lambda d: d["order"].append("conv1"), "workload: order[7]: 'conv1' is named twice"),
        (
            lambda d: d["tensors"].append(d["tensors"][0]),
            "'image' is named twice",
        ),
        (
            lambda d: d["operations"][0].update(attributes={"p": None}),
            "workload: operations[0]: attributes['p'] must be a number, a text, true, false or a list of "
            "integers, not None",
        ),
        (
            lambda d: d["tensors"][0].update(role="weights"),
            "workload: tensors[0]: role must be one of feature, input, output, not 'weights'",
        ),
    ],
)
def test_a_workload_names_the_place(damage: Callable[[Document], object], text: str) -> None:
    document = json.loads(WORKLOAD_TEXT)
    damage(document)
    with pytest.raises(GraphError) as caught:
        Workload.from_json(document)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda d: d.pop("tensors"), "graph: key 'tensors' is missing"),
        (lambda d: d["nodes"][2].pop("op"), "graph: nodes[2]: key 'op' is missing; keys: name, op, "),
        (
            lambda d: d["nodes"][0].update(inputs="image"),
            "graph: nodes[0]: inputs must be a list of texts, not 'image'",
        ),
        (
            lambda d: d["tensors"].update(image=[1, 3.0]),
            "graph: tensors['image'] must be a shape such as [1, 8], not [1, 3.0]",
        ),
        (lambda d: d.update(outputs=["gone"]), "output 'gone' is never made"),
    ],
)
def test_a_graph_names_the_place(damage: Callable[[Document], object], text: str) -> None:
    document = json.loads(GRAPH_TEXT)
    damage(document)
    with pytest.raises(GraphError) as caught:
        Graph.from_json(document)
    assert text in str(caught.value)
