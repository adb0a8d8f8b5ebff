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
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


@dataclass
class Usage:
    """Count requests sent, and tokens as the endpoint counts them, over all runs."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class RequestLog:
    """
    Args:
        path (`Path`): the file; made where there is none.

    Raises:
        ClinRaGenInputError: if there is a file of another kind, or another process works with it.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=1)
            self.connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, content TEXT)")
            self.connection.execute(
                "CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, key TEXT, status TEXT, "
                "prompt_tokens INTEGER DEFAULT 0, completion_tokens INTEGER DEFAULT 0)"
            )
        except sqlite3.OperationalError:
            raise ClinRaGenInputError(f"{path} is in use by another process; wait for it or end it") from None
        except sqlite3.DatabaseError:
            raise ClinRaGenInputError(f"{path} is no log of requests; name another file with --requests") from None

    @staticmethod
    def key(body: dict) -> str:
        """Return the hash of all that decides the answer."""
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()

    def answer(self, key: str) -> str | None:
        found = self.connection.execute("SELECT content FROM answers WHERE key = ?", [key]).fetchone()
        return found and found[0]

    def sent(self, key: str) -> int:
        """Note that a request goes out, and return its number."""
        return self.connection.execute("INSERT INTO requests (key, status) VALUES (?, 'unanswered')", [key]).lastrowid

    def failed(self, number: int, status: str) -> None:
        self.connection.execute("UPDATE requests SET status = ? WHERE id = ?", [status, number])

    def answered(self, number: int, key: str, content: str, prompt_tokens: int, completion_tokens: int) -> None:
        self.connection.execute("BEGIN")
        self.connection.execute(
            "UPDATE requests SET status = 'answered', prompt_tokens = ?, completion_tokens = ? WHERE id = ?",
            [prompt_tokens, completion_tokens, number],
        )
        self.connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", [key, content])
        self.connection.execute("COMMIT")

    def usage(self) -> Usage:
        row = self.connection.execute(
            "SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0) FROM requests"
        ).fetchone()
        return Usage(*row)

    def statuses(self) -> dict[str, int]:
        """Count the requests by how they ended: `answered`, `HTTP 429`, `timeout` and the like."""
        return dict(self.connection.execute("SELECT status, count(*) FROM requests GROUP BY 1 ORDER BY 2 DESC, 1"))

    def close(self) -> None:
        self.connection.close()
