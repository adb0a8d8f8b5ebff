# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The `clinical-rationale-generation` pipeline: a patient's record in, diagnoses with their rationale out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, Pipeline, StoppingCriteria, TextStreamer
from transformers.pipelines import PIPELINE_REGISTRY

from .abstention_clinragen import reasons_to_abstain, support_of, what_would_help
from .claims_clinragen import check_claims
from .clinical_clinragen import ClinRaGenInputError
from .evidence_clinragen import Occlusion, find_evidence
from .note_claims_clinragen import check_note_claims


TASK = "clinical-rationale-generation"
RECORD_FIELDS = ("note", "labs", "lab_times", "lab_values")


class ClinRaGenPipeline(Pipeline):
    """
    Diagnoses, rationale, checked claims and attended knowledge for one record or many.

    A record is a `dict` with `note` (`str`), and either `lab_times` `(T,)` and `lab_values` `(T, C)`, or `labs`:
    `{channel name: [[hour, value], ...]}`. Note or series may be missing, not both. Other fields are ignored.
    Arguments of `generate` may be given with the call, and

    - `evidence` (`bool`, defaults to `False`): add `evidence`, for each diagnosis the clauses of the note, stretches
      of the series and knowledge terms without which it would be less probable, see [`find_evidence`]. The record is
      encoded anew without each of them.
    - `verify` (`bool`, defaults to `False`): where claims of the rationale are contradicted, write `num_candidates`
      others by sampling, with the same diagnoses, and keep the one with the fewest contradicted claims, of equals the
      one with the most supported. What is still contradicted stays flagged. Adds `regenerated`: whether the text was
      exchanged.
    - `attention` (`bool`, defaults to `False`): add `knowledge_over_time`: `terms` (those of `knowledge`), their
      `weights` (a list for each, with one number for each patch of `patch_hours` hours, or `None` where nothing was
      measured); `None` where no weight belongs to a term and to hours.
    - `recall` and `precision` (`float`), and `confidence` (`float`, defaults to 0.9): as `diagnosis_sets` of the model
      takes them. `doubt` then holds `possible`, the diagnoses that cannot be ruled out, and `never_ruled_out`, of
      which too little is known to do so; and `confident`, on which one can rely, and `never_confident`.

    Returns, per record, `diagnoses` (`label`, and its `probability` or `None` without a diagnosis head),
    `note_rationale`, `lab_rationale`, `generated_text`, `claims` (each statement about a channel with its verdict
    against the record's own values), `note_claims` (the same of the findings that the note rationale names, against
    the record's note), `knowledge` (the ten terms the series attended to most, with weights),
    `probabilities` (of every label; empty without a diagnosis head) and `doubt`: whether to `abstain` from a
    diagnosis, as there is too little support, the `reasons`, and which unmeasured channels, or the note, `would_help`
    most. A claim has the fields of [`Claim`]. `stream` gives the text while it is written.
    """

    _load_processor = True
    _load_tokenizer = True
    _load_feature_extractor = False
    _load_image_processor = False

    num_knowledge_terms = 10
    num_candidates = 8

    def _sanitize_parameters(self, **forward_kwargs):
        return {}, forward_kwargs, {}

    def preprocess(self, record):
        note, values, times = self._read(record)
        inputs = dict(self.processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt"))
        return {**inputs, "record": {"note": note, "lab_values": values, "lab_times": times}}

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

    def _forward(
        self,
        model_inputs,
        evidence: bool = False,
        verify: bool = False,
        recall: float | None = None,
        precision: float | None = None,
        confidence: float = 0.9,
        attention: bool = False,
        streamer: "AnswerStreamer | None" = None,
        **generate_kwargs,
    ):
        record = model_inputs.pop("record")
        records = [record] if isinstance(record, dict) else record
        encoded = self.model.encode(**model_inputs)
        if streamer is not None:
            streamer.put_answer(self._decided(encoded))
        tokens = self.model.generate(encoder_outputs=encoded, streamer=streamer, **generate_kwargs)
        if verify:
            tokens = self._verified(tokens, records, encoded, generate_kwargs)
        if evidence:
            for row, record in zip(tokens, records, strict=True):
                record["evidence"] = self._evidence(self._parsed(row)["diagnoses"], record)
        outputs = {"tokens": tokens, "record": records, "support": support_of(self.model, model_inputs)}
        if self.model.diagnosis_head is not None:
            outputs["probabilities"] = self.model.diagnosis_probabilities(encoder_outputs=encoded)
        if recall is not None or precision is not None:
            outputs |= self.model.diagnosis_sets(encoded, recall, precision, confidence).flags()
        if encoded.knowledge_attentions is not None and self.model.config.knowledge_attention_type == "term":
            weights = encoded.knowledge_attentions
            patches = (weights.sum(dim=-1) > 0).sum(dim=(1, 2)).clamp(min=1)
            outputs["knowledge"] = weights.sum(dim=(1, 2)) / patches.unsqueeze(-1)  # (batch, num_knowledge_terms)
            if attention:
                outputs["attention"] = weights
        if attention:
            for record in records:
                record["knowledge_over_time"] = None
        return outputs

    def stream(self, record: dict, **options) -> Iterator[dict]:
        """
        Yield the answer to one record while it is made.

        Args:
            record (`dict`) and options: as the pipeline takes them; one beam.

        Yields:
            `diagnoses`, `probabilities` and an empty `generated_text`, as soon as the record is read (without a
            diagnosis head both are empty); then `generated_text` so far, as it grows; last the whole answer.
        """
        streamer, stopped, text = AnswerStreamer(self.tokenizer), Event(), ""
        options["stopping_criteria"] = [*options.get("stopping_criteria", ()), _Stopped(stopped)]

        def answer():
            try:
                streamer.put_answer(self(record, streamer=streamer, **options))
            except BaseException as error:  # raised again by who waits for the answer
                streamer.queue.put(error)

        Thread(target=answer, daemon=True).start()
        try:
            while True:
                given = streamer.queue.get()
                if isinstance(given, BaseException):
                    raise given
                if isinstance(given, str):
                    text += given
                    yield {"generated_text": text}
                    continue
                yield given
                if "note_rationale" in given:
                    return
        finally:
            stopped.set()  # who waited is gone: what is not written yet need not be

    def _decided(self, encoded) -> dict:
        probabilities, labels = {}, []
        if self.model.diagnosis_head is not None:
            probabilities = self._probabilities(self.model.diagnosis_probabilities(encoder_outputs=encoded))
            decisions = self.model.diagnosis_decisions(encoder_outputs=encoded)[0].tolist()
            labels = [label for label, made in zip(self.processor.labels, decisions, strict=True) if made]
        return {"diagnoses": self._listed(labels, probabilities), "probabilities": probabilities, "generated_text": ""}

    def _listed(self, labels: list[str], probabilities: dict[str, float]) -> list[dict]:
        return [{"label": label, "probability": probabilities.get(label)} for label in labels]

    def _verified(self, tokens, records: list[dict], encoded, generate_kwargs: dict) -> torch.Tensor:
        """Return the tokens, or for a text with contradicted claims the best of others, if it is better."""
        first = list(tokens)
        wrong = [i for i, row in enumerate(first) if self._rank(row, records[i])[0]]
        kept = list(first)
        if wrong:
            sampled = self.model.generate(
                encoder_outputs=encoded.select_rows(wrong),
                **{**generate_kwargs, "do_sample": True, "num_beams": 1, "num_return_sequences": self.num_candidates},
            )
            for i, candidates in zip(wrong, sampled.unflatten(0, (len(wrong), self.num_candidates)), strict=True):
                diagnoses = self._parsed(first[i])["diagnoses"]
                same = [row for row in candidates if self._parsed(row)["diagnoses"] == diagnoses]
                kept[i] = min([first[i], *same], key=lambda row: self._rank(row, records[i]))
        for record, before, after in zip(records, first, kept, strict=True):
            record["regenerated"] = after is not before
        padding = self.tokenizer.pad_token_id
        return torch.nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=padding)

    def _rank(self, tokens, record: dict) -> tuple[int, int]:
        """Rank a text, the lower the better: by contradicted claims, and of equals by supported ones."""
        verdicts = Counter(claim.verdict for claim in self._claims(self._parsed(tokens)["lab_rationale"], record))
        return verdicts["contradicted"], -verdicts["supported"]

    def _evidence(self, diagnoses: list[str], record: dict) -> list[dict]:
        occlusion = Occlusion(self.model, self.processor, record["note"], record["lab_values"], record["lab_times"])
        return find_evidence(occlusion, [self.processor.labels.index(name) for name in diagnoses])

    def _parsed(self, tokens) -> dict:
        return self.processor.parse(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def _claims(self, lab_rationale: str, record: dict) -> list:
        channels = self.processor.feature_extractor.channels
        return check_claims(lab_rationale, channels, record["lab_times"], record["lab_values"])

    def postprocess(self, outputs):
        text = self.tokenizer.decode(outputs["tokens"][0], skip_special_tokens=True)
        parsed = self.processor.parse(text)
        record = outputs["record"]
        record = record[0] if isinstance(record, list) else record
        probabilities = self._probabilities(outputs.get("probabilities"))
        knowledge = self._top_terms(outputs.get("knowledge"))
        if knowledge and "attention" in outputs:
            record["knowledge_over_time"] = self._over_time(outputs["attention"][0], knowledge)
        return {
            "diagnoses": self._listed(parsed["diagnoses"], probabilities),
            "note_rationale": parsed["note_rationale"],
            "lab_rationale": parsed["lab_rationale"],
            "generated_text": text,
            "claims": [asdict(claim) for claim in self._claims(parsed["lab_rationale"], record)],
            "note_claims": [asdict(claim) for claim in check_note_claims(parsed["note_rationale"], record["note"])],
            "knowledge": knowledge,
            "probabilities": probabilities,
            "doubt": self._doubt(outputs, record),
            **{name: record[name] for name in ("evidence", "regenerated", "knowledge_over_time") if name in record},
        }

    def _probabilities(self, probabilities) -> dict[str, float]:
        if probabilities is None:
            return {}
        values = probabilities[0].tolist()
        return {label: round(value, 4) for label, value in zip(self.processor.labels, values, strict=True)}

    def _doubt(self, outputs, record: dict) -> dict:
        config, labels = self.model.config, self.processor.labels
        reasons = reasons_to_abstain(config, self.processor, record, outputs["support"][0])
        helpful = []
        if config.decisions.doubt is not None:
            helpful = what_would_help(config, self.processor, record, outputs["probabilities"][0].float())
        sets = {
            name: [label for label, inside in zip(labels, outputs[name][0].tolist(), strict=True) if inside]
            for name in ("possible", "never_ruled_out", "confident", "never_confident")
            if name in outputs
        }
        return {"abstain": bool(reasons), "reasons": reasons, "would_help": helpful, **sets}

    def _top_terms(self, weights) -> list[dict]:
        if weights is None or not weights.any():
            return []
        values, indices = weights[0].float().topk(min(self.num_knowledge_terms, weights.shape[-1]))
        terms = self.model.config.knowledge_terms
        return [
            {"term": terms[i], "weight": round(v, 4)} for v, i in zip(values.tolist(), indices.tolist(), strict=True)
        ]

    def _over_time(self, attention: torch.Tensor, knowledge: list[dict]) -> dict | None:
        weights = attention_over_time(attention, self.model.config, self.processor.feature_extractor.grid)
        if weights is None:
            return None
        position = {term: i for i, term in enumerate(self.model.config.knowledge_terms)}
        terms = [entry["term"] for entry in knowledge]
        rows = weights[:, [position[term] for term in terms]].T.astype(float).round(4)
        return {
            "patch_hours": self.model.config.time_series_config.patch_length,
            "terms": terms,
            "weights": [[None if np.isnan(weight) else weight for weight in row] for row in rows.tolist()],
        }


def attention_over_time(attention: torch.Tensor, config, grid: str) -> np.ndarray | None:
    """
    Return what each patch of a record's series attends to: the mean over the channels with a measurement in it.

    Args:
        attention (`torch.Tensor` of shape `(num_input_channels, num_patches, num_knowledge_terms)`): of one record.
        config (`ClinRaGenConfig`), grid (`str`): of the model, and of its feature extractor.

    Returns:
        float array of shape `(patches, num_knowledge_terms)` up to the last patch with a measurement, NaN for a patch
        without any; `None` where no weight belongs to a term and to hours: nothing was measured, or with prototypes or
        the original release's grid or patches.
    """
    if config.knowledge_attention_type != "term" or config.patch_layout != "fixed" or grid != "hourly":
        return None
    weights = attention.float().cpu().numpy()
    channels = (weights.sum(axis=2) > 0).sum(axis=0)  # (num_patches,)
    if not channels.any():
        return None
    last = int(np.flatnonzero(channels).max()) + 1
    total, channels = weights.sum(axis=0)[:last], channels[:last, None]
    return np.divide(total, channels, out=np.full(total.shape, np.nan, dtype=total.dtype), where=channels > 0)


class AnswerStreamer(TextStreamer):
    """Puts what [`ClinRaGenPipeline.stream`] yields into a queue: answers as they are, the text piece by piece."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.queue: SimpleQueue = SimpleQueue()

    def put_answer(self, answer: dict) -> None:
        self.queue.put(answer)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self.queue.put(text)


class _Stopped(StoppingCriteria):
    """Ends generation when nobody waits for it any more."""

    def __init__(self, stopped: Event):
        self.stopped = stopped

    def __call__(self, input_ids, scores, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.stopped.is_set(), device=input_ids.device)


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=ClinRaGenPipeline, pt_model=(AutoModelForSeq2SeqLM, AutoModelForCausalLM)
)


__all__ = ["ClinRaGenPipeline"]
