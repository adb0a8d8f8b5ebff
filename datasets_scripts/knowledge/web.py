# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Documents about a label from PubMed (NCBI E-utilities) and Wikipedia (MediaWiki action API)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from datasets_scripts.knowledge.documents import Document
from modeling_clinragen import __version__
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

TOOL = "clinragen"
PUBMED = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
WIKIPEDIA = "https://en.wikipedia.org/w/api.php"
SECRETS = ("api_key", "email")
SHORTEST_FORM = 5  # letters; "dm" or "ami" mean too much elsewhere to be searched for
PUBMED_BATCH = 100  # articles a request
LONGEST_RETRY_AFTER = 120  # seconds
LARGEST_REPLY = 64 * 2**20  # bytes, decompressed
SLOWEST_REPLY = 180  # seconds, to its last byte
LONGEST_FAULT = 200  # characters of a service's error message


class ServiceError(ValueError):
    """Raised for an unexpected reply; another request may succeed."""


class CachedService:
    """
    Reads a web service politely: at most `per_second` requests, with retries after 429 and 5xx, and nothing twice.

    Args:
        cache (`Path`): folder of the replies; only those that could be read are kept.
        email (`str`, *optional*): the services ask for one, as a contact before they block anyone.
        attempts (`int`): number of attempts at a request with an unreadable reply.
        first_wait (`float`): seconds before the second attempt; they double.
    """

    def __init__(
        self, cache: Path, per_second: float, email: str | None = None, attempts: int = 5, first_wait: float = 1.0
    ):
        self.cache, self.pause, self.attempts, self.first_wait = Path(cache), 1 / per_second, attempts, first_wait
        self.next_time = 0.0
        self.session = requests.Session()
        contact = f"; {email}" if email else ""
        self.session.headers["User-Agent"] = f"{TOOL}/{__version__} (builds a medical knowledge base{contact})"
        retry = Retry(
            total=attempts - 1,
            backoff_factor=first_wait,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET",),
            retry_after_max=LONGEST_RETRY_AFTER,
        )
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry))

    def get(self, url: str, parameters: dict, parse: Callable[[str], object]) -> object:
        """
        Return the result of `parse` for the reply, which may come from the cache.

        Raises:
            ClinRaGenInputError: if the service does not answer, or not in a form that `parse` can read.
        """
        public = {name: value for name, value in parameters.items() if name not in SECRETS}
        key = hashlib.sha256(json.dumps([url, public], sort_keys=True).encode()).hexdigest()
        kept = self.cache / key[:2] / key
        if kept.is_file():
            with suppress(ServiceError):  # damaged: fetched again
                return _parsed(parse, kept.read_bytes())
        for attempt in range(self.attempts):
            reply, headers = self._fetch(url, parameters)
            try:
                parsed = _parsed(parse, reply)
                break
            except ServiceError as error:
                fault = error
                time.sleep(float(_seconds(headers.get("Retry-After")) or self.first_wait * 2**attempt))
        else:
            raise ClinRaGenInputError(
                f"{url}: {_one_line(fault, parameters)}, {self.attempts} times; start again later to resume from there"
            )
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside = kept.with_name(f"{key}.{os.getpid()}")
        aside.write_bytes(reply)
        aside.rename(kept)
        return parsed

    def _fetch(self, url: str, parameters: dict) -> tuple[bytes, Mapping[str, str]]:
        """Return body and headers of a reply, with limits on its size and time."""
        time.sleep(max(0.0, self.next_time - time.monotonic()))
        self.next_time = time.monotonic() + self.pause
        try:
            with self.session.get(url, params=parameters, timeout=(10, 60), stream=True) as reply:
                reply.raise_for_status()
                return _body(reply), reply.headers
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = f"HTTP {status}" if status is not None else type(error).__name__
            raise ClinRaGenInputError(
                f"{url} cannot be read ({reason}); start again later to resume from there, or use another --corpus"
            ) from None


