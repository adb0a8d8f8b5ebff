# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Build the knowledge base that the series attend to and the teacher reads.

    python datasets_scripts/build_knowledge.py --corpus builtin --output knowledge.json
"""

import argparse
import json
import logging
from collections import Counter
from pathlib import Path

from datasets_scripts.command import run_command
from datasets_scripts.knowledge.base import builtin_knowledge


logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Build the knowledge base of the diagnoses.")
    parser.add_argument("--corpus", required=True, choices=("builtin",), help="builtin: the one in this project")
    parser.add_argument("--output", type=Path, required=True, help="knowledge.json to write")
    arguments = parser.parse_args(argv)
    knowledge = builtin_knowledge()
    aside = arguments.output.with_name(arguments.output.name + ".unfinished")
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(json.dumps(knowledge, indent=1, ensure_ascii=False), encoding="utf-8")
    aside.rename(arguments.output)
    counts = Counter(disease for term in knowledge["terms"] for disease in term["diseases"])
    for label in knowledge["labels"]:
        logger.info("%3d terms  %s", counts[label], label)
    logger.info("%s: %d terms", arguments.output, len(knowledge["terms"]))


if __name__ == "__main__":
    run_command(main)
