# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of `evaluate_baseline.py`: of the run, and of each baseline; light, for a quick `--help`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass

from datasets_scripts.common.checkpoints import MINILM
from recipes.configs import FOLDER
from recipes.training.parsing import FieldParser, option


@dataclass
class NoSettings:
    """A baseline without settings."""


@dataclass
class EncoderSettings:
    """The encoder, and how it learns."""

    model_name_or_path: str = option("Encoder: a Hub id or a folder.", MINILM)
    max_length: int = option("Tokens of a note; longer ones are cut at their end.", 128)
    num_train_epochs: float = option("The epoch with the best validation is kept.", 2)
    per_device_train_batch_size: int = option("Notes per step.", 16)
    learning_rate: float = option("Peak; rises over a tenth of the steps.", 1e-4)


@dataclass
class DecoderSettings:
    """The decoder's language model, and how it learns."""

    model_name_or_path: str | None = option(
        "A causal language model: a Hub id or a folder. Not given: one of the shape `text_config` with random"
        " weights, which first learns the language of the training split's notes and rationales.",
        None,
    )
    text_config: dict = option("Without model_name_or_path: what differs from LlamaConfig's defaults.", {})
    vocab_size: int = option("Without model_name_or_path: upper bound of the trained vocabulary.", 4000)
    pretraining: dict = option("Without model_name_or_path: fields of SFTConfig; all weights learn.", {})
    training: dict = option("Fields of SFTConfig for the adapters.", {})
    lora: dict = option("Fields of peft's LoraConfig.", {})
    max_note_tokens: int = option("Longer notes are cut at their end.", 512)
    max_target_tokens: int = option("Longer answers are cut at their end.", 256)
    generation_batch_size: int = option("Records that are answered together.", 32)


SETTINGS = {
    "tfidf": NoSettings,
    "boosting": NoSettings,
    "fusion": NoSettings,
    "encoder": EncoderSettings,
    "decoder": DecoderSettings,
}


@dataclass
class RunArguments:
    """The baseline and its records."""

    baseline: str = option("One of " + ", ".join(SETTINGS) + ".", choices=tuple(SETTINGS))
    dataset: str = option("Dataset folder; the decoder needs one with rationales.")
    output: str = option("Report folder to write.")
    split: str = option("Split to predict.", "test")
    seed: int = option("Seed.", 0)


def parse_arguments(argv: list[str] | None) -> tuple[RunArguments, NoSettings | EncoderSettings | DecoderSettings]:
    """
    Return the run's arguments and the baseline's settings, from its own YAML file where no other is named.

    Raises:
        ClinRaGenInputError: for an unknown or ill-valued field, or a file that cannot be read.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--baseline")
    name = first.parse_known_args(argv)[0].baseline
    kinds = (RunArguments, SETTINGS.get(name, NoSettings))
    epilog = None if name else "With --baseline NAME, --help lists the settings of that baseline too."
    own = FOLDER / "baselines" / f"{name}.yaml"
    parser = FieldParser(kinds, {}, epilog=epilog)
    if own.is_file() and not any(text.partition("=")[0] == "--config" for text in argv):
        argv = ["--config", str(own), *argv]
    (run, settings), others, command_line = parser.read(argv)
    parser.check_known(others, command_line)
    return run, settings
