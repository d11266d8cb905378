"""`moesaic sandbox`: programs from files and standard input, and the probe."""

import io
import json
from pathlib import Path

import pytest

from tests.cli.running import refusal, run

PATIENT = ("--timeout", 60)
"""For programs that must come to their end, however busy the machine is."""


def test_a_program_of_a_file_prints_and_has_a_value(tmp_path: Path) -> None:
    program = tmp_path / "solution.py"
    program.write_text("print('步骤')\ndef solution():\n    return {'n': 3}\n")
    outcome = run("sandbox", "run", program, *PATIENT)
    assert outcome == (0, '步骤\n{"n": 3}\n', "")


def test_files_are_handed_over(tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text("answer = sum(map(int, open('table.csv').read().split(',')))")
    (tmp_path / "table.csv").write_text("1,2,3")
    outcome = run("sandbox", "run", tmp_path / "sum.py", "--file", tmp_path / "table.csv", *PATIENT)
    assert (outcome.code, outcome.stdout) == (0, "6\n")


def test_a_program_that_fails_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("1 / 0"))
    outcome = run("sandbox", "run", "-", *PATIENT)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert "ZeroDivisionError: division by zero" in outcome.stderr
    assert "error: division by zero" in outcome.stderr
    assert "moesaic" not in outcome.stderr


def test_everything_is_there_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("while True:\n    pass"))
    outcome = run("sandbox", "run", "-", "--json", "--timeout", 0.2, "--tier", "seccomp")
    assert outcome.code == 1
    report = json.loads(outcome.stdout)
    assert (report["status"], report["tier"]) == ("timeout", "seccomp")
    assert 0.2 <= report["usage"]["wall_s"] < 60


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in refusal(2, "sandbox", "run", tmp_path / "none.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    assert "not text in UTF-8" in refusal(2, "sandbox", "run", tmp_path / "bytes.py")
    (tmp_path / "a.py").write_text("1")
    assert "timeout_s=-1.0 must be" in refusal(2, "sandbox", "run", tmp_path / "a.py", "--timeout", -1)


def test_the_probe_tells_each_tier() -> None:
    outcome = run("sandbox", "probe", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.stdout)
    assert [tier["tier"] for tier in report["tiers"]] == ["namespaces", "seccomp", "monty"]
    assert report["best"] == "namespaces"
    assert all(tier["holds"] and tier["reason"] is None for tier in report["tiers"])
    shown = run("sandbox", "probe")
    assert shown.code == 0
    assert "programs run behind" in shown.stdout
    assert "tier seccomp" in shown.stdout


def test_without_walls_the_probe_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.tools.sandbox.tiers.assembled_filter", lambda **_: b"")
    outcome = run("sandbox", "probe")
    assert outcome.code == 1
    assert "nothing: they are refused" in " ".join(outcome.stdout.split())
    assert "seccomp: Invalid argument" in " ".join(outcome.stdout.split())
