"""The record of every call: who, what, when, and what came of it, as JSON lines that are only ever appended.

Two lines for each call, `begun` before anything is done and `ended` after it: a call without its second line was
interrupted. A call whose first line cannot be written is not made. Arguments are written without secrets
(`moesaic.tools.redaction`); of a result only its digest is kept, so that the record holds no foreign text.
"""

import hashlib
import json
import os
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from moesaic.errors import StorageError
from moesaic.tools.redaction import redacted

__all__ = ["AuditEntry", "AuditLog", "JsonLinesAudit", "MemoryAudit", "result_digest"]


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line."""

    event: str
    """begun or ended."""
    tenant: str
    request_id: str
    call_id: str
    tool: str
    arguments: Any
    """As they were given, without secrets; with `ended`, as a person changed them."""
    status: str = ""
    """With `ended`: how, or `cancelled`."""
    error: str = ""
    """Class and message, without secrets."""
    attempts: int = 0
    approval: str = ""
    repeated: bool = False
    duration_s: float = 0.0
    result_digest: str = ""
    """SHA-256 of the content that the model was told."""
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    """UTC."""

    def to_json(self) -> dict[str, Any]:
        """The entry as plain JSON values, without secrets; what was not set is left out."""
        values = {name: value for name, value in vars(self).items() if value not in ("", 0, 0.0, False)}
        clean: dict[str, Any] = {name: redacted(value) for name, value in values.items()}
        return clean


class AuditLog(Protocol):
    """Where entries go."""

    def append(self, entry: AuditEntry) -> None:
        """Write an entry.

        Raises:
            StorageError: it could not be written.
        """
        ...


class MemoryAudit:
    """Keeps the last entries, for tests and for callers that look at them at once.

    Args:
        most: how many.
    """

    def __init__(self, most: int = 10_000) -> None:
        self.entries: deque[AuditEntry] = deque(maxlen=most)

    def append(self, entry: AuditEntry) -> None:
        """Keep an entry."""
        self.entries.append(entry)


class JsonLinesAudit:
    """Appends entries to a file that only its owner may read; several processes may share it.

    Args:
        path: the file; it is made if it is not there.
        durable: whether each line is on the disk before the call goes on.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self.path = Path(path)
        self._durable = durable
        self._lock = threading.Lock()
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot write the audit {self.path} ({error.strerror}): choose another place"
            ) from error

    def append(self, entry: AuditEntry) -> None:
        """Write an entry as one line, with one call, so that lines of several processes do not mix."""
        line = (json.dumps(entry.to_json(), ensure_ascii=False) + "\n").encode(errors="replace")
        try:
            with self._lock:
                written = os.write(self._file, line)
                if self._durable:
                    os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"cannot write the audit {self.path} ({error.strerror}): free the disk") from error
        if written != len(line):
            raise StorageError(f"the audit {self.path} took {written} of {len(line)} bytes: free the disk")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


def result_digest(content: str) -> str:
    """SHA-256 of what the model was told."""
    return hashlib.sha256(content.encode(errors="replace")).hexdigest()
