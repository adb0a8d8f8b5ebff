# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Build a dataset folder from the raw tables of an ICU database.

    python datasets_scripts/build_dataset.py --source mimic-iii --root mimic-iii-1.4 --output data/mimic-iii
"""

import argparse
import hashlib
import logging
import math
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.card import dataset_card
from datasets_scripts.command import finished_folder, run_command
from datasets_scripts.dataset_folder import SPLITS, SplitWriter, write_metadata
from datasets_scripts.sources.meds import export_meds, load_mapping, meds_source
from datasets_scripts.sources.notes import note_text, strip_as_the_release
from datasets_scripts.sources.reader import iterate, load_source, read_source
from modeling_clinragen.claims_clinragen import UNMEASURED, describe_anomalies
from modeling_clinragen.clinical_clinragen import CHANNELS, PHENOTYPES, ClinRaGenInputError


logger = logging.getLogger(__name__)

SOURCES = ("synthetic", "mimic-iii", "mimic-iv", "eicu", "meds")
SYNTHETIC_PATIENTS = 2000


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build a dataset folder from the raw tables of an ICU database.")
    parser.add_argument("--source", required=True, choices=SOURCES)
    parser.add_argument("--root", type=Path, help="folder of the raw tables; synthetic writes them there")
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument(
        "--mapping", default="clinragen", help="meds: what its codes mean, clinragen, mimic-iv or a YAML file"
    )
    parser.add_argument("--also-meds", type=Path, metavar="DIR", help="write the same stays as a MEDS folder, too")
    parser.add_argument("--splits", default="train=0.8,validation=0.1,test=0.1", help="shares of the patients")
    parser.add_argument("--seed", type=int, default=0, help="of the split, and of the synthetic patients")
    parser.add_argument(
        "--limit", type=int, help=f"only N patients; synthetic: how many (default {SYNTHETIC_PATIENTS})"
    )
    parser.add_argument(
        "--note-view",
        choices=("admission", "paper"),
        default="admission",
        help="what of a discharge summary is read: sections about the time up to admission, or the paper's brief "
        "hospital course, which names the diagnoses",
    )
    parser.add_argument(
        "--note-text", choices=("fixed", "paper"), default="fixed", help="paper strips digits and stop words"
    )
    parser.add_argument(
        "--caption", choices=("fixed", "paper"), default="fixed", help="paper calls an unmeasured channel normal"
    )
    parser.add_argument("--memory-limit", default="4GB", help="of the table engine; default 4GB")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    shares = parse_splits(arguments.splits)
    if arguments.limit is not None and arguments.limit < 1:
        raise ClinRaGenInputError(f"--limit is {arguments.limit}; give a number of patients of at least 1")
    with finished_folder(arguments.output) as folder:
        source, root = _raw_tables(arguments)
        cohort = read_source(
            source,
            root,
            CHANNELS,
            PHENOTYPES,
            seed=arguments.seed,
            limit=None if arguments.source == "synthetic" else arguments.limit,
            memory_limit=arguments.memory_limit,
            temp_directory=folder / "spill",
            keep_events=arguments.also_meds is not None,
        )
        if arguments.also_meds is not None:
            with finished_folder(arguments.also_meds) as meds_folder:
                export_meds(cohort, meds_folder, lambda patient: split_of(patient, shares, arguments.seed))
        counts, prevalence = write_splits(cohort, folder, shares, arguments)
        cohort.connection.close()
        empty = [split for split in SPLITS if shares[split] and not counts[split]["stays"]]
        if empty:
            logger.warning("no patient fell into split %s: use more patients, or other --splits", ", ".join(empty))
        description = SYNTHETIC if arguments.source == "synthetic" else cohort.source
        metadata = {
            "source": arguments.source,
            "source_description": {
                k: description[k] for k in ("title", "version", "licence", "url", "credentialed", "cite")
            },
            "channels": CHANNELS,
            "labels": [{**label, "stays": prevalence[i]} for i, label in enumerate(PHENOTYPES)],
            "settings": {
                k: str(getattr(arguments, k)) for k in ("splits", "seed", "limit", "note_view", "note_text", "caption")
            },
            "seed": arguments.seed,
            "counts": counts,
            "attrition": cohort.attrition,
            "codes": cohort.codes,
            "values": cohort.values,
        }
        write_metadata(folder, metadata, dataset_card)
    logger.info("%s: %s", arguments.output, ", ".join(f"{split} {counts[split]['stays']}" for split in SPLITS))


SYNTHETIC = {
    "title": "simulated patients",
    "version": "1",
    "licence": "Apache-2.0",
    "url": "written by datasets_scripts/sources/synthetic.py",
    "credentialed": False,
    "cite": "this project; no row describes a real person.",
}


def _raw_tables(arguments: argparse.Namespace) -> tuple[dict, Path]:
    """The source's description and the folder of its tables; simulated ones are written first."""
    if arguments.source != "synthetic":
        if arguments.root is None:
            raise ClinRaGenInputError(f"--root is needed: the folder of the {arguments.source} tables")
        if arguments.source == "meds":
            return meds_source(load_mapping(arguments.mapping)), arguments.root
        return load_source(arguments.source), arguments.root
    from datasets_scripts.sources.synthetic import write_synthetic_tables

    root = arguments.root or arguments.output.with_name(arguments.output.name + ".raw")
    write_synthetic_tables(root, arguments.limit or SYNTHETIC_PATIENTS, arguments.seed)
    return load_source("mimic-iv"), root


