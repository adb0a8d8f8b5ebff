# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a dataset folder with rationales, by the options of `generate_rationales.py`."""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import date
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import (
    add_rationales,
    check_content,
    check_labelled,
    iterate_records,
    iterate_stay_ids,
    label_names,
    language_in,
    read_metadata,
    write_metadata,
)
from datasets_scripts.dataset.terms import is_open
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.llm.options import check_model_options, forecast, open_model, parse_model
from datasets_scripts.llm.request_log import RequestLog
from datasets_scripts.teacher.gate import Gate
from datasets_scripts.teacher.grounded import GroundedForm
from datasets_scripts.teacher.language_model import LanguageModelTeacher
from datasets_scripts.teacher.prompt import PROMPT, Prompt
from datasets_scripts.teacher.rationale import DROPPED, KEPT, Rationale, report_of, without_evidence
from datasets_scripts.teacher.template import TemplateTeacher, write_in_processes, write_on_cluster
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.language_clinragen import language_of
from modeling_clinragen.links_clinragen import KnowledgeLinks


logger = logging.getLogger(__name__)

SET_ASIDE = "set_aside.jsonl"
MUCH_WITHOUT_EVIDENCE = 0.5  # of the rationales of either part: a model would learn to give no evidence


def write_rationales(arguments: argparse.Namespace) -> None:
    """Write the dataset folder `arguments.output`, with rationales; `arguments` are of `generate_rationales.py`."""
    read_metadata(arguments.dataset)
    check_free(arguments.output, arguments.dataset, arguments.knowledge)
    metadata = check_content(arguments.dataset)
    check_labelled(metadata, arguments.dataset)
    knowledge = load_knowledge(arguments.knowledge)
    names = label_names(metadata)
    unknown = [name for name in names if not any(name in t["diseases"] for t in knowledge["terms"])]
    if unknown:
        logger.warning("the knowledge has no term for %s: no rationale will argue for them", ", ".join(unknown))
    settings = {
        "teacher": arguments.teacher,
        "corpus": knowledge["settings"].get("corpus"),
        "knowledge_terms": len(knowledge["terms"]),
        "seed": arguments.seed,
        "rejected": arguments.rejected,
    }
    if arguments.teacher == "template":
        language = language_of(language_in(metadata))
        if not language.composes:
            raise ClinRaGenInputError(
                f"--teacher template: the language file of {arguments.dataset} gives no `sentences` to write; add "
                "them and build the dataset again, or take another teacher"
            )
        teacher = TemplateTeacher(
            knowledge,
            metadata["channels"],
            metadata["labels"],
            arguments.seed,
            arguments.rejected == "keep",
            language,
        )
        records = iterate_records(arguments.dataset)
        rationales = (
            write_on_cluster(teacher, records, arguments.ray)
            if arguments.ray
            else write_in_processes(teacher, records, arguments.processes)
        )
        _write(arguments, metadata, rationales, lambda: settings)
        return
    _ask_a_model(arguments, metadata, knowledge, settings)


def _ask_a_model(arguments: argparse.Namespace, metadata: dict, knowledge: dict, settings: dict) -> None:
    """Let a language model write: within its budget, and on this machine unless a permission is recorded."""
    kind, model_name = parse_model(arguments.teacher, "--teacher", ("template",), arguments.gguf_file)
    path = arguments.prompt or PROMPT
    prompt = Prompt(knowledge, metadata["channels"], label_names(metadata), path, arguments.max_note)
    confined = not is_open(arguments.dataset, metadata)
    check_model_options(arguments, kind, confined)
    if arguments.sentences in ("grounded", "chosen") and language_in(metadata):
        raise ClinRaGenInputError(
            f"--sentences {arguments.sentences}: they are English, and the notes of {arguments.dataset} are in "
            f"{metadata['language']['name']}; give --sentences free"
        )
    requests = arguments.requests or arguments.output.with_name(arguments.output.name + ".requests.sqlite")
    if arguments.dry_run:
        records = sum(counts["stays"] for counts in metadata["counts"].values())
        chats = (prompt(row) for row in iterate_records(arguments.dataset))
        with closing(RequestLog(requests)) if requests.exists() else nullcontext() as log:
            print(forecast(arguments, records, chats, log))
        return
    with closing(RequestLog(requests)) as log:
        model = open_model(arguments, kind, model_name, log, confined)
        language = language_of(language_in(metadata))
        links = KnowledgeLinks(knowledge["terms"], label_names(metadata), metadata["channels"], language)
        sentences = arguments.sentences or ("grounded" if kind == "transformers" and language.is_english else "free")
        gate = Gate(metadata["channels"], metadata["labels"], links)
        teacher = LanguageModelTeacher(
            model,
            prompt,
            gate,
            tries=arguments.tries,
            keep_rejected=arguments.rejected == "keep",
            form=None if sentences == "free" else GroundedForm(gate.composer, own_words=sentences == "grounded"),
        )
        settings |= {"prompt": prompt.version, "prompt_sha256": prompt.sha256}
        settings |= {"sentences": sentences, "tries": arguments.tries}
        if kind == "openai":
            settings["endpoint"] = arguments.base_url
        if arguments.permission:
            settings["permission_to_send"] = f"{arguments.permission} (given {date.today().isoformat()})"
        _write(
            arguments,
            metadata,
            teacher(iterate_records(arguments.dataset)),
            lambda: {**settings, **log.report()},
        )


def _write(
    arguments: argparse.Namespace, metadata: dict, rationales: Iterator[Rationale], settings: Callable[[], dict]
) -> None:
    """
    Write the output folder from the rationales as they arrive, in the order of the records.

    Args:
        settings (callable): returns the teacher's settings for the metadata; called at the end.
    """
    total = sum(counts["stays"] for counts in metadata["counts"].values())
    outcomes, reasons, claims, without = Counter(), Counter(), Counter(), Counter()

    def counted(folder: Path) -> Iterator[Rationale]:
        with open(folder / SET_ASIDE, "w", encoding="utf-8") as aside:
            for stay_id, rationale in zip(iterate_stay_ids(arguments.dataset), rationales, strict=True):
                outcomes[rationale.outcome] += 1
                claims.update(rationale.claims)
                without.update(rationale.without)
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
        report = {**settings(), **report_of(outcomes, reasons, claims, without)}
        write_metadata(folder, {**metadata, "rationales": report}, dataset_card)
    logger.info("%s: %s", arguments.output, ", ".join(f"{count} {name}" for name, count in report["outcomes"].items()))
    if reasons:
        told = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        logger.info("why a last try was not accepted: %s; by stay in %s", told, arguments.output / SET_ASIDE)
    shares = without_evidence(without)
    if shares:
        percentages = ", ".join(f"{100 * share:.1f}% of the {part} rationales" for part, share in shares.items())
        log = logger.warning if max(shares.values()) > MUCH_WITHOUT_EVIDENCE else logger.info
        log("without evidence for a recorded diagnosis: %s; more terms in --knowledge would find more", percentages)
    if not any(outcomes[name] for name in outcomes if name != DROPPED):
        logger.warning("no record got a rationale; %s says why", SET_ASIDE)
