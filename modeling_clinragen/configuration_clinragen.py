# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""ClinRaGen model configuration."""

from copy import deepcopy

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PatchTSTConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .clinical_clinragen import CHANNELS, PHENOTYPES, with_statistics
from .integrity_clinragen import check_decisions, check_layers, check_written
from .shapes_clinragen import CHANNEL, fault_of


LEVELS = ("low", "high")
TIME_SERIES_DEFAULTS = {
    "num_input_channels": len(CHANNELS),
    "context_length": 1000,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 768,
    "ffn_dim": 1536,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "norm_type": "layernorm",
    "scaling": None,
}
FLAT_DECISIONS = {  # fields of `decisions`, by the names that they had in the configuration itself
    "diagnosis_mixture": "mixture",
    "diagnosis_temperature": "temperature",
    "diagnosis_thresholds": "thresholds",
    "diagnosis_token_ids": "token_ids",
    "doubt": "doubt",
}


@strict
class ClinRaGenDecisionsConfig(PreTrainedConfig):
    """
    Fitted state of a model, apart from its architecture: how scores become decisions, and their guarantees.

    Args:
        mixture (`float`, *optional*, defaults to 0.0):
            Share of the linear classifier's scores in their mean with the encoder's; fitted on validation.
        temperature (`float`, *optional*, defaults to 1.0):
            Divides that mean before the sigmoid; fitted on validation.
        thresholds (`list[float]`, *optional*):
            Lowest probability at which each diagnosis is made; fitted on validation. Default: 0.5 for all.
        token_ids (`dict`, *optional*):
            Parts of a valid list of diagnoses in the backbone's vocabulary, from
            [`ClinRaGenProcessor.diagnosis_token_ids`]. Without it generation is not constrained.
        doubt (`dict`, *optional*):
            Statistics of the calibration split, the arguments of [`ClinRaGenDoubt`]; fitted on validation. Without
            them there are no guarantees.

    Raises:
        ValueError: if a number is out of its range.
    """

    model_type = "clinragen_decisions"

    mixture: float = 0.0
    temperature: float = 1.0
    thresholds: list[float] | None = None
    token_ids: dict | None = None
    doubt: dict | None = None

    def __post_init__(self, **kwargs):
        if self.doubt is not None and "evidence_limits" in self.doubt:  # the name in older files
            self.doubt = {**self.doubt, "support_limits": self.doubt["evidence_limits"]}
            del self.doubt["evidence_limits"]
        super().__post_init__(**kwargs)
        if not 0 <= self.mixture <= 1:
            raise ValueError(f"`decisions.mixture` is a share between 0 and 1, not {self.mixture}")
        if not self.temperature > 0:
            raise ValueError(f"`decisions.temperature` must be positive, not {self.temperature}")


