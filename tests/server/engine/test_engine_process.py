"""The computing process: it does the work that it is handed, says why it ended, and never outlives this one.

These run without vLLM: the process imports and runs what it is told.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from moesaic.server.engine.engine_process import EngineProcess, hand_to_vllm

PATIENCE_S = 60.0


def write_and_wait(path: str) -> None:
    """Work: show the environment, start a child that would live for long, and wait, also when that child is lost."""
    child = subprocess.Popen(["sleep", "600"])
    Path(path).write_text(f"{os.getpid()} {child.pid} {os.environ.get('LATE')} {os.environ['EARLY']}")
    child.wait()
    time.sleep(600)


def fail(message: str) -> None:
    """Work: fail."""
    raise LookupError(message)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EngineProcess]:
    environment = {**os.environ, "EARLY": "kept"}
    process = EngineProcess(environment=environment, log=tmp_path / "log", modules=["json", "wave"])
    yield process
    process.kill()
    process.join(PATIENCE_S)


def content(path: Path) -> list[str]:
    """The words of a file, once it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text().split()


def gone(pid: int) -> bool:
    """Whether a process has ended, or only waits to be collected."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True

        if state == "Z":
            return True

        time.sleep(0.02)
    return False


def test_it_does_the_work_in_its_own_environment(process: EngineProcess, tmp_path: Path) -> None:
    process.complete_environment({"LATE": "set", "EARLY": "overwritten"})
    process.assign(write_and_wait, {"path": str(tmp_path / "out")})
    process.start()
    pid, child, late, early = content(tmp_path / "out")
    assert int(pid) == process.pid
    assert (late, early) == ("set", "kept")
    assert process.is_alive()
    process.kill()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
    assert gone(int(child)), "what it started ends with it"


def test_an_error_is_told_and_logged(process: EngineProcess, tmp_path: Path) -> None:
    process.assign(fail, {"message": "no such weights"})
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 1
    assert process.error() == "LookupError: no such weights"
    assert "Traceback" in (tmp_path / "log").read_text()


def test_an_import_that_fails_is_told(tmp_path: Path) -> None:
    process = EngineProcess(environment=os.environ, log=tmp_path / "log", modules=["no_such_module"])
    process.join(PATIENCE_S)
    assert process.error() == "ModuleNotFoundError: No module named 'no_such_module'"
    process.assign(fail, {"message": "too late"})
    process.start()  # vLLM hands over work without asking


def test_without_work_it_ends_when_this_side_gives_up(tmp_path: Path) -> None:
    process = EngineProcess(environment=os.environ, log=tmp_path / "log", modules=["json"])
    process._connection.close()
    process.join(PATIENCE_S)
    assert process.exitcode == 0


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from moesaic.server.engine.engine_process import EngineProcess\n"
        "from tests.server.engine.test_engine_process import write_and_wait\n"
        "folder = Path(sys.argv[1])\n"
        "process = EngineProcess(environment={**os.environ, 'EARLY': ''}, log=folder / 'log', modules=['json'])\n"
        "process.assign(write_and_wait, {'path': str(folder / 'out')})\n"
        "process.start()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[3])
    try:
        pids = [int(word) for word in content(tmp_path / "out")[:2]]
    finally:
        parent.kill()
        parent.wait()
    assert all(gone(pid) for pid in pids)


@dataclass(frozen=True)
class Logging:
    configure_logging: bool = False


@pytest.mark.engine
def test_vllm_s_launcher_takes_it_within_the_block_only(process: EngineProcess) -> None:
    from vllm.v1.engine import utils

    config = SimpleNamespace(logging_config=Logging())
    with hand_to_vllm(process):
        taken = utils.get_mp_context().Process(target=fail, name="EngineCore", kwargs={"vllm_config": config})
        assert taken is process

    assert not config.logging_config.configure_logging
    assert utils.get_mp_context().get_start_method() in ("fork", "spawn")
