# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Model inputs of copies of a record, each without another part of it, of which what is alike is made once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from .processing_clinragen import PROMPT, beginning
from .remembered_clinragen import Remembered


MOST_REMEMBERED = 2**12  # parts of a record


@dataclass(frozen=True)
class Removal:
    """
    Parts to take from a record.

    Args:
        note (sequence of `(start, end)`): words of the note.
        series (sequence of `(row, channel)`): measurements.
        knowledge (sequence of `int`): terms, by their number among [`Occlusion.terms`]; they are not read, and
            attending to them has no effect.
    """

    note: Sequence[tuple[int, int]] = ()
    series: Sequence[tuple[int, int]] = ()
    knowledge: Sequence[int] = ()


class RecordCopies:
    """
    Make the inputs of a model for copies of a record, as `ClinRaGenProcessor.encode` makes them.

    Args:
        processor (`ClinRaGenProcessor`): of the model.
        note (`str`), values, times: what of a record reaches the model.
    """

    def __init__(self, processor, note: str, values: np.ndarray, times: np.ndarray):
        self.processor, self.note, self.values, self.times = processor, note, values, times
        self.words = [match.span() for match in re.finditer(r"\S+", note)]
        self._notes = Remembered(self._note_without, MOST_REMEMBERED)
        self._series = Remembered(self._series_without, MOST_REMEMBERED)
        self._note_terms = Remembered(self._terms_of_note, MOST_REMEMBERED)
        self.prompt, self.tokens = self._tokens_of_words()

    def inputs(self, removals: Sequence[Removal]) -> dict[str, torch.Tensor]:
        """Return the inputs of the record without each of `removals`, except for what these take of the knowledge."""
        notes, series = ([tuple(getattr(removal, part)) for removal in removals] for part in ("note", "series"))
        ids = [torch.tensor(self._notes[words][0]) for words in notes]
        inputs = {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.processor.tokenizer.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }
        if "lab" in self.processor.modalities:
            grids = zip(*(self._series[cells][:2] for cells in series), strict=True)
            inputs |= zip(("past_values", "past_observed_mask"), map(torch.stack, grids), strict=True)
        if self.processor.reads_terms:
            terms = [(self._note_terms[w], self._series[c][2]) for w, c in zip(notes, series, strict=True)]
            inputs["term_evidence"] = torch.from_numpy(np.array(terms))
        return inputs

    def removed_tokens(self, words: Sequence[tuple[int, int]]) -> list[int] | None:
        """Return the places in the prompt of the tokens of some words; `None` where tokens belong to no one word."""
        return None if self.tokens is None else [place for word in words for place in self.tokens[word]]

    def _note_without(self, words: tuple) -> tuple[list[int], str]:
        """Return the tokens of the prompt without some words of the note, and what is read of the note."""
        text = without_words(self.note, words)
        if self.tokens is not None and len(set(words)) < len(self.words):
            removed = set(self.removed_tokens(words))
            return [token for place, token in enumerate(self.prompt) if place not in removed], text.rstrip()
        ids, cut = self._prompt_of(text)
        return ids, beginning(text, cut)

    def _prompt_of(self, note: str) -> tuple[list[int], str]:
        (cut,) = self.processor.cut_notes([note])
        return self.processor.tokenizer(PROMPT.format(note=cut))["input_ids"], cut

    def _tokens_of_words(self) -> tuple[list[int], dict[tuple[int, int], list[int]] | None]:
        """
        Return the tokens of the prompt, and the places among them of each word's: `None` where a note without words
        is not the tokens of the others, as of a tokenizer that joins words.
        """
        if not self.words:
            return [], {}
        (cut,) = self.processor.cut_notes([self.note])
        encoded = self.processor.tokenizer(PROMPT.format(note=cut), return_offsets_mapping=True)
        ids, start = encoded["input_ids"], PROMPT.index("{note}")
        ends = [start + match.end() for match in re.finditer(r"\S+", cut)]
        tokens: dict[tuple[int, int], list[int]] = {word: [] for word in self.words}
        if len(ends) != len(self.words):
            return ids, None
        number = 0
        for place, (first, last) in enumerate(encoded["offset_mapping"]):
            if first < start - 1 or first >= ends[-1]:  # a word's first token may hold the space before it
                continue
            while last > ends[number]:
                number += 1
                if first < ends[number - 1] or number == len(ends):
                    return ids, None
            tokens[self.words[number]].append(place)
        halves = (self.words[::2], self.words[1::2]) if len(self.words) > 1 else ()
        kept = all(
            self._prompt_of(without_words(self.note, half))[0]
            == [token for place, token in enumerate(ids) if not any(place in tokens[word] for word in half)]
            for half in halves
        )
        return ids, tokens if kept else None

    def _series_without(self, cells: tuple) -> tuple[torch.Tensor, torch.Tensor, np.ndarray | None]:
        """Return grid and mask of the series without some measurements, and the terms that they show."""
        values = without_measurements(self.values, cells)
        grid = self.processor.feature_extractor([values], [self.times], return_tensors="pt")
        terms = self.processor.shown_terms("", values, self.times)[1] if self.processor.reads_terms else None
        return grid["past_values"][0], grid["past_observed_mask"][0], terms

    def _terms_of_note(self, words: tuple) -> np.ndarray:
        return self.processor.shown_terms(self._notes[words][1], self.values[:0], self.times[:0])[0]


def without_words(note: str, words: Sequence[tuple[int, int]]) -> str:
    """Return the note with spaces in place of some of its words."""
    for start, end in words:
        note = note[:start] + " " * (end - start) + note[end:]
    return note


def without_measurements(values: np.ndarray, cells: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the series with some of its measurements marked as not made."""
    if not cells:
        return values
    values = values.copy()
    values[tuple(np.array(cells).T)] = np.nan
    return values


__all__ = ["RecordCopies", "Removal"]
