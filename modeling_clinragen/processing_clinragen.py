# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""ClinRaGen processor: records to model inputs, and generated text back to diagnoses and rationale."""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
from transformers import BatchEncoding, BatchFeature, ProcessorMixin

from .clinical_clinragen import NO_DISEASE, PHENOTYPES, ClinRaGenInputError
from .composition_clinragen import Composer
from .feature_extraction_clinragen import ClinRaGenFeatureExtractor
from .fields_clinragen import check_fields, plain_name
from .language_clinragen import Language, fault_of_language, language_of
from .links_clinragen import KnowledgeLinks
from .record_terms_clinragen import RecordTerms
from .shapes_clinragen import TERM, fault_of
from .slots_clinragen import NumericSlots


PROMPT = "Diagnose disease from the following medical notes: {note} and Lab Test:"
NO_NOTE = "not available"
OPENING, END = "### Disease Diagnosed:", ". ### Rationale:"
DIAGNOSES = f"{OPENING} {{diagnoses}}."
RATIONALE = "### Rationale: {note_rationale} ### Lab Test: {lab_rationale}"
TARGET, RATIONALE_FIRST_TARGET = f"{DIAGNOSES} {RATIONALE}", f"{RATIONALE} {DIAGNOSES}"
FIELDS = {  # of the processor, and their types
    "labels": (None, [str]),
    "max_note_tokens": int,
    "modalities": (None, [str]),
    "knowledge": (None, [TERM]),
    "numeric_slots": bool,
    "term_evidence": bool,
}

# Tokenizers may lower the case and separate signs; generated text is still parsed.
_MARKS = re.compile(r"(?:#\s*){3}(disease diagnosed|rationale|lab test)\s*:", re.IGNORECASE)
_PARTED = re.compile(r"#\s+#\s+#")
_GAPS = re.compile(  # in 39. 2, 128 / min, mg / dl, well - known, 40 %
    r"(?<=\d)\s*\.\s+(?=\d)|(?P<rate>(?<=[\d\]])\s+/\s+(?=[^\W\d]))|(?<=\w)\s+[-/]\s+(?=\w)|(?<=[\d\]])\s+%"
)
_CUT_MARK = re.compile(r"\.\s*#[#\sa-z]*$", re.IGNORECASE)  # a text that was cut within the mark after the list


