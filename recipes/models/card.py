# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The card of a model folder, written from the files of the run: no number in it is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from datasets_scripts.common.outputs import write_whole
from modeling_clinragen import PHENOTYPES, ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from recipes.evaluation.report.folder import read_metrics
from recipes.evaluation.report.reader import decoder_rows, decoder_warnings, reader_rows
from recipes.evaluation.report.text import limits
from recipes.models.folder import load_model_folder
from recipes.models.history import HISTORY, datasets_of, is_credentialed, read_history
from recipes.models.weights import weights_hash


TEMPLATE = Path(__file__).with_name("model_card_template.md")
SHOWN_SETTINGS = ("optim", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "seed")

# A high estimate; the card states its assumptions.
WATTS = {"cpu": 10.0, "gpu": 700.0}  # of one thread of a server CPU; of one GPU at its limit (H100 SXM)
GRAMS_PER_KWH = 475.0  # world average of 2018: IEA, Global Energy & CO2 Status Report 2019

# Field of `metrics.json` -> name, and the Hub's type of metric.
FIGURES = {
    ("diagnosis", "micro_f1"): ("Micro-F1", "f1"),
    ("diagnosis", "macro_f1"): ("Macro-F1", "f1"),
    ("diagnosis", "micro_precision"): ("Micro-precision", "precision"),
    ("diagnosis", "micro_recall"): ("Micro-recall", "recall"),
    ("diagnosis", "exact_match"): ("Exact match of the list", "exact_match"),
    ("probability", "macro_auroc"): ("Macro-AUROC", "roc_auc"),
    ("probability", "macro_auprc"): ("Macro-AUPRC", "average_precision"),
    ("calibration", "expected_calibration_error"): ("Expected calibration error", "expected_calibration_error"),
    ("claims", "supported"): ("Claims about the series that hold", "faithfulness"),
    ("claims", "contradicted"): ("Claims about the series that are contradicted", "faithfulness"),
    ("note_claims", "supported"): ("Findings of the note part that are in the note", "faithfulness"),
}

GATED_PROMPT = (
    "This model was trained on records of patients under a data-use agreement. Ask for access only if you have signed "
    "the agreement of the source, and use it only for what the agreement allows."
)


def model_card(
    training: dict,
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    report: dict | None = None,
    repo_id: str | None = None,
    dataset_id: str | None = None,
    gated: bool = False,
    permission: str | None = None,
) -> str:
    """
    Return the folder's `README.md`.

    Args:
        training (`dict`): what `training.json` holds.
        report (`dict`, *optional*): `metrics.json` of an evaluation of this model.
        repo_id, dataset_id (`str`, *optional*): on the Hub.
        gated (`bool`): whether the data are credentialed, so that readers of the model must ask for access.
        permission (`str`, *optional*): the permission by which a gated model is public.
    """
    source, data = training["source"], training["data"]
    figures = [] if report is None else measured_figures(report)
    dataset_name = f"{source['title']} {source['version']}" if report is None else report["run"]["dataset_title"]
    emissions = _emissions(training["stages"])
    content = {
        "name": (repo_id or "ClinRaGen").split("/")[-1],
        "repo_id": repo_id or "FOLDER",
        "example": f"{_typical(model.config.channels[0]):g}",
        "kind": "seq2seq" if model.config.is_encoder_decoder else "decoder-only",
        "labels": model.config.labels,
        "labels_are_phenotypes": {*model.config.labels} <= {phenotype["name"] for phenotype in PHENOTYPES},
        "channels": [{**channel, "limits": limits(channel)} for channel in model.config.channels],
        "inputs": " and ".join({"note": "notes", "lab": "series"}[name] for name in processor.modalities),
        "num_parameters": model.num_parameters(),
        "num_knowledge_terms": len(model.config.knowledge_terms),
        "context_length": model.config.context_length,
        "max_note_tokens": processor.max_note_tokens,
        "figures": figures,
        "reader_rows": [] if report is None else reader_rows(report),
        "decoder_rows": decoder_rows(report or training),
        "warnings": decoder_warnings(report or training),
        "validation": _validation(training),
        "split": data["eval_split"] if report is None else report["run"]["split"],
        "records": report and report["records"],
        "patients": report and report["patients"],
        "dataset_name": dataset_name,
        "unseen": report is not None and report["run"]["split"] == "test",
        "train_split": data["train_split"],
        "source": source,
        "datasets": datasets_of(training),
        "base_model": training["base_model"],
        "stages": training["stages"],
        "settings": SHOWN_SETTINGS,
        "emissions": emissions,
        "emissions_source": EMISSIONS_SOURCE,
        "gated": gated,
        "permission": permission,
    }
    header = card_header(
        gated,
        processor.spoken.is_english,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["clinragen", "clinical", "diagnosis", "rationale", "time-series", "knowledge-augmented", "custom_code"],
        datasets=dataset_id and [dataset_id],
        base_model=_hub_name(training["base_model"]),
        model_name=content["name"],
        eval_results=_results(figures, report, dataset_id or "clinragen", dataset_name) or None,
        co2_eq_emissions={"emissions": round(emissions, 3), "source": EMISSIONS_SOURCE, "training_type": "training"},
    )
    return fill_card(TEMPLATE, header, content)


