# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Documents from files and datasets, and from a local stand-in for PubMed and Wikipedia."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from pyarrow import parquet

from datasets_scripts import build_knowledge
from datasets_scripts.knowledge import web
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.knowledge.documents import Document, collect, read_files, read_hub
from datasets_scripts.knowledge.web import PubMed, Wikipedia
from modeling_clinragen import ClinRaGenInputError


ROW = {"id": "a", "title": "T", "text": "Fever.", "url": "http://x", "date": "2020", "diseases": ["Shock"]}


def test_text_files_of_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "shock.md").write_text("Cold skin.")
    (tmp_path / "fever.txt").write_text("Rigors.")
    (tmp_path / "picture.png").write_bytes(b"\xff")
    assert list(read_files(tmp_path)) == [
        Document("fever.txt", "Rigors.", "fever"),
        Document("sub/shock.md", "Cold skin.", "shock"),
    ]


def test_rows_of_jsonl_and_parquet_are_the_same(tmp_path):
    rows = [ROW, {"id": "b", "text": "Cough."}]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    expected = [Document("a", "Fever.", "T", "http://x", "2020", ("Shock",)), Document("b", "Cough.")]
    assert list(read_files(tmp_path / "d.jsonl")) == expected
    assert list(read_files(tmp_path / "d.parquet")) == expected


def test_rows_without_an_id_are_numbered(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    assert [document.id for document in read_files(tmp_path)] == ["d.jsonl:1", "d.jsonl:2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"tex', r"d\.jsonl, row 2: not JSON"),
        ('{"text": "a"}\n{"title": "b"}', r"d\.jsonl, row 2: field 'text' must be a text"),
        ('{"text": 4}', "row 1: field 'text'"),
        ("[]", "row 1: field 'text'"),
        ('{"text": "a", "diseases": "Shock"}', "row 1: field 'diseases' must be a list"),
        ('{"text": "a", "diseases": [1]}', "row 1: field 'diseases' must be a list"),
        ('{"text": "a", "id": "x"}\n{"text": "b", "id": "x"}', "two documents of the corpus have the id 'x'"),
        ('{"text": " "}', "no document with a text"),
        (b'{"text": "\xff"}', "row 1: not JSON"),
    ],
)
def test_bad_rows_are_named(tmp_path, content, message):
    (tmp_path / "d.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ClinRaGenInputError, match=message):
        collect(read_files(tmp_path))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="no documents; files must end in"):
        list(read_files(tmp_path))
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(ClinRaGenInputError, match=r"a\.parquet is not a Parquet file"):
        list(read_files(tmp_path))
    (tmp_path / "a.parquet").unlink()
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(ClinRaGenInputError, match=r"a\.txt is not UTF-8 \(byte 3\)"):
        list(read_files(tmp_path))


def test_a_local_dataset_folder_is_streamed(tmp_path):
    rows = [{"body": f"Text {i}.", "title": str(i)} for i in range(9)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = list(read_hub(str(tmp_path), text_column="body", limit=4))
    assert [document.text for document in documents] == [row["body"] for row in rows[:4]]
    assert len({document.id for document in documents}) == 4
    with pytest.raises(ClinRaGenInputError, match="no column 'text'; set --text-column to one of body, title"):
        list(read_hub(str(tmp_path)))
    with pytest.raises(ClinRaGenInputError, match="split 'test' cannot be read"):
        list(read_hub(str(tmp_path), split="test", text_column="body"))
    with pytest.raises(ClinRaGenInputError, match="cannot be read"):
        list(read_hub(str(tmp_path / "nothing")))


ARTICLES = {
    "11": """<PubmedArticle><MedlineCitation><PMID Version="1">11</PMID><Article><Journal><JournalIssue><PubDate>
      <MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue></Journal>
      <ArticleTitle>Lactate in <i>septic</i> shock</ArticleTitle><Abstract>
      <AbstractText Label="BACKGROUND">Lactate &gt; 4 mmol/L<sup>1</sup> is common.</AbstractText>
      <AbstractText Label="RESULTS">Norepinephrine helped.</AbstractText></Abstract></Article></MedlineCitation>
      </PubmedArticle>""",
    "12": """<PubmedArticle><MedlineCitation><PMID>12</PMID><Article><Journal><JournalIssue><PubDate><Year>2021</Year>
      </PubDate></JournalIssue></Journal><ArticleTitle>Mottled skin</ArticleTitle><Abstract><AbstractText>Mottled skin
      predicts death.</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>""",
    "13": """<PubmedArticle><MedlineCitation><PMID>13</PMID><Article><ArticleTitle>No abstract</ArticleTitle></Article>
      </MedlineCitation></PubmedArticle>""",
}
PAGES = {
    7: (
        "Shock (circulatory)",
        "Shock is low perfusion.\n\n\n== Signs ==\nThe skin is cold.\n\n== See also ==\nSepsis",
    ),
    8: ("Vasopressor", "Norepinephrine raises blood pressure."),
}


class Services:
    """A local server that answers as the two services do; `faults` are (status, headers, body) to send first."""

    def __init__(self):
        self.requests, self.faults, self.agents, self.times = [], [], set(), []
        services = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                services.requests.append((url.path, query))
                services.agents.add(self.headers["User-Agent"])
                services.times.append(time.monotonic())
                status, headers, body = (
                    services.faults.pop(0) if services.faults else (200, {}, services.answer(url.path, query))
                )
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, query):
        if path == "/esearch.fcgi":
            ids = ["12", "11", "13"] if "shock" in query["term"].lower() else ["12"]
            return json.dumps({"header": {}, "esearchresult": {"count": "3", "idlist": ids[: int(query["retmax"])]}})
        if path == "/efetch.fcgi":
            articles = "".join(ARTICLES[i] for i in query["id"].split(","))
            return f'<?xml version="1.0"?><!DOCTYPE PubmedArticleSet><PubmedArticleSet>{articles}</PubmedArticleSet>'
        if query.get("list") == "search":
            return json.dumps({"batchcomplete": True, "query": {"search": [{"pageid": 7}, {"pageid": 8}]}})
        title, text = PAGES[int(query["pageids"])]
        page = {"pageid": int(query["pageids"]), "title": title, "extract": text, "fullurl": f"https://w/{title}"}
        revisions = [{"revid": 900 + page["pageid"], "timestamp": "2025-02-03T04:05:06Z"}]
        return json.dumps({"query": {"pages": [{**page, "revisions": revisions}]}})


