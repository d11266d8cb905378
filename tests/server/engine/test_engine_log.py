"""vLLM's log goes to a file, and tells why something failed."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.errors import StorageError
from moesaic.server.engine.engine_log import EngineLog

LINES = """(EngineCore pid=7) INFO 11-22 01:09:07 [core.py:133] Initializing
(EngineCore pid=7) ERROR 11-22 01:09:08 [core.py:1472] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-22 01:09:08 [core.py:1472] ValueError: the cache is too small
(EngineCore pid=7) INFO 11-22 01:09:09 [core.py:99] Error rate: 0
Process EngineCore:
safetensors.SafetensorError: incomplete metadata
resource_tracker: process died unexpectedly, relaunching.  Some resources might leak.
"""


def file_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """Where the logger writes; an engine of the same session may have its file there too."""
    return [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]


@pytest.fixture
def vllm_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The logger, as in a program that lets us configure it."""
    logger = logging.getLogger("vllm")
    monkeypatch.setenv("VLLM_CONFIGURE_LOGGING", "0")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    before = set(file_handlers(logger))
    yield logger
    assert set(file_handlers(logger)) == before


def test_the_cause_is_the_last_error_of_this_life(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "engine.log"
    path.parent.mkdir()
    path.write_text("OldError: of another life\n")
    log = EngineLog(path)
    assert log.cause() is None
    with path.open("a") as stream:
        stream.write(LINES)
    assert log.cause() == "safetensors.SafetensorError: incomplete metadata"


def test_a_temporary_log_is_kept_only_to_explain(temporary_folder: Path) -> None:
    for keep in (False, True):
        log = EngineLog(None)
        assert log.path.parent == temporary_folder
        log.close(keep=keep)
        assert log.path.exists() == keep


def test_a_named_log_is_appended_to_and_kept(tmp_path: Path, vllm_logger: logging.Logger) -> None:
    for life in ("first", "second"):
        log = EngineLog(tmp_path / "deep" / "engine.log")
        log.take_over()
        vllm_logger.info("the %s life", life)
        log.close(keep=False)
        vllm_logger.info("between two lives")
    text = (tmp_path / "deep" / "engine.log").read_text()
    assert "first life" in text
    assert "second life" in text
    assert "between" not in text


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another log_file"):
        EngineLog(tmp_path / "file" / "engine.log")
