"""The repairs study without training: arms, greedy rounds, gains and their intervals, rank tests, facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitjoule.scheme import parse_scheme
from bitjoule.search.claims import check_claim, read_claims
from bitjoule.search.repair_plan import Arm, RepairPlan, compatible, isolation_arms, read_plan, study_text
from bitjoule.search.repair_results import Measured, arm_result, estimate, rank_categories, worth
from bitjoule.search.repair_study import RepairRun, facts_of, most_trainings
from bitjoule.search.space import Candidate
from bitjoule.search.study_file import parse_study_file
from bitjoule.search.study_yaml import StudyFileError, YamlText, read_yaml
from bitjoule.search.trial import Failure, Trial
from bitjoule.studies import shipped, text_of

PLAN = read_plan(text_of("S3", "study.yaml"), "study.yaml")
BASE = PLAN.baseline

GAINS = {
    "grad=approx": 0.010,
    "double_residual": 0.030,
    "rprelu": 0.020,
    "scale_xnor": 0.015,
    "pre_bn": -0.02,
}
ADDED = {"double_residual": 2e6, "rprelu": 1e6}


def small(**changes: object) -> RepairPlan:
    """Five repairs in five categories."""
    categories = {
        "feature binarizer": ("grad=approx",),
        "feature normalization": ("pre_bn",),
        "weight binarizer": ("scale_xnor",),
        "double residual": ("double_residual",),
        "activation": ("rprelu",),
    }
    together = ("double_residual", "rprelu")
    return PLAN.model_copy(update={"categories": categories, "together": together, **changes})


@dataclass
class FakeStudy:
    """Answers with what repairs are worth by GAINS and ADDED; seed 1 is half a point better."""

    schemes: tuple[str, ...]
    ran: list[tuple[str, ...]] = field(default_factory=list)
    broken: tuple[str, ...] = ()

    def trials(self) -> list[Trial]:
        return [self.trial(scheme, seed) for scheme in ("float32", *self.schemes) for seed in (0, 1)]

    def trial(self, name: str, seed: int) -> Trial:
        scheme = parse_scheme(name)
        accuracy = {"float32": 0.95, "w2a2": 0.9, "w4a4": 0.93, "int8": 0.94}.get(name, 0.8)
        accuracy += sum(GAINS.get(repair, 0.0) for repair in scheme.repairs) + 0.005 * seed
        energy = {"w2a2": 7e6, "w4a4": 9e6, "int8": 20e6}.get(name, 5e6)
        energy += sum(ADDED.get(repair, 0.0) for repair in scheme.repairs)
        failed = any(repair in self.broken for repair in scheme.repairs)
        return Trial(
            number=0,
            candidate=Candidate("resnet8", (("width", 0.5),), scheme),
            family=name,
            hardware=PLAN.hardware,
            hardware_hash="h",
            seed=seed,
            epochs=1,
            status="failed" if failed else "done",
            accuracy_key=None,
            cost_key="c",
            accuracy=None if failed else accuracy,
            energy_pj=None if name == "float32" else energy,
            failure=Failure("error", "broken") if failed else None,
        )

    def front(self, hardware: str) -> list[SimpleNamespace]:
        return []


def run(plan: RepairPlan, folder: Path, broken: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
    ran: list[tuple[str, ...]] = []

    def opened(path: Path, config: Path, *, fresh: bool = False) -> FakeStudy:
        file = parse_study_file(read_yaml(config), config.parent)
        return FakeStudy(file.space.schemes, ran, broken)

    def run_study(study: FakeStudy) -> None:
        ran.append(study.schemes)

    started = RepairRun(plan, "minutes", None, folder, opened)  # type: ignore[arg-type]
    _, findings = started.run(run_study)  # type: ignore[arg-type]
    return findings, ran


def test_the_shipped_plan_names_every_repair_of_a_category_once() -> None:
    assert shipped() == ("S3",)
    assert len(set(PLAN.repairs)) == len(PLAN.repairs)
    arms = isolation_arms(PLAN)
    assert [arm.kind for arm in arms].count("one") == len(PLAN.repairs)
    assert [arm.kind for arm in arms].count("without") == len(PLAN.together) == 6
    assert arms[0] == Arm("baseline", "hpr-w1a1")
    assert len({arm.scheme for arm in arms}) == len(arms)
    for size in PLAN.sizes:
        for data in PLAN.sizes[size].data:
            text = study_text(PLAN, size, data, ["w4a4"], workers=1, seeds_front=0)
            file = parse_study_file(YamlText("x", text), Path())
            assert file.accuracy.seeds_search == PLAN.sizes[size].seeds


def test_the_baseline_is_the_one_of_the_specification() -> None:
    from bitjoule.quant.config import QuantizerConfig
    from bitjoule.quant.repairs import repair_settings
    from bitjoule.train.recipes import scheme_recipe

    scheme = parse_scheme(BASE)
    settings = repair_settings(scheme)
    plain = QuantizerConfig("binary")
    assert (settings.weight, settings.activation) == (plain, plain)  # plain signs, the clipped gradient
    assert (scheme.first, scheme.last, scheme.downsample) == (8, 8, 8)
    recipe = scheme_recipe(scheme, 10)
    found = (recipe.optimizer, recipe.rate, recipe.schedule, recipe.weight_decay, recipe.ema)
    assert found == ("adam", 1e-3, "cosine", 0.0, None)


def test_greedy_takes_what_is_free_first_then_gain_per_joule(tmp_path: Path) -> None:
    findings, ran = run(small(), tmp_path)
    # free: scale_xnor before grad=approx; then rprelu, 2 pp per uJ, before double_residual, 1.5 pp per uJ
    assert [step.chosen[-1] for step in findings.greedy] == ["scale_xnor", "grad=approx", "rprelu"]
    assert findings.greedy[-1].row.gain.mean == pytest.approx(2.0)
    assert findings.greedy[-1].row.added_pj == pytest.approx(1e6)
    assert all(set(before) <= set(after) for before, after in pairwise(ran))
    again, _ = run(small(), tmp_path)
    assert again.to_json() == findings.to_json()  # the replay decides the same


def test_rows_and_facts(tmp_path: Path) -> None:
    plan = small()
    findings, _ = run(plan, tmp_path)
    rows = {row.label: row for row in findings.rows}
    assert rows["baseline"].gain is None
    assert rows["+ rprelu"].gain.mean == pytest.approx(2.0)
    assert rows["+ rprelu"].gain.half == pytest.approx(0.0, abs=1e-9)  # the same in both seeds: paired
    assert rows["+ rprelu"].pp_per_uj == pytest.approx(2.0)
    assert rows["+ grad=approx"].pp_per_uj is None  # nothing is added
    assert rows["all - rprelu"].gain.mean == pytest.approx(2.0)  # what it brings to the others
    assert rows["all - rprelu"].added_pj == pytest.approx(1e6)
    ranked = [name for name, _, _ in findings.ranking.categories]
    assert ranked[0] == "double residual" and ranked[-1] == "feature normalization"
    assert findings.ranking.concordance == pytest.approx(1.0)  # both seeds rank alike
    facts = facts_of(findings, plan)
    # float 95.25, baseline 80.25; best of the trained: scale_xnor, grad=approx, rprelu
    assert facts["gap.base_pp"] == pytest.approx(15.0)
    all_of_it = 95.25 - (80.25 + 3.0 + 2.0)
    assert facts["gap.share_left"] == pytest.approx((min(all_of_it, 95.25 - 85.25)) / 15.0)
    assert facts["int4.drop_pp"] == pytest.approx(1.0)
    claims = {c.id: c for c in read_claims(text_of("S3", "claims.yaml"), "c")}
    assert check_claim(claims["S3.4b"], facts, "minutes").verdict == "ordering holds"
    assert check_claim(claims["S3.4c"], facts, "hour").verdict == "in band"
    assert check_claim(claims["S3.1"], facts, "hour").verdict == "differs"  # pre_bn harms here


def test_an_arm_that_failed_says_so_and_is_not_chosen(tmp_path: Path) -> None:
    findings, _ = run(small(), tmp_path, broken=("scale_xnor",))
    rows = {row.label: row for row in findings.rows}
    assert rows["+ scale_xnor"].accuracy is None and rows["+ scale_xnor"].reason == "error: broken"
    assert all("scale_xnor" not in step.chosen for step in findings.greedy)


def test_intervals_are_students() -> None:
    assert estimate([1.0, 2.0, 3.0]).half == pytest.approx(4.302653 * 1.0 / 3**0.5, rel=1e-6)
    assert estimate([5.0]).half is None


def test_only_shared_seeds_are_compared() -> None:
    found = {
        "hpr-w1a1": Measured("hpr-w1a1", {0: 0.8, 1: 0.9}, 1e6),
        "hpr-w1a1+rprelu": Measured("hpr-w1a1+rprelu", {1: 0.95, 2: 0.1}, 2e6),
    }
    row = arm_result(Arm("one", "hpr-w1a1+rprelu", "rprelu"), found, "hpr-w1a1")
    assert row.gain is not None and row.gain.mean == pytest.approx(5.0) and row.gain.values == 1


def test_what_is_worth_more() -> None:
    assert worth(0.1, 0.0) > worth(10.0, 1.0)
    assert worth(1.0, 1.0) > worth(1.0, 2.0)
    assert compatible(("prelu",), "scale_xnor") and not compatible(("prelu",), "rprelu")
    assert not compatible(("prelu",), "prelu")


def test_rank_tests_need_two_seeds_and_all_claimed_categories() -> None:
    plan = small()
    one = {"hpr-w1a1": Measured("hpr-w1a1", {0: 0.8}, 1e6)}
    row = arm_result(Arm("one", "hpr-w1a1", "rprelu"), one, "hpr-w1a1", "activation")
    ranking = rank_categories([row], one, plan)
    assert (ranking.friedman_p, ranking.concordance, ranking.leading_p) == (None, None, None)


def test_claimed_categories_are_tested_against_all_choices(tmp_path: Path) -> None:
    findings, _ = run(small(), tmp_path)
    # of 5 categories the claimed rank 1, 4, 5: the worst but few
    assert findings.ranking.leading_p == pytest.approx(
        sum(sum(c) <= 7 for c in combinations(range(5), 3)) / 10
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("baseline: hpr-w1a1", "baseline: hpr-w1a1+rprelu"), "has repairs already; name a scheme without"),
        (("references: [w2a2,", "references: [w2a2x,"), "unknown scheme 'w2a2x'"),
        (
            ("default: digits", "default: digit"),
            "default 'digit' is none of its data: digits, mnist, cifar10",
        ),
        (("beneficial: [feature binarizer", "beneficial: [colour"), "beneficial names 'colour'"),
    ],
)
def test_plans_that_are_wrong(change: tuple[str, str], fault: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        read_plan(text_of("S3", "study.yaml").replace(*change), "study.yaml")
    assert fault in str(caught.value) and "study.yaml:" in str(caught.value)


def test_what_a_size_has_not() -> None:
    with pytest.raises(ValueError, match="no data 'svhn' at this size; data: digits, mnist, cifar10"):
        PLAN.size("minutes").training("svhn")
    with pytest.raises(ValueError, match="no study 'S99'; studies: S3"):
        text_of("S99", "study.yaml")
    assert most_trainings(PLAN, "minutes") == 94