@pytest.fixture
def services():
    services = Services()
    yield services
    services.server.shutdown()


def test_pubmed_articles_with_provenance(services, tmp_path):
    pubmed = PubMed(tmp_path, api_key="secret", email="me@example.org", base_url=services.url)
    documents = list(pubmed.documents(["shock", "septic shock", "sh"], limit=3))
    assert [document.id for document in documents] == ["PMID 12", "PMID 11"]
    second = documents[1]
    assert second.title == "Lactate in septic shock"
    assert second.text == "Background: Lactate > 4 mmol/L1 is common.\nResults: Norepinephrine helped."
    assert (second.date, documents[0].date) == ("1998", "2021")
    assert second.url == "https://pubmed.ncbi.nlm.nih.gov/11/"
    (_, search), (_, fetch) = services.requests
    assert search["term"].startswith('("shock"[Title/Abstract] OR "septic shock"[Title/Abstract]) AND')
    wanted = {"db": "pubmed", "sort": "relevance", "retmode": "json", "tool": "clinragen", "email": "me@example.org"}
    assert wanted.items() <= search.items()
    assert (fetch["id"], fetch["retmode"], fetch["api_key"]) == ("12,11,13", "xml", "secret")


def test_wikipedia_pages_with_their_revision(services, tmp_path):
    documents = list(Wikipedia(tmp_path, email="me@example.org", base_url=services.url).documents(["shock"], 5))
    assert documents[0] == Document(
        "Wikipedia 7, revision 907",
        "Shock is low perfusion.\n\n\nSigns:\nThe skin is cold.\n",
        "Shock (circulatory)",
        "https://w/Shock (circulatory)?oldid=907",
        "2025-02-03",
    )
    assert [query.get("pageids") for _, query in services.requests] == [None, "7", "8"]
    assert all(query["maxlag"] == "5" for _, query in services.requests)
    (agent,) = services.agents
    assert agent.startswith("clinragen/")
    assert "me@example.org" in agent


def test_a_restart_fetches_nothing_twice_and_keeps_no_secret(services, tmp_path):
    for _ in range(2):
        pubmed = PubMed(tmp_path, api_key="secret", email="me@example.org", base_url=services.url)
        first = list(pubmed.documents(["shock"], 3))
        assert list(pubmed.documents(["other disease"], 3)) == []  # its only article came with the first
    assert len(first) == 2
    assert Counter(path for path, _ in services.requests) == {"/esearch.fcgi": 2, "/efetch.fcgi": 1}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"secret" not in kept
    assert b"me@example.org" not in kept


def test_a_damaged_cache_is_fetched_again(services, tmp_path):
    expected = list(PubMed(tmp_path, base_url=services.url).documents(["shock"], 3))
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_text("{")
    assert list(PubMed(tmp_path, base_url=services.url).documents(["shock"], 3)) == expected
    assert len(services.requests) == 4


