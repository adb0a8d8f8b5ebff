# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Evaluate a model folder on one split of a dataset folder.

    python recipes/evaluate_model.py --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --split test --output runs/quickstart/report

leaves `metrics.json`, `predictions.jsonl` and `report.html`.
"""

import argparse
import logging
import time
from pathlib import Path

from transformers import set_seed

from datasets_scripts.common.command import finished_folder, run_command
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.figures.bertscore import BertScorer
from recipes.evaluation.figures.compute import compute_metrics, figures_by_embedding
from recipes.evaluation.prediction import UnmaskedPipeline, predict, whole_batches
from recipes.evaluation.probes.counterfactual import counterfactual_metrics
from recipes.evaluation.probes.deletion import deletion_metrics
from recipes.evaluation.probes.doubt import doubt_metrics, helpfulness
from recipes.evaluation.report.folder import read_metrics, write_evaluation
from recipes.evaluation.report.write import write_report
from recipes.models.folder import fetched, load_model_folder
from recipes.models.onnx import refuse_onnx
from recipes.models.weights import weights_hash
from recipes.training.data import load_records


logger = logging.getLogger(__name__)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluate a model folder on one split of a dataset folder.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; rationales are compared where it has them")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--output", required=True, help="report folder to write")
    parser.add_argument("--limit", type=int, help="only the first N records")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--num-beams", type=int, default=1, help="default: 1, greedy")
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
        help="also test the evidence named for each diagnosis: its probability without that, and without as much of "
        "the record chosen at random",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="write rationales anew that hold a contradicted claim, and keep the best of several",
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
    others = {folder: read_metrics(folder) for folder in arguments.compare}
    folder = fetched(arguments.model)
    for option in ("counterfactual", "deletion"):
        if getattr(arguments, option):
            refuse_onnx(folder, f"--{option}")
    model, processor = load_model_folder(folder)
    records = load_records(arguments.dataset, arguments.split, limit=arguments.limit)
    if arguments.drop_last_batch:
        records = whole_batches(records, arguments.batch_size)
    kind = UnmaskedPipeline if arguments.attention_mask == "paper" else ClinRaGenPipeline
    pipe = kind(model, processor=processor, tokenizer=processor.tokenizer, device=arguments.device)
    asked = (arguments.batch_size, arguments.num_beams)
    bertscore = None
    if arguments.bertscore_model:
        bertscore = BertScorer.from_pretrained(arguments.bertscore_model, arguments.device)
    started = time.perf_counter()
    with finished_folder(Path(arguments.output)) as aside:
        set_seed(0)  # of what is sampled to be verified
        predictions = list(predict(pipe, records, *asked, verify=arguments.verify))
        predicted = time.perf_counter()
        metadata = read_metadata(arguments.dataset)
        synonyms = {label["name"]: label["synonyms"] for label in metadata["labels"]}
        metrics = compute_metrics(
            predictions,
            processor.labels,
            records,
            synonyms,
            channels=processor.feature_extractor.channels,
            knowledge_terms=model.config.knowledge_terms,
            bertscore=bertscore,
        )
        if arguments.embedding_matching:
            metrics["diagnosis_by_embedding"] = figures_by_embedding(predictions, processor.labels)
        metrics["doubt"] = doubt_metrics(predictions, processor.labels, model.config.decisions.doubt)
        if arguments.counterfactual:
            metrics["counterfactual"] = counterfactual_metrics(pipe, records, predictions, *asked)
            if model.config.decisions.doubt is not None:
                metrics["doubt"]["would_help"] = helpfulness(pipe, records)
        if arguments.deletion:
            metrics["deletion"] = deletion_metrics(pipe, records, predictions)
        if arguments.verify:
            metrics["regenerated"] = sum(prediction.get("regenerated", False) for prediction in predictions)
        metrics["run"] = {
            "model": arguments.model,
            "dataset": arguments.dataset,
            "split": arguments.split,
            "num_beams": arguments.num_beams,
            "attention_mask": arguments.attention_mask,
            "drop_last_batch": arguments.drop_last_batch,
            "verify": arguments.verify,
            "num_parameters": model.num_parameters(),
            "weights_hash": weights_hash(folder),
            "dataset_title": "{title} {version}".format(**metadata["source_description"]),
            "dataset_hash": metadata["content_hash"],
            "prediction_seconds": round(predicted - started, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }
        write_evaluation(aside, metrics, predictions)
        write_report(aside, metrics, predictions, records, pipe, others)
    diagnosis = metrics["diagnosis"]
    logger.info("%s: micro-F1 %.4f, macro-F1 %.4f", arguments.output, diagnosis["micro_f1"], diagnosis["macro_f1"])
    return metrics


if __name__ == "__main__":
    run_command(main)
