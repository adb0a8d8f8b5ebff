# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Replies that PubMed and Wikipedia never give: each ends in one line, and again after a restart."""

import gzip
import json
import time

import pytest

from datasets_scripts.knowledge import web
from datasets_scripts.knowledge.documents import Document
from datasets_scripts.knowledge.web import PubMed, Wikipedia
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.llm.raw_server import RawServer, http


DEEP = "[" * 100_000 + "]" * 100_000
PAGE = {
    "pageid": 1,
    "title": "Fever",
    "extract": "Rigors.",
    "fullurl": "http://x/Fever",
    "revisions": [{"revid": 7, "timestamp": "2020-01-02T03:04:05Z"}],
}
SEARCHES = {
    "deep JSON": http(DEEP),
    "a list": http([1]),
    "null": http("null"),
    "a page": http("<html>"),
    "nothing": http(b""),
    "no UTF-8": http(b"\xff\xfe\x00"),
    "no list of ids": http({"esearchresult": {"idlist": None}}),
    "ids that are none": http({"esearchresult": {"idlist": [None, {}, [1]]}}),
    "an infinite id": http('{"esearchresult": {"idlist": [1e999]}}'),
    "half a character": http(b'{"esearchresult": {"idlist": ["\\ud800"]}}'),
    "HTTP 403": http("", "403 No"),
    "HTTP 429": http("", "429 Wait", ("Retry-After: nan",)),
    "HTTP 500": http("", "500 Oh"),
    "a redirect to nowhere": http("", "302 There", ("Location: http://[::1",)),
    "a redirect to a file": http("", "302 There", ("Location: file:///etc/hosts",)),
    "compressed, but it is not": http("{}", headers=("Content-Encoding: gzip",)),
    "a body that is cut": http({"esearchresult": {"idlist": []}})[:-5],
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{",
    "no HTTP": b"\x00\x01 hello\r\n\r\n",
    "no reply": b"",
}
BAD_PAGES = [
    {"pageid": [1]},
    {"title": None},
    {"title": ["Fever"]},
    {"extract": 5},
    {"extract": ["Rigors."]},
    {"fullurl": None},
    {"revisions": []},
    {"revisions": None},
    {"revisions": [{"revid": {}, "timestamp": "2020"}]},
    {"revisions": [{"revid": 7, "timestamp": 5}]},
]


def lines_of(make, reply):
    """Return the outcome of two starts with one cache."""
    lines = []
    with RawServer(reply) as server:
        for _ in range(2):
            with pytest.raises(ClinRaGenInputError) as error:
                list(make(server.url).documents(["fever"], 5))
            lines.append(str(error.value))
            assert lines[-1].startswith(server.url)
    return lines


def pubmed(folder):
    return lambda url: PubMed(folder, api_key="hunter2", base_url=url, attempts=2, first_wait=0.001)


def wikipedia(folder):
    return lambda url: Wikipedia(folder, base_url=url, attempts=2, first_wait=0.001)


@pytest.mark.parametrize("name", SEARCHES)
def test_an_unreadable_search_result_is_one_line(tmp_path, name):
    for line in lines_of(pubmed(tmp_path), lambda number: SEARCHES[name]):
        assert "\n" not in line
        assert "start again later" in line
        assert "hunter2" not in line


@pytest.mark.parametrize("message", ["key hunter2\nis bad", "x" * 5000])
def test_the_error_of_a_service_is_shown_short_and_without_the_key(tmp_path, message):
    for reply in ({"error": message}, {"esearchresult": {"idlist": [], "ERROR": message}}):
        for line in lines_of(pubmed(tmp_path), lambda number, reply=reply: http(reply)):
            assert len(line) < 400
            assert "\n" not in line
            assert "hunter2" not in line


@pytest.mark.parametrize("change", BAD_PAGES, ids=str)
def test_an_article_of_another_form_is_one_line(tmp_path, change):
    def reply(number):
        search = {"search": [{"pageid": 1}]}
        return http({"query": search if number == 0 else {"pages": [PAGE | change]}})

    assert all("the reply holds no page, 2 times" in line for line in lines_of(wikipedia(tmp_path), reply))


@pytest.mark.parametrize("pageid", [{}, [1], None, "one"])
def test_a_page_without_a_number_is_one_line(tmp_path, pageid):
    reply = http({"query": {"search": [{"pageid": pageid}]}})
    for line in lines_of(wikipedia(tmp_path), lambda number: reply):
        assert "start again later" in line


def test_a_compressed_reply_is_read(tmp_path):
    def reply(number):
        body = json.dumps({"query": {"pages": [PAGE]} if number else {"search": [{"pageid": 1}]}}).encode()
        return http(gzip.compress(body), headers=("Content-Encoding: gzip",))

    with RawServer(reply) as server:
        (document,) = wikipedia(tmp_path)(server.url).documents(["fever"], 5)
    url = "http://x/Fever?oldid=7"
    assert document == Document("Wikipedia 1, revision 7", "Rigors.", "Fever", url, "2020-01-02")


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"", b"{", DEEP.encode()])
def test_a_reply_that_was_damaged_in_the_cache_is_fetched_again(tmp_path, damage):
    def reply(number):
        return http({"query": {"pages": [PAGE]} if number % 2 else {"search": [{"pageid": 1}]}})

    with RawServer(reply) as server:
        first = list(wikipedia(tmp_path)(server.url).documents(["fever"], 5))
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.write_bytes(damage)
        assert list(wikipedia(tmp_path)(server.url).documents(["fever"], 5)) == first
    assert len(server.heads) == 4


def test_a_reply_without_an_end_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "LARGEST_REPLY", 100_000)
    bomb = http(gzip.compress(b" " * 10**8), headers=("Content-Encoding: gzip",))
    assert all("(ConnectionError)" in line for line in lines_of(pubmed(tmp_path), lambda number: bomb))


def test_a_reply_that_never_comes_to_its_end_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SLOWEST_REPLY", 0.5)

    with RawServer(lambda number: b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n") as server:
        write = server.server.RequestHandlerClass.handle

        def slowly(handler):
            write(handler)
            for _ in range(200):
                handler.wfile.write(b" ")
                time.sleep(0.05)

        server.server.RequestHandlerClass.handle = slowly
        began = time.monotonic()
        with pytest.raises(ClinRaGenInputError, match="ConnectionError"):
            list(pubmed(tmp_path)(server.url).documents(["fever"], 5))
    assert time.monotonic() - began < 6
