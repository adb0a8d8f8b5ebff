# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""ClinRaGen with a decoder-only language model: OPT, Qwen, LLaMA, GPT-2 and their like."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Cache, DynamicCache, PreTrainedModel, initialization
from transformers.modeling_outputs import ModelOutput

from .diagnosis_clinragen import ClinRaGenDiagnosisHead
from .modeling_clinragen import ClinRaGenLanguageModel
from .outputs_clinragen import ClinRaGenEncoderOutput


@dataclass
class ClinRaGenPrefixOutput(ClinRaGenEncoderOutput):
    """
    Note and series as a decoder-only language model has read them, and the decisions, which it reads together with the
    target. Padding is on the left, so that the real tokens have no gap.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, prefix_length, hidden_size)`, *optional*):
            The backbone's output over note and series, if it has read them.
        attention_mask (`torch.LongTensor` of shape `(batch_size, prefix_length + num_decisions)`):
            1 for the real tokens of note and series, and for each decision.
        key_values (`tuple` of pairs of `torch.FloatTensor` of shape
            `(batch_size, num_key_value_heads, prefix_length, head_dim)`, *optional*, if they are kept): keys and
            values of note and series, for each layer.
        inputs_embeds (`torch.FloatTensor` of shape `(batch_size, length, hidden_size)`): embeddings before the target
            that are not in `key_values`: the decisions, or without `key_values` the whole prefix.
        diagnosis_logits and other fields: see [`ClinRaGenEncoderOutput`].
    """

    key_values: tuple | None = None
    inputs_embeds: torch.FloatTensor | None = None

    def select_rows(self, index):
        fields = {name: states[index] for name, states in self.items() if name != "key_values"}
        if self.key_values is not None:
            fields["key_values"] = tuple((key[index], value[index]) for key, value in self.key_values)
        return type(self)(**fields)


