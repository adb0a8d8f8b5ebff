# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""All figures of one evaluation, from its predictions: overall, with intervals, and by subgroup."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from datasets import Dataset

from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.language_clinragen import ENGLISH, Language
from modeling_clinragen.links_clinragen import KnowledgeLinks
from recipes.evaluation.figures.calibration import calibration
from recipes.evaluation.figures.faithfulness import (
    NOTE_VERDICTS,
    agreement_counts,
    claim_metrics,
    note_claim_counts,
    series_claim_counts,
    series_recall_counts,
)
from recipes.evaluation.figures.intervals import (
    SCORES,
    intervals,
    label_figures,
    once,
    ranking_figures,
    set_figures,
    share_figures,
)
from recipes.evaluation.figures.knowledge_use import knowledge_counts, specificity_counts
from recipes.evaluation.figures.matching import match_by_embedding
from recipes.evaluation.figures.metrics import cells_of, diagnosis_metrics, multi_hot, probability_metrics
from recipes.evaluation.figures.rationale import NoSynonyms, find_wordnet, rationale_figures
from recipes.evaluation.figures.reading import ARGUMENTS, ORIGINS, RationaleReader, origin_counts, reading_counts


if TYPE_CHECKING:
    from recipes.evaluation.figures.bertscore import BertScorer

SMALLEST_GROUP = 10
AGES, SHARES = (45, 65, 80), (25, 75)


def compute_metrics(
    predictions: list[dict],
    labels: list[str],
    records: Dataset | None = None,
    synonyms: dict | None = None,
    *,
    channels: list[dict] | None = None,
    knowledge_terms: Sequence[str] = (),
    knowledge: Sequence[dict] | None = None,
    bertscore: BertScorer | None = None,
    language: Language = ENGLISH,
) -> dict:
    """
    Return all figures of one evaluation, with 95% intervals over patients under `intervals`.

    Args:
        predictions (list of `dict`): as `predict` yields them.
        labels (list of `str`): in class-id order.
        records (`Dataset`, *optional*): what was predicted, for the faithfulness to notes and for subgroups.
        synonyms (`dict`, *optional*): label -> further names, for the agreement of list and rationale.
        channels (list of `dict`, *optional*): of the series in `records`, for what a reader meets, and for what
            rationales leave out of the series.
        knowledge_terms (list of `str`): the model's knowledge vocabulary, for the figures of its use.
        knowledge (list of `dict`, *optional*): terms with their linked diagnoses, as the processor of a model holds
            them; without it there are no figures of arguments.
        bertscore (`BertScorer`, *optional*): without it rationales have no BERTScore.
        language (`Language`, *optional*): of notes and rationales, for the checkers; texts are compared as written.
    """
    position = {label: i for i, label in enumerate(labels)}
    gold = [[position[name] for name in prediction["gold"]] for prediction in predictions]
    predicted = [[position[d["label"]] for d in prediction["diagnoses"]] for prediction in predictions]
    patients = [prediction["subject_id"] for prediction in predictions]
    true, written = cells_of(gold, len(labels)), cells_of(predicted, len(labels))
    metrics = {
        "records": len(predictions),
        "patients": len(set(patients)),
        "unreadable": sum(not prediction["readable"] for prediction in predictions),
        "diagnosis": diagnosis_metrics(gold, predicted, labels),
    }
    bounds = {
        "diagnosis": intervals(set_figures(true, written), patients),
        "per_label": label_intervals(true, written, labels, patients),
    }
    read, names = as_read(language, predictions), names_of(labels, synonyms or {}, language)
    parts = {
        **probabilities_of(predictions, gold, labels, patients),
        **rationales_of(predictions, bertscore),
        "claims": series_claims(predictions, patients),
        "agreement": agreement(read, names, patients),
        **knowledge_use(predictions, knowledge_terms),
        **knowledge_shown(predictions, knowledge),
    }
    if records is not None:
        links = KnowledgeLinks(list(knowledge), labels, channels or (), language) if knowledge else None
        notes = [language.english(note) for note in records["note"]]
        parts |= note_recall(read, notes, patients, links)
        parts |= lab_recall(read, records, channels or [], patients)
    if records is not None and channels:
        reader = RationaleReader(channels, names, knowledge, language)
        parts |= what_a_reader_meets(reader, read, notes, records, patients)
    parts |= sentence_origins(predictions, patients)
    for name, (figures, interval) in parts.items():
        metrics[name], bounds[name] = figures, interval
    if "rationale" in metrics:
        metrics["rationale_settings"] = {
            "meteor_synonyms": not isinstance(find_wordnet(), NoSynonyms),
            "bertscore_model": bertscore.model.name_or_path if bertscore else None,
        }
    if records is not None:
        metrics["subgroups"] = subgroups(records, true, written, patients)
    return {**metrics, "intervals": bounds}


