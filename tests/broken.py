# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Spoil inputs at random, with a seed: values, texts, tables and files that no program should fail on."""

import copy
import random

import pyarrow as pa
import pyarrow.parquet as pq


WORDS = (
    "", " ", "0", "-1", "1", "nan", "inf", "-inf", "1e400", "1e-400", "1_000", "9" * 30, "9" * 5000, "0x10", "1,5",
    "true", "None", "null", "../..", "/dev/null", "~", "*", "?", "[x]", "a?b'c", '"', "'", "';--", "\\", "$HOME",
    "%s", "{0}", "{{", "\t", "a\nb", "\r", "é", "\u202e", "\U0001f600", "\ufeff", "x" * 300, "x" * 5000, "2100-13-45",
    "24:61", "--", "-h=", "=", "a=b", "train=1", ":", "http://[", "cuda:99",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"))
CELLS = (
    *WORDS, "1e5", "200.0", "1e+05", str(2**63 - 1), str(-(2**63)), str(2**64), "9007199254740993.0",
    "0000-00-00 00:00:00", "9999-12-31 23:59:59", "2100-02-30 00:00:00", "1-1-1", "NULL", "N/A",
    "2101-01-01T00:00:00Z", "2101-01-01 00:00:00+25:00", "2101-01-01 00:00:00 Mars/Base", "> 89", "-9999999999999",
    "a,b", 'a"b',
)  # fmt: skip


def any_value(draw: random.Random, depth: int = 0):
    """Return a value of any JSON type."""
    kind = draw.randrange(8 if depth < 3 else 5)
    if kind in (0, 1):
        return draw.choice(WORDS)
    if kind == 2:
        return draw.choice(NUMBERS)
    if kind == 3:
        return draw.choice((None, True, False))
    if kind == 4:
        return draw.choice(([], {}, [[]], [{}], {"": None}))
    if kind == 5:
        return {draw.choice(WORDS): any_value(draw, depth + 1) for _ in range(draw.randrange(3))}
    return [any_value(draw, depth + 1) for _ in range(draw.randrange(4))]


def places(value, path=()):
    """Yield the path of every part of a nested value."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*path, name))


def spoiled(draw: random.Random, value):
    """Return a copy with one part replaced, left out, renamed or added."""
    value = copy.deepcopy(value)
    path = draw.choice([path for path in places(value) if path] or [()])
    if not path:
        return any_value(draw)
    holder = value
    for name in path[:-1]:
        holder = holder[name]
    kind = draw.randrange(6)
    if kind == 0:
        del holder[path[-1]]
    elif kind == 1 and isinstance(holder, dict):
        holder[draw.choice((path[-1] + "s", path[-1].upper(), *WORDS))] = holder.pop(path[-1])
    elif kind == 2 and isinstance(holder, list):
        holder.insert(0, any_value(draw))
    elif kind == 3:
        holder[path[-1]] = [holder[path[-1]]]
    else:
        holder[path[-1]] = any_value(draw)
    return value


def spoiled_bytes(draw: random.Random, content: bytes) -> bytes:
    """Return the content of a file with bytes changed, cut off, inserted or repeated."""
    kind, at = draw.randrange(9), draw.randrange(len(content) + 1)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + draw.randbytes(draw.choice((1, 8, 300))) + content[at:]
    if kind == 2:
        return content[:at] + draw.randbytes(1) + content[at + 1 :]
    if kind == 3:
        return draw.choice((b"", b"\0", b"\xff\xfe", b"\x1f\x8b", b"PAR1", b"\n" * 50, draw.randbytes(500)))
    if kind == 4:
        return content[:at] + content[at // 2 :]
    if kind == 5:
        return content.replace(b",", draw.choice((b";", b"\t", b",,", b'"')))
    if kind == 6:
        return content[:at] + draw.choice((b'"', b"'", b"\r", b"[" * 3000, b"{" * 3000, b"\\", b"\t")) + content[at:]
    if kind == 7:
        return content.decode("utf-8", "replace").encode(draw.choice(("utf-16", "cp1252", "utf-32")), "replace")
    return content.replace(b"\n", b"\r" if draw.random() < 0.5 else b"\n\n")


def spoiled_table(draw: random.Random, header: list[str], records: list[list]) -> tuple[list[str], list[list]]:
    """Return a table with a cell, a column, a row or its header changed."""
    header, records = list(header), [list(record) for record in records]
    kind, column = draw.randrange(8), draw.randrange(len(header))
    if kind == 0:
        header[column] = draw.choice(CELLS)
    elif kind == 1:
        header[column] = header[draw.randrange(len(header))]
    elif kind == 2:
        for record in records:
            record[column] = draw.choice(CELLS)
    elif kind == 3:
        records = records * 2
    elif kind == 4:
        records = records[:0]
    elif kind == 5 and records:
        draw.choice(records).append("more")
    elif records:
        draw.choice(records)[column] = draw.choice(CELLS)
    return header, records


def write_csv(path, header: list[str], records: list[list], draw: random.Random) -> None:
    """Write a table as CSV, its cells not always quoted where they should be."""

    def cell(value) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') and draw.random() < 0.8 else text

    lines = [",".join(map(cell, row)) for row in [header, *records]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass", newline="")


def write_parquet(path, header: list[str], records: list[list], draw: random.Random) -> None:
    """Write a table as Parquet, with columns of any type that holds their cells."""
    columns = {}
    for i, name in enumerate(header):
        cells = ["" if i >= len(record) or record[i] is None else str(record[i]) for record in records]
        kinds = [
            pa.string(),
            pa.large_string(),
            pa.int64(),
            pa.float64(),
            pa.float32(),
            pa.binary(),
            pa.timestamp("us"),
        ]
        draw.shuffle(kinds)
        for kind in [*kinds, pa.string()]:
            try:
                columns[name] = pa.array([cell or None for cell in cells], pa.string()).cast(kind)
                break
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                continue
    pq.write_table(pa.table(columns), path)
