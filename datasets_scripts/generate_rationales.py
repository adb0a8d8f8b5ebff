# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write the rationales that the model learns from: a copy of a dataset folder with `note_rationale`, `lab_rationale` and
`teacher` filled.

    python datasets_scripts/generate_rationales.py --dataset data/mimic-iii --knowledge knowledge.json \
        --teacher template --output data/mimic-iii-rationales
"""

import argparse
import os
from pathlib import Path

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.llm.options import add_model_options
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Write rationales for every record of a dataset folder.")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder")
    parser.add_argument("--knowledge", type=Path, required=True, help="knowledge.json of build_knowledge.py")
    parser.add_argument(
        "--teacher",
        required=True,
        help="template: offline, from the record; openai:MODEL: by the endpoint at --base-url; transformers:MODEL: a "
        "causal language model in this process",
    )
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the wording")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="template: default: all cores")
    parser.add_argument("--ray", metavar="ADDRESS", help=f"template: {RAY_HELP}")
    parser.add_argument("--max-note", type=int, default=8000, help="characters of a note for a language model")
    parser.add_argument(
        "--prompt",
        type=Path,
        metavar="FILE",
        help="YAML: a language model's own words or language; see docs/teacher.md",
    )
    parser.add_argument(
        "--sentences",
        choices=("chosen", "grounded", "free"),
        help="what a language model is kept to. chosen: it chooses finding, verb and diagnosis of what the record "
        "holds; grounded: and writes words of its own between them; free: it writes as it likes; default: grounded "
        "for transformers:MODEL, free for openai:MODEL",
    )
    gate = parser.add_argument_group("the quality gate")
    gate.add_argument("--tries", type=int, default=3, help="a rejected rationale is asked for again, with the reason")
    gate.add_argument(
        "--rejected",
        choices=("drop", "keep"),
        default="drop",
        help="after the last try: drop leaves the record without a rationale, so that only its diagnoses are learned "
        "from; keep takes it",
    )
    add_model_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="send nothing; tell what a model would take")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.ray and arguments.teacher != "template":
        raise ClinRaGenInputError("--ray spreads the template teacher only; leave it out, or give --teacher template")
    from datasets_scripts.teacher.write import write_rationales

    write_rationales(arguments)


if __name__ == "__main__":
    run_command(main)
