"""The search benchmark: it goes every way, and its claim is the slowest one's."""

import json
import statistics
from pathlib import Path

import pytest

from benchmarks import search


def test_a_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Whether the bar is met depends on the machine's load: not a matter of this test.
    assert search.main(["--quick", "--json", str(tmp_path / "out.json")]) in (0, 1)
    report = json.loads((tmp_path / "out.json").read_text())
    (claim,) = report["claims"]
    assert (claim["claim"], claim["bar"], claim["unit"], len(claim["samples"])) == (
        "search_overhead_ms",
        "<= 3",
        "ms",
        50,
    )
    assert claim["value"] == statistics.median(claim["samples"]) > 0
    table = report["tables"]["Search without the network"]
    assert [row[0] for row in table["rows"]] == [
        "asked, no cache",
        "asked and remembered",
        "remembered before",
        "asked after one that failed",
    ]
    assert claim["value"] == max(row[1] for row in table["rows"])
    assert "search_overhead_ms" in capsys.readouterr().out


async def test_each_way_is_the_way_that_it_says(tmp_path: Path) -> None:
    ways = await search.measure(5, tmp_path)
    assert [len(way.samples) for way in ways] == [5] * 4
    assert (tmp_path / "cache.sqlite").is_file()