LAGGED = json.dumps({"error": {"code": "maxlag", "info": "Waiting for a server: 7 seconds lagged"}})


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"Retry-After": "1"}, "{}"),
        (503, {}, "busy"),
        (500, {}, ""),
        (200, {}, "{broken"),
        (200, {"Retry-After": "1"}, LAGGED),
        (200, {}, '{"esearchresult": {"ERROR": "Search Backend failed"}}'),
        (200, {}, "[]"),
    ],
)
@pytest.mark.parametrize("service", [PubMed, Wikipedia])
def test_transient_faults_are_retried(services, tmp_path, service, fault):
    services.faults.append(fault)
    documents = list(service(tmp_path, base_url=services.url, first_wait=0.01).documents(["shock"], 3))
    assert len(documents) == 2
    if "Retry-After" in fault[1]:
        assert services.times[1] - services.times[0] >= 0.99


def test_malformed_xml_is_requested_again(services, tmp_path):
    pubmed = PubMed(tmp_path, base_url=services.url, first_wait=0.01)
    list(pubmed._get("esearch.fcgi", {"term": "shock", "retmax": 3}, web._pubmed_ids))
    services.faults += [(200, {}, "<PubmedArticleSet><Pub"), (200, {}, "<eFetchResult><ERROR/></eFetchResult>")]
    articles = pubmed._get("efetch.fcgi", {"id": "11"}, web._pubmed_articles)
    assert [article.id for article in articles] == ["PMID 11"]


def test_lasting_faults_end_in_one_line(services, tmp_path):
    pubmed = PubMed(tmp_path, base_url=services.url, attempts=2, first_wait=0.01)
    services.faults += [(200, {}, "{broken")] * 2
    with pytest.raises(ClinRaGenInputError, match=r"esearch.fcgi: the reply is not JSON, 2 times; start again later"):
        list(pubmed.documents(["shock"], 3))
    services.faults += [(503, {}, "")] * 2
    with pytest.raises(ClinRaGenInputError, match="cannot be read"):
        list(pubmed.documents(["shock"], 3))
    services.faults += [(400, {}, "")]
    with pytest.raises(ClinRaGenInputError, match="HTTP 400"):
        list(pubmed.documents(["shock"], 3))
    assert not list(tmp_path.rglob("*"))
    services.server.shutdown()
    services.server.server_close()
    with pytest.raises(ClinRaGenInputError, match="cannot be read"):
        list(pubmed.documents(["shock"], 3))


def test_requests_keep_to_the_rate(services, tmp_path):
    pubmed = PubMed(tmp_path, base_url=services.url)
    for word in ("shock", "fever", "cough", "rales"):
        list(pubmed.documents([word], 1))
    gaps = [b - a for a, b in zip(services.times, services.times[1:], strict=False)]
    assert min(gaps) >= 1 / 3 - 0.15  # a late request on a busy machine makes the next one seem early
    assert sum(gaps) / len(gaps) >= 1 / 3 - 0.03


@pytest.mark.parametrize("corpus", ["pubmed", "wikipedia"])
def test_knowledge_from_a_service(services, tmp_path, monkeypatch, corpus):
    monkeypatch.setattr(web.PubMed.__init__, "__defaults__", (None, None, services.url))
    monkeypatch.setattr(web.Wikipedia.__init__, "__defaults__", (services.url,))
    labels = tmp_path / "labels.yaml"
    labels.write_text("labels:\n- {name: Shock, ccs: [249]}\n- {name: Gout, ccs: [54]}\n")
    output = tmp_path / "knowledge.json"
    for _ in range(2):
        build_knowledge.main(["--corpus", corpus, "--labels", str(labels), "--output", str(output)])
        requests = len(services.requests)
    assert requests == len({json.dumps(request) for request in services.requests})
    knowledge = load_knowledge(output)
    assert knowledge["settings"]["corpus"] == corpus
    terms = {term["term"]: term for term in knowledge["terms"]}
    assert "norepinephrine" in {name.lower() for name in terms}
    cited = {cited["document"] for term in terms.values() for cited in term["provenance"]}
    assert all(knowledge["documents"][name]["url"].startswith("https://") for name in cited)
    assert (tmp_path / "knowledge.json.cache").is_dir()


def test_nothing_is_fetched_before_the_arguments_are_checked(services, tmp_path, monkeypatch):
    monkeypatch.setattr(web.PubMed.__init__, "__defaults__", (None, None, services.url))
    command = ["--corpus", "pubmed", "--output", str(tmp_path / "k.json"), "--retriever", str(tmp_path / "nothing")]
    with pytest.raises(ClinRaGenInputError, match="no sentence encoder"):
        build_knowledge.main(command)
    assert services.requests == []
