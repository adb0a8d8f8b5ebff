# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Build a dataset folder from the raw tables of an ICU database.

    python datasets_scripts/build_dataset.py --source mimic-iii --root mimic-iii-1.4 --output data/mimic-iii
"""

import argparse
import logging
from pathlib import Path

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.command import check_free, finished_folder, run_command
from datasets_scripts.dataset.card import dataset_card, write_label_audit
from datasets_scripts.dataset.folder import SPLITS, write_metadata
from datasets_scripts.dataset.records import STAYS_PER_BLOCK, RecordOptions, split_of, write_records
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.cohort import Cohort, CohortOptions
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.meds import export_meds, load_mapping, meds_source
from datasets_scripts.sources.notes import parse_note_view
from datasets_scripts.sources.raw_tables import files_of, find_tables
from datasets_scripts.sources.reader import DATABASE, load_source, read_source
from datasets_scripts.sources.tables import load_hospital
from modeling_clinragen import __version__
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

SOURCES = ("synthetic", "mimic-iii", "mimic-iv", "eicu", "meds", "mimic3-benchmarks", "tables")
STAYS = ("all", "single", "first")
SYNTHETIC_PATIENTS = 2000
SYNTHETIC = {
    "title": "simulated patients",
    "version": "1",
    "licence": "Apache-2.0",
    "url": "written by datasets_scripts/sources/synthetic.py",
    "credentialed": False,
    "cite": "this project; no row describes a real person.",
}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build a dataset folder from the raw tables of an ICU database.")
    parser.add_argument("--source", required=True, choices=SOURCES)
    parser.add_argument("--root", type=Path, help="folder of the raw tables; synthetic writes them there")
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument(
        "--mapping",
        help="meds: what its codes mean, clinragen (default), mimic-iv or a YAML file; tables: the YAML file that "
        "describes them; default: the only one in --root",
    )
    parser.add_argument("--also-meds", type=Path, metavar="DIR", help="write the same stays as a MEDS folder, too")

    cohort = parser.add_argument_group("which stays")
    cohort.add_argument("--splits", default="train=0.8,validation=0.1,test=0.1", help="shares of the patients")
    cohort.add_argument("--seed", type=int, default=0, help="of the split, and of the synthetic patients")
    cohort.add_argument(
        "--limit", type=int, help=f"only N patients; synthetic: how many (default {SYNTHETIC_PATIENTS})"
    )
    cohort.add_argument("--min-age", type=float, default=18, help="years at ICU admission; default 18")
    cohort.add_argument("--max-age", type=float, help="years at ICU admission; those above 89 count as 90")
    cohort.add_argument("--min-stay-hours", type=float, default=0, help="only stays of that length or longer")
    cohort.add_argument("--max-stay-hours", type=float, help="only stays of that length or shorter")
    cohort.add_argument(
        "--stays",
        choices=STAYS,
        default="all",
        help="all; single: of admissions with one ICU stay, as mimic3-benchmarks does; first: of each patient",
    )

    content = parser.add_argument_group("what of them")
    content.add_argument(
        "--labels", default="phenotypes", help="phenotypes (the paper's 25) or a YAML file of names and codes"
    )
    content.add_argument(
        "--channels", default="paper", help="paper (11), extended (with 45 laboratory tests) or a YAML file"
    )
    content.add_argument(
        "--hours",
        type=float,
        default=1440,
        help="values measured later after ICU admission are left out; default 1440",
    )
    content.add_argument(
        "--note-view",
        default="admission",
        help="admission: of a discharge summary the sections about the time up to admission; paper: its brief "
        "hospital course, which names the diagnoses; as-of=HOURS: all documents stored by then",
    )
    content.add_argument(
        "--note-text", choices=("fixed", "paper"), default="fixed", help="paper strips digits and stop words"
    )
    content.add_argument(
        "--caption", choices=("fixed", "paper"), default="fixed", help="paper calls an unmeasured channel normal"
    )

    machine = parser.add_argument_group("machine")
    machine.add_argument("--memory-limit", default="4GB", help="of the table engine; default 4GB")
    machine.add_argument("--threads", type=int, help="of the table engine; default: all cores")
    machine.add_argument("--ray", metavar="ADDRESS", help=f"{RAY_HELP}; tables are read here")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    for name in ("limit", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ClinRaGenInputError(f"--{name} is {value}; give a number of at least 1")
    shares = parse_splits(arguments.splits)
    note_view = parse_note_view(arguments.note_view)
    labels, channels = load_labels(arguments.labels), load_channels(arguments.channels)
    source, root = _raw_tables(arguments, channels)
    cohort_options = CohortOptions(
        min_age=arguments.min_age,
        max_age=arguments.max_age,
        min_hours=arguments.min_stay_hours,
        max_hours=arguments.max_stay_hours,
        stays=arguments.stays,
        hours=arguments.hours,
        seed=arguments.seed,
        limit=None if arguments.source == "synthetic" else arguments.limit,
    )
    record_options = RecordOptions(
        arguments.source, note_view, arguments.note_text, arguments.caption, shares, arguments.seed
    )
    with finished_folder(arguments.output, resume=_resume(arguments, source, root, labels, channels)) as folder:
        resumed = (folder / "work" / DATABASE).exists()
        if arguments.also_meds is not None and not resumed:
            check_free(arguments.also_meds)
        cohort = read_source(
            source,
            root,
            folder / "work",
            channels,
            labels,
            cohort_options,
            documents_until=None if isinstance(note_view, str) else note_view,
            memory_limit=arguments.memory_limit,
            threads=arguments.threads,
        )
        try:
            if arguments.also_meds is not None and not (resumed and arguments.also_meds.exists()):
                with finished_folder(arguments.also_meds) as meds_folder:
                    export_meds(cohort, meds_folder, lambda patient: split_of(patient, shares, arguments.seed))
            report = write_records(cohort, folder, labels, record_options, arguments.ray)
            metadata = make_metadata(arguments, cohort, labels, report)
            write_label_audit(folder, cohort.codes)
        finally:
            cohort.connection.close()
        write_metadata(folder, metadata, dataset_card)
    warn(metadata)
    logger.info(
        "%s: %s", arguments.output, ", ".join(f"{split} {metadata['counts'][split]['stays']}" for split in SPLITS)
    )


SETTINGS = (
    "splits", "seed", "limit", "min_age", "max_age", "min_stay_hours", "max_stay_hours", "stays", "labels", "channels",
    "hours", "note_view", "note_text", "caption",
)  # fmt: skip


def make_metadata(arguments: argparse.Namespace, cohort: Cohort, labels: list[dict], report: dict) -> dict:
    """What `clinragen_dataset.json` says beside the schema version and the content's hash."""
    description = SYNTHETIC if arguments.source == "synthetic" else cohort.source
    return {
        "source": arguments.source,
        "source_description": {
            k: description[k] for k in ("title", "version", "licence", "url", "credentialed", "cite")
        },
        "channels": cohort.channels,
        "labels": [{**label, "stays": stays} for label, stays in zip(labels, report["stays_with_label"], strict=True)],
        "settings": {name: str(getattr(arguments, name)) for name in SETTINGS},
        "seed": arguments.seed,
        "counts": report["counts"],
        "attrition": cohort.attrition,
        "care_units": cohort.care_units,
        "codes": cohort.code_counts,
        "values": cohort.values,
        "leakage": report["leakage"],
    }


