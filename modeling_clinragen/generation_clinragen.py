# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Constrained generation: the list of diagnoses is valid by construction, and equals the decisions if given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessor


@dataclass
class _Node:
    """A node in the trie of label names: `labels` with names through this node, `label` of the name that ends here."""

    children: dict[int, _Node] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)
    label: int | None = None


@dataclass(frozen=True)
class _Name:
    """A position within a name, after the label `last`."""

    node: _Node
    last: int


@dataclass(frozen=True)
class _Text:
    """A position before token `position` of a fixed text; names after label `then` follow, or with `None` nothing."""

    tokens: tuple[int, ...]
    position: int
    then: int | None


State = _Name | _Text | None  # `None`: the list has ended


class DiagnosisGrammar:
    """
    The valid lists of diagnoses: names in class-id order, each once, or the statement that there is none.

    Args:
        opening (list of `int`): tokens before the list, from the first token of the decoder on.
        labels (lists of `int`): the name of each label, in class-id order, as written after the opening.
        separator, end, nothing (list of `int`): between two names, after the last name, and instead of names.
        opens_anywhere (`bool`, *optional*, defaults to `False`): whether the list begins wherever its opening is
            written, as in a text that begins with the rationale. By default, the text begins with the list.
    """

    def __init__(
        self,
        opening: list[int],
        labels: list[list[int]],
        separator: list[int],
        end: list[int],
        nothing: list[int],
        opens_anywhere: bool = False,
    ):
        self.opening, self.separator, self.end = tuple(opening), tuple(separator), tuple(end)
        self.nothing, self.opens_anywhere = tuple(nothing), opens_anywhere
        self.names, self.root = [tuple(tokens) for tokens in labels], _Node()
        for label, tokens in enumerate(self.names):
            node = self.root
            for token in tokens:
                node.labels.add(label)
                node = node.children.setdefault(token, _Node())
            node.labels.add(label)
            node.label = label

    def write(self, labels: Iterable[int]) -> list[int]:
        """Return the tokens of the list of these class ids, after the opening."""
        names = [self.names[label] for label in sorted(labels)] or [self.nothing]
        rest = [token for name in names[1:] for token in (*self.separator, *name)]
        return [*names[0], *rest, *self.end]

    def start(self) -> list[State]:
        """Return the states at the start of a list."""
        return [_Name(self.root, -1), _Text((*self.nothing, *self.end), 0, None)]

    def step(self, states: list[State], token: int) -> list[State]:
        """Return the states after `token`; `[None]` if the list has ended, empty if `token` was not allowed."""
        after = [found for state in states for found in self._step(state, token)]
        return [None] if None in after else after

    def options(self, states: list[State]) -> set[int]:
        """Return the allowed next tokens."""
        return {token for state in states for token in self._options(state)}

    def _after(self, state: _Name) -> list[_Text]:
        """Return the texts that may follow a complete name."""
        label = state.node.label
        if label is None or label <= state.last:
            return []
        separators = [_Text(self.separator, 0, label)] if label + 1 < len(self.names) else []
        return [*separators, _Text(self.end, 0, None)]

    def _children(self, state: _Name) -> dict[int, _Node]:
        """Return the tokens that may continue the name, with their nodes."""
        return {token: child for token, child in state.node.children.items() if max(child.labels) > state.last}

    def _options(self, state: State) -> set[int]:
        if isinstance(state, _Text):
            return {state.tokens[state.position]}
        return set(self._children(state)) | {text.tokens[0] for text in self._after(state)}

    def _step(self, state: State, token: int) -> list[State]:
        if isinstance(state, _Text):
            return [self._advance(state)] if state.tokens[state.position] == token else []
        child = self._children(state).get(token)
        inside = [] if child is None else [_Name(child, state.last)]
        return inside + [self._advance(text) for text in self._after(state) if text.tokens[0] == token]

    def _advance(self, text: _Text) -> State:
        if text.position + 1 < len(text.tokens):
            return _Text(text.tokens, text.position + 1, text.then)
        return None if text.then is None else _Name(self.root, text.then)