class ClinRaGenForCausalLM(ClinRaGenLanguageModel):
    """
    A decoder-only language model with the interface of [`ClinRaGenForConditionalGeneration`].

    It reads one sequence: the note, the series' tokens, a token for the decision on each diagnosis, and the target,
    which `decoder_start_token_id` begins. The diagnosis head reads the language model's states over note and series.
    Only the target is predicted, so `labels` hold the target alone. Note and series are computed once: the target
    attends to their keys and values.

    Source: arXiv 2411.07611. Differs from it: the language model has no encoder.
    """

    backbone_auto_class = AutoModelForCausalLM
    padding_side = "left"
    linear_heads = ("gpt2", "gpt_neox", "llama", "mistral", "opt", "phi", "qwen2", "qwen3")
    length_parts = "note, series, decisions and target"

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, ClinRaGenDiagnosisHead):
            scale = getattr(self.config.text_config, "initializer_range", 0.02)  # of the neighbouring embeddings
            for embedding in (module.label_embedding, module.decision_embedding):
                initialization.normal_(embedding.weight, std=scale)

    @torch.no_grad()
    def use_pretrained_backbone(self, backbone: PreTrainedModel) -> None:
        """Use the backbone, and scale the decisions' tokens to its embeddings."""
        super().use_pretrained_backbone(backbone)
        if self.diagnosis_head is not None:
            for embedding in (self.diagnosis_head.label_embedding, self.diagnosis_head.decision_embedding):
                embedding.weight.mul_(backbone.get_input_embeddings().weight.float().std() / embedding.weight.std())

    def _read_record(
        self, embeds: torch.Tensor, mask: torch.Tensor, decide: Callable, fields: dict
    ) -> ClinRaGenPrefixOutput:
        cache = DynamicCache() if self._keeps_key_values() else None
        hidden_states, decisions = None, embeds[:, :0]
        if cache is not None or self.diagnosis_head is not None:
            hidden_states = self._read(self.get_decoder(), embeds, mask, cache)[0]
        if self.diagnosis_head is not None:
            decisions, scores = decide(hidden_states, mask)
            fields |= scores
        return ClinRaGenPrefixOutput(
            last_hidden_state=hidden_states,
            attention_mask=nn.functional.pad(mask, (0, decisions.shape[1]), value=1),
            key_values=None if cache is None else tuple((layer.keys, layer.values) for layer in cache.layers),
            inputs_embeds=torch.cat([embeds, decisions], dim=1) if cache is None else decisions,
            **fields,
        )

    def _decode(
        self,
        encoder_outputs: ClinRaGenPrefixOutput,
        decoder_input_ids: torch.LongTensor | None,
        on_states: bool,
        past_key_values: Cache | None,
        use_cache: bool | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> tuple[torch.Tensor, dict]:
        """
        Return the backbone's states, or the logits, of the target, and the output's fields for it.

        Args:
            encoder_outputs (`ClinRaGenPrefixOutput`): if it has fewer records than `decoder_input_ids` has rows, each
                record is used for several consecutive rows.
            past_key_values (`Cache`, *optional*): if empty, it is filled with the record.
        """
        if decoder_input_ids is None:
            raise ValueError("give the target, as `labels` or as `decoder_input_ids`")
        length = decoder_input_ids.shape[1]
        decoded = self._read_target(
            self.get_decoder() if on_states else self.backbone,
            encoder_outputs,
            decoder_input_ids,
            past_key_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **({} if on_states else {"logits_to_keep": length}),
        )
        return decoded.last_hidden_state[:, -length:] if on_states else decoded.logits, {
            "past_key_values": decoded.past_key_values if use_cache else None,
            "hidden_states": decoded.get("hidden_states"),
            "attentions": decoded.get("attentions"),
        }

    def _read_target(self, module, encoded: ClinRaGenPrefixOutput, ids, cache: Cache | None, **options) -> ModelOutput:
        """Run `module` over the target and the part of the prefix that is not in the cache."""
        embeds, times = self.get_input_embeddings()(ids), len(ids) // len(encoded.attention_mask)
        if encoded.key_values is not None and cache is None:
            cache = DynamicCache()
        if cache is not None and cache.is_compileable:  # a cache of fixed size has no room for the record
            raise ValueError("a decoder-only model generates with a cache that grows: leave out cache_implementation")
        known = 0 if cache is None else cache.get_seq_length()
        if not known:
            embeds = torch.cat([encoded.inputs_embeds.repeat_interleave(times, dim=0).to(embeds.dtype), embeds], dim=1)
            for i, states in enumerate(encoded.key_values or ()):
                cache.update(*(state.repeat_interleave(times, dim=0) for state in states), i)
            known = encoded.attention_mask.shape[1] - encoded.inputs_embeds.shape[1]
        length = known + embeds.shape[1]
        self._validate_length(length)
        mask = encoded.attention_mask.repeat_interleave(times, dim=0)
        mask = nn.functional.pad(mask, (0, length - mask.shape[1]), value=1)
        return self._read(module, embeds, mask, cache, **options)

    def _read(self, module, embeds, mask, cache: Cache | None, **options) -> ModelOutput:
        """Run the backbone, or its decoder, over the last tokens of the mask."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        return module(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            return_dict=True,
            **options,
        )

    def _keeps_key_values(self) -> bool:
        """
        Return `False` in training if only the target needs note and series, since they are then best read with it; and
        with checkpointed activations, since layers then keep nothing, and note and series are read twice.
        """
        if not self.training:
            return True
        checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in self.backbone.modules())
        return self.diagnosis_head is not None and not checkpointed

    def _generation_inputs(self, encoder_outputs: ClinRaGenPrefixOutput, decoder_input_ids) -> dict:
        if decoder_input_ids is None:
            mask, start = encoder_outputs.attention_mask, self.config.decoder_start_token_id
            decoder_input_ids = torch.full((len(mask), 1), start, device=mask.device)
        mask = torch.ones_like(decoder_input_ids)
        return {"inputs": decoder_input_ids, "attention_mask": mask, "prefix": encoder_outputs}

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        prefix: ClinRaGenPrefixOutput | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> dict:
        """Select the tokens of the target that are not in the cache yet, and the record that they follow."""
        known = 0 if past_key_values is None else past_key_values.get_seq_length()
        written = max(known - prefix.attention_mask.shape[1], 0)
        return {
            "decoder_input_ids": input_ids[:, written:],
            "encoder_outputs": prefix,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }


ClinRaGenForCausalLM.register_for_auto_class("AutoModelForCausalLM")


__all__ = ["ClinRaGenForCausalLM"]
