# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Gzipped tables, unpacked by ISA-L: the table engine takes several times as long to unpack as to read the rows.

DuckDB opens `unpacked://FILE` as a stream of Zstandard whose blocks are stored, not compressed, which costs it a copy.
The content itself would not do: of a file that is not compressed it must know the length before it reads.
"""

from __future__ import annotations

import io
from pathlib import Path

from fsspec import AbstractFileSystem
from isal import igzip, isal_zlib


PROTOCOL = "unpacked"
BLOCK = 2**17  # bytes, the most that a block of Zstandard holds
MAGIC, DESCRIPTOR, WINDOW = b"\x28\xb5\x2f\xfd", b"\x00", b"\x38"  # no length, no checksum; a window of one block


def unpacked_files(files: list[Path]) -> str | None:
    """Write gzipped files as SQL names them to `read_csv`, with its option; `None` if one is of another kind."""
    if any(file.suffix != ".gz" for file in files):
        return None
    names = ", ".join("'" + f"{PROTOCOL}://{file}".replace("'", "''") + "'" for file in files)
    return f"[{names}], compression = 'zstd'"


class UnpackedFileSystem(AbstractFileSystem):
    """Give DuckDB the content of gzipped files, `connection.register_filesystem(UnpackedFileSystem())`."""

    protocol = PROTOCOL
    cachable = False

    def _open(self, path: str, mode: str = "rb", **_: object) -> StoredZstandard:
        return StoredZstandard(path)

    def glob(self, path: str, **_: object) -> list[str]:
        return [path]  # one file, whatever signs its name has

    def info(self, path: str, **_: object) -> dict:
        return {"name": path, "size": Path(self._strip_protocol(path)).stat().st_size, "type": "file"}


class StoredZstandard(io.RawIOBase):
    """Read the content of a gzipped file as a stream of Zstandard that is not compressed."""

    def __init__(self, path: str):
        self.content = igzip.open(path, "rb")
        self.ready, self.ended = MAGIC + DESCRIPTOR + WINDOW, False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        if not self.ready and not self.ended:
            block = self._block()
            self.ended = not block
            self.ready = (len(block) << 3 | self.ended).to_bytes(3, "little") + block
        given, self.ready = (self.ready, b"") if size < 0 else (self.ready[:size], self.ready[size:])
        return given

    def _block(self) -> bytes:
        try:
            return self.content.read(BLOCK)
        except (OSError, EOFError, isal_zlib.error) as error:  # DuckDB tells it on without the file's name
            raise OSError(f"{self.content.name}: gzip: {error}") from None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Accept to begin at the beginning; a stream goes nowhere else."""
        if (offset, whence) != (0, 0):
            raise io.UnsupportedOperation("seek")
        return 0

    def close(self) -> None:
        self.content.close()
        super().close()