class ClinRaGenDiagnosisLogitsProcessor(LogitsProcessor):
    """
    Constrain the list of diagnoses to the labels; the text around it stays free.

    For one call of `generate`, with beams, samples and batches.

    Args:
        grammar (`DiagnosisGrammar`): the lists that are allowed.
        decisions (`torch.BoolTensor` of shape `(batch_size, num_labels)`, *optional*): the diagnoses of each record;
            the list then holds exactly these. All beams or samples of a record share its decisions.

    Attributes:
        ended (`bool`): whether the lists of all rows have ended.
    """

    def __init__(self, grammar: DiagnosisGrammar, decisions: torch.Tensor | None = None):
        self.grammar, self.ended = grammar, False
        self.decided = None if decisions is None else self._decided_texts(decisions)
        self.prompt_length: int | None = None
        self.known: dict[tuple[int, ...], list[State]] = {(): grammar.start()}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self.ended:
            return scores
        if self.prompt_length is None:
            self.prompt_length = input_ids.shape[1]
        written = input_ids[:, self.prompt_length :]
        # Lists that have ended stay ended, and beams only swap rows.
        allowed = self._allowed(written) if self.decided is None else self._decided(written)
        if self.ended:
            return scores
        is_constrained, options = allowed >= 0, allowed.clamp(min=0)
        constrained_rows, own = is_constrained[:, :1], scores.gather(1, options)
        stuck = own.isneginf().all(dim=1, keepdim=True) & constrained_rows  # all options excluded by another processor
        blocked = scores.masked_fill(constrained_rows, -torch.inf)
        return blocked.scatter_(1, options, own.masked_fill(stuck, 0.0))

    def keep_rows(self, index: torch.LongTensor) -> None:
        """Keep some rows of the batch, each of a different record."""
        if self.decided is not None:
            self.decided = self.decided[index]

    def _decided_texts(self, decisions: torch.Tensor) -> torch.LongTensor:
        """Return the fixed part of each record's text, from its start or its opening on; -1 after its end."""
        lead = () if self.grammar.opens_anywhere else self.grammar.opening
        texts = [[*lead, *self.grammar.write(row.nonzero().flatten().tolist())] for row in decisions]
        longest = max(len(text) for text in texts) + 1
        return torch.tensor([text + [-1] * (longest - len(text)) for text in texts], device=decisions.device)

    def _decided(self, written: torch.LongTensor) -> torch.LongTensor:
        """Return the next token, (rows, 1); -1 if it is not constrained."""
        texts = self.decided.repeat_interleave(len(written) // len(self.decided), dim=0)
        if self.grammar.opens_anywhere:
            return texts.gather(1, self._places(written, texts.shape[1] - 1))
        last = texts.shape[1] - 1
        self.ended = written.shape[1] >= last
        return texts[:, min(written.shape[1], last), None]

    def _places(self, written: torch.LongTensor, last: int) -> torch.LongTensor:
        """Return the number of tokens after the first opening, (rows, 1), at most `last`; `last` if there is none."""
        size = len(self.grammar.opening)
        if written.shape[1] < size:
            return written.new_full((len(written), 1), last)
        opening = torch.tensor(self.grammar.opening, device=written.device)
        opened = (written.unfold(1, size, 1) == opening).all(dim=2)  # (rows, length - size + 1)
        start = opened.int().argmax(dim=1, keepdim=True) + size
        return (written.shape[1] - start).masked_fill(~opened.any(dim=1, keepdim=True), last).clamp(max=last)

    def _allowed(self, written: torch.LongTensor) -> torch.LongTensor:
        """Return the allowed next tokens, (rows, options), padded by repetition; -1 if a row is not constrained."""
        rows = [self._options(tuple(tokens)) for tokens in written.tolist()]
        self.ended = all(options is not None and not options for options in rows)
        most = max(len(options or ()) for options in rows) or 1
        filled = [sorted(options) if options else [-1] for options in rows]
        return torch.tensor([row + row[:1] * (most - len(row)) for row in filled], device=written.device)

    def _options(self, tokens: tuple[int, ...]) -> set[int] | None:
        """Return the allowed next tokens; empty if the list has ended, `None` before it has begun."""
        opening = self.grammar.opening
        start = self._start_of_list(tokens)
        if start is None:
            return None if self.grammar.opens_anywhere else {opening[len(tokens)]}
        states = self._states(tokens[start:])
        return set() if states == [None] else self.grammar.options(states)

    def _start_of_list(self, tokens: tuple[int, ...]) -> int | None:
        size = len(self.grammar.opening)
        if not self.grammar.opens_anywhere:
            return size if len(tokens) >= size else None
        starts = (i for i in range(len(tokens) - size + 1) if tokens[i : i + size] == self.grammar.opening)
        return next((i + size for i in starts), None)

    def _states(self, tokens: tuple[int, ...]) -> list[State]:
        if tokens not in self.known:
            before = self._states(tokens[:-1])
            self.known[tokens] = before if before == [None] else self.grammar.step(before, tokens[-1])
        return self.known[tokens]


__all__ = ["ClinRaGenDiagnosisLogitsProcessor", "DiagnosisGrammar"]