Part = tuple[dict, dict]  # figures, and their intervals


def probabilities_of(
    predictions: list[dict], gold: list[list[int]], labels: list[str], patients: list[str]
) -> dict[str, Part]:
    """Return `probability` and `calibration`, for the records with probabilities, if any."""
    scored = [i for i, prediction in enumerate(predictions) if prediction["probabilities"]]
    if not scored:
        return {}
    probabilities = np.array([[predictions[i]["probabilities"][label] for label in labels] for i in scored])
    hot = multi_hot([gold[i] for i in scored], len(labels)).astype(int)
    owners = [patients[i] for i in scored]
    return {
        "probability": (
            probability_metrics(hot, probabilities),
            intervals(ranking_figures(hot, probabilities), owners),
        ),
        "calibration": calibration(hot, probabilities, owners),
    }


def rationales_of(predictions: list[dict], bertscore: BertScorer | None) -> dict[str, Part]:
    """Return `rationale`, by note and lab part, for the records with a rationale of the teacher, if any."""
    taught = [p for p in predictions if p["reference_note_rationale"] or p["reference_lab_rationale"]]
    if not taught:
        return {}
    patients, metrics, bounds = [p["subject_id"] for p in taught], {}, {}
    for part in ("note_rationale", "lab_rationale"):
        figures = rationale_figures([p[f"reference_{part}"] for p in taught], [p[part] for p in taught], bertscore)
        metrics[part], bounds[part] = once(figures, len(taught)), intervals(figures, patients)
    return {"rationale": (metrics, bounds)}


def series_claims(predictions: list[dict], patients: list[str]) -> Part:
    """Return the verdicts of the claims about the series."""
    claims = [prediction["claims"] for prediction in predictions]
    counts = series_claim_counts(claims)
    return claim_metrics(claims), intervals(share_figures(counts, sum(counts.values())), patients)


def note_recall(
    predictions: list[dict], notes: list[str], patients: list[str], links: KnowledgeLinks | None
) -> dict[str, Part]:
    """
    Return `note_claims`, shares of the findings that rationales name (a precision), and if there are the teacher's
    rationales `note_recall`, the share of the teacher's supported findings that they name too (a recall).
    """
    rationales = [prediction["note_rationale"] for prediction in predictions]
    references = [prediction["reference_note_rationale"] for prediction in predictions]
    counts = note_claim_counts(notes, rationales, references, links)
    named = {name: counts[name] for name in NOTE_VERDICTS}
    parts = {"note_claims": _shares(named, sum(named.values()), patients)}
    if any(references):
        parts["note_recall"] = _shares(
            {"covered": counts["covered"]}, counts["reference_findings"], patients, total="reference_findings"
        )
    return parts


def lab_recall(
    predictions: list[dict], records: Dataset, channels: list[dict], patients: list[str]
) -> dict[str, Part]:
    """Return `lab_recall`: the share of the teacher's supported claims about the series that rationales make too."""
    references = [prediction["reference_lab_rationale"] for prediction in predictions]
    if not channels or not any(references):
        return {}
    claims = [prediction["claims"] for prediction in predictions]
    rows = records.select_columns(["lab_times", "lab_values"])
    counts = series_recall_counts(rows, claims, references, channels)
    shares = {"covered": counts["covered"]}
    return {"lab_recall": _shares(shares, counts["reference_claims"], patients, total="reference_claims")}


def what_a_reader_meets(
    reader: RationaleReader, predictions: list[dict], notes: list[str], records: Dataset, patients: list[str]
) -> dict[str, Part]:
    """
    Return `supported_per_record`, `arguments` (`None` without knowledge), `listed_diagnoses`, `count_claims`,
    `sentences`, and if there are the teacher's rationales `teacher_evidence`.
    """
    series = records.select_columns(["lab_times", "lab_values"])
    rows = ({"note": note, **row} for note, row in zip(notes, series, strict=True))
    counts = reading_counts(reader, predictions, rows)
    supported = {name: counts[name] for name in ("note", "series")} | {"both": counts["note"] + counts["series"]}

    def shares(names: Sequence[str], total: str) -> Part:
        return _shares({name: counts[name] for name in names}, counts[total], patients)

    parts = {
        "supported_per_record": _shares(supported, np.ones(len(predictions)), patients, total="records"),
        "listed_diagnoses": shares(("explained", "unexplained", "neither", "overlooked"), "listed"),
        "count_claims": shares(("wrong",), "count"),
        "sentences": shares(("repeated", "word_for_word"), "sentences"),
        "arguments": (None, None),
    }
    if reader.links:
        arguments = {name: counts[name] for name in ARGUMENTS}
        parts["arguments"] = _shares(arguments, sum(arguments.values()), patients)
    if counts["taught"].any():
        taught = {name: counts[name] for name in ("note_without_evidence", "series_without_evidence")}
        parts["teacher_evidence"] = _shares(taught, counts["taught"], patients, total="records")
    return parts


