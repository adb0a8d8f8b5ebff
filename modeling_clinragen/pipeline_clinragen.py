# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The `clinical-rationale-generation` pipeline: a patient's record in, diagnoses with their rationale out."""

from dataclasses import asdict

import numpy as np
from transformers import AutoModelForSeq2SeqLM, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from .claims_clinragen import check_claims
from .clinical_clinragen import ClinRaGenInputError


TASK = "clinical-rationale-generation"
RECORD_FIELDS = ("note", "labs", "lab_times", "lab_values")


class ClinRaGenPipeline(Pipeline):
    """
    Diagnoses, rationale, checked claims and attended knowledge for one record or many.

    A record is a `dict` with `note` (`str`), and either `lab_times` `(T,)` and `lab_values` `(T, C)`, or `labs`:
    `{channel name: [[hour, value], ...]}`. Note or series may be missing, not both. Other fields are ignored.
    Arguments of `generate` may be given with the call.

    Returns, per record, `diagnoses` (`label`, and its `probability` or `None` without a diagnosis head),
    `note_rationale`, `lab_rationale`, `generated_text`, `claims` (each statement about a channel with its verdict
    against the record's own values), `knowledge` (the ten terms the series attended to most, with weights) and
    `probabilities` (of every label; empty without a diagnosis head).
    """

    _load_processor = True
    _load_tokenizer = True
    _load_feature_extractor = False
    _load_image_processor = False

    num_knowledge_terms = 10

    def _sanitize_parameters(self, **generate_kwargs):
        return {}, generate_kwargs, {}

    def preprocess(self, record):
        note, values, times = self._read(record)
        inputs = dict(self.processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt"))
        return {**inputs, "record": {"lab_values": values, "lab_times": times}}

    def _read(self, record) -> tuple[str, np.ndarray, np.ndarray]:
        if not isinstance(record, dict) or not set(record) & set(RECORD_FIELDS):
            raise ClinRaGenInputError(f"a record is a dict with at least one of the fields {', '.join(RECORD_FIELDS)}")
        note = record.get("note") or ""
        if not isinstance(note, str):
            raise ClinRaGenInputError(f"`note` must be text, not {type(note).__name__}")
        extractor = self.processor.feature_extractor
        if record.get("labs") is not None:
            if record.get("lab_values") is not None:
                raise ClinRaGenInputError("give the series either as `labs` or as `lab_values` and `lab_times`")
            values, times = extractor.series_from_events(record["labs"])
        else:
            values, times = record.get("lab_values"), record.get("lab_times")
        values, times = extractor.validate(values, times)
        return note, values, times

    def _forward(self, model_inputs, **generate_kwargs):
        record = model_inputs.pop("record")
        encoded = self.model.encode(**model_inputs)
        tokens = self.model.generate(encoder_outputs=encoded, **generate_kwargs)
        outputs = {"tokens": tokens, "record": [record] if isinstance(record, dict) else record}
        if self.model.diagnosis_head is not None:
            outputs["probabilities"] = self.model.diagnosis_probabilities(encoder_outputs=encoded)
        if encoded.knowledge_attentions is not None and self.model.config.knowledge_attention_type == "term":
            attention = encoded.knowledge_attentions
            patches = (attention.sum(dim=-1) > 0).sum(dim=(1, 2)).clamp(min=1)
            outputs["knowledge"] = attention.sum(dim=(1, 2)) / patches.unsqueeze(-1)  # (batch, num_knowledge_terms)
        return outputs

    def postprocess(self, outputs):
        text = self.tokenizer.decode(outputs["tokens"][0], skip_special_tokens=True)
        parsed = self.processor.parse(text)
        record = outputs["record"]
        record = record[0] if isinstance(record, list) else record
        claims = check_claims(
            parsed["lab_rationale"],
            self.processor.feature_extractor.channels,
            record["lab_times"],
            record["lab_values"],
        )
        probabilities = self._probabilities(outputs.get("probabilities"))
        return {
            "diagnoses": [{"label": name, "probability": probabilities.get(name)} for name in parsed["diagnoses"]],
            "note_rationale": parsed["note_rationale"],
            "lab_rationale": parsed["lab_rationale"],
            "generated_text": text,
            "claims": [asdict(claim) for claim in claims],
            "knowledge": self._top_terms(outputs.get("knowledge")),
            "probabilities": probabilities,
        }

    def _probabilities(self, probabilities) -> dict[str, float]:
        if probabilities is None:
            return {}
        values = probabilities[0].tolist()
        return {label: round(value, 4) for label, value in zip(self.processor.labels, values, strict=True)}

    def _top_terms(self, weights) -> list[dict]:
        if weights is None or not weights.any():
            return []
        values, indices = weights[0].float().topk(min(self.num_knowledge_terms, weights.shape[-1]))
        terms = self.model.config.knowledge_terms
        return [
            {"term": terms[i], "weight": round(v, 4)} for v, i in zip(values.tolist(), indices.tolist(), strict=True)
        ]


PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=ClinRaGenPipeline, pt_model=AutoModelForSeq2SeqLM)


__all__ = ["ClinRaGenPipeline"]