def warn(metadata: dict) -> None:
    """One line for each thing that a user should know of the data before using it."""
    counts, codes = metadata["counts"], metadata["codes"]
    shares = parse_splits(metadata["settings"]["splits"])
    empty = [split for split in SPLITS if shares[split] and not counts[split]["stays"]]
    if empty:
        logger.warning("no patient fell into split %s: use more patients, or other --splits", ", ".join(empty))
    for row in metadata["attrition"]:
        if row["stays_lost"] and "before it begins" in row["why"]:
            logger.warning("%d ICU stays left out: %s", row["stays_lost"], row["why"])
    if codes["unknown"]:
        logger.warning(
            "%d of %d diagnosis codes are in no table of codes (such as %s), %d of them read by their family; "
            "label_audit.csv lists them",
            codes["unknown"],
            codes["total"],
            ", ".join(codes["unknown_codes"][:3]),
            codes["by_family"],
        )


def _raw_tables(arguments: argparse.Namespace, channels: list[dict]) -> tuple[dict, Path]:
    """The source's description and the folder of its tables; simulated ones are written first."""
    if arguments.source != "synthetic":
        if arguments.root is None:
            raise ClinRaGenInputError(f"--root is needed: the folder of the {arguments.source} tables")
        if arguments.source == "meds":
            return meds_source(load_mapping(arguments.mapping or "clinragen"), channels), arguments.root
        if arguments.source == "tables":
            return load_hospital(arguments.mapping, arguments.root, channels), arguments.root
        return load_source(arguments.source), arguments.root
    from datasets_scripts.sources.synthetic import write_synthetic_tables

    root = arguments.root or arguments.output.with_name(arguments.output.name + ".raw")
    write_synthetic_tables(root, arguments.limit or SYNTHETIC_PATIENTS, arguments.seed)
    return load_source("mimic-iv"), root


def _resume(arguments: argparse.Namespace, source: dict, root: Path, labels: list[dict], channels: list[dict]) -> dict:
    """What a build depends on: a start with the same goes on where a killed one stopped."""
    tables = [file for path in find_tables(source, root).values() if path is not None for file in files_of(path)]
    stats = [(str(file), file.stat()) for file in tables]
    return {
        "version": __version__,
        "settings": {name: getattr(arguments, name) for name in (*SETTINGS, "source", "also_meds")},
        "source": source,
        "labels": labels,
        "channels": channels,
        "stays_per_block": STAYS_PER_BLOCK,
        "files": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
    }


def parse_splits(text: str) -> dict[str, float]:
    """`"train=0.8,validation=0.1,test=0.1"` as shares that add up to 1."""
    try:
        shares = {name.strip(): float(share) for name, share in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        shares = {}
    if set(shares) - set(SPLITS) or abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) < 0:
        raise ClinRaGenInputError(f"--splits is {text!r}; give shares of {', '.join(SPLITS)} that add up to 1")
    return {split: shares.get(split, 0.0) for split in SPLITS}


if __name__ == "__main__":
    run_command(main)
