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
    parser.add_argument("--model", required=True, help="model folder to evaluate")
    parser.add_argument("--dataset", required=True, help="dataset folder; its rationales, if any, are the references")
    parser.add_argument("--split", default="test", help="split of the dataset; default: test")
    parser.add_argument("--output", required=True, help="report folder to write")
    parser.add_argument("--limit", type=int, help="evaluate only the first N records")
    parser.add_argument("--batch-size", type=int, default=16, help="records per batch; default: 16")
    parser.add_argument(
        "--num-beams", type=int, default=1, help="beams of the generation; the paper uses 2; default: 1"
    )
    parser.add_argument(
        "--embedding-matching",
        action="store_true",
        help="also count diagnoses as the paper does: by the embedding (all-MiniLM-L6-v2) of the written names",
    )
    parser.add_argument(
        "--counterfactual",
        action="store_true",
        help="also measure the effect of each input: note blanked, series blanked or swapped, knowledge shuffled; "
        "takes up to five times as long",
    )
    parser.add_argument(
        "--deletion",
        action="store_true",
        help="also measure how the probability of a diagnosis falls without its evidence, and without what its "
        "rationale cites, against as much of the record deleted at random",
    )
    parser.add_argument(
        "--ungrounded",
        action="store_true",
        help="measure the decoder's own rationales, before grounding leaves out, corrects and adds sentences",
    )
    parser.add_argument(
        "--attention-mask",
        choices=("fixed", "paper"),
        default="fixed",
        help="paper: generate as the original release does, which reads the padding of a batch as if it were notes",
    )
    parser.add_argument(
        "--drop-last-batch",
        action="store_true",
        help="leave out the last batch if it is not full, as the original release does",
    )
    parser.add_argument(
        "--bertscore-model",
        help="also compute the BERTScore of rationales with this encoder: a folder or a name such as all-MiniLM-L6-v2",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="REPORT_DIR",
        help="report folders of other models to compare with: size and time against F1",
    )
    parser.add_argument("--device", default=None, help="device to run on; default: cuda if there is one, else cpu")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    with quick_imports():
        from recipes.evaluation.workflows.evaluate import evaluate_model

    return evaluate_model(arguments)


if __name__ == "__main__":
    run_command(main)