def sentence_origins(predictions: list[dict], patients: list[str]) -> dict[str, Part]:
    """Return `sentence_origins`: shares of sentences written by the model, repaired or composed, if known."""
    if not predictions or not all("sentences" in prediction for prediction in predictions):
        return {}
    counts = origin_counts(predictions)
    return {"sentence_origins": _shares({n: counts[n] for n in ORIGINS}, sum(counts.values()), patients)}


def knowledge_use(predictions: list[dict], terms: Sequence[str]) -> dict[str, Part]:
    """
    Return `knowledge_use`: the share of shown terms that the rationale writes, and the share of written terms that
    are shown; each also `_by_chance`, with the terms of other patients, and `_above_chance`. Only for records with
    terms.
    """
    used = [prediction for prediction in predictions if terms and prediction["knowledge"]]
    if not used:
        return {}
    patients = [prediction["subject_id"] for prediction in used]
    shown = [[entry["term"] for entry in prediction["knowledge"]] for prediction in used]
    rationales = (f"{prediction['note_rationale']}\n{prediction['lab_rationale']}" for prediction in used)
    counts = knowledge_counts(shown, rationales, terms, patients)
    both, chance, metrics, bounds = counts["both"], counts["chance"], {"records": len(used)}, {}
    for name, of in (("shown_written", "shown"), ("written_shown", "written")):
        shares = {name: both, f"{name}_by_chance": chance, f"{name}_above_chance": both - chance}
        figures, interval = _shares(shares, counts[of], patients, total=of)
        metrics, bounds = metrics | figures, bounds | interval
    return {"knowledge_use": (metrics, bounds)}


def knowledge_shown(predictions: list[dict], knowledge: Sequence[dict] | None) -> dict[str, Part]:
    """
    Return `knowledge_shown`: shown terms per record (`terms`) and the share of records without any (`none`); the share
    of terms that belong to a recorded diagnosis (`recorded`), and the share of pairs of such a term and another of the
    same record in which it has the higher weight (`auroc`); and the mean Jaccard overlap of two patients' terms
    (`overlap`). For the readable records, if the model has knowledge.
    """
    read = [prediction for prediction in predictions if prediction["readable"]]
    if not knowledge or not any(prediction["knowledge"] for prediction in read):
        return {}
    patients = [prediction["subject_id"] for prediction in read]
    gold = [prediction["gold"] for prediction in read]
    diseases = defaultdict(set)  # the knowledge may list a term twice: as a finding, and as the name of a disease
    for term in knowledge:
        diseases[term["term"]].update(term["diseases"])
    counts = specificity_counts([prediction["knowledge"] for prediction in read], gold, diseases, patients)
    metrics, bounds = {}, {}
    for total, whole, shares in (
        ("records", np.ones(len(read)), {"terms": counts["shown"], "none": counts["none"]}),
        ("total", counts["shown"], {"recorded": counts["recorded"]}),
        ("pairs", counts["pairs"], {"auroc": counts["ordered"]}),
        ("pairs_of_records", counts["partners"], {"overlap": counts["overlap"]}),
    ):
        figures, interval = _shares(shares, whole, patients, total=total)
        metrics, bounds = metrics | figures, bounds | interval
    return {"knowledge_shown": (metrics, bounds)}


def label_intervals(true: np.ndarray, written: np.ndarray, labels: list[str], patients: list[str]) -> dict[str, dict]:
    """Return label -> the 95% intervals of its precision, recall and F1."""
    bounds = intervals(label_figures(true, written), patients)
    return {label: {name: bounds.get((i, name)) for name in SCORES} for i, label in enumerate(labels)}


def figures_by_embedding(predictions: list[dict], labels: list[str]) -> dict:
    """Return the figures of the diagnoses with the paper's matching of written names, and their `intervals`."""
    from datasets_scripts.knowledge.retrieval import load_encoder

    position = {label: i for i, label in enumerate(labels)}
    gold = [[position[name] for name in prediction["gold"]] for prediction in predictions]
    texts = [prediction["generated_text"] for prediction in predictions]
    matched = match_by_embedding(texts, labels, load_encoder())
    figures = set_figures(cells_of(gold, len(labels)), cells_of(matched, len(labels)))
    patients = [prediction["subject_id"] for prediction in predictions]
    return {**diagnosis_metrics(gold, matched, labels), "intervals": intervals(figures, patients)}


