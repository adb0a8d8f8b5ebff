# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A causal language model that reads note and series as text and writes diagnoses and rationales, fine-tuned by low-rank
adapters (Hu et al., LoRA, 2022, by peft) with TRL's SFTTrainer, as the paper's LLaMA baselines (Touvron et al., 2023).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from tqdm import tqdm

from datasets_scripts.common.checkpoints import fields_at_fault, fit_vocabulary, pretrained, pretrained_weights
from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.claims_clinragen import ClaimChecker, describe_anomalies
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.processing_clinragen import PROMPT, TARGET
from recipes.baselines.common import Fitted, Task
from recipes.baselines.settings import DecoderSettings
from recipes.evaluation.prediction import NOTHING
from recipes.models.backbone import train_tokenizer
from recipes.training.checkpoints import last_checkpoint
from recipes.training.data import target_texts


if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import SFTTrainer

READS = ("note", "lab")


def fit(task: Task, settings: DecoderSettings) -> Fitted:
    from transformers import set_seed

    if not any(task.train["teacher"]):
        raise ClinRaGenInputError(
            "split 'train' has no rationales for the decoder to learn; run datasets_scripts/generate_rationales.py"
        )
    set_seed(task.seed)  # before any weight is drawn
    if settings.model_name_or_path is None:
        model, tokenizer = pretrained_on_texts(task, settings)
    else:
        model, tokenizer = load_language_model(settings.model_name_or_path)
    processor = ClinRaGenProcessor(
        task.extractor, tokenizer, task.labels, settings.max_note_tokens, language=task.language
    )
    num_parameters = model.num_parameters()
    trainer = adapter_trainer(model, processor, task, settings)
    trained = trainer.model.get_nb_trainable_parameters()[0]
    trainer.train(resume_from_checkpoint=last_checkpoint(trainer.args.output_dir))
    writer = trainer.model.merge_and_unload().eval()
    return Fitted(
        lambda records: answers(writer, processor, records, settings),
        num_parameters,
        {"model": settings.model_name_or_path, "trained_parameters": trained},
    )


