# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Every request to a language model and its answer, in one SQLite file: what was answered is never asked again.

An answer is on disk before it is used, so that a kill loses none; what was sent and not yet answered counts as spent.
The file holds what the model wrote, under the hash of what it was asked; it belongs where the dataset belongs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

NOT_SENT = "no connection"  # how a request ended that no endpoint received: it costs nothing
ASKED_AGAIN = "restore a copy of it, or move it away: what it holds is then asked for again"
FAULTS = {  # SQLite's own codes -> what is told of the file
    sqlite3.SQLITE_BUSY: "is in use by another process; wait for it or end it",
    sqlite3.SQLITE_LOCKED: "is in use by another process; wait for it or end it",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; free some space, and start the same command again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; name another file with --requests",
    sqlite3.SQLITE_PERM: "cannot be opened; name another file with --requests",
    sqlite3.SQLITE_READONLY: "is read-only; name another file with --requests",
    sqlite3.SQLITE_IOERR: f"cannot be read or written; {ASKED_AGAIN}",
    sqlite3.SQLITE_CORRUPT: f"is damaged; {ASKED_AGAIN}",
    sqlite3.SQLITE_NOTADB: "is no log of requests; name another file with --requests",
    sqlite3.SQLITE_ERROR: "is no log of requests; name another file with --requests",
}


@dataclass
class Usage:
    """Count requests sent, and tokens as the endpoint counts them, over all runs."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class RequestLog:
    """
    Hold the answers of a model, and what was spent; its owner alone can read the file.

    An answer that was damaged is passed over, counted in `unreadable`, and asked for again.

    Args:
        path (`Path`): the file; made where there is none.

    Raises:
        ClinRaGenInputError: if there is a file of another kind or a damaged one, another process works with it, or it
            cannot be written; so does every method.
    """

    def __init__(self, path: Path):
        self.path, self.unreadable = Path(path), 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)  # an older one as well
        except OSError as error:
            raise ClinRaGenInputError(
                f"{path} cannot be written: {error.strerror}; name another file with --requests"
            ) from None
        with self._faults():
            self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=1)
            self.connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, content TEXT)")
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, key TEXT, status TEXT, "
                "prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0)"
            )
            self.connection.execute("SELECT key, content FROM answers LIMIT 1").fetchone()
            self.connection.execute("SELECT id, key, status, prompt_tokens, completion_tokens FROM requests LIMIT 1")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn SQLite's errors into one line, and take back what was half written."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            told = FAULTS.get(code, f"cannot be used ({error}); {ASKED_AGAIN}")
            raise ClinRaGenInputError(f"{self.path} {told}") from None

    @staticmethod
    def key(body: dict) -> str:
        """Return the hash of all that decides the answer."""
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def answer(self, key: str) -> str | None:
        """Return the text that was answered; `None` where there is none that can be read."""
        with self._faults():
            found = self.connection.execute(
                "SELECT typeof(content), CAST(content AS BLOB) FROM answers WHERE key = ?", [key]
            ).fetchone()
        if found is None:
            return None
        try:
            if found[0] == "text":
                return found[1].decode()
        except UnicodeDecodeError:
            pass
        self.unreadable += 1
        return None

    def sent(self, key: str) -> int:
        """Note that a request goes out, and return its number."""
        with self._faults():
            return self.connection.execute(
                "INSERT INTO requests (key, status) VALUES (?, 'unanswered')", [key]
            ).lastrowid

    def failed(self, number: int, status: str) -> None:
        with self._faults():
            self.connection.execute("UPDATE requests SET status = ? WHERE id = ?", [status, number])

    def answered(self, number: int, key: str, content: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Note an answer, whole or not at all: a text that is Unicode, and tokens that SQLite can count."""
        with self._faults():
            self.connection.execute("BEGIN")
            try:
                self.connection.execute(
                    "UPDATE requests SET status = 'answered', prompt_tokens = ?, completion_tokens = ? WHERE id = ?",
                    [prompt_tokens, completion_tokens, number],
                )
                self.connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", [key, content])
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.rollback()
                raise

    def usage(self) -> Usage:
        with self._faults():
            row = self.connection.execute(
                "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) FROM requests "
                "WHERE status != ?",
                [NOT_SENT],
            ).fetchone()
        return Usage(*row)

    def statuses(self) -> dict[str, int]:
        """Count the requests by how they ended: `answered`, `HTTP 429`, `timeout` and the like."""
        with self._faults():
            rows = self.connection.execute("SELECT status, count(*) FROM requests GROUP BY 1 ORDER BY 2 DESC, 1")
            return {str(status): count for status, count in rows}

    def report(self) -> dict:
        """
        Return what was spent and how the requests ended, for the metadata of a result.

        Raises:
            ClinRaGenInputError: if not one request was answered, so that there is no result.
        """
        replies = self.statuses()
        if replies and "answered" not in replies:
            told = ", ".join(f"{count} {status}" for status, count in replies.items())
            raise ClinRaGenInputError(
                f"no request was answered ({told}); fix the cause, then start the same command again"
            )
        if self.unreadable:
            logger.warning("%s: %d damaged answers were passed over and asked for again", self.path, self.unreadable)
        return {**vars(self.usage()), "replies": replies}

    def close(self) -> None:
        self.connection.close()
