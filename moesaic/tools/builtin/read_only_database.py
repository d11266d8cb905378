"""A database that can be asked and not changed: a SQLite file, or CSV files as tables in memory.

What keeps it so, each alone sufficient for its part:
- the file is opened read-only (`mode=ro`), and `query_only` is on;
- an authorizer allows reading, functions of a list, and recursion; no PRAGMA, no ATTACH, no transaction, no schema;
- no extension can be loaded; views and triggers of the file may use harmless functions only (`trusted_schema=OFF`);
- a query is interrupted when its time or its steps are over, and texts and blobs are limited inside of SQLite, so that
  neither recursion nor `replace(…)` can take all memory.

Every query has a connection of its own, which lives as long as it does; tables of CSV files are kept in one that is
loaded once and then locked.
"""

import csv
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from moesaic.errors import InputError, ToolArgumentError, ToolError

__all__ = ["QueryLimits", "ReadOnlyDatabase", "Table"]

# Without printf and format: one call of them can count to two thousand million, and nothing interrupts it.
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        abs avg ceil ceiling char coalesce count cume_dist date datetime degrees dense_rank exp first_value floor
        glob group_concat hex ifnull iif instr json json_array json_array_length json_each json_extract json_group_array
        json_group_object json_object json_tree json_type json_valid julianday lag last_value lead length like ln log
        log10 log2 lower ltrim max min mod nth_value ntile nullif percent_rank pi pow power quote radians random
        rank replace round row_number rtrim sign sqrt strftime string_agg substr substring sum time timediff total trim
        trunc typeof unicode unixepoch upper
        """,
    )
)
_STEP_INTERVAL = 1000
_STRINGS = 5_000_000
_NAME = re.compile(r"[^\W\d]\w{0,62}")
_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9]\d*)\.\d+(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class QueryLimits:
    """What one query may take.

    Raises:
        InputError: a value is out of its range.
    """

    timeout_s: float = 5.0
    """Longest time in seconds; above 0, at most 600."""
    steps: int = 50_000_000
    """Most instructions of SQLite's machine; 1000 to a trillion."""
    rows: int = 200
    """Most rows that are given; 1 to a million."""
    result_bytes: int = 200_000
    """Most bytes of all values that are given; 100 to a billion."""
    table_bytes: int = 200_000_000
    """Largest CSV file; 1 to 10 billion."""

    def __post_init__(self) -> None:
        """Check the ranges once."""
        for name, low, high in (
            ("timeout_s", 1e-3, 600),
            ("steps", 1000, 10**12),
            ("rows", 1, 10**6),
            ("result_bytes", 100, 10**9),
            ("table_bytes", 1, 10**10),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{name}={value!r} must be {low:g} to {high:g}")


class Table(NamedTuple):
    """What a query gives."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool
    """Whether there were more rows than may be given."""


class ReadOnlyDatabase:
    """Answers queries; safe to use from several threads. Close it, or use it in a `with` block."""

    def __init__(self, uri: str, limits: QueryLimits, keeper: sqlite3.Connection | None = None) -> None:
        self._uri = uri
        self.limits = limits
        self._keeper = keeper
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, *, limits: QueryLimits | None = None) -> Self:
        """A SQLite file.

        Raises:
            InputError: it is not there, or no database.
        """
        file = Path(path).expanduser().absolute()
        if not file.is_file():
            raise InputError(f"{file} is no file: give a SQLite database")
        opened = cls(f"{file.as_uri()}?mode=ro", limits or QueryLimits())
        try:
            opened.schema()
        except ToolError as error:
            raise InputError(f"{file} cannot be read as a SQLite database ({error}): give another file") from error
        return opened

    @classmethod
    def of_csv(cls, files: Mapping[str, str | Path], *, limits: QueryLimits | None = None) -> Self:
        """CSV files with a first line of names, each as a table.

        Numbers that are written in full become numbers, empty cells NULL; 007 and 1e5 stay texts.

        Args:
            files: by name of the table.
            limits: what a query may take.

        Raises:
            InputError: a file is missing, too large, no UTF-8, or its lines do not fit its names.
        """
        limits = limits or QueryLimits()
        keeper = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            for name, path in files.items():
                _load(keeper, name, Path(path), limits)
            keeper.commit()
        except BaseException:
            keeper.close()
            raise
        return cls("", limits, keeper)

    def schema(self) -> str:
        """The statements that made its tables and views."""
        found = self.query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'view')")
        return ";\n".join(" ".join(str(sql).split()) for (sql,) in found.rows)

    def query(self, sql: str, parameters: Sequence[str | int | float | None] = ()) -> Table:
        """Answer one query.

        Raises:
            ToolArgumentError: it is no query, does more than read, or is refused by SQLite.
            ToolError: it takes longer, or more, than it may; or the file is damaged.
        """
        with self._connection() as connection, closing(connection.cursor()) as cursor:
            return self._run(connection, cursor, sql, parameters)

    def close(self) -> None:
        """Give the tables in memory back."""
        if self._keeper is not None:
            with self._lock:
                self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection behind all walls."""
        if self._keeper is not None:
            with self._lock:
                _lock_up(self._keeper)
                yield self._keeper
            return
        try:
            connection = sqlite3.connect(self._uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise ToolError(f"the database cannot be opened ({error})") from error
        with closing(connection):
            _lock_up(connection)
            yield connection

    def _run(
        self, connection: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str, parameters: Sequence[Any]
    ) -> Table:
        ends = time.monotonic() + self.limits.timeout_s
        left = self.limits.steps // _STEP_INTERVAL

        def interrupted() -> bool:
            nonlocal left
            left -= 1
            return left < 0 or time.monotonic() > ends

        connection.set_progress_handler(interrupted, _STEP_INTERVAL)
        try:
            cursor.execute(sql, tuple(parameters))
            if cursor.description is None:
                raise ToolArgumentError("sql", "it gives no rows: write a SELECT")
            return self._rows(cursor)
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise ToolError(
                    f"the query took more than {self.limits.timeout_s:g} s or too many steps: ask for less"
                ) from error
            raise ToolArgumentError("sql", f"{error}; tables: {', '.join(self._tables(connection))}") from error
        except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
            raise ToolArgumentError("sql", _explained(error)) from error
        finally:
            connection.set_progress_handler(None, 0)

    def _rows(self, cursor: sqlite3.Cursor) -> Table:
        columns = tuple(str(column[0]) for column in cursor.description)
        rows: list[tuple[Any, ...]] = []
        size = 0
        for row in cursor:
            size += sum(len(str(value)) for value in row)
            if len(rows) == self.limits.rows or size > self.limits.result_bytes:
                return Table(columns, rows, True)
            rows.append(tuple(_plain(value) for value in row))
        return Table(columns, rows, False)

    def _tables(self, connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') LIMIT 50")
        return [str(name) for (name,) in rows]


def _lock_up(connection: sqlite3.Connection) -> None:
    """Put the walls up; doing it again does no harm."""
    connection.set_authorizer(None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, _STRINGS),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 20_000),
        (sqlite3.SQLITE_LIMIT_COLUMN, 200),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 20),
        (sqlite3.SQLITE_LIMIT_VDBE_OP, 100_000),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    ):
        connection.setlimit(limit, value)
    connection.set_authorizer(_authorized)


