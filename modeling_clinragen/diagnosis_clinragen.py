# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The diagnosis head: decisions from the encoder's tokens, and from words and statistics of the record."""

from collections.abc import Sequence

import torch
from torch import nn

from .configuration_clinragen import ClinRaGenConfig
from .record_terms_clinragen import KINDS, link_terms


class ClinRaGenLinearClassifier(nn.Module):
    """
    A linear classifier beside the language model. Its features are the words of the note, their similarity to the
    names of the labels, and simple statistics of each channel. It learns from few records, unlike the encoder.

    Words are the tokenizer's tokens and the most frequent pairs of them. If the model reads terms of the knowledge,
    the terms of a record that are linked with a label support it, by a few weights that all labels share and
    deviations from them: a label with few patients in the training records, or none, is then still read from its
    terms. The stages' optimiser does not train this module: `recipes/training/fitting.py` fits all of it.
    """

    NUM_STATISTICS = 9
    SIMILARITY_SCALE, SERIES_SCALE = 0.13, 0.05  # relative to words; a ridge penalty shrinks small features most

    def __init__(self, config: ClinRaGenConfig):
        super().__init__()
        num_labels, num_series = len(config.labels), config.num_input_channels * self.NUM_STATISTICS
        self.vocab_size = getattr(config.text_config, "encoder", config.text_config).vocab_size
        self.num_labels = num_labels
        self.num_words = self.vocab_size + config.num_token_pairs
        self.register_buffer("pair_codes", torch.full((config.num_token_pairs,), self.vocab_size**2))
        self.weight = _fitted(num_labels, self.num_words + num_labels + num_series)
        self.bias = _fitted(num_labels)
        self.inverse_document_frequency = _fitted(self.num_words)
        self.label_similarity = _fitted(self.num_words, num_labels)
        self.mean, self.std = _fitted(num_labels + num_series), _fitted(num_labels + num_series)
        self.reads_terms = config.num_evidence_terms > 0
        if self.reads_terms:
            kinds, num_terms = len(KINDS), config.num_evidence_terms
            self.register_buffer("term_links", torch.zeros(kinds, num_terms, num_labels))
            self.register_buffer("term_channels", torch.zeros(num_terms, dtype=torch.long))
            self.shared_evidence_weight = _fitted(kinds)
            self.evidence_weight = _fitted(num_labels, kinds)

    def forward(
        self, input_ids, attention_mask, past_values=None, past_observed_mask=None, term_evidence=None
    ) -> torch.Tensor:
        """Score inputs as in [`~ClinRaGenForConditionalGeneration.forward`]: logits (batch, num_labels)."""
        words = self.words(input_ids, attention_mask)
        similarity = self.similarity(words)
        series = None if past_values is None else self.statistics(past_values, past_observed_mask)
        features = self.features(self.count(words), similarity, series)
        logits = features @ self.weight.float().T + self.bias.float()
        if not self.reads_terms or term_evidence is None:
            return logits
        return logits + self.evidence_logits(term_evidence, past_observed_mask)

    def link(self, knowledge: Sequence[dict], labels: Sequence[str], channels: Sequence[dict]) -> None:
        """Link the terms of a knowledge with labels, see [`link_terms`], and their patterns with channels."""
        place = {channel["name"]: i for i, channel in enumerate(channels)}
        patterns = [term.get("pattern") or {} for term in knowledge]
        channels = [place.get(pattern.get("channel"), 0) for pattern in patterns]
        self.term_channels = torch.tensor(channels, device=self.term_channels.device)
        self.term_links = torch.from_numpy(link_terms(knowledge, labels, place)).to(self.term_links)

    def evidence_logits(
        self, term_evidence: torch.Tensor, past_observed_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the contribution of a record's terms to its logits, `(batch_size, num_labels)`; see `evidence`."""
        weight = self.shared_evidence_weight.float() + self.evidence_weight.float()
        return (self.evidence(term_evidence, past_observed_mask) * weight).sum(dim=-1)

    def evidence(
        self,
        term_evidence: torch.Tensor,
        past_observed_mask: torch.Tensor | None,
        links: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Return how strongly the terms of a record support each label, by kind of term.

        Args:
            term_evidence (`torch.Tensor` of shape `(batch_size, 2, num_terms)`): 1 for the terms that the note shows,
                and for those that the series show.
            past_observed_mask (*optional*): as for [`~ClinRaGenForConditionalGeneration.forward`]; the terms of
                a channel without a measurement do not count.
            links (`torch.Tensor` of shape `(4, num_terms, num_diseases)`, *optional*): links with other diseases,
                as [`link_terms`] returns them. Default: those with the labels.

        Returns:
            `(batch_size, num_labels, 4)`: the square root of the number of terms, each divided by the number of its
            labels.
        """
        note, series = term_evidence.float().unbind(dim=1)
        if past_observed_mask is not None:
            series = series * past_observed_mask.bool().any(dim=1)[:, self.term_channels]
        links = (self.term_links if links is None else links).float()
        counts = torch.stack([*(note @ of_kind for of_kind in links[:-1]), series @ links[-1]], dim=-1)
        return counts.sqrt()

    def words(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor) -> torch.LongTensor:
        """Return tokens and known pairs of tokens, (batch, 2 * sequence - 1); -1 marks padding and unknown pairs."""
        mask = attention_mask.bool()
        tokens = input_ids.masked_fill(~mask, -1)
        if not len(self.pair_codes):
            return tokens
        codes = input_ids[:, :-1] * self.vocab_size + input_ids[:, 1:]
        place = torch.searchsorted(self.pair_codes, codes).clamp(max=len(self.pair_codes) - 1)
        known = (self.pair_codes[place] == codes) & mask[:, :-1] & mask[:, 1:]
        return torch.cat([tokens, (self.vocab_size + place).masked_fill(~known, -1)], dim=1)

    def count(self, words: torch.LongTensor) -> torch.Tensor:
        """Count each word: (batch, num_words)."""
        present = (words >= 0).float()
        return present.new_zeros(words.shape[0], self.num_words).scatter_add_(1, words.clamp(min=0), present)

    def similarity(self, words: torch.LongTensor) -> torch.Tensor:
        """Return the similarity of the most similar word to each label's name: (batch, num_labels)."""
        near = self.label_similarity.float()[words.clamp(min=0)]  # (batch, words, num_labels)
        return near.masked_fill((words < 0).unsqueeze(-1), 0.0).amax(dim=1)

    @staticmethod
    def statistics(past_values: torch.Tensor, past_observed_mask: torch.Tensor) -> torch.Tensor:
        """
        Compute statistics of each channel: (batch, num_channels, NUM_STATISTICS).

        1 if it was measured, the logarithm of the count, and first, last, mean, lowest, highest, standard
        deviation and slope (change a day) of its standardised values; NaN if it was not measured.
        """
        observed = past_observed_mask.bool()
        values = torch.where(observed, past_values.float(), 0.0)
        count = observed.sum(dim=1)  # (batch, num_channels)
        number = count.clamp(min=1)
        hour = torch.arange(values.shape[1], device=values.device, dtype=values.dtype)[:, None]
        first = values.gather(1, observed.int().argmax(dim=1, keepdim=True)).squeeze(1)
        last = values.gather(1, (observed * (hour + 1)).argmax(dim=1, keepdim=True)).squeeze(1)
        mean = values.sum(dim=1) / number
        centred = torch.where(observed, values - mean.unsqueeze(1), 0.0)
        hours = torch.where(observed, hour - ((observed * hour).sum(dim=1) / number).unsqueeze(1), 0.0)
        slope = 24 * (centred * hours).sum(dim=1) / hours.square().sum(dim=1).clamp(min=1)
        lowest = torch.where(observed, values, torch.inf).amin(dim=1)
        highest = torch.where(observed, values, -torch.inf).amax(dim=1)
        deviation = (centred.square().sum(dim=1) / number).sqrt()
        levels = torch.stack([first, last, mean, lowest, highest, deviation, slope], dim=-1)
        levels = torch.where((count > 0).unsqueeze(-1), levels, torch.nan)
        return torch.cat([torch.stack([(count > 0).float(), count.float().log1p()], dim=-1), levels], dim=-1)

    def features(self, count: torch.Tensor, similarity: torch.Tensor, statistics: torch.Tensor | None) -> torch.Tensor:
        """
        Compute the features of the classifier, (batch, num_features): weighted counts of norm 1, and similarities and
        statistics in standard deviations, clipped to [-3, 3]; 0 for values that were not measured.
        """
        weighted = torch.where(count > 0, 1 + count.clamp(min=1).log(), 0.0) * self.inverse_document_frequency.float()
        weighted = nn.functional.normalize(weighted, dim=1)
        if statistics is None:
            missing = len(self.mean) - self.num_labels
            statistics = similarity.new_full((similarity.shape[0], missing), torch.nan)
        measured = torch.cat([similarity, statistics.flatten(1)], dim=1)
        measured = ((measured - self.mean.float()) / self.std.float()).nan_to_num(0.0).clamp(-3, 3)
        scale = measured.new_full((measured.shape[1],), self.SERIES_SCALE)
        scale[: self.num_labels] = self.SIMILARITY_SCALE
        return torch.cat([weighted, measured * scale], dim=1)

    def series_logits(self, past_values: torch.Tensor, past_observed_mask: torch.Tensor) -> torch.Tensor:
        """Return the contribution of the series' statistics to the logits, `(batch_size, num_labels)`."""
        statistics = self.statistics(past_values, past_observed_mask).flatten(1)
        mean, std = (part.float()[self.num_labels :] for part in (self.mean, self.std))
        measured = ((statistics - mean) / std).nan_to_num(0.0).clamp(-3, 3) * self.SERIES_SCALE
        return measured @ self.weight.float()[:, -measured.shape[1] :].T


def _fitted(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class ClinRaGenDiagnosisHead(nn.Module):
    """
    One decision per diagnosis, and a token for each decision that the decoder reads.

    Each diagnosis attends to the encoder's tokens and scores the pooled state; a linear classifier scores the record
    itself. The decoder attends to the decisions and to the encoded record, so that its list and the probabilities
    agree. The decisions are detached: the language model explains them, but its loss does not change them.
    """

    def __init__(self, config: ClinRaGenConfig, hidden_size: int):
        super().__init__()
        num_labels = len(config.labels)
        self.attention = nn.Linear(hidden_size, num_labels)
        self.classifier = nn.Linear(hidden_size, num_labels)
        self.linear = ClinRaGenLinearClassifier(config) if config.use_linear_classifier else None
        self.label_embedding = nn.Embedding(num_labels, hidden_size)
        self.decision_embedding = nn.Embedding(1, hidden_size)  # shared: "present" means the same for each label

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the encoder's logits (batch, num_labels) of states (batch, sequence, hidden)."""
        scores = self.attention(hidden_states)  # (batch, sequence, num_labels)
        scores = scores.masked_fill(~attention_mask.bool().unsqueeze(-1), torch.finfo(scores.dtype).min)
        return self._pool(scores, hidden_states)

    def encoder_scores(self, hidden_states: torch.Tensor, log_weights: torch.Tensor) -> torch.Tensor:
        """Return the encoder's logits (num_labels,) of states (sequence, hidden) with log attention weights."""
        return self._pool(self.attention(hidden_states) + log_weights.unsqueeze(-1), hidden_states)

    def _pool(self, scores: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        pooled = scores.softmax(dim=-2).transpose(-1, -2) @ hidden_states  # (..., num_labels, hidden)
        return (pooled * self.classifier.weight).sum(dim=-1) + self.classifier.bias

    def decision_tokens(self, logits: torch.Tensor) -> torch.Tensor:
        """Embed the decisions of logits (batch, num_labels): (batch, num_labels, hidden)."""
        decision = (2 * logits.detach().sigmoid() - 1).unsqueeze(-1)  # -1 absent, 1 present
        return self.label_embedding.weight + decision * self.decision_embedding.weight


__all__ = ["ClinRaGenDiagnosisHead", "ClinRaGenLinearClassifier"]
