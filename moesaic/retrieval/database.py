"""`kb.sqlite`: opening it, its format, its transactions, and what SQLite's errors mean.

- The rollback journal, not WAL: a folder that is copied while nobody writes is a sound copy, and network file systems
  that can lock at all will do.
- `application_id` marks the file as Moesaic's, `user_version` holds the format version.
- Foreign keys are on. Nothing is committed unless a `transaction` ends without an exception.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from moesaic.errors import (
    DamagedKnowledgeBaseError,
    ForeignKnowledgeBaseError,
    KnowledgeBaseBusyError,
    StorageError,
)

__all__ = ["DATABASE_NAME", "FORMAT_VERSION", "Database"]

DATABASE_NAME = "kb.sqlite"
FORMAT_VERSION = 1

_APPLICATION_ID = 0x4D6F4B42
_BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    media_type TEXT NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    sections TEXT NOT NULL,
    source_map TEXT NOT NULL
);
CREATE TABLE vectors (digest TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (
    number INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (number) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    heading_path TEXT NOT NULL,
    vector TEXT NOT NULL REFERENCES vectors (digest)
);
CREATE INDEX chunks_of_document ON chunks (document);
CREATE INDEX chunks_of_vector ON chunks (vector);
"""


class Database:
    """One connection, shared by the threads of a process under its owner's lock."""

    def __init__(self, connection: sqlite3.Connection, folder: Path) -> None:
        self.connection = connection
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, settings: dict[str, str]) -> Self:
        """Make the database in an existing folder, with its settings, in one transaction.

        Raises:
            ForeignKnowledgeBaseError: the folder has a database already.
            StorageError: the disk is full or may not be written.
        """
        database = cls._connect(folder, "rwc")
        with database.transaction():
            if database._pragma("user_version") or database._pragma("application_id"):
                raise ForeignKnowledgeBaseError(f"{folder} holds a knowledge base already: open it, or remove it first")

            for statement in _SCHEMA.split(";"):
                database.connection.execute(statement)
            database.connection.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
            database.connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            database.connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        return database

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the database of a folder.

        Raises:
            ForeignKnowledgeBaseError: there is none, it is another program's, or of an unknown format version.
            DamagedKnowledgeBaseError: it is no SQLite file any more.
        """
        if not (folder / DATABASE_NAME).is_file():
            raise ForeignKnowledgeBaseError(
                f"{folder} holds no knowledge base (no {DATABASE_NAME}): make one with `moesaic kb add`"
            )

        database = cls._connect(folder, "rw")
        try:
            with database.errors():
                application, version = database._pragma("application_id"), database._pragma("user_version")
            if application != _APPLICATION_ID:
                raise ForeignKnowledgeBaseError(
                    f"{folder / DATABASE_NAME} was not made by Moesaic, or its making was interrupted: "
                    "remove the folder and add the documents again"
                )

            if version != FORMAT_VERSION:
                raise ForeignKnowledgeBaseError(
                    f"{folder} has format version {version}, this Moesaic reads version {FORMAT_VERSION}: "
                    "use the Moesaic that made it, or make the base anew with this one"
                )
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def _connect(cls, folder: Path, mode: str) -> Self:
        try:
            connection = sqlite3.connect(
                f"{(folder / DATABASE_NAME).resolve().as_uri()}?mode={mode}",
                uri=True,
                timeout=_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise StorageError(f"cannot open {folder / DATABASE_NAME} ({error}): check that it may be read") from error

        database = cls(connection, folder)
        with database.errors():
            connection.execute("PRAGMA foreign_keys = ON")
        return database

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A block that writes all of what it writes, or nothing. Readers see the former state until it ends."""
        with self.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.rollback()
                raise

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A block whose reads all see one state. Within a `transaction` it is that transaction's own."""
        if self.connection.in_transaction:
            yield self.connection
            return

        with self.errors():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                self.connection.rollback()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of SQLite, and of stored values that cannot be read, into ours."""
        try:
            yield
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            # Errors that the module itself raises carry no code of SQLite's.
            code = getattr(error, "sqlite_errorcode", -1) & 0xFF
            path = self.folder / DATABASE_NAME
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise KnowledgeBaseBusyError(
                    f"{path} was locked by another process for {_BUSY_TIMEOUT_S:g} s: try again when that is done"
                ) from error

            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise StorageError(f"no room for {path}, or the disk fails ({error}): free some space") from error

            if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
                raise StorageError(f"{path} may not be written ({error}): give this user access to it") from error

            reason = " ".join(str(error).split())[:100]  # SQLite may quote a whole text
            raise DamagedKnowledgeBaseError(
                f"{path} is damaged ({reason}): restore the folder from a copy, or add the documents to a new base"
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def _pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
