"""`ResultCache`: answers of search engines, remembered for a while in SQLite, in a file or in memory.

- Entries are told apart by provider, its settings, the query and its options. They are bounded in number and in bytes;
  those that were not asked for longest go first.
- Several processes may share a file. A cache that cannot be written or read while it is in use is a warning and a query
  more, never a failed search.
"""

import dataclasses
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moesaic.errors import InputError, StorageError
from moesaic.tools.search.query import SearchQuery
from moesaic.tools.search.result import SearchResult

__all__ = ["ResultCache"]

_log = logging.getLogger(__name__)

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    expires REAL NOT NULL,
    used REAL NOT NULL,
    bytes INTEGER NOT NULL,
    results TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_used ON answers (used);
"""


class ResultCache:
    """Remembered answers. Safe to share between threads; `close` it, or use it in a `with` block.

    Args:
        path: its file; in memory if not given.
        ttl_s: how long an answer is good for; 0 remembers nothing.
        entries: most answers.
        bytes_: most bytes of all answers together.
        clock: seconds since 1970.

    Raises:
        InputError: a bound is out of its range.
        StorageError: the file cannot be opened, or is no cache of results.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        ttl_s: float = 3600.0,
        entries: int = 10_000,
        bytes_: int = 64 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for name, value, least in (("ttl_s", ttl_s, 0), ("entries", entries, 1), ("bytes_", bytes_, 1)):
            if not least <= value <= 2**40:
                raise InputError(f"{name}={value!r} must be {least} to {2**40}")
        self._ttl_s, self._entries, self._bytes, self._clock = ttl_s, entries, bytes_, clock
        self._lock = threading.Lock()
        self._connection = _opened(path)

    def get(self, identity: str, query: SearchQuery) -> list[SearchResult] | None:
        """The remembered answer of a provider; None if there is none that is still good."""
        key, now = _key(identity, query), self._clock()
        try:
            with self._lock, self._connection:
                row = self._connection.execute(
                    "UPDATE answers SET used = ? WHERE key = ? AND expires > ? RETURNING results", (now, key, now)
                ).fetchone()
        except sqlite3.Error as error:
            _log.warning("the cache of search results cannot be read (%s)", error)
            return None

        return None if row is None else _results(row[0])

    def put(self, identity: str, query: SearchQuery, results: Sequence[SearchResult]) -> None:
        """Remember an answer. One without results is not remembered: it may be a failure that looks like an answer."""
        content = json.dumps([dataclasses.asdict(result) for result in results], ensure_ascii=False)
        size = len(content.encode("utf-8"))
        if not results or self._ttl_s <= 0 or size > self._bytes:
            return

        now = self._clock()
        try:
            with self._lock, self._connection:
                self._connection.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                    (_key(identity, query), now + self._ttl_s, now, size, content),
                )
                self._shrink(now)
        except sqlite3.Error as error:
            _log.warning("the cache of search results cannot be written (%s)", error)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM answers")

    def size(self) -> tuple[int, int]:
        """How many answers there are, and how many bytes they have."""
        with self._lock:
            count, size = self._connection.execute("SELECT count(*), total(bytes) FROM answers").fetchone()
        return int(count), int(size)

    def close(self) -> None:
        """Close its file; what was in memory is gone."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shrink(self, now: float) -> None:
        """Drop what has expired, then what was used longest ago, until the bounds hold."""
        self._connection.execute("DELETE FROM answers WHERE expires <= ?", (now,))
        count, size = self._connection.execute("SELECT count(*), total(bytes) FROM answers").fetchone()
        if count <= self._entries and size <= self._bytes:
            return

        doomed = []
        for key, bytes_ in self._connection.execute("SELECT key, bytes FROM answers ORDER BY used"):
            if count <= self._entries and size <= self._bytes:
                break
            doomed.append((key,))
            count, size = count - 1, size - bytes_
        self._connection.executemany("DELETE FROM answers WHERE key = ?", doomed)


def _opened(path: str | Path | None) -> sqlite3.Connection:
    name = ":memory:" if path is None else str(Path(path).expanduser())
    connection = None
    try:
        connection = sqlite3.connect(name, timeout=2.0, check_same_thread=False)
        known = connection.execute("PRAGMA user_version").fetchone()[0]
        is_empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if known != _FORMAT and not (known == 0 and is_empty):
            raise sqlite3.DatabaseError(f"it is a database of another kind, version {known}")

        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # what a crash takes away is asked for again
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise StorageError(
            f"{name} cannot be opened as a cache of search results ({error}): choose another place, or delete it"
        ) from error

    return connection


def _key(identity: str, query: SearchQuery) -> str:
    return f"{_FORMAT}\n{identity}\n{query.key}"


def _results(content: str) -> list[SearchResult]:
    rows: list[dict[str, Any]] = json.loads(content)
    # Local providers, the only ones with spans, are not cached.
    return [SearchResult(**row | {"also_at": tuple(row["also_at"])}) for row in rows]
