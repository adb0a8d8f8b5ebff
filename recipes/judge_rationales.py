# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Let a large language model judge the rationales of an evaluation, and say how far it agrees with itself, and whether it
distinguishes them from rationales of other patients.

    python recipes/judge_rationales.py --report runs/quickstart/report --dataset runs/quickstart/dataset \
        --judge openai:MODEL --base-url http://127.0.0.1:8000/v1 --output runs/quickstart/judge

leaves `judge.json`, `ratings.jsonl` (one score a row) and `answers.jsonl` (with the reasons that the judge gave).
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.llm.options import add_model_options


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Let a large language model judge the rationales of an evaluation.")
    parser.add_argument("--report", type=Path, required=True, help="report folder of evaluate_model.py")
    parser.add_argument(
        "--dataset", type=Path, required=True, help="dataset folder that was evaluated; the judge reads its records"
    )
    parser.add_argument("--split", default="test", help="split that was evaluated; default: test")
    parser.add_argument(
        "--judge",
        required=True,
        help="openai:MODEL: behind the endpoint --base-url; transformers:MODEL: a causal language model here",
    )
    parser.add_argument(
        "--second", type=Path, help="report folder of the same records: also ask which of the two rationales is better"
    )
    parser.add_argument(
        "--sample", type=int, default=1000, help="number of records to judge, drawn at random; default: 1000"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample and of the first repeat; default: 0")
    parser.add_argument(
        "--repeats",
        type=int,
        default=2,
        help="how often each rationale is rated, with another sampling seed each time, every second time with record, "
        "rationale and axes in the reverse order; default: 2",
    )
    parser.add_argument(
        "--controls",
        type=int,
        default=200,
        help="number of records also rated with the rationale of another patient, which a useful judge scores "
        "lower; default: 200",
    )
    parser.add_argument("--max-note", type=int, default=8000, help="longest note in characters; default: 8000")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    add_model_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    from recipes.evaluation.raters.judging import judge_rationales

    return judge_rationales(arguments)


if __name__ == "__main__":
    run_command(main)
