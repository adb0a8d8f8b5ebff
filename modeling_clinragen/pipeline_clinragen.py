# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The `clinical-rationale-generation` pipeline: a patient's record in, diagnoses with their rationale out."""

from collections.abc import Iterator
from functools import cached_property
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, Pipeline, StoppingCriteria, TextStreamer
from transformers.pipelines import PIPELINE_REGISTRY

from .abstention_clinragen import reasons_to_abstain, support_of, unread_measurements, what_would_help
from .claims_clinragen import Claim
from .clinical_clinragen import ClinRaGenInputError
from .evidence_clinragen import Occlusion, find_evidence
from .fields_clinragen import RECORD_FIELDS, check_fields
from .grounding_clinragen import PARTS, WRITTEN, GroundedSentence, GroundedText, Grounding, split_sentences
from .integrity_clinragen import check_fit
from .links_clinragen import argue
from .note_claims_clinragen import check_note_claims
from .record_terms_clinragen import Shown, shown_for
from .version_clinragen import version_of


TASK = "clinical-rationale-generation"
OPTIONAL_FIELDS = ("evidence", "knowledge_over_time", "own_text", "unseen_diagnoses")


class ClinRaGenPipeline(Pipeline):
    """
    Diagnoses, rationale, checked claims and terms of the knowledge for one record or many.

    A record is a `dict` with `note` (`str`), and either `lab_times` `(T,)` and `lab_values` `(T, C)`, or `labs`:
    `{channel name: [[hour, value], ...]}`. `units`, `{channel name: unit}`, gives the units of values that are not in
    the channel's own. Note or series may be missing, not both. Other fields are ignored, unless they are a misspelling
    of one of these. A call takes the arguments of `generate`, and

    - `evidence` (`bool`, defaults to `False`): add `evidence`, for each diagnosis the clauses of the note, stretches
      of the series and knowledge terms without which it would be less probable, see [`find_evidence`]. The record is
      encoded again without each of them, and without further candidates that a gradient selects.
    - `grounded` (`bool`, defaults to `True`): keep of the decoder's rationale only what the record supports, and
      explain each listed diagnosis from the record or state that it is unexplained, see [`GroundedText`]. `False`
      returns the decoder's own text.
    - `own_text` (`bool`, defaults to `False`): add `own_text`, the decoder's own `note_rationale` and `lab_rationale`
      before grounding, with numeric slots filled; and whether it `finished`, or was cut.
    - `attention` (`bool`, defaults to `False`): add `knowledge_over_time`, the attention of the series: `terms` (those
      of `knowledge` that the series can attend to) and their `weights` (a list for each term, with one number for each
      patch of `patch_hours` hours, or `None` without a measurement); `None` if weights do not belong to terms and
      hours.
    - `unseen` (`bool`, defaults to `False`): add `unseen_diagnoses`: diseases of the knowledge that are not labels of
      the model and have terms in the record: `label`, `terms`, and `score`, which ranks them and is not a probability;
      see [`~ClinRaGenForConditionalGeneration.unseen_scores`]. For models that read terms.
    - `recall` and `precision` (`float`), and `confidence` (`float`, defaults to 0.9): as in `diagnosis_sets` of the
      model. `doubt` then has `possible`, the diagnoses that cannot be ruled out, and `never_ruled_out`, those among
      them with too few calibration data; and `confident`, the reliable diagnoses, and `never_confident`.

    Returns, per record, `diagnoses` (`label`, and its `probability` or `None` without a diagnosis head),
    `note_rationale`, `lab_rationale`, `generated_text`, `sentences` of the rationale (`text`, `part`: `note` or `lab`,
    and `origin`: `written` by the decoder, `repaired` where it was corrected, or `composed` from the record),
    `claims` (each statement about a channel with its verdict against the record's own values), `note_claims` (likewise
    for the findings in the note rationale, against the record's note), `knowledge` (up to ten terms that are specific
    to the record, see [`RecordTerms.specific`]; if the model reads terms, those that contribute most to its
    diagnoses), `probabilities` (of every label; empty without a diagnosis head), `doubt` (whether to `abstain` from a
    diagnosis for lack of support, the `reasons`, and which missing channels, or the note, `would_help` most;
    `not_read` counts measurements outside of the hours or the plausible range that the model reads, and `not_listed`
    are diagnoses that the note affirms by name, but the model does not list), and
    `model_version`, a hash of weights and settings. A claim has the fields of [`Claim`]. `stream` yields the text
    while it is written.
    """

    _load_processor = True
    _load_tokenizer = True
    _load_feature_extractor = False
    _load_image_processor = False

    num_knowledge_terms = 10

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_fit(self.model.config, self.processor, self.model.generation_config)

    def _sanitize_parameters(
        self,
        grounded: bool | None = None,
        own_text: bool | None = None,
        unseen: bool | None = None,
        **forward_kwargs,
    ):
        if unseen and not self.processor.reads_terms:
            raise ClinRaGenInputError("`unseen` needs a model that reads which terms of the knowledge a record shows")
        given = {"grounded": grounded, "own_text": own_text, "unseen": unseen}
        return {}, forward_kwargs, {name: value for name, value in given.items() if value is not None}

    @cached_property
    def version(self) -> str:
        """Return the hash of everything that answers depend on: weights, configuration, processor and tokenizer."""
        return version_of(self.model, self.processor)

    @cached_property
    def grounding(self) -> Grounding:
        return Grounding(self.processor)

    def preprocess(self, record):
        record = self._read(record)
        note, values, times = (record[name] for name in ("note", "lab_values", "lab_times"))
        inputs = dict(self.processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt"))
        return {**inputs, "record": record}

    def _read(self, record) -> dict:
        """Check a record. `lab_values` of the result are the plausible values, `measured` all values."""
        if not isinstance(record, dict) or not record:
            raise ClinRaGenInputError(f"a record is a dict with at least one of the fields {', '.join(RECORD_FIELDS)}")
        check_fields(record)
        note = record.get("note") or ""
        if not isinstance(note, str):
            raise ClinRaGenInputError(f"`note` must be text, not {type(note).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in note):
            raise ClinRaGenInputError("`note` holds half of a character; read it as UTF-8")
        extractor = self.processor.feature_extractor
        if record.get("labs") is not None:
            if record.get("lab_values") is not None or record.get("lab_times") is not None:
                raise ClinRaGenInputError("give the series either as `labs` or as `lab_values` and `lab_times`")
            values, times = extractor.series_from_events(record["labs"])
        else:
            values, times = record.get("lab_values"), record.get("lab_times")
        values, times = extractor.validate(values, times)
        values = extractor.in_own_units(values, record.get("units"))
        plausible = np.where(extractor.plausible(values), values, np.nan)
        return {"note": note, "lab_values": plausible, "lab_times": times, "measured": values}

    def _forward(
        self,
        model_inputs,
        evidence: bool = False,
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
        tokens = tokens[:: len(tokens) // len(records)]  # the best of `num_return_sequences`
        if evidence:
            with self.model.knowledge_attention.kept_terms():
                for row, record in zip(tokens, records, strict=True):
                    record["evidence"] = self._evidence(self._parsed(row)["diagnoses"], record)
        outputs = {"tokens": tokens, "record": records, "support": support_of(self.model, model_inputs)}
        if self.model.diagnosis_head is not None:
            outputs["probabilities"] = self.model.diagnosis_probabilities(encoder_outputs=encoded)
        if recall is not None or precision is not None:
            outputs |= self.model.diagnosis_sets(encoded, recall, precision, confidence).flags()
        if "term_evidence" in model_inputs:
            outputs["term_evidence"] = model_inputs["term_evidence"]
        if attention:
            if encoded.knowledge_attentions is not None:
                outputs["attention"] = encoded.knowledge_attentions
            for record in records:
                record["knowledge_over_time"] = None
        return outputs

    def stream(self, record: dict, **options) -> Iterator[dict]:
        """
        Yield the answer to one record while it is generated.

        Args:
            record (`dict`) and options: as for the pipeline; one beam.

        Yields:
            `diagnoses`, `probabilities` and an empty `generated_text`, as soon as the record is encoded (without a
            diagnosis head both are empty); then the growing `generated_text`, sentence by sentence after grounding, or
            with `grounded=False` as written; last the complete answer.
        """
        streamer, stopped, text, shown = AnswerStreamer(self.tokenizer), Event(), "", ""
        read = self._read(record)
        grounded = self._grounded_text(read, options)
        options["stopping_criteria"] = [*options.get("stopping_criteria", ()), _Stopped(stopped)]

        def answer():
            try:
                streamer.put_answer(self(record, streamer=streamer, **options))
            except BaseException as error:  # raised again by the consumer of the stream
                streamer.queue.put(error)

        Thread(target=answer, daemon=True).start()
        try:
            while True:
                given = streamer.queue.get()
                if isinstance(given, BaseException):
                    raise given
                if isinstance(given, str):
                    text += given
                    before, shown = shown, self._grown(text, grounded, read)
                    if shown != before:
                        yield {"generated_text": shown}
                    continue
                if "note_rationale" in given and given["generated_text"] != shown:
                    yield {"generated_text": given["generated_text"]}
                yield given
                if "note_rationale" in given:
                    return
        finally:
            stopped.set()  # if the consumer has left, the rest need not be generated

    def _grounded_text(self, record: dict, options: dict) -> GroundedText | None:
        """Return the still empty grounded text of a checked record; `None` with `grounded=False`."""
        if not {**self._postprocess_params, **options}.get("grounded", True):
            return None
        return self.grounding.of(record)

    def _grown(self, text: str, grounded: GroundedText | None, record: dict) -> str:
        if grounded is None:
            return self._filled(text, record)
        grounded.read(text, ended=False)
        return grounded.text

    def _filled(self, text: str, record: dict) -> str:
        return self.grounding.slots.fill(text, record["lab_times"], record["lab_values"])

    def _decided(self, encoded) -> dict:
        probabilities, labels = {}, []
        if self.model.diagnosis_head is not None:
            probabilities = self._probabilities(self.model.diagnosis_probabilities(encoder_outputs=encoded))
            decisions = self.model.diagnosis_decisions(encoder_outputs=encoded)[0].tolist()
            labels = [label for label, made in zip(self.processor.labels, decisions, strict=True) if made]
        return {"diagnoses": self._listed(labels, probabilities), "probabilities": probabilities, "generated_text": ""}

    def _listed(self, labels: list[str], probabilities: dict[str, float]) -> list[dict]:
        return [{"label": label, "probability": probabilities.get(label)} for label in labels]

    def _evidence(self, diagnoses: list[str], record: dict) -> list[dict]:
        occlusion = Occlusion(self.model, self.processor, record["note"], record["lab_values"], record["lab_times"])
        return find_evidence(occlusion, [self.processor.labels.index(name) for name in diagnoses])

    def _parsed(self, tokens) -> dict:
        return self.processor.parse(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def postprocess(self, outputs, grounded: bool = True, own_text: bool = False, unseen: bool = False):
        record = outputs["record"]
        record = record[0] if isinstance(record, list) else record
        tokens = outputs["tokens"][0]
        text, finished = self.tokenizer.decode(tokens, skip_special_tokens=True), self._is_finished(tokens)
        own = self._filled(text, record) if own_text or not grounded else ""
        if grounded:
            made = self.grounding.of(record)
            made.read(text, finished=finished)
            text, sentences = made.text, made.sentences
        else:
            text = own
        parsed = self.processor.parse(text)
        if not grounded:
            sentences = _written_sentences(parsed)
        if own_text:
            parts = self.processor.parse(own)
            written = {name: parts[name] for name in ("note_rationale", "lab_rationale")}
            record["own_text"] = {**written, "finished": finished}
        probabilities = self._probabilities(outputs.get("probabilities"))
        evidence = outputs["term_evidence"][0] if "term_evidence" in outputs else None
        shown = self._shown_terms(record)
        knowledge = self._knowledge(shown, probabilities, parsed["diagnoses"], evidence)
        if unseen:
            record["unseen_diagnoses"] = self._unseen(shown, evidence)
        if "attention" in outputs:
            record["knowledge_over_time"] = self._over_time(outputs["attention"][0], knowledge)
        return {
            "diagnoses": self._listed(parsed["diagnoses"], probabilities),
            "note_rationale": parsed["note_rationale"],
            "lab_rationale": parsed["lab_rationale"],
            "generated_text": text,
            "sentences": [dict(vars(sentence)) for sentence in sentences],
            **_claim_fields(made.claims if grounded else self._claims(parsed, record)),
            "knowledge": knowledge,
            "probabilities": probabilities,
            "doubt": self._doubt(outputs, record, parsed["diagnoses"], probabilities),
            "model_version": self.version,
            **{name: record[name] for name in OPTIONAL_FIELDS if name in record},
        }

    def _is_finished(self, tokens: torch.Tensor) -> bool:
        """Return whether the decoder ended its text, rather than being cut."""
        ends = self.model.generation_config.eos_token_id
        written = tokens[1:]  # BART's start token is also its end token
        return ends is None or bool(torch.isin(written, torch.tensor(ends, device=tokens.device)).any())

    def _claims(self, parsed: dict, record: dict) -> dict[str, list[Claim]]:
        """Return the claims of each part of a rationale, with their verdicts and those of their arguments."""
        read = self.processor.spoken.read
        note, lab, about = (read(text) for text in (parsed["note_rationale"], parsed["lab_rationale"], record["note"]))
        found = {
            "note": check_note_claims(note.text, about.text, self.grounding.links),
            "lab": self.grounding.check(lab.text, record["lab_times"], record["lab_values"]),
        }
        if self.grounding.has_knowledge:
            argue(found["note"], note.text, self.grounding.links, about.text)
            argue(found["lab"], lab.text, self.grounding.links, about.text)
        return {"note": note.restored(found["note"], about), "lab": lab.restored(found["lab"])}

    def _probabilities(self, probabilities) -> dict[str, float]:
        if probabilities is None:
            return {}
        values = probabilities[0].tolist()
        return {label: round(value, 4) for label, value in zip(self.processor.labels, values, strict=True)}

    def _doubt(self, outputs, record: dict, listed: list[str], probabilities: dict[str, float]) -> dict:
        config, labels = self.model.config, self.processor.labels
        record = {**record, "lab_values": record["measured"]}
        reasons = reasons_to_abstain(config, self.processor, record, outputs["support"][0])
        helpful = []
        if config.decisions.doubt is not None:
            helpful = what_would_help(config, self.processor, record, outputs["probabilities"][0].float())
        sets = {
            name: [label for label, inside in zip(labels, outputs[name][0].tolist(), strict=True) if inside]
            for name in ("possible", "never_ruled_out", "confident", "never_confident")
            if name in outputs
        }
        unread = unread_measurements(self.processor, record) if "lab" in self.processor.modalities else []
        found = {"abstain": bool(reasons), "reasons": reasons, "would_help": helpful, "not_read": unread}
        return {**found, "not_listed": self._listed(self._named_only(record, listed), probabilities), **sets}

    def _named_only(self, record: dict, listed: list[str]) -> list[str]:
        """Return the diagnoses that the note names and the model does not list, if it reads notes."""
        if "note" not in self.processor.modalities:
            return []
        named = self.grounding.links.named_in(self.processor.spoken.read(record["note"]).text)
        return [label for label in self.processor.labels if label in named and label not in listed]

    def _shown_terms(self, record: dict) -> list[Shown]:
        """Return the terms of the knowledge that a record shows, in the modalities that the model reads."""
        modalities = self.processor.modalities
        rows = slice(None if "lab" in modalities else 0)
        series = record["lab_times"][rows], record["lab_values"][rows]
        return self.processor.record_terms.find(record["note"] if "note" in modalities else "", *series)

    def _knowledge(
        self, shown: list[Shown], probabilities: dict[str, float], listed: list[str], evidence: torch.Tensor | None
    ) -> list[dict]:
        """Return the terms of the knowledge that are specific to the record."""
        terms = self.processor.record_terms
        probabilities = probabilities or dict.fromkeys(listed, 1.0)  # without a diagnosis head
        effects = None
        if evidence is not None:
            left = torch.from_numpy(terms.without(evidence.cpu().numpy(), shown)).to(evidence.device)
            effects = self.model.term_effects(evidence, left).cpu().numpy()
        return terms.specific(shown, probabilities, listed, self.num_knowledge_terms, effects)

    def _unseen(self, shown: list[Shown], evidence: torch.Tensor) -> list[dict]:
        """Rank the diseases that are not labels and have terms in the record."""
        terms = self.processor.record_terms
        links = torch.from_numpy(terms.unseen_links).to(evidence.device)
        scores = self.model.unseen_scores(evidence.unsqueeze(0), links)[0].tolist()
        found = [
            {"label": disease, "score": round(score, 4), "terms": shown_for(disease, shown)}
            for disease, score in zip(terms.unseen, scores, strict=True)
            if score > 0
        ]
        return sorted(found, key=lambda entry: -entry["score"])

    def _over_time(self, attention: torch.Tensor, knowledge: list[dict]) -> dict | None:
        weights = attention_over_time(attention, self.model.config, self.processor.feature_extractor.grid)
        position = {term: i for i, term in enumerate(self.model.config.knowledge_terms)}
        terms = [entry["term"] for entry in knowledge if entry["term"] in position]
        if weights is None or not terms:
            return None
        rows = weights[:, [position[term] for term in terms]].T.astype(float).round(4)
        return {
            "patch_hours": self.model.config.time_series_config.patch_length,
            "terms": terms,
            "weights": [[None if np.isnan(weight) else weight for weight in row] for row in rows.tolist()],
        }


def _written_sentences(parsed: dict) -> list[GroundedSentence]:
    parts = {part: split_sentences(parsed[f"{part}_rationale"]) for part in PARTS}
    return [GroundedSentence(sentence, part, WRITTEN) for part, found in parts.items() for sentence in found]


def _claim_fields(claims: dict[str, list[Claim]]) -> dict[str, list[dict]]:
    names = {"claims": "lab", "note_claims": "note"}
    return {name: [dict(vars(claim)) for claim in claims[part]] for name, part in names.items()}


def attention_over_time(attention: torch.Tensor, config, grid: str) -> np.ndarray | None:
    """
    Return the attention weights of each patch of a record's series: the mean over channels with a measurement in it.

    Args:
        attention (`torch.Tensor` of shape `(num_input_channels, num_patches, num_knowledge_terms)`): of one record.
        config (`ClinRaGenConfig`), grid (`str`): of the model, and of its feature extractor.

    Returns:
        float array of shape `(patches, num_knowledge_terms)` up to the last patch with a measurement, NaN for a patch
        without any; `None` if weights do not belong to terms and hours: without measurements, with prototypes, or with
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
    """Put the items of [`ClinRaGenPipeline.stream`] into a queue: answers, and the text piece by piece."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.queue: SimpleQueue = SimpleQueue()

    def put_answer(self, answer: dict) -> None:
        self.queue.put(answer)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self.queue.put(text)


class _Stopped(StoppingCriteria):
    """End generation when the consumer has left."""

    def __init__(self, stopped: Event):
        self.stopped = stopped

    def __call__(self, input_ids, scores, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.stopped.is_set(), device=input_ids.device)


PIPELINE_REGISTRY.register_pipeline(
    TASK, pipeline_class=ClinRaGenPipeline, pt_model=(AutoModelForSeq2SeqLM, AutoModelForCausalLM)
)


__all__ = ["ClinRaGenPipeline"]
