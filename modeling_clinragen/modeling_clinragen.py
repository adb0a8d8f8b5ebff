# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
ClinRaGen: a seq2seq language model that reads notes and lab series and writes diagnoses with their rationale; and the
base class that it shares with the decoder-only model of `causal_lm_clinragen.py`.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, initialization
from transformers.modeling_outputs import BaseModelOutput

from .configuration_clinragen import ClinRaGenConfig
from .diagnosis_clinragen import ClinRaGenDiagnosisHead, ClinRaGenLinearClassifier
from .doubt_clinragen import ClinRaGenDiagnosisSets, ClinRaGenDoubt
from .generation_clinragen import ClinRaGenDiagnosisLogitsProcessor, DiagnosisGrammar
from .greedy_clinragen import GreedyGenerationMixin
from .integrity_clinragen import ClinRaGenWholeModel
from .knowledge_clinragen import ClinRaGenKnowledgeAttention
from .loss_clinragen import token_loss, token_loss_of_states
from .outputs_clinragen import ClinRaGenEncoderOutput, ClinRaGenLMOutput
from .packing_clinragen import pack_sequences
from .t5_encoding_clinragen import T5Encoding
from .time_series_clinragen import ClinRaGenTimeSeriesEncoder, init_linear


ENCODER_INPUTS = (
    "input_ids",
    "attention_mask",
    "past_values",
    "past_observed_mask",
    "inputs_embeds",
    "knowledge_mask",
    "term_evidence",
)


ClinRaGenSeq2SeqLMOutput = ClinRaGenLMOutput  # the name by which it was published