@strict
class ClinRaGenConfig(PreTrainedConfig):
    r"""
    Configuration of a [`ClinRaGenForConditionalGeneration`] or [`ClinRaGenForCausalLM`]: a language model, seq2seq or
    decoder-only, a PatchTST encoder of lab and vital-sign series, and the knowledge that is merged into the series.

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of any `AutoModelForSeq2SeqLM`, or of an `AutoModelForCausalLM` such as OPT, Qwen or LLaMA,
            which makes `is_encoder_decoder` false. Default: T5 in its small size, the shape of the paper's FLAN-T5
            small.
        time_series_config (`PatchTSTConfig` or `dict`, *optional*):
            Configuration of the series encoder; a `dict` needs only the values that differ. Default: the paper's 1,000
            steps in patches of 8 and width 768, with `norm_type="layernorm"`, so that no record's encoding depends on
            its batch.
        labels (`list[str]`, *optional*):
            Diagnosis names; the position is the class id. Default: the paper's 25.
        channels (`list[dict]`, *optional*):
            One entry per series channel, in input order: `name`, `unit`, `low` and `high` (the usual limits, for
            people and claims; `None` for no limit), optionally `clearly_low` and `clearly_high` (the limits beyond
            which all conventions agree), `minimum` and `maximum` (plausibility limits), and the
            standardisation statistics `mean` and `std`, by default the middle and a quarter of the usual range.
            Default: the paper's 11 with clinical ranges, and statistics that follow from the release's.
        knowledge_terms (`list[str]`, *optional*):
            Names of the medical terms that the series attend to. Without terms, series are only projected.
        knowledge_input_ids (`list[list[int]]`, *optional*):
            Token ids of each term in the backbone's vocabulary, one list per term.
        knowledge_attention_type (`str`, *optional*, defaults to `"term"`):
            `"term"`: keys and values are the terms, so that each weight belongs to a term. `"prototype"`, as in the
            paper: a linear map first mixes the embeddings of all tokens of the terms into a few prototypes.
        num_knowledge_prototypes (`int`, *optional*, defaults to 24):
            Number of mixtures in the `"prototype"` form.
        knowledge_num_attention_heads (`int`, *optional*, defaults to 8):
            Heads of the knowledge attention.
        knowledge_head_dim (`int`, *optional*, defaults to 32):
            Width of each head.
        use_knowledge_residual (`bool`, *optional*, defaults to `True`):
            Add the projected series to the attended knowledge. `False`, as in the paper: the attended knowledge alone.
        knowledge_patterns (`list[list]`, *optional*):
            For each term, the channel and the level (`"low"` or `"high"`) that it names, as `[channel id, level]`, or
            `None`. With them a patch may attend to nothing, and `knowledge_alignment_weight` takes effect.
        knowledge_alignment_weight (`float`, *optional*, defaults to 0.0):
            Weight of an additional loss that makes each patch attend to the terms of its own channel and level, and a
            patch of usual values to nothing.
        num_evidence_terms (`int`, *optional*, defaults to 0):
            Number of terms in the processor's knowledge, of which the linear classifier reads those that a record
            shows. 0: it reads none, as in the paper.
        max_series_tokens_per_channel (`int`, *optional*):
            Maximum number of tokens of a channel for the language model: if a record has more patches, each token
            pools several neighbours. Default: one token for each patch, as in the paper.
        patch_layout (`str`, *optional*, defaults to `"fixed"`):
            `"paper"` reads the (time, channel) grid as if it were (channel, time), as the original release does.
        diagnosis_loss_weight (`float`, *optional*, defaults to 1.0):
            Weight of the diagnosis head's binary cross-entropy beside the language-model loss. The decoder attends to
            the head's decisions. `0.0`, as in the paper, builds no head; then there are no probabilities.
        use_linear_classifier (`bool`, *optional*, defaults to `True`):
            A linear classifier of tokens and series statistics scores the diagnoses beside the encoder.
        num_token_pairs (`int`, *optional*, defaults to 8192):
            Number of pairs of neighbouring tokens, the most frequent ones, that the linear classifier knows.
        label_similarity_model (`str`, *optional*):
            Sentence encoder that measured the similarity of each word to each label's name, for the linear classifier;
            needed only while the classifier is fitted. Without it the classifier does not use the meaning of words.
        decisions (`ClinRaGenDecisionsConfig` or `dict`, *optional*):
            Everything that is fitted rather than trained, see [`ClinRaGenDecisionsConfig`].
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of new embeddings.

    Raises:
        ValueError: if parts do not fit together; the message names the field.

    Example:

    ```python
    >>> from modeling_clinragen import ClinRaGenConfig

    >>> config = ClinRaGenConfig()
    >>> len(config.labels), config.num_input_channels, config.num_patches
    (25, 11, 125)

    ```

    Source: arXiv 2411.07611. Differs from it: term attention, the residual, pooled series tokens, layer norm and the
    diagnosis head.
    """

    model_type = "clinragen"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="t5"),
        "time_series_config": SubConfigSpec(config_class=PatchTSTConfig, init_kwargs=TIME_SERIES_DEFAULTS),
        "decisions": SubConfigSpec(config_class=ClinRaGenDecisionsConfig),
    }

    is_encoder_decoder: bool = True
    text_config: dict | PreTrainedConfig | None = None
    time_series_config: dict | PreTrainedConfig | None = None
    labels: list[str] | None = None
    channels: list[dict] | None = None
    knowledge_terms: list[str] | None = None
    knowledge_input_ids: list[list[int]] | None = None
    knowledge_attention_type: str = "term"
    num_knowledge_prototypes: int = 24
    knowledge_num_attention_heads: int = 8
    knowledge_head_dim: int = 32
    use_knowledge_residual: bool = True
    knowledge_patterns: list[list | None] | None = None
    knowledge_alignment_weight: float = 0.0
    num_evidence_terms: int = 0
    max_series_tokens_per_channel: int | None = None
    patch_layout: str = "fixed"
    diagnosis_loss_weight: float = 1.0
    use_linear_classifier: bool = True
    num_token_pairs: int = 8192
    label_similarity_model: str | None = None
    decisions: dict | PreTrainedConfig | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        fault = fault_of(self.channels, (None, [CHANNEL]), "channels")
        if fault:
            raise ValueError(fault)
        if self.labels is None:
            self.labels = [phenotype["name"] for phenotype in PHENOTYPES]
        self.channels = [_with_statistics(channel) for channel in self.channels or CHANNELS]
        self.knowledge_terms = self.knowledge_terms or []
        self.knowledge_input_ids = self.knowledge_input_ids or []
        self.knowledge_patterns = self.knowledge_patterns or []
        self.text_config = deepcopy(self.text_config)  # not shared with a backbone of that configuration
        if isinstance(self.time_series_config, dict):
            self.time_series_config = {**TIME_SERIES_DEFAULTS, **self.time_series_config}
        flat = {field: kwargs.pop(name) for name, field in FLAT_DECISIONS.items() if name in kwargs}
        if flat:
            self.decisions = {**flat, **(self.decisions or {})}
        self.id2label = dict(enumerate(self.labels))
        super().__post_init__(**kwargs)
        if self.decisions.thresholds is None:
            self.decisions.thresholds = [0.5] * len(self.labels)
        self.is_encoder_decoder = self.text_config.is_encoder_decoder
        self._copy_special_tokens()
        self._validate()

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """Make a configuration as [`~PreTrainedConfig.from_dict`], after checking that the file is complete."""
        check_written(config_dict, tuple(FLAT_DECISIONS))
        return super().from_dict(config_dict, **kwargs)

    def _copy_special_tokens(self):
        decoder = self.text_config.get_text_config(decoder=True)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"):
            candidates = [getattr(config, name, None) for config in (self, self.text_config, decoder)]
            setattr(self, name, next((value for value in candidates if value is not None), None))
        if not self.is_encoder_decoder:
            self._fill_special_tokens()
            return
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.pad_token_id  # the convention of T5
        for name in ("pad_token_id", "decoder_start_token_id"):  # a backbone shifts its labels by these two
            if getattr(self.text_config, name, None) is None:
                setattr(self.text_config, name, getattr(self, name))

    def _fill_special_tokens(self):
        """Fill in tokens that a decoder-only model may lack: for the start of a target, and for padding."""
        end = self.eos_token_id[0] if isinstance(self.eos_token_id, list) else self.eos_token_id
        if self.pad_token_id is None:
            self.pad_token_id = end
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = end if self.bos_token_id is None else self.bos_token_id

    def _validate(self):
        series = self.time_series_config
        if series.num_input_channels != len(self.channels):
            raise ValueError(
                f"time_series_config.num_input_channels is {series.num_input_channels}, "
                f"but `channels` names {len(self.channels)}"
            )
        if series.context_length % series.patch_length or series.patch_stride != series.patch_length:
            raise ValueError(
                f"time_series_config needs patches side by side that fill the context: context_length "
                f"{series.context_length}, patch_length {series.patch_length}, patch_stride {series.patch_stride}"
            )
        if series.channel_attention or series.use_cls_token or series.scaling:
            raise ValueError("time_series_config: channel_attention, use_cls_token and scaling are not supported")
        if len(self.knowledge_terms) != len(self.knowledge_input_ids) or not all(self.knowledge_input_ids):
            raise ValueError(
                f"`knowledge_input_ids` needs at least one token id for each of the {len(self.knowledge_terms)} "
                f"`knowledge_terms`; it has {len(self.knowledge_input_ids)} entries"
            )
        if self.knowledge_patterns:
            _check_patterns(self.knowledge_patterns, len(self.knowledge_terms), len(self.channels))
        choices = {"knowledge_attention_type": ("term", "prototype"), "patch_layout": ("fixed", "paper")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        if self.max_series_tokens_per_channel is not None and self.max_series_tokens_per_channel < 1:
            raise ValueError(
                f"`max_series_tokens_per_channel` is at least 1, or None, not {self.max_series_tokens_per_channel}"
            )
        check_decisions(self)
        check_layers(self)
        if len(set(self.labels)) != len(self.labels) or not self.labels:
            raise ValueError("`labels` needs at least one name, each once")

    @property
    def num_input_channels(self) -> int:
        return self.time_series_config.num_input_channels

    @property
    def context_length(self) -> int:
        return self.time_series_config.context_length

    @property
    def num_patches(self) -> int:
        return self.context_length // self.time_series_config.patch_length

    @property
    def num_knowledge_tokens(self) -> int:
        is_mixed = self.knowledge_terms and self.knowledge_attention_type == "prototype"
        return self.num_knowledge_prototypes if is_mixed else len(self.knowledge_terms)


def _with_statistics(channel: dict) -> dict:
    """Return a copy of the channel with `mean` and `std`."""
    channel = with_statistics(deepcopy(channel))
    if not channel["std"] > 0:
        raise ValueError(f"channel {channel['name']!r}: `std` must be positive, not {channel['std']}")
    return channel


def _check_patterns(patterns: list, num_terms: int, num_channels: int) -> None:
    known = all(
        pattern is None or (len(pattern) == 2 and pattern[0] in range(num_channels) and pattern[1] in LEVELS)
        for pattern in patterns
    )
    if len(patterns) != num_terms or not known:
        raise ValueError(
            f"`knowledge_patterns` needs `None` or [channel id, {' or '.join(LEVELS)}] for each of the {num_terms} "
            "`knowledge_terms`"
        )


ClinRaGenConfig.register_for_auto_class()


__all__ = ["ClinRaGenConfig", "ClinRaGenDecisionsConfig"]
