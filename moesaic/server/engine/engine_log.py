"""Where vLLM's log goes: a file, so that it disturbs nobody and explains a failure.

The computing process writes its output there by itself. In this process the logger `vllm` is led there too, unless
the program configures it (by `VLLM_CONFIGURE_LOGGING`, or by importing vllm before us).
"""

import logging
import os
import re
import sys
import tempfile
from pathlib import Path

from moesaic.errors import StorageError

__all__ = ["EngineLog"]

_TAIL_BYTES = 64 * 1024
_ERROR_LINE = re.compile(r"(?:^|\] )((?:\w+\.)*\w*(?:Error|Exception|Interrupt): .*\S)\s*$")


class EngineLog:
    """The log of one life of an engine.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path | None) -> None:
        self._temporary = path is None
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="moesaic-engine-", suffix=".log")
            os.close(descriptor)
            path = Path(name)
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except OSError as error:
                raise StorageError(
                    f"the log {path} cannot be written ({error.strerror}); choose another log_file"
                ) from error
        self.path = path
        self._start = path.stat().st_size
        self._handler: logging.Handler | None = None

    def take_over(self) -> None:
        """Lead what vLLM logs in this process to the file; call it before vllm is imported."""
        logger = logging.getLogger("vllm")
        if "VLLM_CONFIGURE_LOGGING" not in os.environ and "vllm" not in sys.modules:
            os.environ["VLLM_CONFIGURE_LOGGING"] = "0"
            logger.propagate = False
            logger.setLevel(logging.INFO)
            # On a CPU there is no Triton to find, and no reader of standard error who would care.
            logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
        if not logger.propagate and os.environ.get("VLLM_CONFIGURE_LOGGING") == "0":
            self._handler = logging.FileHandler(self.path, encoding="utf-8", delay=True)
            self._handler.setFormatter(logging.Formatter("(%(processName)s) %(levelname)s %(asctime)s %(message)s"))
            logger.addHandler(self._handler)

    def cause(self) -> str | None:
        """The last error that this life logged, in one line."""
        with self.path.open("rb") as stream:
            stream.seek(max(self._start, self.path.stat().st_size - _TAIL_BYTES))
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
        found = [match[1] for match in map(_ERROR_LINE.search, lines) if match]
        return found[-1] if found else None

    def close(self, *, keep: bool) -> None:
        """Stop writing; a temporary file is deleted unless it is to be kept."""
        if self._handler is not None:
            logging.getLogger("vllm").removeHandler(self._handler)
            self._handler.close()
            self._handler = None
        if self._temporary and not keep:
            self.path.unlink(missing_ok=True)
