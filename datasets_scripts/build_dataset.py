# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Build a dataset folder from the raw tables of an ICU database.

    python datasets_scripts/build_dataset.py --source mimic-iii --root mimic-iii-1.4 --output data/mimic-iii
    python datasets_scripts/build_dataset.py --source tables --root my-hospital --mapping tables.yaml --check
"""

import argparse
from pathlib import Path

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.dataset.splits import parse_splits
from datasets_scripts.sources.notes import parse_note_view
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


SOURCES = (
    "synthetic",
    "mimic-iii",
    "mimic-iv",
    "eicu",
    "amsterdamumcdb",
    "meds",
    "mimic3-benchmarks",
    "omop",
    "tables",
)
SPLIT_SHARES = "train=0.8,validation=0.1,test=0.1"
MAX_THREADS = 1024  # the table engine starts them all at once


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Build a dataset folder from the raw tables of an ICU database.")
    parser.add_argument("--source", required=True, choices=SOURCES, help="database to read")
    parser.add_argument(
        "--root",
        type=lambda text: text if "://" in text else Path(text),
        help="folder of the raw tables; omop: also a .duckdb file or postgresql://USER@HOST/DATABASE?schema=SCHEMA "
        "without a password; synthetic: folder for the simulated tables",
    )
    parser.add_argument("--output", type=Path, help="dataset folder to write")
    parser.add_argument(
        "--check",
        action="store_true",
        help="tables: read the first rows of each file and print how they are understood; write nothing",
    )
    parser.add_argument(
        "--mapping",
        help="meds: the meaning of its codes: clinragen (default), mimic-iv, eicu or a YAML file; omop: a YAML file "
        "of further ICUs and codes; tables: the YAML file that describes them (default: the only one in --root)",
    )
    parser.add_argument("--also-meds", type=Path, metavar="DIR", help="also write the same stays as a MEDS folder")

    cohort = parser.add_argument_group("which stays")
    cohort.add_argument("--splits", help=f"shares of the patients; default: {SPLIT_SHARES}")
    cohort.add_argument(
        "--unlabelled",
        action="store_true",
        help="read new patients, for predict.py --dataset: no diagnoses are read, a stay without an end lasts until "
        "its last measurement, and all patients are in the split test",
    )
    cohort.add_argument(
        "--seed", type=int, default=0, help="seed of the split and of the simulated patients; default: 0"
    )
    cohort.add_argument(
        "--limit",
        type=int,
        help="keep N patients, from each split its share; synthetic: simulate N patients (default: 2000)",
    )
    cohort.add_argument(
        "--min-age", type=float, default=18, help="youngest age at ICU admission, in years; default: 18"
    )
    cohort.add_argument(
        "--max-age", type=float, help="oldest age at ICU admission, in years; ages above 89 count as 90"
    )
    cohort.add_argument("--min-stay-hours", type=float, default=0, help="keep stays of at least this length")
    cohort.add_argument("--max-stay-hours", type=float, help="keep stays of at most this length")
    cohort.add_argument(
        "--stays",
        choices=("all", "single", "first"),
        default="all",
        help="all (default); single: of admissions with one stay, as in mimic3-benchmarks; first: of each patient",
    )

    content = parser.add_argument_group("content of a stay")
    content.add_argument(
        "--labels", default="phenotypes", help="phenotypes (the paper's 25, default) or a YAML file of labels"
    )
    content.add_argument(
        "--channels", default="paper", help="paper (11, default), extended (more laboratory tests) or a YAML file"
    )
    content.add_argument(
        "--reference-ranges",
        choices=("clinical", "paper"),
        default="clinical",
        help="limits of normal in captions and rationales: clinical, for adults (default), or the paper's wide ones",
    )
    content.add_argument(
        "--hours",
        type=float,
        default=1440,
        help="hours after ICU admission to keep; later values are left out; default: 1440",
    )
    content.add_argument(
        "--note-view",
        default="admission",
        help="admission (default): a discharge summary's sections up to admission, and other notes of the first 24 "
        "hours; paper: its brief hospital course, which names the diagnoses; as-of=HOURS: documents stored by then",
    )
    content.add_argument(
        "--sections",
        default="all",
        help="further records of the view's hours: treatments (of eicu), none, or all (default)",
    )
    content.add_argument(
        "--language",
        type=Path,
        help="YAML file of the words and headings of notes in another language than English, such as "
        "datasets_scripts/sources/language_german.yaml",
    )
    versions = {"choices": ("fixed", "paper"), "default": "fixed"}
    content.add_argument("--note-text", **versions, help="paper: strip digits and stop words, as the release does")
    content.add_argument("--caption", **versions, help="paper: call an unmeasured channel normal, as the release does")

    machine = parser.add_argument_group("machine")
    machine.add_argument("--memory-limit", default="4GB", help="memory of the table engine; default: 4GB")
    machine.add_argument("--threads", type=int, help="threads of the table engine; default: all cores")
    machine.add_argument(
        "--processes",
        type=int,
        help="processes that make the records; default: one for each core, at most 4, and of few stays one",
    )
    machine.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep the columns that are read of CSV tables in this folder, as Parquet, and read them there in later "
        "builds",
    )
    machine.add_argument("--ray", metavar="ADDRESS", help=f"{RAY_HELP}; tables are read here")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.threads is not None and arguments.threads > MAX_THREADS:
        raise ClinRaGenInputError(f"--threads is {arguments.threads}; give at most {MAX_THREADS}")
    if isinstance(arguments.root, str) and arguments.source != "omop":
        raise ClinRaGenInputError(f"--root: of {arguments.source} no server is read, only of omop; name a folder")
    if arguments.unlabelled:
        _check_unlabelled(arguments)
    arguments.splits = arguments.splits or ("test=1" if arguments.unlabelled else SPLIT_SHARES)
    shares = parse_splits(arguments.splits)
    note_view = parse_note_view(arguments.note_view)
    if arguments.check:
        from datasets_scripts.dataset.check import check

        check(arguments, shares)
        return
    if arguments.output is None:
        raise ClinRaGenInputError("--output is needed: the dataset folder to write")
    from datasets_scripts.dataset.build import build

    build(arguments, shares, note_view)


def _check_unlabelled(arguments: argparse.Namespace) -> None:
    """Refuse the options that are not for patients without labels."""
    if arguments.splits is not None:
        raise ClinRaGenInputError("--splits: --unlabelled patients are all in split test; leave it out")
    if arguments.also_meds is not None:
        raise ClinRaGenInputError(
            "--also-meds: it writes ends and diagnoses, which --unlabelled stays lack; leave it out"
        )


if __name__ == "__main__":
    run_command(main)
