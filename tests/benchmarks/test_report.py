"""Bars, claims, tables, and the JSON form that all benchmarks share."""

import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.report import (
    Claim,
    Report,
    ResultTable,
    bar_holds,
    command_line,
    describe_machine,
    describe_versions,
)
from moesaic.server.engine.hardware import Machine


@pytest.mark.parametrize(
    ("bar", "value", "holds"),
    [
        ("<= 0.60", 0.6, True),
        ("<= 0.60", 0.601, False),
        (">= 0.97", 0.97, True),
        (">= 0.97", 0.969, False),
        ("> 0", 0.0, False),
        ("> 0", 1e-6, True),
        ("< 1", 1.0, False),
        ("= 1", 1.0, True),
        ("= 1", 8 / 9, False),
        (">= -2", -1.0, True),
        ("reported", -7.0, True),
        ("reported", None, False),
        ("reported", math.nan, False),
        ("<= 900", None, False),
        (">= 3", math.inf, False),
    ],
)
def test_bars(bar: str, value: float | None, holds: bool) -> None:
    assert bar_holds(bar, value) is holds


@pytest.mark.parametrize("bar", ["", "0.97", "=> 1", ">= fast", ">= 1 x"])
def test_a_bar_that_says_nothing_is_refused(bar: str) -> None:
    with pytest.raises(ValueError, match="must be 'reported'"):
        bar_holds(bar, 1.0)


def report() -> Report:
    return Report(
        machine={"cpu": "a", "load_average": [0.0, 0.1, 0.2]},
        command="python -m benchmarks.engine --json out.json",
        versions={"python": "3.11.7"},
        claims=(
            Claim(claim="speed", value=1.25, unit="x", bar=">= 1", samples=(1.2, 1.25, 1.3)),
            Claim(claim="size", value=0.7, unit="x", bar="<= 0.6", samples=(0.7,)),
            Claim(claim="missing", value=None, unit="x", bar="reported"),
        ),
        tables={"Speed": ResultTable(columns=("model", "tokens/s"), rows=(("一", 12.5), ("two", None)), note="Once.")},
    )


def test_the_json_form_has_exactly_the_agreed_keys(tmp_path: Path) -> None:
    report().write(tmp_path / "deep" / "out.json")
    read = json.loads((tmp_path / "deep" / "out.json").read_text(encoding="utf-8"))
    assert set(read) == {"date", "machine", "command", "versions", "claims", "tables"}
    assert [set(claim) for claim in read["claims"]] == [{"claim", "value", "unit", "bar", "holds", "samples"}] * 3
    assert read["claims"][0]["samples"] == [1.2, 1.25, 1.3]
    assert [claim["holds"] for claim in read["claims"]] == [True, False, False]
    assert read["tables"]["Speed"] == {
        "columns": ["model", "tokens/s"],
        "rows": [["一", 12.5], ["two", None]],
        "note": "Once.",
    }
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["out.json"]


def test_numbers_that_json_does_not_know_become_null() -> None:
    claim = Claim(claim="c", value=math.inf, unit="x", bar="reported", samples=(math.nan, 1.0))
    assert claim.to_json()["value"] is None
    assert claim.to_json()["samples"] == [None, 1.0]
    assert ResultTable(columns=("a",), rows=((math.inf,),)).to_json()["rows"] == [[None]]


def test_what_failed_is_said_plainly() -> None:
    console = Console(record=True, width=120, file=StringIO())
    report().show(console)
    text = console.export_text()
    assert "FAILED size: 0.7, must be <= 0.6" in text
    assert "FAILED missing: not measured, must be reported" in text
    assert "FAILED speed" not in text
    assert "claims hold" not in text
    assert "一" in text


def test_a_ragged_table_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells"):
        ResultTable(columns=("a", "b"), rows=(("x", 1.0), ("y",)))


def test_where_and_with_what_it_was_measured() -> None:
    machine, versions = describe_machine(Machine.detect()), describe_versions()
    json.dumps(machine, allow_nan=False)
    assert machine["threads"] >= 1
    assert len(machine["load_average"]) == 3
    assert {"python", "moesaic", "commit", "torch"} <= set(versions)


def test_the_command_can_be_repeated_by_copying_it() -> None:
    assert command_line("benchmarks.engine", ["--json", "my file"]) == "python -m benchmarks.engine --json 'my file'"
