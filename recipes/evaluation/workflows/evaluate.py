# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate a model folder: predictions, figures, probes and the report folder."""

import argparse
import logging
import time
from pathlib import Path

from datasets import Dataset

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from recipes.evaluation.figures.bertscore import BertScorer
from recipes.evaluation.figures.compute import compute_metrics, figures_by_embedding
from recipes.evaluation.prediction import UnmaskedPipeline, predict, whole_batches
from recipes.evaluation.probes.counterfactual import counterfactual_metrics
from recipes.evaluation.probes.decoder import decoder_metrics, known_text
from recipes.evaluation.probes.deletion import deletion_metrics
from recipes.evaluation.probes.doubt import doubt_metrics, helpfulness
from recipes.evaluation.report.folder import read_metrics, write_evaluation
from recipes.evaluation.report.reader import decoder_warnings
from recipes.evaluation.report.text import decimals
from recipes.evaluation.report.write import write_report
from recipes.models.folder import fetched, load_model_folder
from recipes.models.weights import weights_hash
from recipes.training.data import check_same_names, load_records


logger = logging.getLogger(__name__)

ALONE = (("free_list", "micro_f1"), ("sentences", "unreadable"))
SETTINGS = ("model", "dataset", "split", "attention_mask", "drop_last_batch", "ungrounded", "num_beams")


def evaluate_model(arguments: argparse.Namespace) -> dict:
    """Write the report folder of `evaluate_model.py` for its arguments, and return the metrics."""
    check_free(arguments.output, arguments.model, arguments.dataset)
    try:
        others = {folder: read_metrics(folder) for folder in arguments.compare}
    except ClinRaGenInputError as error:
        raise ClinRaGenInputError(f"--compare: {error}") from None
    folder = fetched(arguments.model)
    model, processor = load_model_folder(folder)
    check_same_names(processor, arguments.model, arguments.dataset)
    records = load_records(arguments.dataset, arguments.split, limit=arguments.limit)
    if arguments.drop_last_batch:
        records = whole_batches(records, arguments.batch_size)
    kind = UnmaskedPipeline if arguments.attention_mask == "paper" else ClinRaGenPipeline
    pipe = kind(model, processor=processor, tokenizer=processor.tokenizer, device=arguments.device)
    bertscore = None
    if arguments.bertscore_model:
        bertscore = BertScorer.from_pretrained(arguments.bertscore_model, arguments.device)
    started = time.perf_counter()
    with finished_folder(Path(arguments.output)) as aside:
        asked = {name: getattr(arguments, name) for name in ("batch_size", "num_beams")}
        asked["grounded"] = not arguments.ungrounded
        predictions = list(predict(pipe, records, **asked, own_text=True))
        predicted = time.perf_counter()
        metadata = read_metadata(arguments.dataset)
        metrics = measure(arguments, pipe, records, predictions, metadata, bertscore, asked)
        metrics["run"] = {
            **{name: getattr(arguments, name) for name in SETTINGS},
            "num_parameters": model.num_parameters(),
            "weights_hash": weights_hash(folder),
            "dataset_title": "{title} {version}".format(**metadata["source_description"]),
            "dataset_hash": metadata["content_hash"],
            "prediction_seconds": round(predicted - started, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }
        write_evaluation(aside, metrics, predictions)
        write_report(aside, metrics, predictions, records, pipe, others)
    log_summary(arguments.output, metrics)
    return metrics


def log_summary(output: str, metrics: dict) -> None:
    """Log the main figures, those of the decoder alone, and the warnings about it."""
    diagnosis, alone = metrics["diagnosis"], metrics["decoder"]
    logger.info("%s: micro-F1 %.4f, macro-F1 %.4f", output, diagnosis["micro_f1"], diagnosis["macro_f1"])
    if alone:
        figures = [decimals(alone[group][name]) for group, name in ALONE]
        logger.info("the decoder alone: micro-F1 %s of its lists, %s of its sentences unreadable", *figures)
    for warning in decoder_warnings(metrics):
        logger.warning("%s", warning)


def measure(
    arguments: argparse.Namespace,
    pipe: ClinRaGenPipeline,
    records: Dataset,
    predictions: list[dict],
    metadata: dict,
    bertscore: BertScorer | None,
    asked: dict,
) -> dict:
    """Return the figures of the predictions, generated with the options `asked`, and of the requested probes."""
    config, processor = pipe.model.config, pipe.processor
    metrics = compute_metrics(
        predictions,
        processor.labels,
        records,
        {label["name"]: label["synonyms"] for label in metadata["labels"]},
        channels=processor.feature_extractor.channels,
        knowledge_terms=config.knowledge_terms,
        knowledge=getattr(processor, "knowledge", None),
        bertscore=bertscore,
        language=processor.spoken,
    )
    if arguments.embedding_matching:
        metrics["diagnosis_by_embedding"] = figures_by_embedding(predictions, processor.labels)
    known = known_text(arguments.dataset, arguments.split, processor, predictions)
    metrics["decoder"], metrics["intervals"]["decoder"] = decoder_metrics(
        pipe, records, predictions, known, arguments.batch_size, arguments.num_beams
    )
    metrics["doubt"] = doubt_metrics(predictions, processor.labels, config.decisions.doubt)
    if arguments.counterfactual:
        metrics["counterfactual"] = counterfactual_metrics(pipe, records, predictions, **asked)
        if config.decisions.doubt is not None:
            metrics["doubt"]["would_help"] = helpfulness(pipe, records)
    if arguments.deletion:
        metrics["deletion"] = deletion_metrics(pipe, records, predictions)
    return metrics
