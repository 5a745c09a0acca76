"""The evaluator `table`: accuracies looked up in a CSV. For examples, tests, and other people's results.

Columns: `scheme` and `accuracy` (a fraction), one per topology parameter of the candidates (`width`,
`n_A` ...), and where they matter `seed`, `split` (validation or test) and `loss`. An empty cell fits
anything.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from bitjoule.scheme import parse_scheme
from bitjoule.search.space import Candidate
from bitjoule.search.trial import AccuracyResult, Budget, Json, Split

__all__ = ["Table", "table"]

NEEDED = ("scheme", "accuracy")


class Table:
    """Rows of one CSV; a call finds the one row of a candidate.

    Raises:
        ValueError: no such file, a missing column, or a cell that is no number or scheme, with its line.
    """

    name = "table"
    version = 1

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise ValueError(f"accuracy.table: no file '{path}'")
        content = path.read_bytes()
        self._digest = hashlib.sha256(content).hexdigest()
        reader = csv.DictReader(content.decode().splitlines())
        self._columns = tuple(reader.fieldnames or ())
        for column in NEEDED:
            if column not in self._columns:
                raise ValueError(f"{path.name}: no column {column!r}; columns: {', '.join(self._columns)}")
        self._rows = [self._row(line, row) for line, row in enumerate(reader, start=2)]

    def fingerprint(self) -> Json:
        """Hash of the file."""
        return {"sha256": self._digest}

    def __call__(
        self,
        candidate: Candidate,
        budget: Budget,
        seed: int,
        workdir: Path,
        *,
        split: Split,
        parent_workdir: Path | None,
        stop: Callable[[], bool],
    ) -> AccuracyResult:
        """The accuracy of the row that fits; `LookupError` when none or several do."""
        wanted: dict[str, object] = {"scheme": candidate.scheme.name, "seed": seed, "split": split}
        wanted |= dict(candidate.topology)
        absent = [name for name, _ in candidate.topology if name not in self._columns]
        if absent:
            raise LookupError(f"{self._path.name}: no column {absent[0]!r}, which {candidate.label!r} needs")
        found = [row for row in self._rows if all(row.get(k) in (None, v) for k, v in wanted.items())]
        if len(found) != 1:
            count = "no row" if not found else f"{len(found)} rows"
            raise LookupError(
                f"{self._path.name}: {count} for {candidate.label} seed {seed} {split}, need one"
            )
        loss = found[0].get("loss")
        accuracy = found[0]["accuracy"]
        return AccuracyResult(_number(accuracy), math.nan if loss is None else _number(loss))

    def _row(self, line: int, cells: Mapping[str, str | None]) -> Json:
        row: Json = {}
        for column in self._columns:
            cell = (cells.get(column) or "").strip()
            try:
                if not cell:
                    row[column] = None
                elif column == "scheme":
                    row[column] = parse_scheme(cell).name
                else:
                    row[column] = cell if column == "split" else float(cell)
            except ValueError as error:
                raise ValueError(f"{self._path.name}:{line}: {column}: {error}") from None
        if row["accuracy"] is None:
            raise ValueError(f"{self._path.name}:{line}: accuracy is empty")
        return row


def table(config: Mapping[str, object]) -> Table:
    """The factory of `EvaluatorSpec("bitjoule.search.table:table", {"path": FILE})`."""
    return Table(Path(str(config["path"])))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
