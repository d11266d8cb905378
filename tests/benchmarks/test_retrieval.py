"""The retrieval benchmark: what counts as found, and that it runs."""

import json
from pathlib import Path

import pytest

from benchmarks import retrieval
from benchmarks.retrieval import Gold, rank_of, recall
from moesaic.retrieval import Passage


def passage(document_id: str, start: int, end: int) -> Passage:
    return Passage(
        document_id=document_id,
        title="",
        heading_path=(),
        start=start,
        end=end,
        text="",
        score=0,
        vector_rank=None,
        lexical_rank=None,
        vector_similarity=None,
        lexical_score=0,
    )


def test_a_passage_that_holds_half_of_the_answer_counts() -> None:
    found = [passage("b", 0, 100), passage("a", 0, 14), passage("a", 14, 40), passage("a", 15, 40)]
    assert rank_of(found, [Gold("a", 10, 20)]) == 3
    assert rank_of(found, [Gold("a", 10, 20), Gold("b", 90, 100)]) == 1
    assert rank_of(found, [Gold("c", 10, 20)]) is None
    assert recall([1, 3, None, 6], 5) == 0.5


def test_a_run_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrieval, "_EMBEDDERS", ("scripted:32",))
    monkeypatch.setattr(retrieval, "_SETS", ("small",))
    (tmp_path / "qa").mkdir()
    line = {
        "title": "Cats",
        "context": "Cats sleep sixteen hours a day.",
        "question": "How long do cats sleep?",
        "answers": [{"text": "sixteen hours"}],
    }
    (tmp_path / "qa" / "small.jsonl").write_text(json.dumps(line) + "\n")
    assert retrieval.main(["--data", str(tmp_path), "--quick", "--json", str(tmp_path / "out.json")]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert {claim["claim"] for claim in report["claims"]} == {
        "recall@5 python-reference, asked in en scripted:32",
        "recall@5 python-reference, asked in zh scripted:32",
        "hybrid search, 95% within",
    }
    rows = report["tables"]["Retrieval"]["rows"]
    assert [row[:6] for row in rows if row[0] == "small"] == [
        ["small", "scripted:32", mode, "1", "1", 1.0] for mode in ("hybrid", "vector", "lexical")
    ]
    assert "Retrieval" in capsys.readouterr().out
