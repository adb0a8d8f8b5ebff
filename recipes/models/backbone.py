# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The language model that stage 1 starts from: a pretrained one, a pretrained encoder, or random weights."""

from collections.abc import Iterable

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    EncoderDecoderModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
)

from datasets_scripts.common.checkpoints import fit_vocabulary, pretrained, pretrained_weights, reason_of
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.integrity_clinragen import fault_of_weights


FEWEST_TOKENS = 10  # besides special ones; a byte-level tokenizer has 256


def load_backbone(
    name_or_path: str, decoder_config: dict | None = None, with_weights: bool = True
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Return a pretrained backbone, in single precision whatever it is stored in, and its tokenizer.

    Args:
        name_or_path (`str`): a seq2seq checkpoint (T5, BART, ...), a decoder-only one (OPT, Qwen, LLaMA, ...), also as
            `FOLDER/FILE.gguf`, or an encoder (BERT and its like), which gets a decoder with random weights.
        decoder_config (`dict`, *optional*): changes of that decoder's configuration to the encoder's.
        with_weights (`bool`, *optional*, defaults to `True`): `False` puts weights without values on the meta device.

    Raises:
        ClinRaGenInputError: if no model can be loaded from there, or it is damaged.
    """
    checkpoint, options = pretrained(name_or_path)
    try:
        config = AutoConfig.from_pretrained(checkpoint, **options)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
        _check_tokens(tokenizer, config, set(tokenizer.get_added_vocab().values()) if options else set())
        if type(config) in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            return _read(AutoModelForSeq2SeqLM, name_or_path, with_weights), tokenizer
        if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            model = _read(AutoModelForCausalLM, name_or_path, with_weights)
            if options:
                fit_vocabulary(model, tokenizer)
            return model, tokenizer
        encoder = _read(AutoModel, name_or_path, with_weights)
        return _with_decoder(encoder, decoder_config or {}, tokenizer), tokenizer
    except Exception as error:  # libraries raise errors of any class for damaged files
        raise ClinRaGenInputError(
            f"model_name_or_path: no model to load from {name_or_path}: {reason_of(error)}"
        ) from error


def _check_tokens(tokenizer: PreTrainedTokenizerBase, config, added: set[int]) -> None:
    """
    Check that a tokenizer has words (the libraries make one even without files), and no token beyond the model's
    vocabulary, except those `added` to a GGUF file's.
    """
    ids, size = set(tokenizer.get_vocab().values()), config.get_text_config().vocab_size
    if len(ids - set(tokenizer.all_special_ids)) < FEWEST_TOKENS:
        raise ValueError("its tokenizer has no words; tokenizer.json, or the files of another kind, are missing")
    if max(ids - added) >= size:
        raise ValueError(f"its tokenizer has token {max(ids - added)}, but the model a vocabulary of {size}")


def _read(kind: type, name_or_path: str, with_weights: bool) -> PreTrainedModel:
    """Load weights, all of them present and finite; weights of unused heads may be missing or left over."""
    checkpoint, options = pretrained_weights(name_or_path)
    if not with_weights and "gguf_file" in options:  # a GGUF file is always read as a whole
        config = AutoConfig.from_pretrained(checkpoint, gguf_file=options["gguf_file"])
        with torch.device("meta"):
            return kind.from_config(config, dtype=torch.float32)
    options |= {} if with_weights else {"device_map": "meta"}
    model, loading_info = kind.from_pretrained(checkpoint, **options, dtype=torch.float32, output_loading_info=True)
    missing = {name for name in loading_info["missing_keys"] if "pooler" not in name}  # the pooler is not used here
    fault = fault_of_weights(model, {"missing_keys": missing, "unexpected_keys": ()})
    if fault:
        raise ValueError(fault)
    return model


def _with_decoder(
    encoder: PreTrainedModel, decoder_config: dict, tokenizer: PreTrainedTokenizerBase
) -> EncoderDecoderModel:
    changed = {**encoder.config.to_dict(), **decoder_config, "is_decoder": True, "add_cross_attention": True}
    with encoder.device:
        decoder = AutoModelForCausalLM.from_config(type(encoder.config)(**changed))
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.sep_token_id
    model.config.decoder_start_token_id = tokenizer.cls_token_id
    embedding, encoder_embedding = decoder.get_input_embeddings().weight, encoder.get_input_embeddings().weight
    if embedding.shape == encoder_embedding.shape:  # initialized with the encoder's
        embedding.data.copy_(encoder_embedding)
    return model


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """Return a tokenizer's special tokens as a configuration names them."""
    return {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}


def train_tokenizer(texts: Iterable[str], phrases: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """
    Return a tokenizer with T5's special tokens for a backbone with random weights.

    Byte-pair merges within words; digits and punctuation are tokens of their own; frequent words are one token.
    Decoding restores the text.

    Args:
        texts (iterable of `str`): the training split's notes and targets, never those of another split.
        phrases (iterable of `str`): texts of one token each, with the space before them: diagnoses and headings, which
            a model without pretraining would otherwise have to learn to spell.
        vocab_size (`int`): upper bound, without the phrases.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    specials = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=100_000
    )