class ClinRaGenProcessor(ProcessorMixin):
    r"""
    Join a [`ClinRaGenFeatureExtractor`] and the backbone's tokenizer.

    Args:
        feature_extractor (`ClinRaGenFeatureExtractor`): for the series.
        tokenizer (`PreTrainedTokenizerBase`): the backbone's.
        labels (`list[str]`, *optional*): diagnosis names in class-id order. Default: the paper's 25.
        max_note_tokens (`int`, *optional*, defaults to 512): longer notes are cut at the end; the prompt is
            never cut.
        modalities (`list[str]`, *optional*): the modalities that the model was trained to read, of `"note"` and
            `"lab"`; the other is left out of its inputs. Default: both.
        knowledge (`list[dict]`, *optional*): terms with their diseases, as for [`KnowledgeLinks`], with which
            rationales are checked and completed. Default: none, as in older folders.
        numeric_slots (`bool`, *optional*, defaults to `False`): whether the decoder learned to write slots such as
            `[highest]` for the numbers of the series, see [`NumericSlots`].
        term_evidence (`bool`, *optional*, defaults to `False`): whether the model reads which terms of `knowledge` a
            record shows.
        language (`dict`, *optional*): description of the language of notes, knowledge and rationales, as for
            [`Language`]. Default: English.

    Source: prompt and target text after arXiv 2411.07611. Differs from it: the lab rationale has its own mark.
    """

    def __init__(
        self,
        feature_extractor: ClinRaGenFeatureExtractor,
        tokenizer,
        labels: list[str] | None = None,
        max_note_tokens: int = 512,
        modalities: list[str] | None = None,
        knowledge: list[dict] | None = None,
        numeric_slots: bool = False,
        term_evidence: bool = False,
        language: dict | None = None,
        **kwargs,
    ):
        super().__init__(feature_extractor, tokenizer, **kwargs)
        given = {"labels": labels, "max_note_tokens": max_note_tokens, "modalities": modalities}
        flags = {"numeric_slots": numeric_slots, "term_evidence": term_evidence}
        fault = fault_of({**given, "knowledge": knowledge, **flags}, FIELDS)
        fault = fault or (None if language is None else fault_of_language(language))
        if fault:
            raise ValueError(fault)
        if not all(term["term"].strip() and term["diseases"] for term in knowledge or ()):
            raise ValueError("`knowledge` has a term without a name, or without diseases")
        if max_note_tokens < 1 or not {"note", "lab"}.issuperset(modalities or ()):
            raise ValueError(f"`max_note_tokens` is at least 1, `modalities` are of note and lab, not {given}")
        self.labels = labels or [phenotype["name"] for phenotype in PHENOTYPES]
        self.max_note_tokens = max_note_tokens
        self.modalities = modalities or ["note", "lab"]
        self.knowledge = knowledge
        self.numeric_slots = numeric_slots
        self.term_evidence = term_evidence
        self.language = language

    @property
    def spoken(self) -> Language:
        """Return the language, which rewrites notes and rationales for the English readers."""
        return language_of(self.language)

    @property
    def slots(self) -> NumericSlots:
        """Return the converter between numbers of the series and slots."""
        return _slots(json.dumps(self.feature_extractor.channels))

    @property
    def model_input_names(self) -> list[str]:
        series = self.feature_extractor.model_input_names if "lab" in self.modalities else []
        terms = ["term_evidence"] if self.reads_terms else []
        return ["input_ids", "attention_mask", *series, *terms]

    @property
    def reads_terms(self) -> bool:
        """Return whether the model reads which terms of the knowledge a record shows."""
        return self.term_evidence and bool(self.knowledge)

    @property
    def record_terms(self) -> RecordTerms:
        """Return the look-up of the knowledge's terms in records."""
        made = _RECORD_TERMS.get(self)
        if made is None or made.knowledge is not self.knowledge or made.composer.links.language is not self.spoken:
            channels = self.feature_extractor.channels
            links = KnowledgeLinks(self.knowledge or [], self.labels, channels, self.spoken)
            made = _RECORD_TERMS[self] = RecordTerms(Composer(links, channels, self.labels), self.knowledge)
        return made

    def __call__(
        self,
        notes: str | Sequence[str | None] | None = None,
        lab_values: Sequence[np.ndarray | None] | None = None,
        lab_times: Sequence[np.ndarray | None] | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """
        Args:
            notes (`list[str]`, *optional*): one per record; `""` or `None` for a record without a note.
            lab_values, lab_times (*optional*): as for [`ClinRaGenFeatureExtractor.__call__`].
            return_tensors (`str`, *optional*): `"pt"` pads the tokens to the longest of the batch.

        Returns:
            `BatchFeature` with `input_ids`, `attention_mask` `(batch_size, sequence_length)`, and, unless
            `modalities` leave out `"lab"`, `past_values`, `past_observed_mask` `(batch_size, context_length,
            num_input_channels)`; with `term_evidence` also that, `(batch_size, 2, num_terms)`.

        Raises:
            ClinRaGenInputError: if a record has neither a note nor a plausible measurement, or is malformed.
        """
        if isinstance(notes, str):
            notes, lab_values, lab_times = [notes], [lab_values], [lab_times]
        size = next((len(part) for part in (notes, lab_values, lab_times) if part is not None), 0)
        notes = [None] * size if notes is None else notes
        lab_values = [None] * size if lab_values is None else lab_values
        lab_times = [None] * size if lab_times is None else lab_times
        if not len(notes) == len(lab_values) == len(lab_times) or size == 0:
            raise ClinRaGenInputError(
                f"one entry per record: {len(notes)} notes, {len(lab_values)} lab_values, {len(lab_times)} lab_times"
            )
        for i, record in enumerate(zip(notes, lab_values, lab_times, strict=True)):
            if not self.can_read(*record, where=f"record {i}"):
                raise ClinRaGenInputError(
                    f"record {i} has neither a note nor a measurement that the model can read; give at least one"
                )
        return self.encode(notes, lab_values, lab_times, return_tensors)

    def push_to_hub(self, repo_id: str, *, private: bool = True, **kwargs):
        """Push as [`~ProcessorMixin.push_to_hub`], but a new repository is private unless `private=False`."""
        return super().push_to_hub(repo_id, private=private, **kwargs)

    def encode(self, notes, lab_values, lab_times, return_tensors: str | None = None) -> BatchFeature:
        """Encode as `__call__`, with one entry per record in each argument, but also records without any input."""
        notes = notes if "note" in self.modalities else [None] * len(notes)
        cut = self.cut_notes(notes)
        prompts = [PROMPT.format(note=note) for note in cut]
        data = dict(self.tokenizer(prompts, padding=return_tensors is not None, return_tensors=return_tensors))
        data = {name: data[name] for name in ("input_ids", "attention_mask")}
        if "lab" in self.modalities:
            data.update(self.feature_extractor(lab_values, lab_times, return_tensors=return_tensors))
        if self.reads_terms:
            read = [beginning(note or "", kept) for note, kept in zip(notes, cut, strict=True)]
            shown = [self._shown_terms(*record) for record in zip(read, lab_values, lab_times, strict=True)]
            data.update(BatchFeature({"term_evidence": np.stack(shown)}, tensor_type=return_tensors))
        return BatchFeature(data)

    def _shown_terms(self, note: str, lab_values, lab_times) -> np.ndarray:
        """Mark the terms that a record shows in the inputs of the model: bool, `(2, num_terms)`."""
        values, times = self.feature_extractor.validate(lab_values, lab_times)
        if "lab" not in self.modalities:
            values, times = values[:0], times[:0]
        read = np.where(self.feature_extractor.reaches_model(values, times), values, np.nan)
        return self.record_terms.evidence(note, times, read)

    check_fields = staticmethod(check_fields)  # of a record, for callers that only have the processor

    def can_read(self, note: str | None, lab_values, lab_times, where: str = "the record") -> bool:
        """Return whether a record has a modality that the model reads; check the form of its series."""
        checked = self.feature_extractor.validate(lab_values, lab_times, where)
        has_note = "note" in self.modalities and bool(note and note.strip())
        return has_note or ("lab" in self.modalities and self.feature_extractor.has_measurement(*checked))

    def cut_notes(self, notes: Iterable[str | None]) -> list[str]:
        """Cut notes for the prompt: spaces normalised, long notes cut at the end, `NO_NOTE` for a missing note."""
        notes = [" ".join(note.split()) if note and note.strip() else NO_NOTE for note in notes]
        encoded = self.tokenizer(
            notes,
            add_special_tokens=False,
            truncation=True,
            max_length=self.max_note_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        return [note[: offsets[-1][1]] for note, offsets in zip(notes, encoded["offset_mapping"], strict=True)]

    def target_text(
        self,
        diagnoses: Sequence[int],
        note_rationale: str = "",
        lab_rationale: str = "",
        rationale_first: bool = False,
    ) -> str:
        """
        Write the target of a record; `diagnoses` are class ids.

        With `rationale_first` the diagnoses follow from the rationale, as in chain-of-thought distillation (Kwon et
        al., AAAI 2024); `parse` reads both orders.
        """
        names = ", ".join(self.labels[i] for i in sorted(diagnoses)) or NO_DISEASE
        target = RATIONALE_FIRST_TARGET if rationale_first else TARGET
        text = target.format(diagnoses=names, note_rationale=note_rationale, lab_rationale=lab_rationale)
        return " ".join(text.split())

    def encode_targets(self, targets: list[str], max_length: int | None = None) -> BatchEncoding:
        """
        Encode target texts with an end token: as the tokenizer encodes targets, or, if it adds no end token, as is
        usual for decoder-only models, with `eos_token_id` appended.

        Args:
            targets (`list[str]`): as `target_text` returns them.
            max_length (`int`, *optional*): longer targets are cut before their last token.
        """
        limits = {} if max_length is None else {"truncation": True, "max_length": max_length}
        if self.tokenizer(text_target=OPENING)["input_ids"][-1] != self._tokens(OPENING)[-1]:
            return self.tokenizer(text_target=targets, **limits)
        if max_length is not None:
            limits["max_length"] = max_length - 1
        encoded = self.tokenizer(text_target=targets, add_special_tokens=False, **limits)
        encoded["input_ids"] = [[*ids, self.tokenizer.eos_token_id] for ids in encoded["input_ids"]]
        return encoded

    def diagnosis_token_ids(self, rationale_first: bool = False) -> dict:
        """
        Return the parts of valid lists of diagnoses, as token ids: `decisions.token_ids` of the configuration, the
        arguments of [`DiagnosisGrammar`].

        Args:
            rationale_first (`bool`): whether the list ends the text; else the rationale's mark follows it.

        Raises:
            ClinRaGenInputError: if the tokenizer does not restore the labels' names and the marks.
        """
        plain, whole = self._tokens(OPENING), self.encode_targets([OPENING])["input_ids"][0]
        lead = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), None)  # such as BERT's [CLS]
        if lead is None:
            raise self._unfit(f"it writes {OPENING!r} in two ways")
        end = self._tokens_after(f"{OPENING} {NO_DISEASE}", "." if rationale_first else END, space="")
        parts = {
            "opening": plain if rationale_first else whole[: lead + len(plain)],
            "labels": [self._tokens_after(OPENING, label) for label in self.labels],
            "separator": self._tokens_after(f"{OPENING} {NO_DISEASE}", ",", space=""),
            "end": end + whole[lead + len(plain) :] if rationale_first else end,
            "nothing": self._tokens_after(OPENING, NO_DISEASE),
            "opens_anywhere": rationale_first,
        }
        names = [token for tokens in parts["labels"] for token in (*parts["separator"], *tokens)]
        names = names[len(parts["separator"]) :]
        text = self.tokenizer.decode([*parts["opening"], *names, *parts["end"]], skip_special_tokens=True)
        if self.parse(text)["diagnoses"] != self.labels:
            lost = {c for c in "".join((OPENING, END, *self.labels)) if c.lower() not in text.lower()}
            raise self._unfit(f"it lacks {' '.join(sorted(lost)) or 'a part of them'}")
        return parts

    @staticmethod
    def _unfit(why: str) -> ClinRaGenInputError:
        return ClinRaGenInputError(
            f"the backbone's tokenizer does not give the diagnoses and their marks back: {why}; take another "
            "backbone, or one with random weights, which gets a tokenizer of its own"
        )

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text_target=text, add_special_tokens=False)["input_ids"]

    def _tokens_after(self, before: str, text: str, space: str = " ") -> list[int]:
        """Return the tokens of `text` after `before`."""
        first, both = self._tokens(before), self._tokens(f"{before}{space}{text}")
        if both[: len(first)] != first:
            raise self._unfit(f"it joins {before!r} and {text!r}")
        return both[len(first) :]

    def parse(self, text: str, lab_times=None, lab_values=None) -> dict:
        """
        Read generated text.

        Args:
            text (`str`): as the decoder wrote it.
            lab_times, lab_values (*optional*): the record's hours `(T,)` and values `(T, C)`, to fill the numeric
                slots; without them, slots stay.

        Returns:
            `{"diagnoses": [str], "rationale": str, "note_rationale": str, "lab_rationale": str}`. A diagnosis counts
            if its whole name is written, regardless of case, spaces and punctuation; each once, in class-id order.
            `rationale` is both parts. Parts that are missing in the text are empty.
        """
        if lab_times is not None:
            text = self.slots.fill(text, lab_times, lab_values)
        if _PARTED.search(text):
            text = _GAPS.sub(lambda gap: " /" if gap["rate"] else gap[0].strip(), text)
        pieces = _MARKS.split(text)  # [before, mark, text, mark, text, ...]
        parts = {}
        for mark, content in zip(pieces[1::2], pieces[2::2], strict=True):
            parts.setdefault(mark.lower(), " ".join(content.split()))
        note_rationale, lab_rationale = parts.get("rationale", ""), parts.get("lab test", "")
        return {
            "diagnoses": self._named_labels(_CUT_MARK.sub("", parts.get("disease diagnosed", ""))),
            "rationale": f"{note_rationale} {lab_rationale}".strip(),
            "note_rationale": note_rationale,
            "lab_rationale": lab_rationale,
        }

    @staticmethod
    def marks(text: str) -> list[str]:
        """Return the marks of a generated text, in order: of `"disease diagnosed"`, `"rationale"`, `"lab test"`."""
        return [mark.lower() for mark in _MARKS.findall(text)]

    def _named_labels(self, text: str) -> list[str]:
        position = {plain_name(label): i for i, label in enumerate(self.labels)}
        items = [plain_name(item) for item in text.split(",")]
        found, start = set(), 0
        while start < len(items):  # names may contain commas: take the longest run of items that is a name
            ends = [end for end in range(len(items), start, -1) if "".join(items[start:end]) in position]
            if ends:
                found.add(position["".join(items[start : ends[0]])])
            start = ends[0] if ends else start + 1
        return [self.labels[i] for i in sorted(found)]


def beginning(note: str, cut: str) -> str:
    """Return the beginning of a note that [`ClinRaGenProcessor.cut_notes`] kept as `cut`."""
    letters = len("".join(cut.split()))  # spaces differ, letters do not
    if not note.strip():
        return ""
    for match in re.finditer(r"\S+", note):
        letters -= len(match[0])
        if letters <= 0:
            return note[: match.end() + letters]
    return note


@lru_cache(maxsize=8)
def _slots(channels: str) -> NumericSlots:
    return NumericSlots(json.loads(channels))


_RECORD_TERMS: WeakKeyDictionary[ClinRaGenProcessor, RecordTerms] = WeakKeyDictionary()

ClinRaGenProcessor.register_for_auto_class()


__all__ = ["ClinRaGenProcessor"]