def as_read(language: Language, predictions: list[dict]) -> list[dict]:
    """Return predictions with their rationales rewritten for the checkers."""
    if language.is_english:
        return predictions
    parts = [f"{kind}{part}_rationale" for kind in ("", "reference_") for part in ("note", "lab")]
    return [{**row, **{part: language.english(row[part] or "") for part in parts}} for row in predictions]


def agreement(predictions: list[dict], phrases: dict, patients: list[str]) -> tuple[dict, dict]:
    """Return shares of written diagnoses that are argued for or denied, and of argued ones that are not written."""
    written = [[d["label"] for d in prediction["diagnoses"]] for prediction in predictions]
    rationales = [f"{prediction['note_rationale']}\n{prediction['lab_rationale']}" for prediction in predictions]
    counts = agreement_counts(written, rationales, phrases)
    of_written = {"written_argued_for": counts["argued_for"], "written_denied": counts["denied"]}
    first, first_bounds = _shares(of_written, counts["written"], patients, total="written")
    of_argued = {"argued_not_written": counts["not_written"]}
    second, second_bounds = _shares(of_argued, counts["argued"], patients, total="argued")
    return first | second, first_bounds | second_bounds


def names_of(labels: list[str], synonyms: dict, language: Language = ENGLISH) -> dict[str, tuple[str, ...]]:
    """Return label -> its names in a text: its name, the short form of that, and its synonyms."""
    names = {label: (label, short_name(label), *synonyms.get(label, ())) for label in labels}
    return {label: tuple(map(language.english, own)) for label, own in names.items()}


def _shares(
    counts: dict[str, np.ndarray], whole: np.ndarray, patients: list[str], total: str = "total"
) -> tuple[dict, dict]:
    """Return the sum of `whole` as `total`, each count as a share of it, and the intervals of the shares."""
    figures = share_figures(counts, whole)
    return {total: int(np.sum(whole)), **once(figures, len(whole))}, intervals(figures, patients)


def subgroups(records: Dataset, true: np.ndarray, written: np.ndarray, patients: list[str]) -> dict[str, dict]:
    """Return records, micro- and macro-F1 with intervals of each group of `SMALLEST_GROUP` records or more."""
    found: dict[str, dict] = {}
    for attribute, values in groups_of(records).items():
        found[attribute] = {}
        for value in sorted(set(values)):
            rows = np.flatnonzero(values == value)
            if len(rows) < SMALLEST_GROUP:
                continue
            figures, own = set_figures(true[rows], written[rows]), [patients[i] for i in rows]
            whole, bounds = once(figures, len(rows)), intervals(figures, own)
            found[attribute][value] = {
                "records": len(rows),
                **{name: whole[name] for name in ("micro_f1", "macro_f1")},
                "intervals": {name: bounds[name] for name in ("micro_f1", "macro_f1")},
            }
    return found


def groups_of(records: Dataset) -> dict[str, np.ndarray]:
    """
    Return sex, age band, ethnicity, type of ICU, and share of measured channels, for each record.

    Older datasets have no column `care_unit`, so they have no groups by ICU.
    """
    measured = [
        float((~np.isnan(np.asarray(values, dtype=float))).any(axis=0).mean()) if len(values) else 0.0
        for values in records["lab_values"]
    ]
    ages = [None if age is None or np.isnan(age) else age for age in records["age"]]
    found = {
        "sex": np.array([sex or "unknown" for sex in records["sex"]]),
        "age": np.array(["unknown" if age is None else _band(age, AGES, "years") for age in ages]),
        "ethnicity": np.array([ethnicity or "unknown" for ethnicity in records["ethnicity"]]),
        "channels measured": np.array([_band(100 * share, SHARES, "%") for share in measured]),
    }
    if "care_unit" in records.column_names:
        found["care unit"] = np.array([unit or "unknown" for unit in records["care_unit"]])
    return found


def _band(value: float, edges: tuple[int, ...], unit: str) -> str:
    """Return `"under 45 years"`, `"45 to 65 years"` and the like; a value at an edge belongs above it."""
    above = [edge for edge in edges if value >= edge]
    below = [edge for edge in edges if value < edge]
    if not above:
        return f"under {below[0]} {unit}"
    return f"{above[-1]} to {below[0]} {unit}" if below else f"{above[-1]} {unit} or more"
