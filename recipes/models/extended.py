# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model folder with diseases added to its knowledge, without training: they are ranked by their terms alone."""

from __future__ import annotations

import logging
from pathlib import Path

from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.knowledge.base import NAME, read_terms
from modeling_clinragen import ClinRaGenInputError
from recipes.models.card import write_card
from recipes.models.folder import fetched, load_model_folder, save_model_folder
from recipes.models.history import required_history


logger = logging.getLogger(__name__)


def extend_folder(model: str, knowledge: str, output: Path) -> None:
    """
    Write a copy of a model folder with added terms, those of a knowledge file for diseases other than its labels.

    The trained labels do not change. `pipe(record, unseen=True)` ranks the added diseases.

    Args:
        model (`str`): model folder, or its name on the Hub.
        knowledge (`str`): `knowledge.json`.
        output (`Path`): model folder to write.

    Raises:
        ClinRaGenInputError: if one of the two cannot be read, the model does not read terms, or nothing is added.
    """
    folder, terms = fetched(model), read_terms(knowledge)
    history = required_history(folder)
    extended, processor = load_model_folder(folder)
    if not processor.reads_terms:
        raise ClinRaGenInputError(
            f"{model} does not read which terms a record shows; give a model folder that was trained with knowledge"
        )
    processor.knowledge, left = merged(processor.knowledge, terms, processor.labels)
    if len(left) == len(terms):
        raise ClinRaGenInputError(f"{knowledge}: all its diseases are labels of the model already")
    extended.config.num_evidence_terms = len(processor.knowledge)
    extended.diagnosis_head.linear.link(processor.knowledge, processor.labels, processor.feature_extractor.channels)
    with finished_folder(output) as aside:
        save_model_folder(extended, processor, aside)
        write_card(aside, history, extended, processor)
    unseen = processor.record_terms.unseen
    logger.info("%s also ranks diseases that are not labels (%d): %s", output, len(unseen), ", ".join(unseen))
    if left:
        logger.info("left out: %d terms that only support the model's own labels", len(left))


def merged(known: list[dict], terms: list[dict], labels: list[str]) -> tuple[list[dict], list[dict]]:
    """
    Add terms to those of a model, only for diseases that are not labels.

    Returns:
        All terms, the known ones first and in their order; and the new ones left out because they only support labels.
    """
    found = {(term["term"], term["type"] == NAME): dict(term) for term in known}
    left = []
    for term in terms:
        diseases = [disease for disease in term["diseases"] if disease not in labels]
        if not diseases:
            left.append(term)
            continue
        new = found.setdefault((term["term"], term["type"] == NAME), {**term, "diseases": []})
        new["diseases"] = list(dict.fromkeys([*new["diseases"], *diseases]))
    return list(found.values()), left
