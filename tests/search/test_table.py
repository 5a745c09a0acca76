"""The evaluator `table`."""

from pathlib import Path

import pytest

from bitjoule.scheme import parse_scheme
from bitjoule.search import Candidate, EvaluatorSpec, Study, StudyFile
from bitjoule.search.table import Table, table
from bitjoule.search.trial import Budget
from tests.search.conftest import WriteStudy
from tests.search.toy_chain import ToyCost, ToyJoin

CSV = """\
scheme,width,seed,split,accuracy,loss
w8a8,0.5,,,0.91,0.3
w4a4,0.5,0,validation,0.88,
w4a4,0.5,0,test,0.87,
"""


def look_up(evaluator: Table, scheme: str, split: str = "validation", seed: int = 0) -> tuple[float, float]:
    candidate = Candidate("m", (("width", 0.5),), parse_scheme(scheme))
    result = evaluator(
        candidate,
        Budget(1.0),
        seed,
        Path(),
        split=split,
        parent_workdir=None,
        stop=lambda: False,  # type: ignore[arg-type]
    )
    return result.accuracy, result.loss


def test_rows_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    evaluator = table({"path": str(tmp_path / "a.csv")})
    assert look_up(evaluator, "int8", seed=7) == (0.91, 0.3)
    assert look_up(evaluator, "w4a4")[0] == 0.88
    assert look_up(evaluator, "w4a4", "test")[0] == 0.87
    with pytest.raises(LookupError, match=r"a\.csv: no row for w4a4 width 0\.5 seed 1 validation, need one"):
        look_up(evaluator, "w4a4", seed=1)
    (tmp_path / "b.csv").write_text(CSV + "int8,0.5,,,0.5,\n")
    doubled = Table(tmp_path / "b.csv")
    assert doubled.fingerprint() != evaluator.fingerprint()
    with pytest.raises(LookupError, match=r"b\.csv: 2 rows for int8 width 0\.5 seed 0 validation, need one"):
        look_up(doubled, "int8")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scheme,width\nint8,1\n", "a.csv: no column 'accuracy'; columns: scheme, width"),
        ("scheme,accuracy\nint8,high\n", "a.csv:2: accuracy: could not convert string to float: 'high'"),
        ("scheme,accuracy\nint8,\n", "a.csv:2: accuracy is empty"),
        ("scheme,accuracy\nint88x,1\n", "a.csv:2: scheme: unknown scheme 'int88x', did you mean 'int8'?"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError) as caught:
        Table(tmp_path / "a.csv")
    assert str(caught.value) == complaint


def test_a_column_that_candidates_need(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("scheme,accuracy\nint8,0.5\n")
    with pytest.raises(LookupError, match=r"a\.csv: no column 'width', which 'int8 width 0\.5' needs"):
        look_up(Table(tmp_path / "a.csv"), "int8")
    with pytest.raises(ValueError, match=r"accuracy\.table: no file '.*none\.csv'"):
        Table(tmp_path / "none.csv")


def test_a_study_from_a_table(write_study: WriteStudy, tmp_path: Path) -> None:
    rows = [
        f"w4a4,{n},{f},{m},{g},0.{n}{f}{m}{g}" for n in (1, 2) for f in (2, 4) for m in (1, 2) for g in (2, 4)
    ]
    text = "{evaluator: table, table: a.csv, seeds_front: 0}"
    config = write_study(accuracy=text, filters="[2, 4]")

    class TableJoin(ToyJoin):
        def evaluator(self, file: StudyFile) -> EvaluatorSpec:
            path = str(file.path(file.accuracy.table or ""))
            return EvaluatorSpec("bitjoule.search.table:table", {"path": path})

    (tmp_path / "a.csv").write_text("\n".join(["scheme,n_A,F_A,n_B,F_B,accuracy", *rows]) + "\n")
    study = Study.open(tmp_path / "t.study", config, join=TableJoin(), cost_function=ToyCost())
    assert study.run("processes", workers=2).done == 12
    for trial in study.trials():
        assert trial.accuracy == float("0." + "".join(str(value) for _, value in trial.candidate.topology))
