# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Generation whose list of diagnoses is valid by construction, and where it is decided already, as decided."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessor


@dataclass
class _Node:
    """A place in the trie of label names: `labels` whose names go through here, `label` whose name ends here."""

    children: dict[int, _Node] = field(default_factory=dict)
    labels: set[int] = field(default_factory=set)
    label: int | None = None


@dataclass(frozen=True)
class _Name:
    """Inside of a name that comes after the label `last`."""

    node: _Node
    last: int


@dataclass(frozen=True)
class _Text:
    """Before token `position` of a fixed text; then come the names after label `then`, or nothing more."""

    tokens: tuple[int, ...]
    position: int
    then: int | None


Decided = frozenset[int] | None
State = _Name | _Text | None  # `None`: the list has ended


class DiagnosisGrammar:
    """
    The lists of diagnoses that may be written: names in class-id order, each once, or that there is none.

    Args:
        opening (list of `int`): tokens before the list, from the first that the decoder writes.
        labels (lists of `int`): the name of each label, in class-id order, as it stands after the opening.
        separator, end, nothing (list of `int`): between two names, after the last one, and instead of any.
        opens_anywhere (`bool`, *optional*, defaults to `False`): the list begins where its opening is written, as in a
            text that begins with the rationale. By default the text begins with it.
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
        self.nothing, self.opens_anywhere = (*nothing, *end), opens_anywhere
        self.num_labels, self.root = len(labels), _Node()
        for label, tokens in enumerate(labels):
            node = self.root
            for token in tokens:
                node.labels.add(label)
                node = node.children.setdefault(token, _Node())
            node.labels.add(label)
            node.label = label

    def start(self, decided: Decided = None) -> list[State]:
        """
        Where a list begins. A list may be in several states at once, as names may begin alike.

        Args:
            decided (set of `int`, *optional*): class ids; the list then holds these and no other.
        """
        names = [_Name(self.root, -1)] if decided is None or decided else []
        return names + ([] if decided else [_Text(self.nothing, 0, None)])

    def step(self, states: list[State], token: int, decided: Decided = None) -> list[State]:
        """The states after `token`; `[None]` where the list has ended, empty where `token` was not allowed."""
        after = [found for state in states for found in self._step(state, token, decided)]
        return [None] if None in after else after

    def options(self, states: list[State], decided: Decided = None) -> set[int]:
        """The tokens that may come next."""
        return {token for state in states for token in self._options(state, decided)}

    def _next(self, last: int, decided: Decided) -> set[int]:
        """Labels that may come after `last`."""
        later = range(last + 1, self.num_labels)
        if decided is None:
            return set(later)
        return set([label for label in later if label in decided][:1])

    def _after(self, state: _Name, wanted: set[int], decided: Decided) -> list[_Text]:
        """What may be written where a name is whole."""
        label = state.node.label
        if label not in wanted:
            return []
        left = self._next(label, decided)
        texts = [_Text(self.separator, 0, label)] if left else []
        return texts + ([_Text(self.end, 0, None)] if decided is None or not left else [])

    def _options(self, state: State, decided: Decided) -> set[int]:
        if isinstance(state, _Text):
            return {state.tokens[state.position]}
        wanted = self._next(state.last, decided)
        inside = {token for token, child in state.node.children.items() if child.labels & wanted}
        return inside | {text.tokens[0] for text in self._after(state, wanted, decided)}

    def _step(self, state: State, token: int, decided: Decided) -> list[State]:
        if isinstance(state, _Text):
            return [self._advance(state)] if state.tokens[state.position] == token else []
        wanted = self._next(state.last, decided)
        child = state.node.children.get(token)
        inside = [_Name(child, state.last)] if child is not None and child.labels & wanted else []
        return inside + [self._advance(t) for t in self._after(state, wanted, decided) if t.tokens[0] == token]

    def _advance(self, text: _Text) -> State:
        if text.position + 1 < len(text.tokens):
            return _Text(text.tokens, text.position + 1, text.then)
        return None if text.then is None else _Name(self.root, text.then)


class ClinRaGenDiagnosisLogitsProcessor(LogitsProcessor):
    """
    Keeps the list of diagnoses to the labels; what stands around it stays free.

    For one call of `generate`, with beams, samples and batches.

    Args:
        grammar (`DiagnosisGrammar`): the lists that are allowed.
        decisions (`torch.BoolTensor` of shape `(batch_size, num_labels)`, *optional*): the diagnoses of each record;
            the list then holds exactly these. All beams or samples of a record share its decisions.
    """

    def __init__(self, grammar: DiagnosisGrammar, decisions: torch.Tensor | None = None):
        self.grammar = grammar
        self.decided = (
            None if decisions is None else [frozenset(row.nonzero().flatten().tolist()) for row in decisions]
        )
        self.prompt_length: int | None = None
        self.known: dict[tuple[tuple[int, ...], Decided], list[State]] = {}
        self.ended = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self.ended:
            return scores
        if self.prompt_length is None:
            self.prompt_length = input_ids.shape[1]
        rows = [tuple(row) for row in input_ids[:, self.prompt_length :].tolist()]
        allowed = [self._allowed(tokens, self._decided_of(i, len(rows))) for i, tokens in enumerate(rows)]
        # Lists that have ended stay so, and beams only change places among them.
        self.ended = all(options is not None and not options for options in allowed)
        blocked = torch.zeros_like(scores, dtype=torch.bool)
        for i, options in enumerate(allowed):
            if options:
                blocked[i] = True
                blocked[i, sorted(options)] = False
        stuck = scores.masked_fill(blocked, -torch.inf).isneginf().all(dim=-1, keepdim=True)  # by another processor
        return scores.masked_fill(stuck, 0.0).masked_fill(blocked, -torch.inf)

    def _decided_of(self, row: int, num_rows: int) -> Decided:
        return None if self.decided is None else self.decided[row * len(self.decided) // num_rows]

    def _allowed(self, tokens: tuple[int, ...], decided: Decided) -> set[int] | None:
        """What may come next; empty where the list has ended, `None` before it has begun."""
        opening = self.grammar.opening
        start = self._start_of_list(tokens)
        if start is None:
            return None if self.grammar.opens_anywhere else {opening[len(tokens)]}
        states = self._states(tokens[start:], decided)
        return set() if states == [None] else self.grammar.options(states, decided)

    def _start_of_list(self, tokens: tuple[int, ...]) -> int | None:
        size = len(self.grammar.opening)
        if not self.grammar.opens_anywhere:
            return size if len(tokens) >= size else None
        starts = (i for i in range(len(tokens) - size + 1) if tokens[i : i + size] == self.grammar.opening)
        return next((i + size for i in starts), None)

    def _states(self, tokens: tuple[int, ...], decided: Decided) -> list[State]:
        key = tokens, decided
        if key not in self.known:
            before = self._states(tokens[:-1], decided) if tokens else []
            if not tokens:
                self.known[key] = self.grammar.start(decided)
            else:
                self.known[key] = before if before == [None] else self.grammar.step(before, tokens[-1], decided)
        return self.known[key]


__all__ = ["ClinRaGenDiagnosisLogitsProcessor", "DiagnosisGrammar"]