def _typical(channel: dict) -> float:
    """Return a value for an example: the middle of the usual range, or without one a plausible value."""
    ends = [channel.get("low"), channel.get("high")]
    known = [end for end in ends if end is not None] or [channel["minimum"], channel["maximum"]]
    return sum(known) / len(known)


def card_header(gated: bool, is_english: bool = True, **fields) -> ModelCardData:
    """Return the header of a card, with its licence, and for a gated repository the questions to its users."""
    language = "en" if is_english else None
    if not gated:
        return ModelCardData(language=language, license="apache-2.0", **fields)
    return ModelCardData(
        language=language,
        license="other",
        license_name="see-data-use-agreement",
        extra_gated_prompt=GATED_PROMPT,
        extra_gated_fields={"I have signed the data-use agreement of the source": "checkbox"},
        **fields,
    )


def fill_card(template: Path, header: ModelCardData, content: dict) -> str:
    text = "---\n{{ card_data }}\n---\n\n" + template.read_text(encoding="utf-8")
    return f"{ModelCard.from_template(header, template_str=text, **content)}\n"


def write_card(folder: str | Path, training: dict, model, processor, report: dict | None = None) -> None:
    """Write `training.json` and `README.md` of a model folder."""
    card = model_card(training, model, processor, report, gated=is_credentialed(training))
    write_whole(Path(folder) / HISTORY, json.dumps(training, indent=1))
    write_whole(Path(folder) / "README.md", card)


EMISSIONS_SOURCE = (
    f"Training time times {WATTS['cpu']:g} W a CPU thread or {WATTS['gpu']:g} W a GPU, at {GRAMS_PER_KWH:g} g a kWh, "
    "the world's average of 2018 (IEA)."
)


def _emissions(stages: list[dict]) -> float:
    """Estimate grams of CO2 equivalents by a rule of thumb."""
    joules = 0.0
    for stage in stages:
        device = stage["device"]
        units = device["units"] * stage["settings"]["world_size"]
        joules += stage["seconds"] * units * WATTS[device["kind"]]
    return joules / 3.6e6 * GRAMS_PER_KWH


def measured_figures(report: dict) -> list[dict]:
    """Return `name`, `type`, `value` and `interval` of each figure of `FIGURES` that a `metrics.json` has."""
    found = []
    for (group, name), (title, kind) in FIGURES.items():
        value = report.get(group, {}).get(name)
        if value is not None:
            interval = report.get("intervals", {}).get(group, {}).get(name)
            found.append({"name": title, "type": kind, "value": value, "interval": interval})
    return found


def _results(figures: list[dict], report: dict | None, dataset_type: str, dataset_name: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Diagnoses with their rationale",
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            dataset_split=report["run"]["split"],
            metric_type=figure["type"],
            metric_name=figure["name"],
            metric_value=round(figure["value"], 4),
        )
        for figure in figures
    ]


def _validation(training: dict) -> dict[str, float]:
    """Return the validation figures of the best checkpoint."""
    metric = f"eval_{training['metric']}"
    best = next((row for row in training["log"] if row.get(metric) == training["best_metric"]), {})
    names = ("micro_f1", "macro_f1", "macro_auroc", "reward")
    return {name: best[f"eval_{name}"] for name in names if f"eval_{name}" in best}


def _hub_name(base_model: str | None) -> str | None:
    return base_model if base_model and base_model.count("/") == 1 else None


def add_report_to_card(model_folder: str | Path, report: str | Path) -> None:
    """
    Rewrite the card of a model folder, with the figures of its report in place of those of validation.

    Raises:
        ClinRaGenInputError: if the report is of other weights, or the folder does not name its data.
    """
    training = read_history(model_folder)
    if "source" not in training:
        raise ClinRaGenInputError(f"{model_folder}/{HISTORY} does not name its data; run its stage again")
    report = read_metrics(report, weights_hash(model_folder))
    write_card(model_folder, training, *load_model_folder(model_folder), report)