def load_language_model(name_or_path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Return a causal language model, in bfloat16 on a GPU that supports it, and its tokenizer.

    Raises:
        ClinRaGenInputError: if nothing can be loaded from there.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (checkpoint, options), (_, weights) = pretrained(name_or_path), pretrained_weights(name_or_path)
    dtype = torch.bfloat16 if has_bf16() else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, **weights, dtype=dtype)
    except (OSError, ValueError) as error:
        raise ClinRaGenInputError(f"model_name_or_path: no causal model in {name_or_path}: {error}") from None
    if options:
        fit_vocabulary(model, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def has_bf16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def pretrained_on_texts(task: Task, settings: DecoderSettings) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Return a small Llama, trained in full to continue the texts of the training split: each note,
    what its series shows, and the rationales for it. These texts do not include the lists of diagnoses.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    texts = {"train": documents(task.train, task.extractor), "validation": documents(task.validation, task.extractor)}
    phrases = [f" {label}" for label in task.labels] + re.findall(r" ?### [\w ]+:", TARGET)
    tokenizer = train_tokenizer([*texts["train"], PROMPT, ", ".join(task.labels)], phrases, settings.vocab_size)
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    config = {"model_type": "llama", **settings.text_config, "vocab_size": len(tokenizer), **special}
    with fields_at_fault("text_config"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    rows = {
        split: Dataset.from_dict({"input_ids": tokenizer(split_texts)["input_ids"]})
        for split, split_texts in texts.items()
    }
    trainer = sft_trainer(model, tokenizer, rows, task.work / "pretraining", task.seed, settings.pretraining)
    trainer.train(resume_from_checkpoint=last_checkpoint(trainer.args.output_dir))
    return trainer.model, tokenizer


def documents(records: Dataset, extractor: ClinRaGenFeatureExtractor) -> list[str]:
    columns = (records["note"], captions(records, extractor), records["note_rationale"], records["lab_rationale"])
    return [" ".join(" ".join(texts).split()) for texts in zip(*columns, strict=True)]


def captions(records: Dataset, extractor: ClinRaGenFeatureExtractor) -> list[str]:
    """Return each series as text, for the hours that ClinRaGen models read."""
    texts = []
    for row in records.select_columns(["lab_values", "lab_times"]):
        values, times = extractor.validate(row["lab_values"], row["lab_times"])
        read = (times >= 0) & (times < extractor.context_length)
        texts.append(describe_anomalies(values[read], extractor.channels))
    return texts


def adapter_trainer(
    model: PreTrainedModel, processor: ClinRaGenProcessor, task: Task, settings: DecoderSettings
) -> SFTTrainer:
    """Train adapters and the modules in `lora.modules_to_save` on the answers alone; all other weights are frozen."""
    from peft import LoraConfig

    lora = _built(LoraConfig, "lora", {"task_type": "CAUSAL_LM", **settings.lora})
    rows = {
        "train": encoded(task.train, processor, settings.max_target_tokens),
        "validation": encoded(task.validation, processor, settings.max_target_tokens),
    }
    return sft_trainer(model, processor.tokenizer, rows, task.work / "adapters", task.seed, settings.training, lora)


def encoded(records: Dataset, processor: ClinRaGenProcessor, max_target_tokens: int) -> Dataset:
    """Return `input_ids` of prompt and answer, and `labels`, which are -100 for the prompt."""
    tokenizer = processor.tokenizer
    targets = target_texts(records[:], processor, rationales=["note", "lab"])
    rows = []
    for prompt, target, teacher in zip(prompt_ids(records, processor), targets, records["teacher"], strict=True):
        answer = tokenizer(f" {target}", add_special_tokens=False)["input_ids"]
        answer = [*answer, tokenizer.eos_token_id] if teacher else answer
        answer = answer[:max_target_tokens]
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return Dataset.from_list(rows)


def prompt_ids(records: Dataset, processor: ClinRaGenProcessor) -> list[list[int]]:
    """Return the tokens of each record's prompt, with the series as text after "Lab Test:"."""
    tokenizer = processor.tokenizer
    notes, series = processor.cut_notes(records["note"]), captions(records, processor.feature_extractor)
    prompts = [f"{PROMPT.format(note=note)} {caption}" for note, caption in zip(notes, series, strict=True)]
    tokens = tokenizer(prompts)["input_ids"]
    return [ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids for ids in tokens]  # some append it


def sft_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: dict[str, Dataset],
    output_dir: Path,
    seed: int,
    fields: dict,
    lora: LoraConfig | None = None,
) -> SFTTrainer:
    """Return TRL's trainer that keeps the epoch with the lowest loss on the validation split."""
    from trl import SFTConfig, SFTTrainer

    defaults = {
        "max_length": None,  # notes and answers are truncated already
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "bf16": has_bf16(),
        "report_to": "none",
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    config = {**defaults, **fields, "output_dir": str(output_dir), "seed": seed}
    return SFTTrainer(
        model=model,
        args=_built(SFTConfig, output_dir.name, config),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        peft_config=lora,
    )


def _built(kind: type, name: str, fields: dict):
    try:
        return kind(**fields)
    except (TypeError, ValueError) as error:
        raise ClinRaGenInputError(f"arguments: {name}: {error}") from None


def answers(
    model: PreTrainedModel, processor: ClinRaGenProcessor, records: Dataset, settings: DecoderSettings
) -> list[dict]:
    """Read and check what the model writes, as the pipeline does."""
    extractor = processor.feature_extractor
    check, read, found = ClaimChecker(extractor.channels), processor.spoken.read, []
    for row, text in zip(records, written(model, processor, records, settings), strict=True):
        parsed = processor.parse(text)
        note, lab, about = (read(part) for part in (parsed["note_rationale"], parsed["lab_rationale"], row["note"]))
        claims = lab.restored(check(lab.text, row["lab_times"], row["lab_values"]))
        note_claims = note.restored(check_note_claims(note.text, about.text), about)
        found.append(
            {
                **NOTHING,
                "diagnoses": [{"label": name, "probability": None} for name in parsed["diagnoses"]],
                "note_rationale": parsed["note_rationale"],
                "lab_rationale": parsed["lab_rationale"],
                "generated_text": text,
                "claims": [asdict(claim) for claim in claims],
                "note_claims": [asdict(claim) for claim in note_claims],
            }
        )
    return found


@torch.no_grad()
def written(
    model: PreTrainedModel, processor: ClinRaGenProcessor, records: Dataset, settings: DecoderSettings
) -> Iterator[str]:
    """Return the model's greedy answer to each record, in order."""
    tokenizer, prompts = processor.tokenizer, prompt_ids(records, processor)
    for start in tqdm(range(0, len(prompts), settings.generation_batch_size), desc="Answering", unit="batch"):
        batch = {"input_ids": prompts[start : start + settings.generation_batch_size]}
        batch = tokenizer.pad(batch, padding_side="left", return_tensors="pt").to(model.device)
        tokens = model.generate(**batch, max_new_tokens=settings.max_target_tokens, do_sample=False)
        yield from tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
