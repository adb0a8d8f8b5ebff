# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Every request to a language model and its answer, in one SQLite file: answered requests are never repeated.

An answer is on disk before it is used, so that a kill loses none; a request without an answer counts as spent.
The file holds the texts of the model, under the hash of the request; it needs the same protection as the dataset.
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
FAULTS = {  # SQLite's codes -> message about the file
    sqlite3.SQLITE_BUSY: "is in use by another process; wait for it or end it",
    sqlite3.SQLITE_LOCKED: "is in use by another process; wait for it or end it",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full; free some space, and start the same command again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; name another file with --requests",
    sqlite3.SQLITE_PERM: "cannot be opened; name another file with --requests",
    sqlite3.SQLITE_READONLY: "is read-only; name another file with --requests",
    sqlite3.SQLITE_IOERR: f"cannot be read or written; {ASKED_AGAIN}",
    sqlite3.SQLITE_CORRUPT: f"is damaged; {ASKED_AGAIN}",
    sqlite3.SQLITE_NOTADB: "is not a log of requests; name another file with --requests",
    sqlite3.SQLITE_ERROR: "is not a log of requests; name another file with --requests",
}


@dataclass
class Usage:
    """Requests sent, and tokens as counted by the endpoint, over all runs."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class RequestLog:
    """
    The log of a model's answers and of the spending; only the owner can read the file.

    A damaged answer is skipped, counted in `unreadable`, and requested again.

    Args:
        path (`Path`): the file; created if it does not exist.

    Raises:
        ClinRaGenInputError: if the file is of another kind or damaged, another process uses it, or it
            cannot be written; this holds for every method.
    """

    def __init__(self, path: Path):
        self.path, self.unreadable = Path(path), 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self.path.chmod(0o600)  # also for an existing file
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
        """Turn SQLite's errors into one line."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            fault = FAULTS.get(code, f"cannot be used ({error}); {ASKED_AGAIN}")
            raise ClinRaGenInputError(f"{self.path} {fault}") from None

    @staticmethod
    def key(body: dict) -> str:
        """Return the hash of everything that determines the answer."""
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def answer(self, key: str) -> str | None:
        """Return the text of an answer; `None` if there is no readable one."""
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
        """Record a request as sent, and return its number."""
        with self._faults():
            return self.connection.execute(
                "INSERT INTO requests (key, status) VALUES (?, 'unanswered')", [key]
            ).lastrowid

    def failed(self, number: int, status: str) -> None:
        with self._faults():
            self.connection.execute("UPDATE requests SET status = ? WHERE id = ?", [status, number])

    def answered(self, number: int, key: str, content: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Record an answer atomically: valid Unicode, and token counts within SQLite's integers."""
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
        """Count the requests by status: `answered`, `HTTP 429`, `timeout` and the like."""
        with self._faults():
            rows = self.connection.execute("SELECT status, count(*) FROM requests GROUP BY 1 ORDER BY 2 DESC, 1")
            return {str(status): count for status, count in rows}

    def report(self) -> dict:
        """
        Return spending and statuses of the requests, for the metadata of a result.

        Raises:
            ClinRaGenInputError: if no request was answered, so that there is no result.
        """
        replies = self.statuses()
        if replies and "answered" not in replies:
            statuses = ", ".join(f"{count} {status}" for status, count in replies.items())
            raise ClinRaGenInputError(
                f"no request was answered ({statuses}); fix the cause, then start the same command again"
            )
        if self.unreadable:
            logger.warning("%s: %d damaged answers were skipped and requested again", self.path, self.unreadable)
        return {**vars(self.usage()), "replies": replies}

    def close(self) -> None:
        self.connection.close()
