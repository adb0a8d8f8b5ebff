# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write the rationales that the model learns from: a copy of a dataset folder with `note_rationale`, `lab_rationale` and
`teacher` filled.

    python datasets_scripts/generate_rationales.py --dataset data/mimic-iii --knowledge knowledge.json \
        --teacher template --output data/mimic-iii-rationales
"""

import argparse
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.command import check_free, finished_folder, run_command
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import (
    add_rationales,
    iterate_records,
    iterate_stay_ids,
    label_names,
    read_metadata,
    write_metadata,
)
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.llm.options import add_model_options, check_model_options, forecast, open_model, parse_model
from datasets_scripts.llm.request_log import RequestLog
from datasets_scripts.teacher.gate import Gate
from datasets_scripts.teacher.rationale import DROPPED, KEPT, Rationale, report_of
from datasets_scripts.teacher.template import TemplateTeacher, write_in_processes, write_on_cluster
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

SET_ASIDE = "set_aside.jsonl"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write rationales for every record of a dataset folder.")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder")
    parser.add_argument("--knowledge", type=Path, required=True, help="knowledge.json of build_knowledge.py")
    parser.add_argument(
        "--teacher",
        required=True,
        help="template: offline, from the record; openai:MODEL: by the endpoint at --base-url; transformers:MODEL: a "
        "causal language model in this process",
    )
    parser.add_argument("--output", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of the wording")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="template: default: all cores")
    parser.add_argument("--ray", metavar="ADDRESS", help=f"template: {RAY_HELP}")
    parser.add_argument("--max-note", type=int, default=8000, help="characters of a note for a language model")
    gate = parser.add_argument_group("the quality gate")
    gate.add_argument("--tries", type=int, default=3, help="a rejected rationale is asked for again, with the reason")
    gate.add_argument(
        "--rejected",
        choices=("drop", "keep"),
        default="drop",
        help="after the last try: drop leaves the record without a rationale, so that only its diagnoses are learned "
        "from; keep takes it",
    )
    add_model_options(parser)
    forecasts = parser.add_argument_group("what a language model would take")
    forecasts.add_argument("--dry-run", action="store_true", help="send nothing; tell tokens, cost and time")
    forecasts.add_argument(
        "--tokens-per-second", type=float, default=40, help="that one request is answered with; default 40"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    for name in ("tries", "processes", "max_note"):
        if getattr(arguments, name) < 1:
            raise ClinRaGenInputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; give at least 1")
    if arguments.ray and arguments.teacher != "template":
        raise ClinRaGenInputError("--ray spreads the template teacher only; leave it out, or give --teacher template")
    metadata = read_metadata(arguments.dataset)
    knowledge = load_knowledge(arguments.knowledge)
    check_free(arguments.output)
    names = label_names(metadata)
    unknown = [name for name in names if not any(name in t["diseases"] for t in knowledge["terms"])]
    if unknown:
        logger.warning("the knowledge has no term for %s: no rationale will argue for them", ", ".join(unknown))
    settings = {
        "teacher": arguments.teacher,
        "corpus": knowledge["settings"]["corpus"],
        "knowledge_terms": len(knowledge["terms"]),
        "seed": arguments.seed,
        "rejected": arguments.rejected,
    }
    if arguments.teacher == "template":
        teacher = TemplateTeacher(
            knowledge, metadata["channels"], metadata["labels"], arguments.seed, arguments.rejected == "keep"
        )
        records = iterate_records(arguments.dataset)
        rationales = (
            write_on_cluster(teacher, records, arguments.ray)
            if arguments.ray
            else write_in_processes(teacher, records, arguments.processes)
        )
        write(arguments, metadata, rationales, lambda: settings)
        return
    ask_a_model(arguments, metadata, knowledge, settings)


def ask_a_model(arguments: argparse.Namespace, metadata: dict, knowledge: dict, settings: dict) -> None:
    """By a language model: within its budget, on this machine unless it is permitted to leave it."""
    from datasets_scripts.teacher.language_model import LanguageModelTeacher, Prompt

    kind, model_name = parse_model(arguments.teacher, "--teacher", ("template",))
    prompt = Prompt(knowledge, metadata["channels"], label_names(metadata), max_note_characters=arguments.max_note)
    confined = metadata["source"] != "synthetic"
    check_model_options(arguments, kind, confined)
    if arguments.dry_run:
        records = sum(counts["stays"] for counts in metadata["counts"].values())
        chats = (prompt(row) for row in iterate_records(arguments.dataset))
        print(forecast(arguments, records, chats))
        return
    requests = arguments.requests or arguments.output.with_name(arguments.output.name + ".requests.sqlite")
    with closing(RequestLog(requests)) as log:
        model = open_model(arguments, kind, model_name, log, confined)
        teacher = LanguageModelTeacher(
            model,
            prompt,
            Gate(metadata["channels"], metadata["labels"]),
            tries=arguments.tries,
            keep_rejected=arguments.rejected == "keep",
        )
        settings |= {"prompt": prompt.version, "tries": arguments.tries}
        if kind == "openai":
            settings["endpoint"] = arguments.base_url
        if arguments.permission:
            settings["permission_to_send"] = f"{arguments.permission} (given {date.today().isoformat()})"
        write(
            arguments,
            metadata,
            teacher(iterate_records(arguments.dataset)),
            lambda: {**settings, **vars(log.usage()), "replies": log.statuses()},
        )


def write(
    arguments: argparse.Namespace, metadata: dict, rationales: Iterator[Rationale], settings: Callable[[], dict]
) -> None:
    """
    Write the output folder from the rationales as they come, in the order of the records.

    Args:
        settings (callable): what the metadata say of the teacher, asked when all is written.
    """
    total = sum(counts["stays"] for counts in metadata["counts"].values())
    outcomes, reasons, claims = Counter(), Counter(), Counter()

    def counted(folder: Path) -> Iterator[Rationale]:
        with open(folder / SET_ASIDE, "w", encoding="utf-8") as aside:
            for stay_id, rationale in zip(iterate_stay_ids(arguments.dataset), rationales, strict=True):
                outcomes[rationale.outcome] += 1
                claims.update(rationale.claims)
                if rationale.outcome in (DROPPED, KEPT):
                    reasons.update(rationale.reasons)
                    line = {"stay_id": stay_id, "outcome": rationale.outcome, "reasons": rationale.reasons}
                    aside.write(json.dumps(line) + "\n")
                bar.update()
                yield rationale

    with (
        closing(rationales),
        finished_folder(arguments.output) as folder,
        tqdm(total=total, desc="Writing rationales", unit="stay") as bar,
    ):
        add_rationales(arguments.dataset, folder, counted(folder), arguments.teacher)
        report = {**settings(), **report_of(outcomes, reasons, claims)}
        write_metadata(folder, {**metadata, "rationales": report}, dataset_card)
    logger.info("%s: %s", arguments.output, ", ".join(f"{count} {name}" for name, count in outcomes.items()))
    if not any(outcomes[name] for name in outcomes if name != DROPPED):
        logger.warning("no record got a rationale; %s tells why", SET_ASIDE)


if __name__ == "__main__":
    run_command(main)
