"""A quota in a file, for runs on one host. An exchange is one transaction of some fifty microseconds, on the loop.

Nothing is synced to disk: what is lost in a power cut is a second's worth of a limit. A file that is damaged, or no
quota of ours, is refused; one that is removed or replaced meanwhile is a lost store.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sqlite3
import time
from collections.abc import Callable, Sequence

import msgspec

from batchproc.core.pot import VERSION, Pot, exchange
from batchproc.errors import UsageError
from batchproc.lease import Ask, Granted, QuotaLost

_MARK = 0x62717561  # application_id: what kind of SQLite file it is
_PATIENCE_S = 0.5  # another process may hold the file for so long
_AGAIN_S = 0.004
_OPENING_S = 5.0  # at the start, while nothing else is to be done
_PROBING_S = 0.02  # during a run: all that is in flight waits meanwhile
_decoder = msgspec.json.Decoder(Pot)
_WRITE = "INSERT INTO quota VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"


class SqliteStore:
    """See the module's text. `clock` is Unix time."""

    def __init__(self, path: str, worker: str, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._worker = worker
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._answered = False  # once: a first exchange meets all the others that are just beginning

    async def open(self) -> None:
        """Open the file, or make it. Raises UsageError."""
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise UsageError(
                f"there is no folder `{folder}` for the quota", f"make it first: `mkdir -p {shlex.quote(folder)}`"
            )
        try:
            self._open(_OPENING_S)
        except QuotaLost as e:
            self._drop()
            raise UsageError(
                f"the quota file `{self.path}` cannot be used: {e}",
                "name another file in `--quota`; while no run uses this one, it may be removed: a new one is made then",
            ) from None

    def _open(self, patience_s: float) -> None:
        try:
            db = self._db = sqlite3.connect(self.path, timeout=patience_s, isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            mark, version, tables = (
                db.execute(sql).fetchone()[0]
                for sql in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
            )
            if not mark and not version and not tables:
                db.execute("CREATE TABLE quota (name TEXT PRIMARY KEY, state BLOB NOT NULL)")
                db.execute(f"PRAGMA application_id = {_MARK}")
                db.execute(f"PRAGMA user_version = {VERSION}")
            elif mark != _MARK:
                raise QuotaLost("it is a database of something else")
            elif version != VERSION:
                raise QuotaLost(f"it was made by another version of batchproc ({version}, not {VERSION})")
            for (state,) in db.execute("SELECT state FROM quota").fetchall():
                _decoder.decode(state)
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA busy_timeout = 0")
            self._inode = self._there()
        except (sqlite3.Error, msgspec.MsgspecError, TypeError, OSError) as e:
            raise QuotaLost(str(e) or type(e).__name__) from None

    def _there(self) -> tuple[int, int]:
        seen = os.stat(self.path)
        return seen.st_dev, seen.st_ino

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        """Carry out all of this, or nothing. Raises QuotaLost."""
        deadline = time.monotonic() + (_PATIENCE_S if self._answered else _OPENING_S)
        while True:
            try:
                granted = self._exchange(asks)
                self._answered = True
                return granted
            except sqlite3.OperationalError as e:
                code = getattr(e, "sqlite_errorcode", 0) & 0xFF
                if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                    raise QuotaLost(str(e)) from None
            except (sqlite3.Error, msgspec.MsgspecError, OSError, ValueError, TypeError, ZeroDivisionError) as e:
                raise QuotaLost(str(e)) from None
            await asyncio.sleep(_AGAIN_S)

    def _exchange(self, asks: Sequence[Ask]) -> list[Granted]:
        db = self._db
        if db is None:
            raise QuotaLost("it is closed")
        if self._there() != self._inode:
            raise QuotaLost("the file was replaced")
        db.execute("BEGIN IMMEDIATE")
        try:
            granted = [self._one(db, ask) for ask in asks]
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return granted

    def _one(self, db: sqlite3.Connection, ask: Ask) -> Granted:
        row = db.execute("SELECT state FROM quota WHERE name = ?", (ask.name,)).fetchone()
        pot = _decoder.decode(row[0]) if row is not None else Pot()
        if pot.version != VERSION:
            raise QuotaLost(f"a quota of another version of batchproc ({pot.version})")
        granted = exchange(pot, ask, self._worker, self._clock())
        db.execute(_WRITE, (ask.name, msgspec.json.encode(pot)))
        return granted

    async def probe(self) -> None:
        """Is it there again? Raises QuotaLost."""
        self._drop()
        self._there_or_lost()
        self._open(_PROBING_S)

    def _there_or_lost(self) -> None:
        if not os.path.isdir(os.path.dirname(self.path) or "."):
            raise QuotaLost("its folder is gone")

    async def close(self) -> None:
        """Done."""
        self._drop()
