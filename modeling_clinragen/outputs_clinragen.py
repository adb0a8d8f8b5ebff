# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Outputs of the models: of encoding a record, and of decoding a target."""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutput, ModelOutput


@dataclass
class ClinRaGenEncoderOutput(BaseModelOutput):
    """
    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`):
            The states that the decoder attends to: the backbone encoder's output over note and series tokens, real
            tokens first, and with a diagnosis head one token for each diagnosis at the end.
        attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            1 for the real tokens among them.
        diagnosis_logits (`torch.FloatTensor` of shape `(batch_size, num_labels)`, *optional*, with a diagnosis head):
            Calibrated score of each diagnosis before the sigmoid.
        member_logits (`torch.FloatTensor` of shape `(batch_size, 1 or 2, num_labels)`, *optional*, likewise):
            The scores that are mixed into it: the encoder's, and the linear classifier's if the note was given as
            `input_ids`.
        time_series_hidden_states (`torch.FloatTensor` of shape
            `(batch_size, num_input_channels, num_patches, d_model)`, *optional*, when series are given):
            The series encoder's output.
        knowledge_attentions (`torch.FloatTensor` of shape
            `(batch_size, num_input_channels, num_patches, num_knowledge_tokens)`, *optional*, when series are given
            and the model has knowledge): attention weights of each patch, mean over heads; zero for a patch without
            measurements. `num_knowledge_tokens` counts terms (`"term"`) or prototypes (`"prototype"`).
        alignment_losses (`torch.FloatTensor` of shape `(batch_size,)`, *optional*, in training with
            `knowledge_alignment_weight`): how much the patches of each record attend to terms other than their own.
    """

    attention_mask: torch.LongTensor | None = None
    diagnosis_logits: torch.FloatTensor | None = None
    member_logits: torch.FloatTensor | None = None
    time_series_hidden_states: torch.FloatTensor | None = None
    knowledge_attentions: torch.FloatTensor | None = None
    alignment_losses: torch.FloatTensor | None = None

    def select_rows(self, index):
        """Select batch rows."""
        return type(self)(**{name: states[index] for name, states in self.items()})


@dataclass
class ClinRaGenLMOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*, when `labels` are given):
            Language-model loss, plus the weighted diagnosis loss when `diagnosis_labels` are given.
        logits (`torch.FloatTensor` of shape `(batch_size, target_length, vocab_size)`, *optional*, see `skip_logits`):
            Prediction scores of the target's tokens.
        diagnosis_logits (`torch.FloatTensor` of shape `(batch_size, num_labels)`, *optional*, with a diagnosis head):
            Calibrated score of each diagnosis before the sigmoid.
        past_key_values (`Cache`, *optional*, with `use_cache=True`): keys and values of the decoder.
        decoder_hidden_states, decoder_attentions, cross_attentions (*optional*, of a seq2seq model),
        hidden_states, attentions (*optional*, of a decoder-only model): of the target, as the backbone returns them.
        encoder_last_hidden_state, time_series_hidden_states, knowledge_attentions: see [`ClinRaGenEncoderOutput`].
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    diagnosis_logits: torch.FloatTensor | None = None
    past_key_values: object | None = None
    decoder_hidden_states: tuple | None = None
    decoder_attentions: tuple | None = None
    cross_attentions: tuple | None = None
    hidden_states: tuple | None = None
    attentions: tuple | None = None
    encoder_last_hidden_state: torch.FloatTensor | None = None
    time_series_hidden_states: torch.FloatTensor | None = None
    knowledge_attentions: torch.FloatTensor | None = None


__all__ = ["ClinRaGenEncoderOutput", "ClinRaGenLMOutput"]
