# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The way from raw tables to a finished dataset folder, as `build_dataset.py` is told."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from datasets_scripts.common.outputs import (
    aside_of,
    check_free,
    check_separate,
    finished_folder,
    held,
)
from datasets_scripts.dataset.card import dataset_card, write_label_audit
from datasets_scripts.dataset.folder import write_metadata
from datasets_scripts.dataset.language import load_language
from datasets_scripts.dataset.records import STAYS_PER_BLOCK, RecordOptions, write_records
from datasets_scripts.dataset.splits import SPLITS, first_patients, split_of
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.cohort import Cohort, CohortOptions
from datasets_scripts.sources.labels import describe_unknown, load_labels
from datasets_scripts.sources.losses import describe_losses, describe_odd_stays, describe_unknown_codes
from datasets_scripts.sources.meds import load_mapping, meds_source
from datasets_scripts.sources.meds_export import export_meds
from datasets_scripts.sources.notes import hours_of, parse_sections
from datasets_scripts.sources.omop import omop_source, tables_to_copy
from datasets_scripts.sources.postgres import copied_tables
from datasets_scripts.sources.raw_tables import files_of, find_tables
from datasets_scripts.sources.reader import DATABASE, enough_memory, load_source, read_source, sections_of
from datasets_scripts.sources.synthetic import read_world, write_synthetic_tables
from datasets_scripts.sources.tables import load_hospital
from datasets_scripts.sources.unlabelled import without_labels
from modeling_clinragen import __version__
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

SYNTHETIC_PATIENTS = 2000
SETTINGS = (
    "splits", "seed", "limit", "min_age", "max_age", "min_stay_hours", "max_stay_hours", "stays", "labels", "channels",
    "reference_ranges", "hours", "note_view", "sections", "note_text", "caption", "language",
)  # fmt: skip


def build(arguments: argparse.Namespace, shares: dict[str, float], note_view: str | float) -> None:
    """
    Build the dataset folder `arguments.output`.

    Args:
        arguments (`Namespace`): of `build_dataset.py`.
        shares (`dict[str, float]`): of the patients, by split.
        note_view (`str` or `float`): as `parse_note_view` gives it.
    """
    labels, channels = load_labels(arguments.labels), load_channels(arguments.channels, arguments.reference_ranges)
    language = _language_of(arguments)
    check_places(arguments)
    with ExitStack() as places:
        places.enter_context(held(arguments.output))
        if arguments.source == "synthetic":
            places.enter_context(held(root_of(arguments)))  # another build would write other tables there
        if isinstance(arguments.root, str):  # a URL
            tables = tables_to_copy(labelled=not arguments.unlabelled)
            copied = places.enter_context(copied_tables(arguments.root, tables))
            arguments = argparse.Namespace(**{**vars(arguments), "root": copied})
        metadata = _build(arguments, shares, note_view, labels, channels, language)
    for line in metadata["warnings"]:
        logger.warning(line)
    if language is not None:
        share, name = metadata["language"]["share_of_words"], language["name"]
        logger.info("%.1f%% of the words of the notes stand in the language file of %s", 100 * share, name)
    logger.info(
        "%s: %s", arguments.output, ", ".join(f"{split} {metadata['counts'][split]['stays']}" for split in SPLITS)
    )


def _language_of(arguments: argparse.Namespace) -> dict | None:
    """Return what the file of `--language` says."""
    if arguments.language is None:
        return None
    if arguments.note_view == "paper":
        raise ClinRaGenInputError("--note-view paper: its hospital course is found in English; leave out --language")
    return load_language(arguments.language)


def _told_of_headings(report: dict) -> str | None:
    if not report["unknown_headings"]:
        return None
    return (
        f"{report['unknown_headings']} sections about the admission ended at a heading that the --language file does "
        "not list; add those that tell of the admission to `sections` or `parts`"
    )


def check_places(arguments: argparse.Namespace) -> None:
    """Raise a `ClinRaGenInputError` where a build cannot write, or would write into what it reads."""
    simulated = arguments.source == "synthetic"
    is_meds = arguments.source == "meds" and arguments.root is not None  # its files are found in all folders below
    events = arguments.root / "data" if is_meds else None
    reads = [events, arguments.mapping, arguments.labels, arguments.channels, arguments.language]
    check_free(arguments.output, *reads)
    if simulated:
        check_separate(root_of(arguments), arguments.output)
    if arguments.cache is not None:
        check_separate(arguments.cache, arguments.output)
    if arguments.also_meds is not None:
        check_separate(arguments.also_meds, arguments.output)
        if not aside_of(arguments.output).exists():  # a build that is resumed may have finished it
            check_free(arguments.also_meds, *reads)


def root_of(arguments: argparse.Namespace) -> Path:
    """Return the folder of the raw tables."""
    if arguments.root is None and arguments.source != "synthetic":
        raise ClinRaGenInputError(f"--root is needed: the folder of the {arguments.source} tables")
    return arguments.root or arguments.output.with_name(arguments.output.name + ".raw")


