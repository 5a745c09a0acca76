"""Mappings as a study keeps them."""

from bitjoule.mapping.search import solve
from bitjoule.search.layer_mappings import mapping_documents
from tests.mapping.toy import GOLDEN, toy


def test_layers_that_are_drawn_alike_share_one_document() -> None:
    (conv, conv_dims, *_), (linear, linear_dims, *_) = GOLDEN[0], GOLDEN[3]
    results = {"a": solve(conv, toy(conv_dims)), "b": solve(linear, toy(linear_dims))}
    results["c"] = results["a"]
    accelerators = {"a": toy(conv_dims), "b": toy(linear_dims), "c": toy(conv_dims)}
    documents = mapping_documents(results, accelerators)
    assert [document["layers"] for document in documents] == [["a", "c"], ["b"]]
    assert documents[0]["energy_pj"] == results["a"].energy_pj
    roomier = {**accelerators, "c": toy(conv_dims, glb_words=48)}
    assert [d["layers"] for d in mapping_documents(results, roomier)] == [["a"], ["b"], ["c"]]
