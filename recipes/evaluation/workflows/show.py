# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Show rationales of a report on a page, each with the facts of its record beside it."""

import argparse
import logging
from pathlib import Path

from datasets_scripts.common.outputs import check_free, held, write_whole
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.report.folder import read_metrics, read_predictions
from recipes.evaluation.report.rationale_page import chosen_records, rationale_page
from recipes.training.data import load_records


logger = logging.getLogger(__name__)


def show_rationales(arguments: argparse.Namespace) -> Path:
    """
    Write the page of `show_rationales.py` for its arguments, and return its path.

    Raises:
        ClinRaGenInputError: if the output exists, the data may not be shown, or the report is of other records.
    """
    check_free(arguments.output, arguments.dataset)
    metadata = read_metadata(arguments.dataset)
    permission = arguments.data_are_open and arguments.data_are_open.strip()
    if metadata["source_description"]["credentialed"] and not permission:
        raise ClinRaGenInputError(
            f"{arguments.dataset} is built from {metadata['source']}, which is credentialed data: its records may not "
            "be shown; if it is the open demo extract, say so with --data-are-open REASON, which the page states"
        )
    metrics, predictions = read_metrics(arguments.report), read_predictions(arguments.report)
    records = load_records(str(arguments.dataset), metrics["run"]["split"])
    place = {stay: i for i, stay in enumerate(records["stay_id"])}
    if any(prediction["stay_id"] not in place for prediction in predictions):
        raise ClinRaGenInputError(f"{arguments.report} is not about {arguments.dataset}; give the one it evaluated")
    stays = [prediction["stay_id"] for prediction in predictions]
    chosen = [predictions[i] for i in chosen_records(stays, arguments.records, arguments.seed)]
    rows = [records[place[prediction["stay_id"]]] for prediction in chosen]
    beside = None
    if arguments.beside is not None:
        beside = read_metrics(arguments.beside), _of_same_stays(arguments.beside, chosen)
    page = rationale_page(metrics, chosen, rows, metadata, arguments.seed, permission, beside)
    with held(arguments.output):
        check_free(arguments.output)  # again: another process may have finished it meanwhile
        write_whole(arguments.output, page)
    logger.info("%s: %d of %d records", arguments.output, len(rows), len(predictions))
    return arguments.output


def _of_same_stays(report: Path, chosen: list[dict]) -> list[dict]:
    """Return another report's predictions of some records."""
    by_stay = {prediction["stay_id"]: prediction for prediction in read_predictions(report)}
    if missing := [prediction["stay_id"] for prediction in chosen if prediction["stay_id"] not in by_stay]:
        raise ClinRaGenInputError(
            f"--beside: {report} lacks {len(missing)} of the {len(chosen)} records; give a report on the same records"
        )
    return [by_stay[prediction["stay_id"]] for prediction in chosen]
