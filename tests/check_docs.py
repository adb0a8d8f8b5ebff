# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Check the form of the documents: length, line width, words that do not belong there (commit hashes, paths of one
machine), and relative links and paths of this repository.

    python tests/check_docs.py

prints one line for each fault and exits with 1 if there is any. `make quality` runs it.
"""

import re
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("recipes", "datasets_scripts", "benchmarks", "space")
MAX_LINES = {"README.md": 150, "findings/README.md": 60, **{f"{room}/README.md": 80 for room in ROOMS}}
MAX_WIDTH = 120
# A word of hexadecimal digits, letters and figures both; after "commit" or alone in backticks any of them.
COMMIT = re.compile(
    r"`[0-9a-f]{7,40}`|\bcommits?\s+`?[0-9a-f]{7,40}\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}\b(?!-)", re.IGNORECASE
)
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:work|tmp|home|root|Users|mnt)/[\w.-]+|\b[A-Z]:\\\w+")
UNWANTED = ("slower machine", "busy core")
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
# A path in backticks below a folder of this repository; a part in capitals, as in NAME.yaml, stands for any name.
OWN_PATH = re.compile(
    r"`((?:modeling_clinragen|datasets_scripts|recipes|space|tests|benchmarks|docs|findings)/[\w./*-]*)`"
)
PLACEHOLDER = re.compile(r"[A-Z]{4,}")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def documents(root: Path) -> list[str]:
    """Return the paths, below `root`, of the documents that people read, without generated cards."""
    found = [*root.glob("C*.md"), *root.glob("docs/*.md"), *(root / name for name in MAX_LINES)]
    return sorted(path.relative_to(root).as_posix() for path in found)


def faults(root: Path, name: str) -> list[str]:
    """Return one line for each fault of the document `name` below `root`."""
    if not (root / name).is_file():
        return [f"{name}: is missing"]
    text = (root / name).read_text(encoding="utf-8")
    lines = text.splitlines()
    found = [
        f"{name}:{number}: {len(line)} characters, at most {MAX_WIDTH}"
        for number, line in enumerate(lines, 1)
        if len(line) > MAX_WIDTH
    ]
    if len(lines) > MAX_LINES.get(name, len(lines)):
        found.append(f"{name}: {len(lines)} lines, at most {MAX_LINES[name]}")
    found += [f"{name}: commit hash in {match!r}" for match in COMMIT.findall(text)]
    found += [f"{name}: path of one machine in {match!r}" for match in MACHINE_PATH.findall(text)]
    words = " ".join(text.split()).lower()
    if name != "CHANGELOG.md":  # which also names what is gone
        found += [f"{name}: no file {path}" for path in OWN_PATH.findall(text) if not exists(root, path)]
    found += [f"{name}: says {unwanted!r}" for unwanted in UNWANTED if unwanted in words]
    return found + [f"{name}: broken link {target}" for target in links(text) if not resolves(root / name, target)]


def exists(root: Path, path: str) -> bool:
    """Return whether a path, which may be a pattern, leads to a file or folder below `root`."""
    return any(True for _ in root.glob(PLACEHOLDER.sub("*", path).rstrip("/")))


def links(text: str) -> list[str]:
    """Return the relative links of a document, those in code left out."""
    targets = LINK.findall(FENCED.sub("", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def resolves(document: Path, target: str) -> bool:
    """Return whether a relative link of `document` leads to a file and, where it names one, to a heading of it."""
    path, _, anchor = target.partition("#")
    file = document.parent / path if path else document
    if not file.exists() or not anchor:
        return file.exists()
    return anchor in anchors(file.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main(root: Path = ROOT) -> int:
    found = [fault for name in documents(root) for fault in faults(root, name)]
    print("\n".join(found) or "documents: no fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