def _build(
    arguments: argparse.Namespace,
    shares: dict[str, float],
    note_view: str | float,
    labels: list[dict],
    channels: list[dict],
    language: dict | None,
) -> dict:
    """Write the dataset folder whose place is held, and return its metadata."""
    source, root = _raw_tables(arguments, channels)
    if arguments.unlabelled:
        source = without_labels(source)
    sections = sections_of(source, root, parse_sections(arguments.sections, note_view))
    record_options = RecordOptions(
        arguments.source,
        note_view,
        arguments.note_text,
        arguments.caption,
        shares,
        arguments.seed,
        labelled=not arguments.unlabelled,
        language=language,
    )
    resume = {**_resume(arguments, source, root, labels, channels), "language": language}
    with finished_folder(arguments.output, resume) as folder, enough_memory(arguments.memory_limit):
        resumed = (folder / "work" / DATABASE).exists()
        if arguments.also_meds is not None and not resumed:
            check_free(arguments.also_meds)
        cohort = read_source(
            source,
            root,
            folder / "work",
            channels,
            labels,
            cohort_options(arguments, shares),
            documents_until=None if isinstance(note_view, str) else note_view,
            sections=sections,
            sections_until=hours_of(note_view) or 0,
            memory_limit=arguments.memory_limit,
            threads=arguments.threads,
            cache=arguments.cache,
        )
        with closing(cohort.connection):
            if arguments.also_meds is not None and not (resumed and arguments.also_meds.exists()):
                with finished_folder(arguments.also_meds) as meds_folder:
                    export_meds(cohort, meds_folder, lambda patient: split_of(patient, shares, arguments.seed))
            report = write_records(cohort, folder, labels, record_options, arguments.ray, arguments.processes)
            metadata = _metadata(arguments, cohort, labels, report)
            if language is not None:
                metadata["language"] = {**language, "share_of_words": round(report["language_words"], 4)}
            metadata["settings"]["sections"] = ",".join(sections) or "none"
            of_language = filter(None, [report["language_warning"], _told_of_headings(report)])
            metadata["warnings"] = [
                *describe_unknown(labels),
                *_warnings(metadata, shares),
                *of_language,
                *describe_losses(cohort),
            ]
            write_label_audit(folder, cohort.codes)
        write_metadata(folder, metadata, dataset_card)
    return metadata


def cohort_options(arguments: argparse.Namespace, shares: dict[str, float]) -> CohortOptions:
    """Return the stays to read, as the arguments of `build_dataset.py` say."""
    return CohortOptions(
        min_age=arguments.min_age,
        max_age=arguments.max_age,
        min_hours=arguments.min_stay_hours,
        max_hours=arguments.max_stay_hours,
        stays=arguments.stays,
        hours=arguments.hours,
        limit=None if arguments.source == "synthetic" else arguments.limit,
        choose=lambda patients, limit: first_patients(patients, limit, shares, arguments.seed),
    )


def _metadata(arguments: argparse.Namespace, cohort: Cohort, labels: list[dict], report: dict) -> dict:
    """Return what `clinragen_dataset.json` says beside the schema version and the content's hash."""
    description = read_world()["source"] if arguments.source == "synthetic" else cohort.source
    return {
        "source": arguments.source,
        "source_description": {
            k: description[k] for k in ("title", "version", "licence", "url", "credentialed", "cite")
        },
        "labelled": not arguments.unlabelled,
        "channels": cohort.channels,
        "labels": [
            {**label, "stays": sum(stays.values()), "stays_by_split": stays}
            for label, stays in zip(labels, report["stays_with_label"], strict=True)
        ],
        "settings": {name: str(getattr(arguments, name)) for name in SETTINGS},
        "seed": arguments.seed,
        "counts": report["counts"],
        "attrition": cohort.attrition,
        "care_units": cohort.care_units,
        "codes": cohort.code_counts,
        "values": cohort.values,
        "measurements": cohort.measurement_tables,
        "leakage": report["leakage"],
    }


def _warnings(metadata: dict, shares: dict[str, float]) -> Iterator[str]:
    """Yield one line for each thing that a user should know of splits, stays and codes before using them."""
    counts, codes = metadata["counts"], metadata["codes"]
    empty = [split for split in SPLITS if shares[split] and not counts[split]["stays"]]
    if empty:
        yield f"no patient fell into split {', '.join(empty)}: use more patients, or other --splits"
    left_out = sum(count["notes_left_out"] for count in counts.values())
    if left_out:
        yield (
            f"{left_out} discharge summaries left out of the note view {metadata['settings']['note_view']}: no "
            "heading of its sections was found; sources/note_sections.yaml lists those that are known"
        )
    yield from describe_odd_stays(metadata["attrition"])
    yield from (f"{line}; label_audit.csv lists them" for line in describe_unknown_codes(codes))
    if codes["restored"]:
        yield f"{codes['restored']} of {codes['total']} diagnosis codes were changed by a spreadsheet and are restored"


def _raw_tables(arguments: argparse.Namespace, channels: list[dict]) -> tuple[dict, Path]:
    """Return the source's description and the folder of its tables; simulated ones are written first."""
    root, labelled = root_of(arguments), not arguments.unlabelled
    if arguments.source == "synthetic":
        write_synthetic_tables(root, arguments.limit or SYNTHETIC_PATIENTS, arguments.seed)
        return load_source("mimic-iv"), root
    if arguments.source == "meds":
        return meds_source(load_mapping(arguments.mapping or "clinragen", labelled), channels), root
    if arguments.source == "omop":
        return omop_source(arguments.mapping, root, channels, labelled), root
    if arguments.source == "tables":
        return load_hospital(arguments.mapping, root, channels, labelled), root
    return load_source(arguments.source), root


def _resume(arguments: argparse.Namespace, source: dict, root: Path, labels: list[dict], channels: list[dict]) -> dict:
    """Return what a build depends on: a start with the same resumes where a killed one stopped."""
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
