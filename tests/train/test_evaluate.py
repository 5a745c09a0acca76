"""Evaluators as a study calls them: parents, children, both splits, finished trainings, refusals."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
from safetensors.torch import load_file, save_file

from bitjoule.quant.config import GRADIENTS
from bitjoule.quant.sign_gradients import SIGN_GRADIENTS
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.search.space import Candidate
from bitjoule.search.task import Evaluators, Task, run_task
from bitjoule.search.trial import AccuracyEvaluator, Budget, EvaluatorSpec
from bitjoule.train import Stopped
from bitjoule.train.evaluate import VERSION, qat, short_qat
from bitjoule.train.recipes import AUGMENTS
from bitjoule.zoo.data.augment import AUGMENTATIONS

CONFIG = {
    "network": {"zoo": "tfc", "options": {"inputs": 64}},
    "data": {"kind": "digits"},
    "recipe": {"batch": 50},
}
BUDGET = Budget(epochs=3, train_images=400)


def candidate(scheme: str, width: float = 0.5) -> Candidate:
    return Candidate("tfc", (("width", width),), parse_scheme(scheme))


def call(
    evaluator, scheme, workdir, *, split="validation", parent=None, stop=lambda: False, budget=BUDGET, seed=0
):
    return evaluator(candidate(scheme), budget, seed, workdir, split=split, parent_workdir=parent, stop=stop)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent")
    result = call(qat(CONFIG), "float32", folder)
    return folder, result


def test_a_parent_and_its_children(parent, tmp_path):
    folder, trained = parent
    assert trained.accuracy > 0.7
    assert trained.weights == folder / "weights.safetensors"
    assert sorted(path.name for path in folder.iterdir()) == ["result.json", "weights.safetensors"]
    child = call(short_qat(CONFIG), "w4a4", tmp_path / "w4a4", parent=folder)
    assert child.accuracy > trained.accuracy - 0.1
    assert json.loads((tmp_path / "w4a4" / "result.json").read_text())["schema"] == "bitjoule.training/1"
    assert child.metrics["epochs"] == 3
    json.dumps(child.metrics, allow_nan=False)


def test_a_finished_training_is_only_measured(parent, tmp_path, monkeypatch):
    folder, _ = parent
    first = call(short_qat(CONFIG), "int8", tmp_path, parent=folder)
    monkeypatch.setattr("bitjoule.train.loop.train", None)
    again = call(short_qat(CONFIG), "int8", tmp_path, parent=folder)
    assert again == first
    tested = call(short_qat(CONFIG), "int8", tmp_path, parent=folder, split="test")
    assert tested.accuracy != first.accuracy and tested.metrics == first.metrics


def test_stopped_and_continued_equals_uninterrupted(parent, tmp_path):
    folder, _ = parent
    whole = call(short_qat(CONFIG), "w4a4", tmp_path / "a", parent=folder)
    for _ in range(2):
        with pytest.raises(Stopped):
            call(short_qat(CONFIG), "w4a4", tmp_path / "b", parent=folder, stop=lambda: True)
    resumed = call(short_qat(CONFIG), "w4a4", tmp_path / "b", parent=folder)
    assert (resumed.accuracy, resumed.loss) == (whole.accuracy, whole.loss)
    files = [(tmp_path / run / "weights.safetensors").read_bytes() for run in "ab"]
    assert files[0] == files[1]


def test_from_scratch_and_by_moons(tmp_path):
    result = call(qat({**CONFIG, "recipe": {"batch": 20}}), "moons-4", tmp_path / "m", budget=Budget(5))
    assert result.accuracy > 0.5
    assert call(qat(CONFIG), "w4a4", tmp_path / "q").accuracy > 0.5


def test_a_moons_scheme_starts_anew_also_where_others_have_a_parent(parent, tmp_path):
    result = call(short_qat(CONFIG), "moons-4", tmp_path, parent=parent[0])
    assert result.accuracy > 0.5


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"^init 'parent' needs the folder of the finished float32 parent, but none"
    ):
        call(short_qat(CONFIG), "w4a4", tmp_path)


def test_a_teacher_is_the_parent(parent, tmp_path):
    config = {**CONFIG, "teacher": "parent"}
    taught = call(short_qat(config), "w4a4", tmp_path / "t", parent=parent[0])
    alone = call(short_qat(CONFIG), "w4a4", tmp_path / "a", parent=parent[0])
    assert taught.loss != alone.loss


def test_a_chosen_method(parent, tmp_path):
    config = {**CONFIG, "activation": {"method": "pact"}}
    assert call(short_qat(config), "w4a4", tmp_path, parent=parent[0]).accuracy > 0.5


def test_it_satisfies_what_search_asks_for(tmp_path):
    evaluator: AccuracyEvaluator = qat(CONFIG)
    task = Task(
        key="k",
        evaluator=EvaluatorSpec("bitjoule.train.evaluate:qat", CONFIG),
        candidate=candidate("float32"),
        budget=Budget(epochs=1, train_images=200),
        seed=0,
        split="validation",
        workdir=str(tmp_path / "w"),
    )
    outcome = run_task(task, 1, Evaluators(), lambda: False)
    assert outcome.failure is None
    assert 0 <= outcome.result["accuracy"] <= 1
    assert len(outcome.result["weights_sha256"]) == 64
    assert evaluator.version == VERSION


def test_divergence_reaches_the_study_as_such(parent, tmp_path):
    weights = load_file(parent[0] / "weights.safetensors")
    weights["classifier.weight"].mul_(1e30).mul_(1e8)
    (tmp_path / "poisoned").mkdir()
    save_file(weights, tmp_path / "poisoned" / "weights.safetensors")
    spec = EvaluatorSpec("bitjoule.train.evaluate:short_qat", CONFIG)
    folder, poisoned = str(tmp_path / "w"), str(tmp_path / "poisoned")
    task = Task("k", spec, candidate("float32"), Budget(2, 400), 0, "validation", folder, poisoned)
    outcome = run_task(task, 1, Evaluators(), lambda: False)
    assert outcome.failure.kind == "diverged"
    assert outcome.failure.metrics["epochs"] == 0


def test_fingerprints_say_what_changes_the_result_and_no_more():
    base = short_qat(CONFIG).fingerprint()
    json.dumps(base, allow_nan=False)
    assert "/" not in json.dumps(base)
    moved = {**CONFIG, "data": {"kind": "digits", "validation": 0.1}}
    assert short_qat(moved).fingerprint() == base
    for change in (
        {"recipe": {"batch": 50, "lr": 0.02}},
        {"preset": "qat_default"},
        {"teacher": "parent"},
        {"activation": {"method": "pact"}},
        {"data": {"kind": "digits", "preprocessing": "unit"}},
    ):
        assert short_qat({**CONFIG, **change}).fingerprint() != base
    assert qat(CONFIG).fingerprint()["init"] == "scratch"
    assert short_qat(CONFIG).name == "short_qat"


@pytest.mark.parametrize(
    ("factory", "change", "text"),
    [
        (
            short_qat,
            {"init": "scratch"},
            "evaluator short_qat starts from a parent: init must be 'parent'; use qat",
        ),
        (qat, {"init": "zero"}, "evaluator qat: init must be 'parent' or 'scratch', not 'zero'"),
        (qat, {"netwrok": {}}, "evaluator qat: config has no key 'netwrok'; keys: network, data, recipe"),
        (
            qat,
            {"data": {"kind": "digits", "limit": 3}},
            "evaluator qat: config.data has no key 'limit'; keys: kind",
        ),
        (qat, {"data": None}, "evaluator qat: config needs 'data', a mapping"),
        (qat, {"preset": "fast"}, "unknown recipe 'fast'; recipes: float_default"),
        (qat, {"recipe": {"learning": 1}}, "recipe has no field 'learning', did you mean"),
        (qat, {"teacher": "parent"}, "evaluator qat: teacher 'parent' needs init 'parent'"),
        (
            short_qat,
            {"teacher": "wise"},
            "evaluator short_qat: teacher must be 'parent' or left out, not 'wise'",
        ),
    ],
)
def test_wrong_configs(factory, change, text):
    with pytest.raises(ValueError) as error:
        factory({**CONFIG, **change})
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ({"augment": "crops"}, "recipe: augment must be one of none, crop-flip, "),
        ({"augment": None, "batch": 2.5}, "recipe: a field has the wrong type: batch must be a whole number"),
        ({"batch": True}, "recipe: a field has the wrong type: batch must be a whole number, not True"),
        ({"lr": "0.1"}, "recipe: a field has the wrong type: lr must be a number, not '0.1'"),
        ({"nesterov": "no"}, "recipe: a field has the wrong type: nesterov must be true or false, not 'no'"),
        ({"glorot_lr": 1}, "recipe: a field has the wrong type: glorot_lr must be true or false, not 1"),
        ({"augment": 3}, "recipe: a field has the wrong type: augment must be a text, not 3"),
        ({"step_at": 0.5}, "recipe: a field has the wrong type: step_at must be a list of numbers, not 0.5"),
        (
            {"step_at": [0.5, 1.0]},
            "recipe: step_at holds shares of the training between 0 and 1, not [0.5, 1.0]",
        ),
        ({"step_factor": 0}, "recipe: step_factor must be from 1e-09 to 1000, not 0"),
        ({"lr_batch": 0}, "recipe: lr_batch must be from 1 to 1e+06, not 0"),
        ({"lr": float("nan")}, "recipe: lr must be from 1e-12 to 1000, not nan"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_trial(recipe, text):
    with pytest.raises(ValueError) as error:
        qat({**CONFIG, "recipe": recipe})
    assert str(error.value).startswith(text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"recipe": ["batch"]}, "evaluator qat: recipe must be a mapping of fields, not ['batch']"),
        (
            {"preset": "moons2017", "recipe": {"label_smoothing": 0.1}},
            "recipe: label_smoothing belongs to cross_entropy, not to squared_hinge",
        ),
        (
            {"weight": "lsq"},
            'evaluator qat: weight: must be a mapping such as {"method": "lsq"}, not \'lsq\'',
        ),
        ({"weight": {}}, "evaluator qat: weight: key 'method' is missing; methods: ste, moons"),
        (
            {"activation": {"method": "lsq", "learnscale": True}},
            "evaluator qat: activation: QuantizerConfig has no key 'learnscale', did you mean",
        ),
        (
            {"activation": {"method": "lsqq"}},
            "evaluator qat: activation: QuantizerConfig: method must be one of ste,",
        ),
        (
            {"weight": {"method": "lsq", "learn_scale": "yes"}},
            "evaluator qat: weight: QuantizerConfig: learn_scale must be true or false, not 'yes'",
        ),
        (
            {"weight": {"method": "ste", "momentum": None}},
            "evaluator qat: weight: QuantizerConfig: momentum must be a number, not None",
        ),
        (
            {"weight": {"method": "lsq", "gradient": "swish"}},
            "evaluator qat: weight: lsq has the gradients default, not 'swish'",
        ),
        (
            {"activation": {"method": "binary", "magnitude": True}},
            "evaluator qat: activation: magnitude is for binary weights",
        ),
    ],
)
def test_wrong_sections_are_refused_before_any_trial(change, text):
    with pytest.raises(ValueError) as error:
        qat({**CONFIG, **change})
    assert str(error.value).startswith(text)


def test_the_recipe_knows_the_augmentations_of_the_zoo():
    assert set(AUGMENTS) == set(AUGMENTATIONS)


def test_the_gradients_a_config_may_name_are_those_of_the_methods():
    assert GRADIENTS["binary"] == ("default", *SIGN_GRADIENTS)


def test_a_warmup_of_the_config_is_kept_and_must_fit_the_budget():
    w4a4 = parse_scheme("w4a4")
    assert qat(CONFIG).recipe_for(w4a4, 10).warmup == 1.0
    assert qat(CONFIG).recipe_for(w4a4, 2).warmup == 0.4
    chosen = qat({**CONFIG, "recipe": {"warmup": 8}})
    assert (chosen.recipe_for(w4a4, 10).warmup, chosen.recipe_for(w4a4, 10).epochs) == (8, 10)
    assert qat({**CONFIG, "recipe": {"warmup": 0}}).recipe_for(w4a4, 10).warmup == 0
    with pytest.raises(ValueError) as error:
        chosen.recipe_for(w4a4, 5)
    assert str(error.value) == (
        "evaluator qat: the recipe's warmup of 8 epochs is longer than the budget of 5; "
        "lower warmup, leave it out, or raise the epochs of the budget"
    )


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^split must be 'validation' or 'test', not 'train'$"):
        call(qat(CONFIG), "float32", tmp_path, split="train")


def test_the_driver_reads_an_evaluator_without_torch():
    config = {**CONFIG, "weight": {"method": "lsq"}}
    code = (
        "import sys, json; from bitjoule.train.evaluate import short_qat;"
        "e = short_qat(json.loads(sys.argv[1])); e.fingerprint(); e.name; e.version;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, json.dumps(config)], check=True)


def test_other_candidates_than_those_of_search_do_as_well(tmp_path):
    @dataclass(frozen=True)
    class Mine:
        network: str
        topology: tuple
        scheme: Scheme

    evaluator = qat(CONFIG)
    mine = Mine("tfc", (("width", 0.25),), parse_scheme("float32"))
    result = evaluator(
        mine, Budget(1, 200, 50), 0, tmp_path, split="validation", parent_workdir=None, stop=lambda: False
    )
    assert 0 <= result.accuracy <= 1


def test_a_zero_point_is_part_of_a_config_that_has_one(parent, tmp_path):
    """Keys of trainings without one stay what they were."""
    folder, _ = parent
    asked = {**CONFIG, "activation": {"method": "lsq+"}, "zero_point": True}
    assert "zero_point" not in short_qat(CONFIG).fingerprint()
    assert short_qat(asked).fingerprint()["zero_point"] is True
    call(short_qat(asked), "w4a4", tmp_path, parent=folder, budget=Budget(epochs=1, train_images=100))
    assert any(name.endswith(".offset") for name in load_file(tmp_path / "weights.safetensors"))
    with pytest.raises(ValueError, match=r"^evaluator short_qat: zero_point must be true or false"):
        short_qat({**asked, "zero_point": "yes"})
    with pytest.raises(ValueError, match=r"zero_point needs activations by lsq\+ or ste: add"):
        short_qat({**CONFIG, "zero_point": True})
