# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Evaluate a model folder on one split of a dataset folder.

    python recipes/evaluate_model.py --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --split test --output runs/quickstart/report

leaves `metrics.json`, `predictions.jsonl` and `report.html`.
"""

import argparse

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.workers import quick_imports


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Evaluate a model folder on one split of a dataset folder.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; rationales are compared where it has them")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--output", required=True, help="report folder to write")
    parser.add_argument("--limit", type=int, help="only the first N records")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--num-beams", type=int, default=1, help="of the generation; the paper's are 2. Default: 1")
    parser.add_argument(
        "--embedding-matching",
        action="store_true",
        help="also count diagnoses as the paper does: by the embedding (all-MiniLM-L6-v2) of what was written",
    )
    parser.add_argument(
        "--counterfactual",
        action="store_true",
        help="also score with the note blanked, the series blanked or swapped, the knowledge shuffled: up to five "
        "times as long",
    )
    parser.add_argument(
        "--deletion",
        action="store_true",
        help="also test the evidence named for each diagnosis, and that which its rationale cites: its probability "
        "without that, and without as much of the record chosen at random",
    )
    parser.add_argument(
        "--ungrounded",
        action="store_true",
        help="measure the decoder's own rationales, without what grounding leaves out, puts right and adds",
    )
    parser.add_argument(
        "--attention-mask",
        choices=("fixed", "paper"),
        default="fixed",
        help="paper generates as the original release: the padding of a batch is read as if it were notes",
    )
    parser.add_argument(
        "--drop-last-batch",
        action="store_true",
        help="leave out the records of a last batch that is not full, as the original release does",
    )
    parser.add_argument(
        "--bertscore-model",
        help="also give the BERTScore of rationales by this encoder: a folder or name, such as all-MiniLM-L6-v2",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="REPORT_DIR",
        help="report folders of other models, to show this one's size and time against F1 beside theirs",
    )
    parser.add_argument("--device", default=None, help="default: cuda if there is one, else cpu")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    with quick_imports():
        from recipes.evaluation.workflows.evaluate import evaluate_model

    return evaluate_model(arguments)


if __name__ == "__main__":
    run_command(main)