def _body(reply: requests.Response) -> bytes:
    """Read a body as it arrives."""
    read, parts, size, began = getattr(reply.raw, "read1", reply.raw.read), [], 0, time.monotonic()
    while part := read(2**16, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY or time.monotonic() - began > SLOWEST_REPLY:
            raise requests.ConnectionError
    return b"".join(parts)


def _parsed(parse: Callable[[str], object], reply: bytes) -> object:
    """Return the result of `parse` for a reply; any failure becomes a `ServiceError`."""
    try:
        return parse(reply.decode())
    except ServiceError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        raise ServiceError("the reply is not of the form that is read") from None


def _one_line(fault: ServiceError, parameters: dict) -> str:
    """Return a fault as one short line, without secrets."""
    line = " ".join(str(fault).split())
    for name in SECRETS:
        line = line.replace(str(parameters.get(name) or "\0"), "***")
    return line[:LONGEST_FAULT]


def _seconds(retry_after: str | None) -> int | None:
    return min(int(retry_after), LONGEST_RETRY_AFTER) if retry_after and retry_after.isdigit() else None


def _quoted_forms(forms: list[str]) -> list[str]:
    long = [form for form in forms if len(form) >= SHORTEST_FORM] or forms
    return [f'"{form}"' for form in long]


class PubMed:
    """
    Titles and abstracts from PubMed, most relevant first.

    Args:
        api_key (`str`, *optional*): of an NCBI account; allows ten requests a second instead of three.
    """

    def __init__(
        self, cache: Path, api_key: str | None = None, email: str | None = None, base_url: str = PUBMED, **service
    ):
        self.base_url = base_url
        self.service = CachedService(cache, per_second=10 if api_key else 3, email=email, **service)
        identity = {"tool": TOOL, "email": email, "api_key": api_key}
        self.identity = {name: value for name, value in identity.items() if value}
        self.fetched: set[str] = set()

    def documents(self, forms: list[str], limit: int) -> Iterator[Document]:
        """Yield up to `limit` articles about what is called by any of `forms`, without those given before."""
        term = " OR ".join(f"{form}[Title/Abstract]" for form in _quoted_forms(forms))
        search = {"term": f"({term}) AND hasabstract AND english[Language]", "retmax": limit, "sort": "relevance"}
        ids = self._get("esearch.fcgi", {**search, "retmode": "json"}, _pubmed_ids)
        new = [i for i in ids if i not in self.fetched]
        for start in range(0, len(new), PUBMED_BATCH):
            batch = new[start : start + PUBMED_BATCH]
            self.fetched.update(batch)
            yield from self._get("efetch.fcgi", {"id": ",".join(batch), "retmode": "xml"}, _pubmed_articles)

    def _get(self, program: str, parameters: dict, parse: Callable) -> list:
        return self.service.get(f"{self.base_url}/{program}", {"db": "pubmed", **parameters, **self.identity}, parse)


def _pubmed_ids(reply: str) -> list[str]:
    result = _json(reply).get("esearchresult")
    if not isinstance(result, dict) or not isinstance(result.get("idlist"), list):
        raise ServiceError("the search has no result")
    if "ERROR" in result:
        raise ServiceError(f"the search fails ({result['ERROR']})")
    return [str(int(i)) for i in result["idlist"]]


def _json(reply: str) -> dict:
    try:
        value = json.loads(reply)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate cannot be saved
    except (ValueError, RecursionError):
        raise ServiceError("the reply is not JSON") from None
    if not isinstance(value, dict) or "error" in value:
        error = value.get("error") if isinstance(value, dict) else value
        raise ServiceError(f"the reply is an error ({error.get('info', error) if isinstance(error, dict) else error})")
    return value


def _pubmed_articles(reply: str) -> list[Document]:
    try:
        root = ElementTree.fromstring(reply)
    except ElementTree.ParseError:
        raise ServiceError("the reply is not XML") from None
    if root.tag != "PubmedArticleSet":
        raise ServiceError(f"the reply holds no articles but {root.tag}")
    articles = [_pubmed_article(article) for article in root.iter("PubmedArticle")]
    return [article for article in articles if article is not None]


def _pubmed_article(article: ElementTree.Element) -> Document | None:
    pmid = article.findtext("MedlineCitation/PMID")
    parts = []
    for part in article.iterfind("MedlineCitation/Article/Abstract/AbstractText"):
        text = " ".join("".join(part.itertext()).split())
        parts.append(f"{part.get('Label').capitalize()}: {text}" if part.get("Label") else text)
    if not pmid or not any(parts):
        return None
    title = article.find("MedlineCitation/Article/ArticleTitle")
    published = article.find("MedlineCitation/Article/Journal/JournalIssue/PubDate")
    year = re.search(r"\d{4}", " ".join(published.itertext())) if published is not None else None
    return Document(
        id=f"PMID {pmid}",
        title=" ".join("".join(title.itertext()).split()) if title is not None else "",
        text="\n".join(parts),
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        date=year[0] if year else None,
    )


class Wikipedia:
    """Plain text of English Wikipedia's articles, each at the revision that was read."""

    def __init__(self, cache: Path, base_url: str = WIKIPEDIA, **service):
        self.base_url = base_url
        self.service = CachedService(cache, per_second=2, **service)
        self.fetched: set[int] = set()

    def documents(self, forms: list[str], limit: int) -> Iterator[Document]:
        """Yield up to `limit` articles about what is called by any of `forms`, without those given before."""
        search = {"list": "search", "srsearch": " OR ".join(_quoted_forms(forms)), "srlimit": min(limit, 500)}
        for page in self._get(search, _wikipedia_pages):
            if page not in self.fetched:
                self.fetched.add(page)
                yield from self._get(
                    {
                        "prop": "extracts|info|revisions",
                        "pageids": page,
                        "explaintext": 1,
                        "inprop": "url",
                        "rvprop": "ids|timestamp",
                    },
                    _wikipedia_articles,
                )

    def _get(self, parameters: dict, parse: Callable) -> list:
        common = {"action": "query", "format": "json", "formatversion": 2, "maxlag": 5}
        return self.service.get(self.base_url, {**common, **parameters}, parse)


def _wikipedia_pages(reply: str) -> list[int]:
    try:
        return [int(page["pageid"]) for page in _json(reply)["query"]["search"]]
    except (KeyError, TypeError):
        raise ServiceError("the search has no result") from None


_APPENDIX = re.compile(
    r"\n==\s*(?:See also|References|Notes|Further reading|External links|Bibliography)\s*==.*", re.S
)


def _wikipedia_articles(reply: str) -> list[Document]:
    try:
        pages = _json(reply)["query"]["pages"]
        return [_wikipedia_article(page) for page in pages if page.get("extract")]
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ServiceError("the reply holds no page") from None


def _wikipedia_article(page: dict) -> Document:
    revision = page["revisions"][0]
    text = re.sub(r"^=+\s*(.*?)\s*=+$", r"\1:", _APPENDIX.sub("", page["extract"]), flags=re.MULTILINE)
    if not isinstance(page["title"], str) or not isinstance(page["fullurl"], str):
        raise TypeError
    return Document(
        id=f"Wikipedia {int(page['pageid'])}, revision {int(revision['revid'])}",
        title=page["title"],
        text=text,
        url=f"{page['fullurl']}?oldid={int(revision['revid'])}",
        date=revision["timestamp"][:10],
    )
