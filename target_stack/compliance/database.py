"""Two databases behind one face: SQLite in a file, PostgreSQL by URL. Statements are written once, with ? for values.

Used from one thread. What was deleted must be gone: see `purge`.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from harness.model.errors import CallquakeError
from target_stack.compliance.settings import POSTGRES

Row = tuple[Any, ...]
IN_MEMORY = ":memory:"
_BUSY_MS = 5000
# Any number, the same in every process: who creates the tables.
_SCHEMA_LOCK = 0x43515545


class StoreError(CallquakeError):
    """The consent store cannot be reached, read or purged."""


class Database(Protocol):
    """One connection."""

    # What differs between the dialects: a column that numbers rows, and how to hold a row that is read to be changed.
    numbered: str
    for_update: str

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; return its rows, none for one that has none. Raises StoreError."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit all that is executed inside, or none of it."""

    def create(self, schema: Sequence[str]) -> None:
        """Create tables and indexes that are not there, whoever else does so now."""

    def purge(self, tables: Sequence[str]) -> None:
        """Make sure that deleted rows are in no file. Raises StoreError where a reader is in the way."""

    def close(self) -> None:
        """Close the connection."""


def open_database(store: str) -> Database:
    """Connect to a SQLite file, or a postgresql:// URL. Raises StoreError."""
    return PostgresDatabase(store) if store.startswith(POSTGRES) else SqliteDatabase(store)


class SqliteDatabase:
    """SQLite: write-ahead log, deleted content overwritten, each commit on disk before it is answered."""

    numbered = "INTEGER PRIMARY KEY AUTOINCREMENT"
    for_update = ""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            if path != IN_MEMORY:
                Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000)
            for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
                self._connection.execute(f"PRAGMA {setting}")
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened as the consent store: {error}") from error

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; return its rows."""
        try:
            return self._connection.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock from the start, so that what is read inside is still true when it is written."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def create(self, schema: Sequence[str]) -> None:
        """Create what is not there."""
        with self.transaction():
            for statement in schema:
                self.execute(statement)

    def purge(self, tables: Sequence[str]) -> None:  # noqa: ARG002 - VACUUM knows no tables here
        """Rewrite the file without free pages, then empty the write-ahead log into it."""
        self.execute("VACUUM")
        deadline = time.monotonic() + _BUSY_MS / 1000
        while self.execute("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{self._path}: a reader holds the write-ahead log; what was deleted may be in it still"
                )
            time.sleep(0.05)

    def close(self) -> None:
        """Close; the last one to do so also removes the write-ahead log."""
        self._connection.close()


class PostgresDatabase:
    """PostgreSQL through psycopg 3, from the extra `compliance-postgres`. A lost connection is opened anew, once."""

    numbered = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    for_update = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        try:
            import psycopg  # noqa: PLC0415 - from an extra
        except ImportError as error:
            raise StoreError(f"{error}: PostgreSQL needs pip install 'callquake[compliance-postgres]'") from error
        self._psycopg = psycopg
        self._url = url
        self._connection = self._connect()

    def _connect(self) -> Any:
        try:
            return self._psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        except self._psycopg.Error as error:
            raise StoreError(f"the consent store (PostgreSQL) cannot be reached: {error}") from error

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; return its rows."""
        if self._connection.closed:
            self._connection = self._connect()
        try:
            cursor = self._connection.execute(statement.replace("?", "%s"), tuple(values))
            return cursor.fetchall() if cursor.description else []
        except self._psycopg.Error as error:
            raise StoreError(f"the consent store (PostgreSQL): {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all, or nothing."""
        if self._connection.closed:
            self._connection = self._connect()
        try:
            with self._connection.transaction():
                yield
        except self._psycopg.Error as error:
            raise StoreError(f"the consent store (PostgreSQL): {error}") from error

    def create(self, schema: Sequence[str]) -> None:
        """Create what is not there; two that do so at once wait for each other."""
        with self.transaction():
            self.execute("SELECT pg_advisory_xact_lock(?)", (_SCHEMA_LOCK,))
            for statement in schema:
                self.execute(statement)

    def purge(self, tables: Sequence[str]) -> None:
        """Rewrite the tables' files without dead rows, and let the server write them out.

        The server's own write-ahead log and its backups are its administrator's.
        """
        for table in tables:
            self.execute("VACUUM FULL " + table)

    def close(self) -> None:
        """Close."""
        self._connection.close()
