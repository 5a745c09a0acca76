"""What a real study hands over is what the report reads: the two rooms keep one schema."""

import json
from pathlib import Path

from bitjoule.report import write_report
from bitjoule.report.tables import FRONT_COLUMNS, FrontLine, front_lines, front_rows
from bitjoule.search.study import Study
from tests.search.conftest import STUDY
from tests.search.test_network_cost import GraphJoin


def test_the_report_of_a_study_that_ran(tmp_path: Path) -> None:
    config = tmp_path / "toy.yaml"
    config.write_text(
        STUDY.format(
            depths="[1]",
            filters="[2, 8]",
            schemes="[fp16, w4a4, w2a2]",
            accuracy="{evaluator: qat, init: scratch, budget: {epochs: 2}, seeds_front: 2}",
            hardware="[moons-4mb, braintta22]",
        )
    )
    study = Study.open(tmp_path / "toy.study", config, join=GraphJoin())
    study.run()
    data = json.loads(json.dumps(study.report_data(), allow_nan=False))
    text = write_report(data, tmp_path / "report.html").read_text()
    for words in ("fc1", "moons-4mb", "braintta22", "model extrapolated", "has FP16 weights"):
        assert words in text
    lines = front_lines(study.front("braintta22"))
    points = {point["id"]: point for point in data["points"]}
    shown = [points[number] for number in data["hardware"][1]["front"]]
    assert lines == tuple(
        FrontLine(
            number=point["number"],
            family=point["family"],
            width=point["width"],
            accuracy=point["validation"]["mean"],
            accuracy_sd=point["validation"]["sd"],
            accuracy_test=point["test"]["mean"],
            energy_pj=point["energy_pj"],
            dram_share=point["dram_share"],
            weight_bits=point["weight_bits"],
        )
        for point in shown
    )
    assert len(lines) > 1
    assert all(len(row) == len(FRONT_COLUMNS) for row in front_rows(lines))