def parse_splits(text: str) -> dict[str, float]:
    """`"train=0.8,validation=0.1,test=0.1"` as shares that add up to 1."""
    try:
        shares = {name.strip(): float(share) for name, share in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        shares = {}
    if set(shares) - set(SPLITS) or abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) < 0:
        raise ClinRaGenInputError(f"--splits is {text!r}; give shares of {', '.join(SPLITS)} that add up to 1")
    return {split: shares.get(split, 0.0) for split in SPLITS}


def split_of(subject_id: str, shares: dict[str, float], seed: int) -> str:
    """The split of a patient: a hash of the id, so that it depends on nothing else."""
    draw = int.from_bytes(hashlib.sha256(f"{seed}:{subject_id}".encode()).digest()[:8], "big") / 2**64
    edge = 0.0
    for split, share in shares.items():
        edge += share
        if draw < edge:
            return split
    return max(shares, key=shares.get)  # rounding left a sliver above the last edge


def write_splits(cohort, folder: Path, shares: dict[str, float], arguments: argparse.Namespace):
    """Write the records of all splits; give counts per split and the number of stays per diagnosis."""
    writers = {split: SplitWriter(folder, split, [label["name"] for label in PHENOTYPES]) for split in SPLITS}
    counts = {split: Counter(stays=0, patients=0, with_note=0, with_series=0) for split in SPLITS}
    prevalence: Counter = Counter()
    last_patient = None
    for stay in tqdm(iterate(cohort), total=cohort.attrition[-1]["stays"], desc="Writing records", unit="stay"):
        row = make_record(stay, arguments)
        split = split_of(row["subject_id"], shares, arguments.seed)
        writers[split].write(row)
        counts[split].update(
            stays=1,
            patients=int(row["subject_id"] != last_patient),
            with_note=int(bool(row["note"])),
            with_series=int(bool(row["lab_times"])),
        )
        prevalence.update(row["diagnoses"])
        last_patient = row["subject_id"]
    for writer in writers.values():
        writer.close()
    return {split: dict(count) for split, count in counts.items()}, prevalence


def make_record(stay: dict, arguments: argparse.Namespace) -> dict:
    """One row of the dataset from one stay as the reader gives it."""
    note = note_text(stay.pop("documents"), arguments.note_view)
    values = [[math.nan if value is None else value for value in row] for row in stay["lab_values"]]
    unmeasured = UNMEASURED if arguments.caption == "fixed" else "normal all the time"
    return {
        **stay,
        "source": arguments.source,
        "note": note if arguments.note_text == "fixed" else strip_as_the_release(note),
        "lab_values": values,
        "lab_caption": describe_anomalies(values, CHANNELS, unmeasured),
        "note_rationale": "",
        "lab_rationale": "",
        "teacher": "",
    }


if __name__ == "__main__":
    run_command(main)
