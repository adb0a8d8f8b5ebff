# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Build `knowledge.json` and its report from a corpus, by the options of `build_knowledge.py`."""

import argparse
import datetime
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from datasets_scripts.common.outputs import check_free, held, write_whole
from datasets_scripts.knowledge.base import SCHEMA_VERSION, Finding, builtin_knowledge, collect_terms
from datasets_scripts.knowledge.documents import Document, check_corpus_path, collect, read_files, read_hub
from datasets_scripts.knowledge.extraction import Prompt, extract_by_contrast, extract_by_model
from datasets_scripts.knowledge.own_terms import SUFFIXES, own_knowledge
from datasets_scripts.knowledge.queries import queries_for
from datasets_scripts.knowledge.report import write_report
from datasets_scripts.knowledge.retrieval import Retriever, evaluate_retrieval, load_encoder
from datasets_scripts.knowledge.web import PubMed, Wikipedia
from datasets_scripts.knowledge.words import label_forms
from datasets_scripts.llm.options import check_model_options, open_model, parse_model
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from datasets_scripts.sources.labels import load_labels
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

SCHEMA_BEGINS, REPORT_BEGINS = '{\n "schema_version"', "# Knowledge base\n"
SERVICES = ("pubmed", "wikipedia")
PER_LABEL = 50  # documents requested from a service, unless --limit is given
# labels, their documents, all documents, most terms of a label -> findings; dropped answers
Extract = Callable[[list[dict], dict[str, list[Document]], list[Document], int], tuple[list[Finding], Counter]]


def build(arguments: argparse.Namespace) -> None:
    """Write `arguments.output` and the report beside it; `arguments` are those of `build_knowledge.py`."""
    labels = load_labels(arguments.labels)
    for path, beginning in ((arguments.output, SCHEMA_BEGINS), (arguments.output.with_suffix(".md"), REPORT_BEGINS)):
        if not _is_own(path, beginning):
            check_free(path, None if arguments.corpus == "builtin" else arguments.corpus)
    with held(arguments.output):
        if arguments.corpus == "builtin":
            knowledge, details = builtin_knowledge([label["name"] for label in labels]), {}
        elif arguments.corpus.endswith(SUFFIXES):
            knowledge, details = own_knowledge(Path(arguments.corpus), [label["name"] for label in labels]), {}
        else:
            knowledge, details = _from_documents(arguments, labels)
        _write(arguments, knowledge, details)
    counts = Counter(disease for term in knowledge["terms"] for disease in term["diseases"])
    for label in knowledge["labels"]:
        logger.info("%3d terms  %s", counts[label], label)
    logger.info("%s: %d terms", arguments.output, len(knowledge["terms"]))
    without = [label for label in knowledge["labels"] if not counts[label]]
    if without:
        logger.warning("no terms for %s; %s", ", ".join(without), _how_to_add_terms(arguments.corpus))


def _how_to_add_terms(corpus: str) -> str:
    if corpus == "builtin":
        return "write them in a YAML file that `extends: builtin`, and give it as --corpus"
    return f"add them to {corpus}" if corpus.endswith(SUFFIXES) else "give documents about them"


def _from_documents(arguments: argparse.Namespace, labels: list[dict]) -> tuple[dict, dict]:
    """Make a knowledge base from retrieved documents, and further content of the report."""
    read = open_corpus(arguments, labels)
    extract, prompt = open_extractor(arguments)
    encode = load_encoder(arguments.retriever)
    documents = collect(read, None if arguments.corpus in SERVICES else arguments.limit)
    _warn_of_unknown_marks(documents, labels)
    logger.info("%d documents", len(documents))
    retriever, queries = Retriever(documents, encode), queries_for(labels)
    found = retriever.search(queries, arguments.top_k)
    retrieved = {label: rankings["fused"] for label, rankings in found.items()}
    findings, dropped = extract(labels, retrieved, documents, arguments.terms)
    by_id = {document.id: document for document in documents}
    terms = collect_terms(findings, by_id, arguments.terms)
    if not terms:
        raise ClinRaGenInputError(f"--corpus {arguments.corpus}: no terms found in {len(documents)} documents")
    cited = dict.fromkeys(cited["document"] for term in terms for cited in term["provenance"])
    knowledge = {
        "schema_version": SCHEMA_VERSION,
        "labels": [label["name"] for label in labels],
        "terms": terms,
        "documents": {i: {"title": by_id[i].title, "url": by_id[i].url, "date": by_id[i].date} for i in cited},
        "settings": _settings(arguments, prompt),
    }
    recalls = evaluate_retrieval(retriever, queries)
    return knowledge, {"retrieved": retrieved, "recalls": recalls, "dropped": dropped}


