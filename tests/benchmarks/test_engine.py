"""The command line of the engine benchmark, and the costs that it counts; the benchmark itself is run by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import engine
from benchmarks.engine_claims import DECODE_1, DECODE_8, DECODE_32, PREFILL
from tests.repository import ROOT


def test_the_command_explains_itself() -> None:
    command = [sys.executable, "-m", "benchmarks.engine", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for option in ("--json", "--data", "--work", "--base", "--quick"):
        assert option in done.stdout


def test_loads_are_those_of_the_claims() -> None:
    loads = {load.name: load for load in engine._loads(64)}
    assert list(loads) == [DECODE_1, DECODE_8, DECODE_32, PREFILL]
    assert [load.streams for load in loads.values()] == [1, 8, 32, 4]
    assert loads[PREFILL].new_tokens == 1


def test_a_missing_text_is_noticed_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        engine.main(["--data", str(tmp_path), "--work", str(tmp_path / "work")])
    assert ended.value.code == 2
    assert "wikitext2_valid.txt cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
