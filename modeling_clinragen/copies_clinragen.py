# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Model inputs of copies of a record, each without another part of it, of which what is alike is made once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchEncoding

from .processing_clinragen import PROMPT, beginning
from .record_terms_clinragen import Shown
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
        self.prompt: list[int] = []
        self.tokens: dict[tuple[int, int], list[int]] | None = None if self.words else {}
        self.phrases = [token for token in processor.tokenizer.get_added_vocab() if " " in token.strip()]
        if self.words:
            self._cut_into_words()

    def inputs(self, removals: Sequence[Removal], reads_notes: bool = True) -> dict[str, torch.Tensor]:
        """
        Return the inputs of the record without each of `removals`, except for what these take of the knowledge.

        Args:
            reads_notes (`bool`): the terms that a changed note shows are looked up in it; else those are assumed of
                which no word is removed.
        """
        notes, series = ([tuple(getattr(removal, part)) for removal in removals] for part in ("note", "series"))
        ids = [torch.tensor(self._notes[words][0]) for words in notes]
        inputs = {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.processor.tokenizer.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }
        if "lab" in self.processor.modalities:
            grids = zip(*(self._series[cells][:2] for cells in series), strict=True)
            stacked = (torch.from_numpy(np.stack(part)) for part in grids)
            inputs |= zip(("past_values", "past_observed_mask"), stacked, strict=True)
        if self.processor.reads_terms:
            terms_of = self._note_terms.__getitem__ if reads_notes else self._assumed_terms
            terms = [(terms_of(words), self._series[cells][2]) for words, cells in zip(notes, series, strict=True)]
            inputs["term_evidence"] = torch.from_numpy(np.array(terms))
        return inputs

    def removed_tokens(self, words: Sequence[tuple[int, int]]) -> list[int] | None:
        """Return the places in the prompt of the tokens of some words; `None` where they are not known."""
        return None if self.tokens is None else [place for word in words for place in self.tokens[word]]

    def _note_without(self, words: tuple) -> tuple[list[int], str]:
        """Return the tokens of the prompt without some words of the note, and what is read of the note."""
        text = without_words(self.note, words)
        cut = " ".join(text.split())
        if self.tokens is not None and cut and self._keeps_tokens(words, cut):
            return self._prompt_without(words), text.rstrip()
        (cut,) = self.processor.cut_notes([text])
        return self._prompt_of(cut)["input_ids"], beginning(text, cut)

    def _keeps_tokens(self, words: Sequence[tuple[int, int]], left: str) -> bool:
        """
        Return whether a note of which some words are `left` has their tokens: no token of several words goes or
        comes, and the note, which is measured without the prompt, is not cut for another word at its beginning.
        """
        removed, gone = set(self.removed_tokens(words)), set(words)
        if self.words[0] in gone and len(self.prompt) > self.processor.max_note_tokens:
            return False
        kept = (place for word in self.words if word not in gone for place in self.tokens[word])
        return removed.isdisjoint(kept) and not any(phrase in left for phrase in self.phrases)

    def _prompt_without(self, words: Sequence[tuple[int, int]]) -> list[int]:
        removed = set(self.removed_tokens(words))
        return [token for place, token in enumerate(self.prompt) if place not in removed]

    def _prompt_of(self, cut: str, **options) -> BatchEncoding:
        return self.processor.tokenizer(PROMPT.format(note=cut), **options)

    def _cut_into_words(self) -> None:
        """Find the tokens of each word of the note in the prompt; `tokens` stays `None` where words share them."""
        cut = self.processor.cut_notes([self.note])[0]
        encoded = self._prompt_of(cut, return_offsets_mapping=True)
        self.prompt, start = encoded["input_ids"], PROMPT.index("{note}")
        spans = [(start + match.start(), start + match.end()) for match in re.finditer(r"\S+", cut)]
        if len(spans) != len(self.words) or not parts_words(self.processor.tokenizer):
            return
        self.tokens = dict(zip(self.words, tokens_of_words(encoded["offset_mapping"], spans), strict=True))

    def _series_without(self, cells: tuple) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """
        Return grid and mask of the series without some measurements, and the terms that they show. What these
        measurements are not of is as in the record.
        """
        if "lab" not in self.processor.modalities:
            return None, None, np.zeros(len(self.processor.knowledge), dtype=bool)
        if not cells:
            return self._whole_series()
        values, channels = without_measurements(self.values, cells), sorted({channel for _, channel in cells})
        grid, mask, terms = self._series[()]
        grid, mask = grid.copy(), mask.copy()
        for channel in channels:
            column = values[:, channel], self.times, channel
            grid[:, channel], mask[:, channel] = self.processor.feature_extractor.channel_grid(*column)
        if terms is not None and any(self._shown_by(values, i) != self._shown_by(self.values, i) for i in channels):
            terms = self._terms_of_series(values)
        return grid, mask, terms

    def _whole_series(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        grid = self.processor.feature_extractor([self.values], [self.times], return_tensors="np")
        terms = self._terms_of_series(self.values) if self.processor.reads_terms else None
        return grid["past_values"][0], grid["past_observed_mask"][0], terms

    def _shown_by(self, values: np.ndarray, channel: int) -> tuple[bool, ...]:
        read = values[self._reached[:, channel], channel]
        return self.processor.record_terms.composer.shown_by(channel, read[~np.isnan(read)])

    @cached_property
    def _reached(self) -> np.ndarray:
        return self.processor.feature_extractor.reaches_model(self.values, self.times)

    def _terms_of_note(self, words: tuple) -> np.ndarray:
        terms = self.processor.record_terms
        return terms.mark(terms.find_in_note(self._notes[words][1]))

    def _assumed_terms(self, words: tuple) -> np.ndarray:
        shown = [
            finding
            for finding in self._shown
            if not any(start < finding.span[1] and finding.span[0] < end for start, end in words)
        ]
        return self.processor.record_terms.mark(shown)

    @cached_property
    def _shown(self) -> list[Shown]:
        return self.processor.record_terms.find_in_note(self.note)

    def _terms_of_series(self, values: np.ndarray) -> np.ndarray:
        terms = self.processor.record_terms
        read = np.where(self._reached, values, np.nan)
        return terms.mark(terms.find_in_series(self.times, read))


def parts_words(tokenizer) -> bool:
    """Return whether a tokenizer splits each word by itself, except for tokens that were added to its vocabulary."""
    text, split = " ab cd ef", getattr(getattr(tokenizer, "backend_tokenizer", None), "pre_tokenizer", None)
    return split is not None and all(
        " " not in text[start:end].strip() for _, (start, end) in split.pre_tokenize_str(text)
    )


def tokens_of_words(offsets: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]) -> list[list[int]]:
    """
    Return the places of the tokens of each word of a text; a token of several words is a token of each.

    Args:
        offsets (list of `(start, end)`): characters of each token of the text, as a fast tokenizer gives them.
        words (list of `(start, end)`): some of the words of the text, in order. The space before a word is its own.
    """
    found, number = [[] for _ in words], 0
    for place, (start, end) in enumerate(offsets):
        while number < len(words) and words[number][1] <= start:
            number += 1
        for i in range(number, len(words)):
            if end < words[i][0]:
                break
            found[i].append(place)
    return found


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
