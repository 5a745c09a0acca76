"""Every part of a training is in its identity, and nothing else."""

from dataclasses import replace

import torch

from bitjoule import zoo
from bitjoule.quant.repairs import TWO_STAGE
from bitjoule.train import prepare_qat, recipe
from bitjoule.train.identity import digest, identity


def test_each_part_changes_its_own_entry(mlp, few):
    settings = recipe("smoke")

    def found(net=mlp, data=few, recipe=settings, seed=0, teacher=None, stage=None):
        return identity(net, data, recipe, seed, teacher, stage)

    plain = found()
    assert plain == found(net=mlp.clone())
    other = mlp.clone()
    with torch.no_grad():
        other.module.classifier.weight += 1
    cases = {
        "recipe": found(recipe=replace(settings, lr=0.5)),
        "seed": found(seed=1),
        "data": found(data=zoo.load_dataset("digits", limit_train=200)),
        "teacher": found(teacher=mlp),
        "starting weights": found(net=other),
    }
    for key, document in cases.items():
        assert {name for name in plain if document[name] != plain[name]} == {key}
    assert found(teacher=other)["teacher"] != cases["teacher"]["teacher"]
    assert "scheme" in {name for name in plain if found(net=prepare_qat(mlp, "w4a4"))[name] != plain[name]}
    stages = [found(stage=stage)["stage"] for stage in TWO_STAGE]
    assert stages[0] != stages[1] and "stage" not in plain


def test_a_digest_reads_names_and_values(mlp):
    state = {name: value.clone() for name, value in mlp.state_dict().items()}
    assert digest(mlp) == digest(mlp.clone())
    for value in state.values():
        changed = mlp.clone()
        name = next(n for n, v in state.items() if v is value)
        with torch.no_grad():
            changed.state_dict()[name].add_(1)
        assert digest(changed) != digest(mlp)