def _settings(arguments: argparse.Namespace, prompt: str | None) -> dict:
    return {
        "corpus": arguments.corpus,
        "date": datetime.date.today().isoformat(),
        "retriever": arguments.retriever,
        "top_k": arguments.top_k,
        "extractor": arguments.extractor,
        "prompt": prompt,
        "permission_to_send": arguments.permission,
    }


def open_corpus(arguments: argparse.Namespace, labels: list[dict]) -> Iterator[Document]:
    """Return the documents of `--corpus` lazily, after checking the arguments as far as possible."""
    corpus = arguments.corpus
    if corpus in SERVICES:
        return _from_service(arguments, labels)
    if corpus.startswith("hf:"):
        return read_hub(corpus[3:], arguments.split, arguments.text_column, arguments.limit)
    check_corpus_path(Path(corpus))
    return read_files(Path(corpus))


def _from_service(arguments: argparse.Namespace, labels: list[dict]) -> Iterator[Document]:
    cache = arguments.cache or arguments.output.with_name(arguments.output.name + ".cache")
    if arguments.corpus == "pubmed":
        service = PubMed(cache, api_key=arguments.api_key, email=arguments.email)
    else:
        service = Wikipedia(cache, email=arguments.email)
    for label in tqdm(labels, desc=arguments.corpus, unit="label"):
        yield from service.documents(label_forms(label), arguments.limit or PER_LABEL)


def open_extractor(arguments: argparse.Namespace) -> tuple[Extract, str | None]:
    """Return the function that extracts terms from retrieved documents, and the version of its prompt, if any."""
    if arguments.extractor == "offline":
        encode = load_encoder(MINILM)  # the threshold of similarity was chosen for this encoder
        return lambda labels, retrieved, documents, terms: (
            extract_by_contrast(labels, retrieved, documents, encode, terms),
            Counter(),
        ), None
    kind, name = parse_model(arguments.extractor, "--extractor", ("offline",), arguments.gguf_file)
    own = not arguments.corpus.startswith("hf:") and arguments.corpus not in SERVICES  # a hospital's documents
    check_model_options(arguments, kind, own)
    prompt = Prompt.load()

    def extract(labels, retrieved, documents, terms):
        path = arguments.requests or arguments.output.with_name(arguments.output.name + ".requests.sqlite")
        with closing(RequestLog(path)) as log:
            model = open_model(arguments, kind, name, log, own)
            return extract_by_model(
                labels, retrieved, lambda requests: map_in_order(model.answer, requests, model), prompt
            )

    return extract, prompt.version


def _warn_of_unknown_marks(documents: list[Document], labels: list[dict]) -> None:
    marks = {disease for document in documents for disease in document.diseases}
    unknown = sorted(marks - {label["name"] for label in labels})
    if unknown:
        logger.warning(
            "documents are marked with %d diseases that are not labels, such as %r", len(unknown), unknown[0]
        )


def _write(arguments: argparse.Namespace, knowledge: dict, details: dict) -> None:
    report = write_report(knowledge, _vocabulary(arguments.tokenizer, knowledge["terms"]), **details)
    write_whole(arguments.output.with_suffix(".md"), report)
    write_whole(arguments.output, json.dumps(knowledge, indent=1, ensure_ascii=False))


def _is_own(path: Path, beginning: str) -> bool:
    """Return whether this command wrote a file and may replace it; any other file belongs to the user."""
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(len(beginning)) == beginning


def _vocabulary(name_or_path: str, terms: list[dict]) -> tuple[str, int] | None:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(name_or_path))
    except (OSError, ValueError) as error:
        if name_or_path != MINILM:
            raise ClinRaGenInputError(f"--tokenizer {name_or_path}: no tokenizer ({error})") from None
        logger.warning("the report does not count tokens: %s is not available", MINILM)
        return None
    tokens = {token for term in terms for token in tokenizer(term["term"], add_special_tokens=False)["input_ids"]}
    return name_or_path, len(tokens)