def _authorized(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second is not None and second.lower() in _FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _explained(error: Exception) -> str:
    text = str(error)
    if "not authorized" in text or "prohibited" in text:
        return f"{text}: only SELECT over the tables is allowed, with SQLite's ordinary functions"
    if "one statement" in text:
        return "one statement at a time: leave out what follows the semicolon"
    return f"{text}; give one SELECT in SQLite's dialect, with a value for each ?"


def _plain(value: Any) -> Any:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else value


def _load(connection: sqlite3.Connection, table: str, path: Path, limits: QueryLimits) -> None:
    """Read a CSV file into a table."""
    if not _NAME.fullmatch(table):
        raise InputError(f"{table!r:.80} is no name for a table: begin with a letter; letters, digits, underscores")
    try:
        if (size := path.stat().st_size) > limits.table_bytes:
            raise InputError(f"{path} has {size} bytes, at most {limits.table_bytes} are read: take a part of it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            names = _column_names(path, next(lines, []))
            quoted = ", ".join(f'"{name}"' for name in names)
            connection.execute(f'CREATE TABLE "{table}" ({quoted})')
            marks = ", ".join("?" * len(names))
            connection.executemany(f'INSERT INTO "{table}" VALUES ({marks})', _cells(path, lines, len(names)))
    except (OSError, UnicodeDecodeError, csv.Error, sqlite3.Error) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8 ({error}): mend the file") from error


def _column_names(path: Path, names: Sequence[str]) -> list[str]:
    clean = [" ".join(name.replace('"', "'").split()) or f"column{number}" for number, name in enumerate(names, 1)]
    folded = [name.casefold() for name in clean]
    if not 1 <= len(clean) <= 200 or len(set(folded)) < len(folded):
        raise InputError(f"the first line of {path} must have 1 to 200 different names; it has {len(clean)}: mend it")
    return clean


def _cells(path: Path, lines: Iterator[list[str]], width: int) -> Iterator[list[Any]]:
    for number, line in enumerate(lines, start=2):
        if line and len(line) != width:
            raise InputError(f"row {number} of {path} has {len(line)} cells, the first line {width} names: mend it")
        if line:
            yield [_value(cell) for cell in line]


def _value(cell: str) -> str | int | float | None:
    text = cell.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else cell
