# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Answer a file of records, or a split of a dataset folder, with a model folder, or one of the Hub.

    python recipes/predict.py --model runs/quickstart/stage3 --input records.jsonl --output out.jsonl
    python recipes/predict.py --model runs/quickstart/stage3 --dataset data/new --split test --output out.jsonl

writes one line for each record, in order: its `id` (of a dataset all ids of the stay) and what the pipeline returns,
or an `error` that names the line or row of the input. Killed and started again, it resumes where it stopped, and ends
in the same bytes.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.outputs import check_free
from datasets_scripts.common.workers import import_ahead, quick_imports, several_wanted
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MANY_BYTES = 2**20  # of a file: for fewer records no process is worth its start
MANY_WITH_EVIDENCE = 2**17


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Answer a file of records, or a split of a dataset folder.")
    parser.add_argument("--model", required=True, help="model folder or Hub id")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub id")
    records = parser.add_mutually_exclusive_group(required=True)
    records.add_argument(
        "--input",
        type=Path,
        help="*.jsonl: one object per line with id, note, labs (or lab_times and lab_values) and units; *.csv: "
        "columns id, note, hour and one per channel, or id, note, hour, channel and value",
    )
    records.add_argument("--dataset", type=Path, help="dataset folder, with or without labels")
    parser.add_argument("--split", help="split of the dataset; default: test")
    parser.add_argument("--output", type=Path, required=True, help="file to write, *.jsonl")
    parser.add_argument("--batch-size", type=int, default=32, help="records per batch; default: 32")
    parser.add_argument(
        "--processes", type=int, help="number of processes; default: one per core, for a large model or a GPU one"
    )
    parser.add_argument("--evidence", action="store_true", help="add the evidence for each diagnosis")
    parser.add_argument("--device", help="device to run on; default: cuda if there is one, else cpu")
    parser.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    check_free(arguments.output, arguments.input or arguments.dataset, arguments.model)
    if arguments.input is not None and arguments.split is not None:
        raise ClinRaGenInputError("--split is of a dataset; give --dataset, or leave it out")
    if arguments.ray is not None and arguments.processes is not None:
        raise ClinRaGenInputError("--processes is of this machine; leave it out with --ray")
    for name in ("batch_size", "processes"):
        if (number := getattr(arguments, name)) is not None and number < 1:
            raise ClinRaGenInputError(f"--{name.replace('_', '-')} is {number}; give 1 or more")
    if _may_share(arguments):
        import_ahead("recipes.serving.processes")
    with quick_imports():
        from recipes.serving.answer_file import answer_file

    return answer_file(arguments)


def _may_share(arguments: argparse.Namespace) -> bool:
    """Return whether several processes may answer: the records look many, and nothing says one."""
    if arguments.ray is not None or not several_wanted(arguments.processes):
        return False
    many = MANY_WITH_EVIDENCE if arguments.evidence else MANY_BYTES
    return arguments.dataset is not None or (arguments.input.is_file() and arguments.input.stat().st_size > many)


if __name__ == "__main__":
    run_command(main)
