"""The data of the page: columns, pools, and which points carry layers."""

import json

import pytest

from bitjoule.report import columns
from bitjoule.report.columns import columnar, json_text
from bitjoule.report.select import detailed, family_fronts, plotted
from tests.report.synthetic import HOSTILE, report_data


def test_layers_come_back_out_of_the_pools() -> None:
    data = report_data(layers=5)
    page = json.loads(json_text(columnar(data)))
    details = page["details"]
    for point, stored in zip(data["points"], details["of_point"], strict=True):
        if point["cost"] is None:
            assert stored is None
            continue
        names = details["names"][stored["n"]]
        assert names == [layer["name"] for layer in point["cost"]["layers"]]
        formats = [
            [details["edges"]["texts"][text] for text in details["edges"]["rows"][place]]
            for place in stored["f"]
        ]
        sides = ("weights", "input", "output")
        # the residual add comes last; it has no formats and no MACs
        assert formats == [[*(row[side] for row in point["formats"]), ""] for side in sides]
        assert details["macs"][stored["m"]][-1] is None
        assert details["notes"][stored["o"]] == point["cost"]["notes"]
        energies = [e * stored["u"] for e in stored["e"]]
        assert sum(energies) == pytest.approx(point["energy_pj"], rel=1.1e-3)
        first = {details["components"][details["keys"][k][0]]["name"] for k in stored["k"]}
        assert "moons:dram" in first


def test_data_cannot_end_its_script_element() -> None:
    text = json_text(columnar(report_data(layers=2, hostile=True)))
    assert "<" not in text
    assert HOSTILE[0] in json.loads(text)["families"][0]["name"]
    assert text.isascii()


def test_numbers_must_be_finite() -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        json_text({"energy": float("nan")})


def test_family_fronts_are_per_hardware_and_ascend() -> None:
    data = report_data(layers=1)
    for (hardware, family), members in family_fronts(data["points"]).items():
        energies = [data["points"][i]["energy_pj"] for i in members]
        assert energies == sorted(energies)
        assert {data["points"][i]["hardware"] for i in members} == {hardware}
        assert {data["points"][i]["family"] for i in members} == {family}


def test_failed_points_are_not_plotted() -> None:
    points = report_data(layers=1)["points"]
    assert {points[i]["status"] for i in plotted(points)} == {"done"}
    assert len(plotted(points)) == len(points) - 3


def test_above_the_limit_only_fronts_and_their_nearest_keep_layers() -> None:
    points = report_data(layers=1, widths=30)["points"]
    fronts = {i for members in family_fronts(points).values() for i in members}
    kept = detailed(points, all_below=100, nearest=20)
    assert set(kept) >= fronts
    assert len(kept) == len(fronts) + 20
    assert len(detailed(points)) == sum(p["cost"] is not None for p in points)
    ranks = [points[i]["rank"] for i in kept if i not in fronts]
    far = [points[i]["rank"] for i in plotted(points) if i not in kept]
    assert sum(ranks) / len(ranks) < sum(far) / len(far)


def test_loop_nests_are_kept_once_and_point_to_their_layers() -> None:
    data = report_data(layers=9)
    details = json.loads(json_text(columnar(data)))["details"]
    assert len(details["nests"]) == len(set(details["nests"])) == 5 * 5
    assert details["nests_left_out"] == 0
    for point, stored in zip(data["points"], details["of_point"], strict=True):
        if not point.get("mappings") or stored is None:
            assert stored is None or "p" not in stored
            continue
        names = details["names"][stored["n"]]
        for mapping, kept in zip(point["mappings"], stored["p"], strict=True):
            assert [names[place] for place in kept["l"]] == mapping["layers"]
            assert details["nests"][kept["n"]] == mapping["nest"]
            assert (kept["b"], kept["c"]) == (mapping["bounding"], mapping["certificate"])


def test_loop_nests_of_fronts_come_first_when_there_is_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    data = report_data(layers=9)
    longest = sum(len(m["nest"]) for m in data["points"][40]["mappings"])
    monkeypatch.setattr(columns, "MOST_NEST_TEXT", 2 * longest)
    details = columnar(data)["details"]
    kept = {i for i, stored in enumerate(details["of_point"]) if stored and stored.get("p")}
    mapped = {i for i, stored in enumerate(details["of_point"]) if stored and data["points"][i]["mappings"]}
    assert kept < mapped
    assert all(details["of_point"][i]["p"] is None for i in mapped - kept)
    assert len(mapped) - len(kept) == details["nests_left_out"]
    assert sum(map(len, details["nests"])) <= 2 * longest
    first_of_front = min(i for i in mapped if data["points"][i]["rank"] == 0)
    assert first_of_front in kept
