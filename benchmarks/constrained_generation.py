# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the cost of lists of diagnoses that are valid by construction: processor time of generation with the
constraint and without, in turn, from random weights. Every text has the same number of tokens, so the work is equal.

    python -m benchmarks.constrained_generation
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
import yaml

from datasets_scripts.common.command import run_command
from modeling_clinragen import (
    PHENOTYPES,
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenForConditionalGeneration,
    ClinRaGenProcessor,
)
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.processing_clinragen import TARGET
from recipes import quickstart
from recipes.models.backbone import train_tokenizer


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
SHAPES = ("quickstart", "t5-small")
BEAMS = (1, 4)
SHARE_DIAGNOSED = 0.15  # of the labels, at random; about four a record
NOTE = "Productive cough and shaking chills for two days, denies chest pain; history of heart failure. " * 4


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description="Time of generation with the constraint on diagnoses and without.")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES, help="of the language model")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--new-tokens", type=int, default=128, help="of every text; default: 128")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of calls that are timed; default: 15")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    arguments = parser.parse_args(argv)
    runs = []
    for shape in arguments.shapes:
        model, batch = prepare(shape, arguments.batch_size)
        for num_beams in BEAMS:
            pairs = list(timed_pairs(model, batch, num_beams, arguments.new_tokens, arguments.rounds))
            runs.append({"shape": shape, "num_beams": num_beams, **figures(pairs)})
    if arguments.output:
        arguments.output.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    show(runs)
    return runs


def prepare(shape: str, batch_size: int) -> tuple[ClinRaGenForConditionalGeneration, dict]:
    """Return a model of that shape, with random weights and about four diagnoses a record; and a batch for it."""
    torch.manual_seed(0)
    stage = yaml.safe_load((quickstart.CONFIGS / "stage1.yaml").read_text(encoding="utf-8"))
    phrases = [f" {label}" for label in LABELS] if shape == "quickstart" else []  # otherwise names have several tokens
    tokenizer = train_tokenizer([NOTE, TARGET, NO_DISEASE, *LABELS], phrases, vocab_size=600)
    text_config = {**stage["text_config"], "vocab_size": stage["vocab_size"]} if phrases else {"model_type": "t5"}
    config = ClinRaGenConfig(text_config=text_config, time_series_config=stage["time_series_config"])
    model = ClinRaGenForConditionalGeneration(config).eval()
    processor = ClinRaGenProcessor(ClinRaGenFeatureExtractor(config.channels, config.context_length), tokenizer)
    batch = dict(processor(notes=[NOTE] * batch_size, return_tensors="pt"))
    batch["past_values"].normal_()
    batch["past_observed_mask"][:] = torch.rand(batch["past_values"].shape) < 0.3
    probabilities = model.diagnosis_probabilities(**batch)
    model.config.decisions.thresholds = probabilities.quantile(1 - SHARE_DIAGNOSED, dim=0).tolist()
    model.config.decisions.token_ids = processor.diagnosis_token_ids()
    return model, batch


def timed_pairs(
    model: ClinRaGenForConditionalGeneration, batch: dict, num_beams: int, new_tokens: int, rounds: int
) -> Iterator[tuple[float, float]]:
    """Return CPU seconds of calls without and with the constraint; the first pair is a warm-up."""
    token_ids = model.config.decisions.token_ids
    options = {"num_beams": num_beams, "do_sample": False, "min_new_tokens": new_tokens, "max_new_tokens": new_tokens}
    for i in range(rounds + 1):
        seconds = {}
        for constraint in (None, token_ids) if i % 2 else (token_ids, None):  # alternate the order
            model.config.decisions.token_ids = constraint
            started = time.process_time()
            model.generate(**batch, **options)
            seconds[constraint is not None] = time.process_time() - started
        if i:
            yield seconds[False], seconds[True]
    model.config.decisions.token_ids = token_ids


def figures(pairs: list[tuple[float, float]]) -> dict:
    free, constrained = zip(*pairs, strict=True)
    return {
        "free_seconds": round(median(free), 4),
        "constrained_seconds": round(median(constrained), 4),
        "ratio": round(median(after / before for before, after in pairs), 4),
        "lowest_ratio": round(min(after / before for before, after in pairs), 4),
        "highest_ratio": round(max(after / before for before, after in pairs), 4),
    }


def show(runs: list[dict]) -> None:
    print("| language model | beams | free, s | constrained, s | median ratio | lowest to highest |")
    print("| --- " * 6 + "|")
    for run in runs:
        print(
            f"| {run['shape']} | {run['num_beams']} | {run['free_seconds']:.3f} | {run['constrained_seconds']:.3f} "
            f"| {run['ratio']:.3f} | {run['lowest_ratio']:.3f} to {run['highest_ratio']:.3f} |"
        )


if __name__ == "__main__":
    run_command(main)
