# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write the rationales that the model learns from: a copy of a dataset folder with `note_rationale`, `lab_rationale` and
`teacher` filled.

    python datasets_scripts/generate_rationales.py --dataset data/mimic-iii --knowledge knowledge.json \
        --teacher template --output data/mimic-iii-rationales
"""

import argparse
import logging
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.card import dataset_card
from datasets_scripts.command import finished_folder, run_command
from datasets_scripts.dataset_folder import add_rationales, label_names, read_metadata
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.teacher.template import TemplateTeacher


logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write rationales for every record of a dataset folder.")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder")
    parser.add_argument("--knowledge", type=Path, required=True, help="knowledge.json of build_knowledge.py")
    parser.add_argument("--teacher", required=True, choices=("template",), help="template: offline, from the record")
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the wording")
    arguments = parser.parse_args(argv)
    metadata = read_metadata(arguments.dataset)
    knowledge = load_knowledge(arguments.knowledge)
    unknown = [name for name in label_names(metadata) if not any(name in t["diseases"] for t in knowledge["terms"])]
    if unknown:
        logger.warning("the knowledge has no term for %s: no rationale will argue for them", ", ".join(unknown))
    teacher = TemplateTeacher(knowledge, metadata["channels"], label_names(metadata), arguments.seed)
    total = sum(counts["stays"] for counts in metadata["counts"].values())
    settings = {"corpus": knowledge["corpus"], "knowledge_terms": len(knowledge["terms"]), "seed": arguments.seed}
    with finished_folder(arguments.output) as folder, tqdm(total=total, desc="Writing rationales", unit="stay") as bar:
        add_rationales(arguments.dataset, folder, teacher, arguments.teacher, settings, dataset_card, bar.update)
    logger.info("%s: %d records with rationales", arguments.output, total)


if __name__ == "__main__":
    run_command(main)
