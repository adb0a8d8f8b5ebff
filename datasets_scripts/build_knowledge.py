# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Build the knowledge base that the series attend to and the teacher reads: for each label retrieve documents of a
corpus, and extract terms from them.

    python datasets_scripts/build_knowledge.py --corpus builtin --output knowledge.json
    python datasets_scripts/build_knowledge.py --corpus documents.jsonl --output knowledge.json
    python datasets_scripts/build_knowledge.py --corpus pubmed --email me@example.org --output knowledge.json
"""

import argparse
import os
from pathlib import Path

from datasets_scripts.common.checkpoints import MINILM
from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.llm.options import add_model_options
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Build the knowledge base of the diagnoses.")
    parser.add_argument(
        "--corpus",
        required=True,
        help="builtin (this project's own), pubmed, wikipedia, hf:REPO, a text, JSONL or Parquet file, a folder of "
        "these, or a YAML file of terms",
    )
    parser.add_argument("--output", type=Path, required=True, help="knowledge.json to write, with a report beside it")
    parser.add_argument(
        "--labels", default="phenotypes", help="phenotypes (the paper's 25, default) or a YAML file of labels"
    )
    parser.add_argument(
        "--retriever", default=MINILM, help="sentence encoder that ranks documents: a folder or Hub id"
    )
    parser.add_argument("--top-k", type=_positive, default=10, help="documents to read for each label; default: 10")
    parser.add_argument("--terms", type=_positive, default=40, help="most terms of each label; default: 40")
    parser.add_argument(
        "--extractor",
        default="offline",
        help="finds the terms: offline (default, by contrast with the corpus), openai:MODEL or transformers:MODEL",
    )
    parser.add_argument("--tokenizer", default=MINILM, help="tokenizer by which the report counts tokens of terms")
    parser.add_argument(
        "--limit", type=_positive, help="most documents; of pubmed and wikipedia: for each label, default: 50"
    )
    parser.add_argument("--text-column", default="text", help="column of hf:REPO with the text; default: text")
    parser.add_argument("--split", default="train", help="split of hf:REPO; default: train")
    parser.add_argument(
        "--cache", type=Path, help="folder for the replies of pubmed or wikipedia; default: OUTPUT.cache"
    )
    parser.add_argument(
        "--api-key", default=os.environ.get("NCBI_API_KEY"), help="NCBI key; default: NCBI_API_KEY of the environment"
    )
    parser.add_argument("--email", help="address at which pubmed and wikipedia may reach you")
    parser.add_argument("--seed", type=int, default=0, help="seed of a language model; default: 0")
    add_model_options(parser)
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.output.suffix == ".md":
        raise ClinRaGenInputError(f"--output {arguments.output}: the report takes the ending .md; use .json")
    from datasets_scripts.knowledge.build import build

    build(arguments)


if __name__ == "__main__":
    run_command(main)
