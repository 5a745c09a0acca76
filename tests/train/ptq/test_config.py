"""Presets, fields set by text, and what is refused."""

from __future__ import annotations

import pytest

from bitjoule.train.ptq.config import PRESETS, PtqConfig, PtqError, configured, preset_config


def test_settings() -> None:
    found = configured(PRESETS["fast"], ["rounding=gptq", "drop=0.25", "act_order=no", "iterations=7"])
    assert (found.rounding, found.drop, found.act_order, found.iterations) == ("gptq", 0.25, False, 7)
    assert found.fingerprint != PRESETS["fast"].fingerprint
    assert configured(found, ["prune=channels:0.3"]).prune == "channels:0.3"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["rounding"], "ptq: a setting is FIELD=VALUE, not 'rounding'"),
        (["roundin=gptq"], "ptq: there is no field 'roundin'; did you mean 'rounding'? Fields: "),
        (["rounding=best"], "ptq: rounding must be one of nearest, gptq, adaround, best_of; not 'best'"),
        (["drop=much"], "ptq: drop is a number, not 'much'"),
        (["drop=2"], "ptq: drop must be 0 .. 1, not 2.0"),
        (["iterations=1.5"], "ptq: iterations is a whole number, not '1.5'"),
        (["act_order=maybe"], "ptq: act_order is true or false, not 'maybe'"),
    ],
)
def test_refusals(settings: list[str], text: str) -> None:
    with pytest.raises(PtqError) as error:
        configured(PtqConfig(), settings)
    assert str(error.value).startswith(text)


def test_unknown_preset() -> None:
    with pytest.raises(PtqError) as error:
        preset_config("bst")
    assert str(error.value) == (
        "ptq: unknown preset 'bst'; did you mean 'best'? There are: fast, best, data-free"
    )
