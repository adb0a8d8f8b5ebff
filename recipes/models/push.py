# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rewrite a model folder, or its adapter, and push it to the Hub."""

import argparse
import json
import logging
import tempfile
from pathlib import Path

from datasets_scripts.common.hub import dated_reason, files_in, push
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.report.folder import read_metrics
from recipes.models.adapter_folder import ADAPTER, copy_adapter
from recipes.models.card import model_card
from recipes.models.folder import check_model_folder, load_model_folder, save_model_folder
from recipes.models.history import HISTORY, UNKNOWN_SOURCE, datasets_of, is_credentialed, read_history
from recipes.models.weights import weights_hash


logger = logging.getLogger(__name__)
UNKNOWN_DATA = {"source": UNKNOWN_SOURCE, "stages": [], "base_model": None}


def push_model(arguments: argparse.Namespace) -> None:
    """Push the folder of the arguments of `push_model.py`, or list its files."""
    folder = check_model_folder(arguments.model)
    training = read_training(folder)
    gated = is_credentialed(training)
    permission = permission_to_publish(arguments, training) if gated else None
    if permission is not None:
        training["permission_to_publish"] = permission
    if arguments.adapter_only:
        push_adapter(folder / ADAPTER, training, arguments, gated)
        return
    report = None if arguments.report is None else read_metrics(arguments.report, weights_hash(folder))
    model, processor = load_model_folder(folder)
    names = {"repo_id": arguments.repo_id, "dataset_id": arguments.dataset_id}
    card = model_card(training, model, processor, report, **names, gated=gated, permission=permission)
    with tempfile.TemporaryDirectory() as aside:
        release = Path(aside)
        save_model_folder(model, processor, release)
        (release / HISTORY).write_text(json.dumps(training, indent=1), encoding="utf-8")
        (release / "README.md").write_text(card, encoding="utf-8")
        push(files_in(release, ("*",)), arguments, "model", f"ClinRaGen model {weights_hash(release)[:12]}", gated)


def push_adapter(folder: Path, training: dict, arguments: argparse.Namespace, gated: bool) -> None:
    """Rewrite the adapter of a model folder with its card, and push it."""
    with tempfile.TemporaryDirectory() as aside:
        release = Path(aside)
        copy_adapter(folder, release, training, arguments.repo_id)
        push(files_in(release, ("*",)), arguments, "model", "ClinRaGen adapter", gated)


def read_training(folder: Path) -> dict:
    """
    Return `training.json`; if it is older and does not name the data, they count as credentialed.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    training = read_history(folder)
    if not training:
        raise ClinRaGenInputError(
            f"{folder}: {HISTORY} is missing, which records how it was trained; run its stage again"
        )
    if not training.get("source"):
        data = training["data"]
        shown = {name: Path(data[name]).name for name in ("dataset", "knowledge") if data[name]}
        training |= {**UNKNOWN_DATA, "data": {**data, **shown}}  # paths of this machine are not pushed
    return {"stages": [], "base_model": None, **training}


def permission_to_publish(arguments: argparse.Namespace, training: dict) -> str | None:
    """Return the permission to publish a model with training data that are credentialed, or not known to be open."""
    datasets = "; ".join("{title} {version}".format(**one).strip() for one in datasets_of(training))
    logger.warning(
        "%s comes from credentialed data, or from data that %s does not name (%s): weights can hold what they were "
        "trained on, so the repo is gated. Make sure that the data-use agreement covers the users you admit.",
        arguments.model,
        HISTORY,
        datasets,
    )
    option = "--i-am-permitted-to-publish"
    if arguments.public and arguments.publish_permission is None:
        raise ClinRaGenInputError(
            f"{arguments.model} comes from credentialed data ({datasets}): not made public, nothing was sent; if "
            f'the data-use agreement allows it, give {option} "reason", which is recorded in what is pushed'
        )
    return dated_reason(arguments.publish_permission, option) if arguments.public else None
