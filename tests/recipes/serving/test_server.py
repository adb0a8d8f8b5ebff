# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's token, its metrics and its description, over HTTP."""

import http.client
import re

import pytest
import torch

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.handler import PARAMETERS
from recipes import predict
from recipes.models.folder import save_model_folder
from recipes.serving.answers import load_handler
from recipes.serving.server import read_token
from tests.modeling_clinragen.test_handler import same
from tests.recipes.models.test_extended import add, gout  # noqa: F401
from tests.recipes.test_serve import JSON, SHORT, Server, folder  # noqa: F401


TOKEN = "correct-horse-battery-staple"
REQUEST = {"inputs": {"note": "fever and cough"}, "parameters": SHORT}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded(folder, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("secret") / "token"
    path.write_text(TOKEN + "\n")
    server = Server(folder, "--token-file", str(path))
    yield server
    assert server.stop()[0] == 0


def page(server, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    text = response.read().decode(errors="replace")
    connection.close()
    return response.status, text


@pytest.mark.parametrize("given", ["", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9"])
def test_without_the_token_there_are_no_answers_and_no_metrics(guarded, given):
    headers = {"Authorization": given.encode("latin-1")} if given else {}
    status, answer, returned = guarded.ask(REQUEST, headers={**JSON, **headers})
    assert (status, list(answer), returned["WWW-Authenticate"]) == (401, ["error"], "Bearer")
    assert TOKEN not in answer["error"]
    assert page(guarded, "/metrics", headers)[0] == 401


def test_requests_with_the_token_are_answered(guarded):
    status, answer, _ = guarded.ask(REQUEST, headers={**JSON, **BEARER})
    assert status == 200
    assert "diagnoses" in answer
    for path in ("/health", "/docs", "/openapi.json"):  # hold nothing of a record
        assert page(guarded, path)[0] == 200


def test_metrics_count_requests_batches_and_refusals(guarded):
    def counted():
        text = page(guarded, "/metrics", BEARER)[1]
        return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE)}

    before = counted()
    for body in (REQUEST, {**REQUEST, "inputs": [REQUEST["inputs"]] * 3}, {"inputs": {"note": 5}}):
        guarded.ask(body, headers={**JSON, **BEARER})
    assert guarded.ask(REQUEST)[0] == page(guarded, "/metrics", {"Authorization": "Bearer wrong"})[0] == 401
    after = counted()
    increase = {name: after[name] - before.get(name, 0.0) for name in after}
    assert increase['clinragen_requests_total{status="200"}'] == 2
    assert increase['clinragen_requests_total{status="422"}'] == 1
    assert increase['clinragen_requests_total{status="401"}'] == 2  # for an answer, and for metrics
    assert increase["clinragen_request_seconds_count"] == 3
    assert increase["clinragen_batch_records_sum"] == 4
    assert after["clinragen_waiting_records"] == 0
    assert after["process_resident_memory_bytes"] > 2**26
    version = guarded.ask(REQUEST, headers={**JSON, **BEARER})[1]["model_version"]
    assert after[f'clinragen_model_info{{version="{version}"}}'] == 1


def test_the_description_names_what_a_request_may_hold(guarded):
    status, described, _ = guarded.ask("", method="GET", path="/openapi.json", headers={})
    assert status == 200
    predicted = described["paths"]["/"]["post"]
    schema = predicted["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]["parameters"]["properties"]) == set(PARAMETERS)
    assert {"200", "401", "413", "422", "503"} <= set(predicted["responses"])
    assert schema["properties"]["parameters"]["properties"]["unseen"] == {"type": "boolean"}
    answer = predicted["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"][0]
    assert set(answer["properties"]["unseen_diagnoses"]["items"]["properties"]) == {"label", "score", "terms"}
    assert predicted["security"] == [{"HTTPBearer": []}]
    assert set(described["paths"]) == {"/", "/metrics", "/health"}


def test_diseases_that_are_not_labels_are_ranked_on_request(stage1_folder, gout, tmp_path):  # noqa: F811
    model, processor = add(stage1_folder, gout, tmp_path / "more")
    model.diagnosis_head.linear.shared_evidence_weight.data.copy_(torch.tensor([2.0, 1.0, 1.0, 1.0]))
    save_model_folder(model, processor, tmp_path / "model")
    record, other = {"note": "Podagra, swollen great toe."}, {"note": "Erythema migrans."}
    server = Server(tmp_path / "model")
    try:
        parameters = {**SHORT, "unseen": True}
        status, answers, _ = server.ask({"inputs": [record, other], "parameters": parameters})
        assert status == 200
        assert [[entry["label"] for entry in answer["unseen_diagnoses"]] for answer in answers] == [
            ["Gout"],
            ["Lyme disease"],
        ]
        pipe = load_handler(str(tmp_path / "model"), None, None).pipe
        assert same(answers[0], pipe(record, **parameters))
        assert "unseen_diagnoses" not in server.ask({"inputs": record, "parameters": SHORT})[1]
        status, answer, _ = server.ask({"inputs": record, "parameters": {"unseen": 1}})
        assert (status, answer) == (422, {"error": "parameters.unseen: must be true or false"})
    finally:
        assert server.stop()[0] == 0


def test_a_model_that_does_not_read_terms_says_so(guarded):
    request = {**REQUEST, "parameters": {"unseen": True}}
    status, answer, _ = guarded.ask(request, headers={**JSON, **BEARER})
    assert (status, list(answer)) == (422, ["error"])
    assert answer["error"] == "parameters.unseen: this model reads no terms of the knowledge; leave it out"
    request["parameters"] = {**SHORT, "unseen": False}
    assert guarded.ask(request, headers={**JSON, **BEARER})[0] == 200


def test_the_page_of_the_description_loads_nothing_from_elsewhere(guarded):
    text = page(guarded, "/docs")[1]
    linked = re.findall(r"""(?:src|href|url)\s*[=:]\s*['"]([^'"]+)""", text)
    assert len(linked) >= 4
    assert all(link.startswith("/") for link in linked)
    for link in linked:
        assert page(guarded, link)[0] == 200, link


def test_each_answer_names_the_model(guarded, folder, tmp_path):  # noqa: F811
    expected = load_handler(str(folder), None, None).pipe.version
    assert re.fullmatch(r"[0-9a-f]{16}", expected)
    records, answers = tmp_path / "records.jsonl", tmp_path / "answers.jsonl"
    records.write_text('{"id": 1, "note": "fever and cough"}\n')
    predict.main(["--model", str(folder), "--input", str(records), "--output", str(answers)])
    assert f'"model_version": "{expected}"' in answers.read_text()
    assert guarded.ask("", method="GET", path="/health", headers={})[1]["model_version"] == expected


def test_a_change_of_weights_or_settings_is_another_version(tiny_folder):
    versions = set()
    for change in (
        lambda pipe: None,
        lambda pipe: pipe.model.diagnosis_head.classifier.bias.data.add_(1e-3),
        lambda pipe: setattr(pipe.model.config.decisions, "temperature", 1.5),
        lambda pipe: setattr(pipe.processor, "modalities", ["note"]),
    ):
        pipe = load_handler(str(tiny_folder), None, None).pipe
        change(pipe)
        versions.add(pipe.version)
    assert len(versions) == 4


@pytest.mark.parametrize("content", [b"", b"short", b"two tokens of sixteen", b"\xff" * 20, None])
def test_a_token_file_without_a_token_is_one_line(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClinRaGenInputError, match="--token-file"):
        read_token(path)
