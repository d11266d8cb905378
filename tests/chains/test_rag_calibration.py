"""Numbers that were fitted elsewhere: read as they were written, refused if anything is amiss, used by the chain."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.chains import RagCalibration
from moesaic.errors import InputError
from tests.chains.rag_scene import asking, made_base


def test_what_was_written_is_read(tmp_path: Path) -> None:
    shipped = RagCalibration.load()
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(shipped.to_json()))
    assert RagCalibration.read(file) == shipped


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: values.pop("span_weights"), "span_weights is missing"),
        (lambda values: values.update(weights={}), "weights is unknown"),
        (lambda values: values["span_weights"].pop("coverage"), "span_weights.coverage is missing"),
        (lambda values: values["span_weights"].update(luck=1), "span_weights.luck is unknown"),
        (lambda values: values["answerable_weights"].update(contrast="1"), "answerable_weights.contrast is '1'"),
        (lambda values: values["answerable_weights"].update(contrast=float("nan")), "not a finite number"),
        (lambda values: values["answerable_weights"].update(contrast=True), "not a finite number"),
        (lambda values: values.update(unjudged_weights=[]), "unjudged_weights is '\\[\\]', not an object"),
        (lambda values: values.update(fitted_on=7), "fitted_on is '7', not a text"),
        (lambda values: values.update(probe_shares=[0.5]), "probe_shares is '\\[0.5\\]', not 2 numbers"),
        (lambda values: values["embedders"].update(mine={"en": [0, 1]}), "embedders.mine.cross is missing"),
        (lambda values: values["embedders"].update(mine=0), "embedders.mine is '0', not an object"),
    ],
)
def test_a_file_with_a_fault_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    values = RagCalibration.load().to_json()
    change(values)
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match=reason):
        RagCalibration.read(file)


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "calibration.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match="calibration"):
        RagCalibration.read(file)
    with pytest.raises(InputError, match="can't be read"):
        RagCalibration.read(tmp_path / "nowhere.json")


async def test_a_chain_declines_and_ranks_by_the_numbers_that_it_is_given(tmp_path: Path) -> None:
    shipped = RagCalibration.load()
    never = replace(shipped, answerable_weights=dict(shipped.answerable_weights) | {"intercept": -50.0})
    backwards = replace(shipped, span_weights={name: -weight for name, weight in shipped.span_weights.items()})
    with made_base(tmp_path / "kb") as base:
        async with asking(base, threshold=0.5, calibration=never) as scene:
            assert (await scene.chain.ainvoke("Where does the cat sleep?")).declined
        async with asking(base, max_citations=1) as scene:
            best = await scene.chain.ainvoke("Where does the cat sleep?")
        async with asking(base, max_citations=1, calibration=backwards) as scene:
            worst = await scene.chain.ainvoke("Where does the cat sleep?")
    assert best.answer == "The cat sleeps on the mat."
    assert worst.answer != best.answer
