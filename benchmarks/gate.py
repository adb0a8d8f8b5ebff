# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the benefit of the quality gate: 30% of the rationales are corrupted; one student learns from those that pass
the gate, another from all of them.

    python -m benchmarks.gate --output runs/gate
"""

import argparse
import json
import logging
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from datasets_scripts.common.command import run_command
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import (
    SPLITS,
    add_rationales,
    iterate_records,
    iterate_rows,
    label_names,
    read_metadata,
    write_metadata,
)
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.teacher.gate import Gate, Sentence
from datasets_scripts.teacher.rationale import DROPPED, Rationale, report_of
from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.links_clinragen import KnowledgeLinks
from recipes import evaluate_model, quickstart


logger = logging.getLogger(__name__)

ARMS = ("clean", "ungated", "gated")
OPPOSITE = {
    "higher": "lower", "lower": "higher", "up to": "down to", "down to": "up to",
    "rising": "falling", "falling": "rising",
}  # fmt: skip


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Students of gated, ungated and clean rationales, side by side.")
    parser.add_argument("--output", type=Path, required=True, help="folder for datasets, students and metrics.json")
    parser.add_argument("--patients", type=int, default=2000, help="simulated patients; default 2000")
    parser.add_argument("--share", type=float, default=0.3, help="of the records whose rationale is corrupted")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    quickstart.prepare_data(arguments.output, arguments.patients, arguments.seed)
    results = {"gate": write_arms(arguments)}
    for arm in arguments.arms:
        results[arm] = student(arguments.output / arm, arguments.output / "dataset", arguments.seed)
    (arguments.output / "metrics.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    show(results)
    return results


def write_arms(arguments: argparse.Namespace) -> dict:
    """Write a dataset for each arm, and return how well the gate distinguished corrupted rationales from others."""
    source = arguments.output / "dataset"
    metadata = read_metadata(source)
    names = label_names(metadata)
    links = KnowledgeLinks(load_knowledge(source.parent / "knowledge.json")["terms"], names, metadata["channels"])
    gate = Gate(metadata["channels"], metadata["labels"], links)
    texts = [(row["note_rationale"], row["lab_rationale"]) for split in SPLITS for row in iterate_rows(source, split)]
    corrupted = list(corrupt_some(texts, list(iterate_records(source)), names, arguments.share, arguments.seed))
    judged = [
        bool(gate(row, [Sentence(note)], [Sentence(lab)]).faults)
        for row, (_, note, lab) in zip(iterate_records(source), corrupted, strict=True)
    ]
    arms = {
        "clean": [Rationale(*pair) for pair in texts],
        "ungated": [Rationale(note, lab) for _, note, lab in corrupted],
        "gated": [
            Rationale("", "", DROPPED) if caught else Rationale(note, lab)
            for caught, (_, note, lab) in zip(judged, corrupted, strict=True)
        ],
    }
    for arm in arguments.arms:
        write_arm(source, arguments.output / arm, metadata, arms[arm])
    found = Counter((kind, caught) for (kind, _, _), caught in zip(corrupted, judged, strict=True))
    kinds = sorted({kind for kind, _ in found if kind})
    return {
        "caught": {kind: found[kind, True] / (found[kind, True] + found[kind, False]) for kind in kinds},
        "rejected_of_the_others": found["", True] / (found["", True] + found["", False]),
    }


def write_arm(source: Path, folder: Path, metadata: dict, rationales: list[Rationale]) -> None:
    dataset = folder / "dataset"
    if dataset.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    aside = folder / "dataset.unfinished"
    aside.mkdir(parents=True)
    add_rationales(source, aside, rationales, "template")
    outcomes = Counter(rationale.outcome for rationale in rationales)
    report = {"teacher": f"template, {folder.name}", **report_of(outcomes, Counter(), Counter(), Counter())}
    write_metadata(aside, {**metadata, "rationales": report}, dataset_card)
    shutil.copy(source.parent / "knowledge.json", folder / "knowledge.json")
    aside.rename(dataset)


def corrupt_some(
    texts: list[tuple[str, str]], rows: list[dict], names: list[str], share: float, seed: int
) -> Iterator[tuple[str, str, str]]:
    """Return each rationale with the kind of its corruption, empty if it is unchanged."""
    draw = random.Random(seed)
    for (note, lab), row in zip(texts, rows, strict=True):
        gold = [names[i] for i in row["diagnoses"]]
        ways = ["another patient's", "facts turned round", "argues for an absent diagnosis"]
        ways += ["denies a diagnosis"] if gold else []
        if draw.random() >= share:
            yield "", note, lab
            continue
        way, before = draw.choice(ways), (note, lab)
        if way == "another patient's":
            note, lab = draw.choice(texts)
        elif way == "facts turned round":
            lab = re.sub("|".join(OPPOSITE), lambda match: OPPOSITE[match[0]], lab)
            lab = re.sub(r"\d+(?:\.\d+)?", lambda match: str(round(float(match[0]) * 1.3 + 2)), lab)
        elif way == "denies a diagnosis":
            lab = f"{lab} There is no evidence of {short_name(draw.choice(gold))}."
        else:
            absent = draw.choice([name for name in names if name not in gold])
            lab = f"{lab} All of this suggests {short_name(absent)}."
        yield way if (note, lab) != before else "", note, lab


def student(folder: Path, test: Path, seed: int) -> dict:
    """Train the three stages on an arm; return its figures on the test split of the clean dataset."""
    quickstart.train(folder, seed)
    report = folder / "report"
    if not report.exists():
        arguments = ["--model", str(folder / "stage3"), "--dataset", str(test), "--split", "test"]
        evaluate_model.main([*arguments, "--output", str(report), "--batch-size", "32"])
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    names = ("micro_f1", "macro_f1")
    return {name: metrics["diagnosis"][name] for name in names} | {
        name: metrics["claims"][name] for name in ("claims", "supported", "contradicted", "records_with_contradiction")
    }


def show(results: dict) -> None:
    gate = results["gate"]
    print("\n| corruption | caught by the gate |\n| --- | --- |")
    for kind, share in gate["caught"].items():
        print(f"| {kind} | {share:.3f} |")
    print(f"\nOf the others it rejects {gate['rejected_of_the_others']:.4f}.\n")
    print(
        "| rationales | micro-F1 | macro-F1 | claims | contradicted | records with a contradiction |\n"
        + "| --- " * 6
        + "|"
    )
    for arm in (arm for arm in ARMS if arm in results):
        r = results[arm]
        print(
            f"| {arm} | {r['micro_f1']:.3f} | {r['macro_f1']:.3f} | {r['claims']} | {r['contradicted']:.3f} "
            f"| {r['records_with_contradiction']:.3f} |"
        )


if __name__ == "__main__":
    run_command(main)
