# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Run any command of the project: `clinragen COMMAND [OPTIONS]`, or `python -m recipes COMMAND [OPTIONS]`.

A command is imported only when it is called, so listing the commands is cheap.
"""

import sys
from importlib import import_module

from datasets_scripts.common import note_text
from datasets_scripts.common.command import run_command
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


COMMANDS = {
    "quickstart": ("recipes", "Simulate patients, train the three stages, evaluate them and show an example."),
    "build_dataset": ("datasets_scripts", "Build a dataset folder from raw ICU tables."),
    "build_knowledge": ("datasets_scripts", "Collect the medical terms of each diagnosis."),
    "generate_rationales": ("datasets_scripts", "Let a teacher write the rationales of a dataset."),
    "push_dataset": ("datasets_scripts", "Send a dataset folder to the Hub."),
    "stage1_note": ("recipes", "Train stage 1: the language model learns from notes."),
    "stage2_lab": ("recipes", "Train stage 2: series encoder and knowledge attention learn from series."),
    "stage3_multimodal": ("recipes", "Train stage 3: the language model learns from notes and series."),
    "stage4_rewards": ("recipes", "Train stage 4, optional: the decoder learns from checked rewards."),
    "evaluate_model": ("recipes", "Evaluate a model folder on a split of a dataset."),
    "evaluate_baseline": ("recipes", "Train and evaluate a baseline."),
    "compare_reports": ("recipes", "Compare two evaluations of the same records."),
    "reproduce": ("recipes", "Train and evaluate all rows of a table of results."),
    "show_rationales": ("recipes", "Show rationales of a report beside the facts of their records."),
    "judge_rationales": ("recipes", "Let a large language model judge rationales."),
    "rate_rationales": ("recipes", "Write rating sheets for people, and measure their agreement."),
    "recalibrate": ("recipes", "Fit the decisions of a model anew on local records, and report drift."),
    "predict": ("recipes", "Answer a file of records."),
    "serve": ("recipes", "Answer records over HTTP on this machine."),
    "export_model": ("recipes", "Merge an adapter into its base, or add diseases to a model."),
    "push_model": ("recipes", "Send a model folder to the Hub."),
}


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(help_text())
        return
    if argv[0] == "--note-text":
        note_text.main(argv[1:])
        return
    name = argv[0].replace("-", "_")
    if name not in COMMANDS:
        raise ClinRaGenInputError(f"there is no command {argv[0]!r}; `clinragen --help` lists them")
    sys.argv = [f"clinragen {argv[0]}", *argv[1:]]
    import_module(f"{COMMANDS[name][0]}.{name}").main(None)


def help_text() -> str:
    """Return the usage and one line for each command."""
    lines = [f"  {name.replace('_', '-'):20} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: clinragen COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "clinragen COMMAND --help lists its options.",
            "clinragen --note-text [FOLDER ...] [--remove] lists, or removes, the files that hold text of notes.",
        ]
    )


def run() -> None:
    """Run `main` as the console script does: a user's mistake ends in one line and exit code 2."""
    run_command(main)


if __name__ == "__main__":
    run()