class ClinRaGenPreTrainedModel(ClinRaGenWholeModel):
    config_class = ClinRaGenConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    backbone_auto_class: type  # auto class of the backbone, and of the whole model

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Save as [`~PreTrainedModel.save_pretrained`], with the code for `AutoModel` and the pipeline."""
        from .pipeline_clinragen import TASK, ClinRaGenPipeline  # here, so that its file is saved with the folder

        code = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
        self.config.auto_map = {"AutoModel": code, self.backbone_auto_class.__name__: code}
        self.config.custom_pipelines = {
            TASK: {
                "impl": f"pipeline_clinragen.{ClinRaGenPipeline.__name__}",
                "pt": [self.backbone_auto_class.__name__],
                "type": "multimodal",
            }
        }
        return super().save_pretrained(save_directory, *args, **kwargs)

    def push_to_hub(self, repo_id: str, *, private: bool = True, **kwargs):
        """Push as [`~PreTrainedModel.push_to_hub`], but a new repository is private unless `private=False`."""
        return super().push_to_hub(repo_id, private=private, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        init_linear(module)
        if isinstance(module, ClinRaGenLinearClassifier):
            for parameter in module.parameters():
                initialization.zeros_(parameter)
            initialization.ones_(module.std)
            initialization.constant_(module.pair_codes, module.vocab_size**2)
        if isinstance(module, ClinRaGenDiagnosisHead):  # the scale of the encoder's normalised output
            for embedding in (module.label_embedding, module.decision_embedding):
                initialization.normal_(embedding.weight)


class ClinRaGenLanguageModel(ClinRaGenPreTrainedModel, GreedyGenerationMixin):
    """
    The base of both models: a language model as the backbone, the series encoder, the knowledge attention and the
    diagnosis head, the loss and generation.

    A subclass defines how the backbone reads a record (`_read_record`) and the target after it (`_decode`), and the
    inputs that [`~GenerationMixin.generate`] gets (`_generation_inputs`).
    """

    padding_side = "right"  # of note and series
    linear_heads: tuple[str, ...]  # backbones' model types whose logits are one linear map of the decoder's states
    length_parts = "note and series"  # parts that must fit into the backbone's positions
    accepts_loss_kwargs = True  # the loss is a mean over the global batch, if its size is given

    def __init__(self, config: ClinRaGenConfig):
        super().__init__(config)
        self.backbone = self.backbone_auto_class.from_config(copy.deepcopy(config.text_config))
        hidden_size = self.backbone.get_input_embeddings().embedding_dim
        self.time_series_encoder = ClinRaGenTimeSeriesEncoder(config)
        self.knowledge_attention = ClinRaGenKnowledgeAttention(config, hidden_size)
        self.diagnosis_head = ClinRaGenDiagnosisHead(config, hidden_size) if config.diagnosis_loss_weight > 0 else None
        self.post_init()

    def use_pretrained_backbone(self, backbone: PreTrainedModel) -> None:
        """
        Use a pretrained language model as the backbone, with its weights.

        Assigned, not copied with `load_state_dict`: FLAN-T5 has an untied head, which a T5 of its configuration would
        tie to the embedding. The series' tokens start at the scale of the backbone's embeddings.
        """
        self.backbone = backbone
        if backbone.get_output_embeddings() is not None:
            head, embedding = backbone.get_output_embeddings().weight, backbone.get_input_embeddings().weight
            backbone.config.tie_word_embeddings = head.shape == embedding.shape and torch.equal(head, embedding)
        with torch.no_grad():
            scale = backbone.get_input_embeddings().weight.float().std()
            self.knowledge_attention.norm.weight.fill_(scale)

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module | None:
        return self.backbone.get_output_embeddings()

    def get_decoder(self) -> nn.Module:
        return self.backbone.get_decoder()

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted == -100, self.config.pad_token_id)

    def encode(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_values: torch.Tensor | None = None,
        past_observed_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        knowledge_mask: torch.Tensor | None = None,
        term_evidence: torch.Tensor | None = None,
        are_copies: bool = False,
    ) -> ClinRaGenEncoderOutput:
        """
        Read note and series, and decide.

        Args:
            are_copies (`bool`): whether the rows are copies of one record, each with another part left out; then equal
                parts are computed once, without gradients.
            others: as in [`~ClinRaGenForConditionalGeneration.forward`].
        """
        record = (past_values, past_observed_mask)
        embeds, mask, fields = self._embed(
            input_ids, attention_mask, *record, inputs_embeds, knowledge_mask, are_copies
        )
        decide = partial(self._decide, input_ids, attention_mask, *record, self._checked(term_evidence, embeds))
        return self._read_record(embeds, mask, decide, fields)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_values: torch.Tensor | None = None,
        past_observed_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.LongTensor | None = None,
        labels: torch.LongTensor | None = None,
        diagnosis_labels: torch.Tensor | None = None,
        encoder_outputs: ClinRaGenEncoderOutput | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values=None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        num_records_in_batch: torch.Tensor | int | None = None,
        skip_logits: bool | None = None,
        knowledge_mask: torch.Tensor | None = None,
        term_evidence: torch.Tensor | None = None,
        **kwargs,
    ) -> ClinRaGenLMOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): tokens of prompt and note.
            attention_mask (`torch.Tensor`, same shape): 1 for real tokens.
            past_values (`torch.Tensor` of shape `(batch_size, context_length, num_input_channels)`, *optional*):
                Standardised hourly series; unobserved cells may hold anything.
            past_observed_mask (`torch.Tensor`, same shape): 1 where a value was measured. Required with `past_values`.
            decoder_input_ids (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*): the target
                so far, from `decoder_start_token_id` on. Default: from `labels`.
            labels (`torch.LongTensor` of shape `(batch_size, target_length)`, *optional*): target; -100 ignored.
            diagnosis_labels (`torch.Tensor` of shape `(batch_size, num_labels)`, *optional*): 1 for each true
                diagnosis; adds the loss of the encoder's scores.
            encoder_outputs (`ClinRaGenEncoderOutput`, *optional*): from `encode`, in place of the inputs above.
            past_key_values (`Cache`, *optional*): as returned with `use_cache`; `decoder_input_ids` are then the
                tokens after it.
            num_items_in_batch, num_records_in_batch (*optional*): numbers of target tokens and of records in the
                global batch, over processes and accumulated steps, by which the sums of the two losses are divided.
                Default: those of this batch.
            skip_logits (`bool`, *optional*): return the loss without `logits`, in less time and memory. Default:
                `True` in training with `labels`.
            knowledge_mask (`torch.Tensor` of shape `(batch_size, num_knowledge_tokens)`, *optional*): 0 for terms (or
                prototypes) with masked values. Default: 1 for all.
            term_evidence (`torch.Tensor` of shape `(batch_size, 2, num_evidence_terms)`, *optional*): 1 for the terms
                of the processor's knowledge that the note shows, and that the series show. Default: none.
            kwargs (*optional*): for a seq2seq model, `decoder_attention_mask` and other arguments of its backbone.

        Raises:
            ValueError: if shapes do not fit the configuration, or the series come without their mask.
        """
        if encoder_outputs is None:
            record = (input_ids, attention_mask, past_values, past_observed_mask)
            encoder_outputs = self.encode(*record, inputs_embeds, knowledge_mask, term_evidence)
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        skip_logits = (self.training if skip_logits is None else skip_logits) and labels is not None
        on_states = skip_logits and self._head_is_linear()
        predicted, fields = self._decode(
            encoder_outputs,
            decoder_input_ids,
            on_states,
            past_key_values=past_key_values,
            use_cache=False if skip_logits else use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **kwargs,
        )
        loss = None
        if labels is not None:
            loss = (self._loss_of_states if on_states else token_loss)(predicted, labels, num_items_in_batch)
            loss = self._with_diagnosis_loss(loss, encoder_outputs, diagnosis_labels, num_records_in_batch)
            loss = self._with_alignment_loss(loss, encoder_outputs, num_records_in_batch)
        output = ClinRaGenLMOutput(
            loss=loss,
            logits=None if skip_logits else predicted,
            diagnosis_logits=encoder_outputs.get("diagnosis_logits"),
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            time_series_hidden_states=encoder_outputs.get("time_series_hidden_states"),
            knowledge_attentions=encoder_outputs.get("knowledge_attentions"),
            **fields,
        )
        return output if return_dict is not False else output.to_tuple()

    def _head_is_linear(self) -> bool:
        """Return whether the loss can be computed from the decoder's states, without the logits."""
        is_linear = type(self.get_output_embeddings()) is nn.Linear
        return is_linear and self.backbone.config.model_type in self.linear_heads

    def _loss_of_states(self, hidden_states, labels, num_items_in_batch) -> torch.Tensor:
        if getattr(self.backbone.config, "scale_decoder_outputs", False):  # T5 with its head tied to the embedding
            hidden_states = hidden_states * hidden_states.shape[-1] ** -0.5
        bias = getattr(self.backbone, "final_logits_bias", None)  # BART
        bias = None if bias is None else bias[0]
        return token_loss_of_states(hidden_states, self.get_output_embeddings(), bias, labels, num_items_in_batch)

    def _embed(
        self,
        input_ids,
        attention_mask,
        past_values,
        past_observed_mask,
        inputs_embeds,
        knowledge_mask,
        are_copies=False,
    ) -> tuple[torch.Tensor, torch.Tensor, dict]:
        """
        Embed a record for the backbone.

        Returns:
            Packed embeddings of note and series, `(batch, sequence_length, hidden)`; their mask; and the output's
            fields for the series.
        """
        self._validate_inputs(input_ids, inputs_embeds, past_values, past_observed_mask, knowledge_mask)
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)  # (batch, note_length, hidden)
        attention_mask, fields = self._mask_of(inputs_embeds, attention_mask), {}
        if past_values is not None:
            series = self.time_series_encoder(past_values, past_observed_mask, are_copies)
            tokens, token_mask, attention = self.knowledge_attention(
                series.last_hidden_state, series.patch_mask, self.get_input_embeddings(), knowledge_mask, are_copies
            )
            if self._aligns_knowledge():
                levels = self.time_series_encoder.patch_levels(past_values, past_observed_mask, attention.shape[2])
                fields["alignment_losses"] = self.knowledge_attention.alignment_losses(
                    attention, levels, series.patch_mask
                )
            fields["time_series_hidden_states"] = series.last_hidden_state
            if attention is not None:
                missing = self.config.num_patches - attention.shape[2]  # after the last measurement of the batch
                fields["knowledge_attentions"] = nn.functional.pad(attention, (0, 0, 0, missing))
            inputs_embeds = torch.cat([inputs_embeds, tokens.to(inputs_embeds.dtype)], dim=1)
            attention_mask = torch.cat([attention_mask, token_mask.long()], dim=1)
        inputs_embeds, attention_mask = pack_sequences(inputs_embeds, attention_mask, self.padding_side)
        self._validate_length(inputs_embeds.shape[1])
        return inputs_embeds, attention_mask, fields

    def _aligns_knowledge(self) -> bool:
        """Return whether the alignment loss of the knowledge attention is computed."""
        attention = self.knowledge_attention
        return (
            self.training
            and self.config.knowledge_alignment_weight > 0
            and attention.has_patterns
            and attention.query.weight.requires_grad
        )

    @staticmethod
    def _mask_of(inputs_embeds: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        if attention_mask is None:
            return torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        return attention_mask.long()

    def _checked(self, term_evidence: torch.Tensor | None, embeds: torch.Tensor) -> torch.Tensor | None:
        """Return `term_evidence` after checking its shape."""
        shape = (embeds.shape[0], 2, self.config.num_evidence_terms)
        if term_evidence is not None and tuple(term_evidence.shape) != shape:
            raise ValueError(
                f"`term_evidence` has shape {tuple(term_evidence.shape)}; expected (batch_size, 2, "
                f"num_evidence_terms) = {shape}"
            )
        return term_evidence

    def _decide(
        self, input_ids, text_mask, past_values, past_observed_mask, term_evidence, hidden_states, attention_mask
    ) -> tuple[torch.Tensor, dict]:
        """Return a token for each decision, `(batch, num_labels, hidden)`, and the output's fields with the scores."""
        member_logits = [self.diagnosis_head(hidden_states, attention_mask).float()]
        if self.diagnosis_head.linear is not None and input_ids is not None:
            text_mask = self._mask_of(input_ids, text_mask)
            read = (input_ids, text_mask, past_values, past_observed_mask, term_evidence)
            member_logits.append(self.diagnosis_head.linear(*read))
        diagnosis_logits = self.mix(member_logits)
        tokens = self.diagnosis_head.decision_tokens(diagnosis_logits).to(hidden_states.dtype)
        return tokens, {"diagnosis_logits": diagnosis_logits, "member_logits": torch.stack(member_logits, dim=1)}

    def mix(self, member_logits: list[torch.Tensor]) -> torch.Tensor:
        """Mix the logits, or differences of logits, of the encoder and of the linear classifier, if there is one."""
        share = self.config.decisions.mixture
        weights = (1 - share, share) if len(member_logits) == 2 else (1.0,)
        mixed = sum(weight * logits for weight, logits in zip(weights, member_logits, strict=True))
        return mixed / self.config.decisions.temperature

    def _with_diagnosis_loss(self, loss, encoder_outputs, diagnosis_labels, num_records_in_batch) -> torch.Tensor:
        if diagnosis_labels is None or encoder_outputs.get("member_logits") is None:
            return loss
        scores = encoder_outputs.member_logits[:, 0]
        diagnosis_loss = self._diagnosis_loss(scores, diagnosis_labels, num_records_in_batch)
        return loss + self.config.diagnosis_loss_weight * diagnosis_loss

    def _with_alignment_loss(self, loss, encoder_outputs, num_records_in_batch) -> torch.Tensor:
        losses = encoder_outputs.get("alignment_losses")
        if losses is None:
            return loss
        number = losses.shape[0] if num_records_in_batch is None else num_records_in_batch
        return loss + self.config.knowledge_alignment_weight * losses.sum() / number

    @staticmethod
    def _diagnosis_loss(logits: torch.Tensor, labels: torch.Tensor, num_records: torch.Tensor | int | None):
        losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
        return losses.mean(dim=1).sum() / (logits.shape[0] if num_records is None else num_records)

    @torch.no_grad()
    def diagnosis_probabilities(self, encoder_outputs: ClinRaGenEncoderOutput | None = None, **inputs) -> torch.Tensor:
        """
        Return the calibrated probability of each diagnosis, from the diagnosis head.

        Args:
            encoder_outputs (`ClinRaGenEncoderOutput`, *optional*): from `encode`; else the inputs of `forward`, of
                which only those of `encode` are used.

        Returns:
            `torch.Tensor` of shape `(batch_size, num_labels)`, in [0, 1].

        Raises:
            ValueError: if the model was built without a diagnosis head (`diagnosis_loss_weight=0`).
        """
        if self.diagnosis_head is None:
            raise ValueError("this model has no diagnosis head: it was trained with diagnosis_loss_weight=0")
        if encoder_outputs is None:
            encoder_outputs = self._encode_inputs(inputs)
        return encoder_outputs.diagnosis_logits.float().sigmoid()

    @torch.no_grad()
    def term_effects(self, term_evidence: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
        """
        Return the contribution of terms to the log-odds of each diagnosis of a record.

        Args:
            term_evidence (`torch.Tensor` of shape `(2, num_evidence_terms)`): of the record.
            left (`torch.Tensor` of shape `(number, 2, num_evidence_terms)`): copies without some of the terms.

        Returns:
            `torch.Tensor` of shape `(number, num_labels)`.
        """
        linear, decisions = self.diagnosis_head.linear, self.config.decisions
        effects = linear.evidence_logits(term_evidence.unsqueeze(0)) - linear.evidence_logits(left)
        return effects * decisions.mixture / decisions.temperature

    @torch.no_grad()
    def unseen_scores(self, term_evidence: torch.Tensor, links: torch.Tensor) -> torch.Tensor:
        """
        Score diseases that are not labels by their terms alone, with the weights that all labels share.

        Args:
            term_evidence (`torch.Tensor` of shape `(batch_size, 2, num_evidence_terms)`): of the records.
            links (`torch.Tensor` of shape `(4, num_evidence_terms, num_diseases)`): see
                [`RecordTerms.unseen_links`].

        Returns:
            `torch.Tensor` of shape `(batch_size, num_diseases)`: the contribution that such terms would make to the
            log-odds of a label. The frequency of the diseases is unknown, so the scores only rank them.
        """
        linear, decisions = self.diagnosis_head.linear, self.config.decisions
        scores = linear.evidence(term_evidence, None, links) @ linear.shared_evidence_weight.float()
        return scores * decisions.mixture / decisions.temperature

    def diagnosis_decisions(self, encoder_outputs: ClinRaGenEncoderOutput | None = None, **inputs) -> torch.Tensor:
        """
        Return the diagnoses that are made, and listed by `generate`: their probability reaches the label's threshold.

        Args and raises as [`~ClinRaGenForConditionalGeneration.diagnosis_probabilities`].

        Returns:
            `torch.BoolTensor` of shape `(batch_size, num_labels)`.
        """
        probabilities = self.diagnosis_probabilities(encoder_outputs, **inputs)
        return probabilities >= torch.tensor(self.config.decisions.thresholds, device=probabilities.device)

    def diagnosis_sets(
        self,
        encoder_outputs: ClinRaGenEncoderOutput | None = None,
        recall: float | None = 0.9,
        precision: float | None = None,
        confidence: float = 0.9,
        **inputs,
    ) -> ClinRaGenDiagnosisSets:
        """
        Return the diagnoses that cannot be ruled out at a chosen recall, and those that are confident at a chosen
        precision, with the guarantees of [`ClinRaGenDoubt`].

        Args:
            encoder_outputs, inputs: as for [`~ClinRaGenForConditionalGeneration.diagnosis_probabilities`].
            recall (`float`, *optional*, defaults to 0.9): the lowest share of a diagnosis's patients in its set.
            precision (`float`, *optional*): the lowest share of the patients in a set who have the diagnosis.
            confidence (`float`, *optional*, defaults to 0.9): the probability that the precision holds.

        Raises:
            ValueError: if the doubt was not fitted, or a share is not between 0 and 1.
        """
        probabilities, doubt = self.diagnosis_probabilities(encoder_outputs, **inputs), ClinRaGenDoubt.of(self.config)
        sets = {}
        if recall is not None:
            sets["possible_from"] = probabilities.new_tensor(doubt.possible_from(recall))
            sets["possible"] = probabilities >= sets["possible_from"]
        if precision is not None:
            sets["confident_from"] = probabilities.new_tensor(doubt.confident_from(precision, confidence))
            sets["confident"] = probabilities >= sets["confident_from"]
        return ClinRaGenDiagnosisSets(**sets)

    @torch.no_grad()
    def generate(
        self,
        inputs: torch.LongTensor | None = None,
        encoder_outputs: ClinRaGenEncoderOutput | None = None,
        logits_processor: list | None = None,
        **kwargs,
    ):
        """
        Generate as [`~GenerationMixin.generate`], with all its arguments. The list of diagnoses has only labels of the
        model, each once, and with a diagnosis head exactly its decisions; the rationale is free.

        Args:
            inputs (`torch.LongTensor`, *optional*): `input_ids`, as the first argument.
            encoder_outputs (`ClinRaGenEncoderOutput`, *optional*): from `encode`, in place of the inputs.

        With `decoder_input_ids` the text is already begun, and nothing is constrained.
        """
        if encoder_outputs is None:
            encoder_outputs = self._encode_inputs(kwargs if inputs is None else {**kwargs, "input_ids": inputs})
        for name in ENCODER_INPUTS:
            kwargs.pop(name, None)
        if self.config.decisions.token_ids and kwargs.get("decoder_input_ids") is None:
            grammar = DiagnosisGrammar(**self.config.decisions.token_ids)
            decisions = None if self.diagnosis_head is None else self.diagnosis_decisions(encoder_outputs)
            logits_processor = [ClinRaGenDiagnosisLogitsProcessor(grammar, decisions), *(logits_processor or [])]
        inputs = self._generation_inputs(encoder_outputs, kwargs.pop("decoder_input_ids", None))
        return super().generate(logits_processor=logits_processor, **inputs, **kwargs)

    def _encode_inputs(self, inputs: dict) -> ClinRaGenEncoderOutput:
        return self.encode(**{name: inputs[name] for name in ENCODER_INPUTS if name in inputs})

    def _validate_inputs(self, input_ids, inputs_embeds, past_values, past_observed_mask, knowledge_mask=None) -> None:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give the note either as `input_ids` or as `inputs_embeds`")
        if (past_values is None) != (past_observed_mask is None):
            raise ValueError("`past_values` and `past_observed_mask` go together: one of them is missing")
        rows = (input_ids if input_ids is not None else inputs_embeds).shape[0]
        grid = {"context_length": self.config.context_length, "num_input_channels": self.config.num_input_channels}
        for name, tensor, sizes in (
            ("past_values", past_values, grid),
            ("past_observed_mask", past_observed_mask, grid),
            ("knowledge_mask", knowledge_mask, {"num_knowledge_tokens": self.config.num_knowledge_tokens}),
        ):
            if tensor is not None and tuple(tensor.shape) != (rows, *sizes.values()):
                raise ValueError(
                    f"`{name}` has shape {tuple(tensor.shape)}; expected (batch_size, {', '.join(sizes)}) = "
                    f"{(rows, *sizes.values())}"
                )

    def _validate_length(self, length: int) -> None:
        reader = getattr(self.backbone.config, "encoder", self.backbone.config)
        limit = getattr(reader, "max_position_embeddings", None)
        if limit is not None and length > limit:
            raise ValueError(
                f"{self.length_parts} together make {length} tokens, but the backbone reads at most {limit}: "
                "lower the processor's max_note_tokens or the series' context_length"
            )


class ClinRaGenForConditionalGeneration(ClinRaGenLanguageModel):
    """
    A seq2seq language model that reads a note and lab/vital-sign series and writes diagnoses and their rationale.

    Series are encoded by PatchTST, merged with medical knowledge, joined to the note's token embeddings, and encoded
    by the language model's own encoder.

    Source: arXiv 2411.07611.
    """

    backbone_auto_class = AutoModelForSeq2SeqLM
    linear_heads = ("t5", "bart", "mbart")

    def _read_record(
        self, embeds: torch.Tensor, mask: torch.Tensor, decide: Callable, fields: dict
    ) -> ClinRaGenEncoderOutput:
        hidden_states = self._encode_record(embeds, mask)
        if self.diagnosis_head is not None:
            tokens, scores = decide(hidden_states, mask)
            fields |= scores
            hidden_states = torch.cat([hidden_states, tokens], dim=1)
            mask = torch.cat([mask, mask.new_ones(tokens.shape[:2])], dim=1)
        return ClinRaGenEncoderOutput(last_hidden_state=hidden_states, attention_mask=mask, **fields)

    def _encode_record(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled() and T5Encoding.fits(self.backbone):
            return T5Encoding(self.backbone).read(embeds, mask)
        return self.backbone.get_encoder()(inputs_embeds=embeds, attention_mask=mask)[0]

    def _decode(
        self,
        encoder_outputs: ClinRaGenEncoderOutput,
        decoder_input_ids: torch.LongTensor | None,
        on_states: bool,
        decoder_attention_mask: torch.Tensor | None = None,
        **options,
    ) -> tuple[torch.Tensor, dict]:
        """Return the decoder's states, or the logits, of the target, and the output's fields for it."""
        if on_states:
            decoded = self.get_decoder()(
                input_ids=decoder_input_ids,
                attention_mask=decoder_attention_mask,
                encoder_hidden_states=encoder_outputs.last_hidden_state,
                encoder_attention_mask=encoder_outputs.attention_mask,
                return_dict=True,
                **options,
            )
        else:
            decoded = self.backbone(
                encoder_outputs=BaseModelOutput(last_hidden_state=encoder_outputs.last_hidden_state),
                attention_mask=encoder_outputs.attention_mask,
                decoder_input_ids=decoder_input_ids,
                decoder_attention_mask=decoder_attention_mask,
                return_dict=True,
                **options,
            )
        return decoded.last_hidden_state if on_states else decoded.logits, {
            "past_key_values": None if options["use_cache"] is False else decoded.past_key_values,
            "decoder_hidden_states": decoded.get("decoder_hidden_states", decoded.get("hidden_states")),
            "decoder_attentions": decoded.get("decoder_attentions", decoded.get("attentions")),
            "cross_attentions": decoded.cross_attentions,
        }

    def _generation_inputs(self, encoder_outputs: ClinRaGenEncoderOutput, decoder_input_ids) -> dict:
        attended = ClinRaGenEncoderOutput(
            encoder_outputs.last_hidden_state, attention_mask=encoder_outputs.attention_mask
        )
        begun = {} if decoder_input_ids is None else {"decoder_input_ids": decoder_input_ids}
        return {"encoder_outputs": attended, **begun}


ClinRaGenForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")


__all__ = ["ClinRaGenForConditionalGeneration", "ClinRaGenLanguageModel", "ClinRaGenPreTrainedModel"]
