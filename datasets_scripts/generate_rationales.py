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
        help="template: offline, from the record; openai:MODEL: behind the endpoint --base-url; transformers:MODEL: a "
        "causal language model in this process",
    )
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the wording; default: 0")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="template: number of processes; default: one per core"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help=f"template: {RAY_HELP}")
    parser.add_argument(
        "--max-note", type=int, default=8000, help="longest note in characters for a language model; default: 8000"
    )
    parser.add_argument(
        "--prompt",
        type=Path,
        metavar="FILE",
        help="YAML file of a prompt of your own, also in another language; see docs/teacher.md",
    )
    parser.add_argument(
        "--sentences",
        choices=("chosen", "grounded", "free"),
        help="form of a language model's sentences. chosen: it chooses finding, verb and diagnosis from the record; "
        "grounded: it also writes words of its own between them; free: any text; default: grounded for "
        "transformers:MODEL, free for openai:MODEL",
    )
    gate = parser.add_argument_group("the quality gate")
    gate.add_argument(
        "--tries",
        type=int,
        default=3,
        help="attempts at a rationale, each with the reason of the rejection; default: 3",
    )
    gate.add_argument(
        "--rejected",
        choices=("drop", "keep"),
        default="drop",
        help="after the last attempt: drop (default) leaves the record without a rationale, so that a model learns "
        "only its diagnoses; keep takes the rejected one",
    )
    add_model_options(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="send nothing; estimate requests, tokens, cost and time"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.ray and arguments.teacher != "template":
        raise ClinRaGenInputError("--ray spreads the template teacher only; leave it out, or give --teacher template")
    from datasets_scripts.teacher.write import write_rationales

    write_rationales(arguments)


if __name__ == "__main__":
    run_command(main)
