# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding on a CPU that stops computing the finished rows of a batch."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, GenerationConfig, GenerationMixin, LogitsProcessorList, StoppingCriteriaList

from .generation_clinragen import ClinRaGenDiagnosisLogitsProcessor
from .t5_decoding_clinragen import T5Decoding
from .t5_encoding_clinragen import is_plain_t5


FINISHED_SHARE = 0.25  # of the rows; from this share on, unfinished rows are copied together
OUTPUTS = ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states")


class GreedyGenerationMixin(GenerationMixin):
    """`generate` of transformers, with [`write_greedily`] for greedy decoding on a CPU."""

    def _sample(
        self,
        input_ids,
        logits_processor,
        stopping_criteria,
        generation_config,
        synced_gpus=False,
        streamer=None,
        **model_kwargs,
    ):
        """Write a text without beams, as transformers does."""
        parts = input_ids, logits_processor, stopping_criteria, generation_config
        is_supported = input_ids.device.type == "cpu" and not synced_gpus
        if is_supported and can_drop_rows(*parts[1:], model_kwargs.get("past_key_values")):
            return write_greedily(self, *parts, streamer, **model_kwargs)
        return super()._sample(*parts, synced_gpus=synced_gpus, streamer=streamer, **model_kwargs)


def can_drop_rows(
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    cache: object,
) -> bool:
    """
    Return whether a call of `generate` without beams can drop finished rows: it asks for the most probable tokens and
    no other outputs, the cache grows, and all processors and criteria treat each row independently.
    """
    known = ("transformers.", __package__ + ".")
    return (
        not generation_config.do_sample
        and not any(getattr(generation_config, name) for name in OUTPUTS)
        and isinstance(cache, Cache)
        and not cache.is_compileable
        and all(type(part).__module__.startswith(known) for part in (*logits_processor, *stopping_criteria))
    )


def write_greedily(
    model,
    input_ids: torch.LongTensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    streamer=None,
    **model_kwargs,
) -> torch.LongTensor:
    """
    Write the most probable tokens; arguments and result as for `_sample` of transformers.

    Finished rows are no longer computed, which saves most of the work for rows of unequal length.

    Returns:
        `torch.LongTensor` of shape `(batch_size, length)`: rows that ended before the longest are padded.
    """
    padding = 0 if generation_config._pad_token_tensor is None else int(generation_config._pad_token_tensor)
    texts: dict[int, torch.LongTensor] = {}  # row of the batch -> its finished text
    rows, decoding = torch.arange(len(input_ids)), decoding_of(model, model_kwargs)
    while True:
        scores = logits_processor(input_ids, decoding.logits(input_ids).float())
        input_ids = torch.cat([input_ids, scores.argmax(dim=-1, keepdim=True)], dim=-1)
        if streamer is not None:
            streamer.put(input_ids[:, -1])
        for row in stopping_criteria(input_ids, None).nonzero().flatten().tolist():
            texts.setdefault(int(rows[row]), input_ids[row])
        left = torch.tensor([i for i, row in enumerate(rows.tolist()) if row not in texts], dtype=torch.long)
        if not len(left):
            break
        if len(left) <= (1 - FINISHED_SHARE) * len(rows):
            rows, input_ids = rows[left], input_ids[left]
            decoding.keep_rows(left)
            _keep_rows(logits_processor, left)
    if streamer is not None:
        streamer.end()
    return pad_sequence([texts[row] for row in sorted(texts)], batch_first=True, padding_value=padding)


def decoding_of(model, model_kwargs: dict) -> T5Decoding | Decoding:
    """Return the incremental decoder: [`T5Decoding`] for a plain T5, else [`Decoding`]."""
    source = model_kwargs.get("encoder_outputs")
    if source is None or "decoder_attention_mask" in model_kwargs or not is_plain_t5(model.backbone, "decoder"):
        return Decoding(model, model_kwargs)
    return T5Decoding(model.backbone, source.last_hidden_state, source.attention_mask)


class Decoding:
    """
    The decoder of a batch of records, by the model's own forward pass and cache.

    Args:
        model (`ClinRaGenLanguageModel`).
        model_kwargs (`dict`): arguments of its forward pass, as `generate` prepares them.
    """

    def __init__(self, model, model_kwargs: dict):
        self.model, self.model_kwargs, self.has_begun = model, model_kwargs, False

    def logits(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """
        Read the new tokens of texts, `(batch_size, length)`; return the scores of the next token, `(batch_size,
        vocab_size)`.
        """
        step = {"next_sequence_length": 1 if self.has_begun else None, "is_first_iteration": not self.has_begun}
        inputs = self.model.prepare_inputs_for_generation(input_ids, **step, **self.model_kwargs)
        outputs = self.model(**inputs, return_dict=True)
        self.model_kwargs = self.model._update_model_kwargs_for_generation(
            outputs, self.model_kwargs, is_encoder_decoder=self.model.config.is_encoder_decoder
        )
        self.has_begun = True
        return outputs.logits[:, -1]

    def keep_rows(self, index: torch.LongTensor) -> None:
        """Keep some rows of the batch."""
        self.model_kwargs = {name: _rows_of(value, index) for name, value in self.model_kwargs.items()}


def _keep_rows(logits_processor: LogitsProcessorList, index: torch.LongTensor) -> None:
    for processor in logits_processor:
        if isinstance(processor, ClinRaGenDiagnosisLogitsProcessor):
            processor.keep_rows(index)


def _rows_of(value: object, index: torch.LongTensor) -> object:
    """Select batch rows of an argument of the model."""
    if isinstance(value, Cache):
        value.batch_select_indices(index)
        return value
    if hasattr(value, "select_rows"):
        return value.select_rows(index)
    return value[index] if isinstance(value, torch.Tensor) and value.dim() else value


__all__ = ["GreedyGenerationMixin", "can_drop_rows", "write_greedily"]
