# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Predictions on a Ray cluster: the same bytes as on one machine, even if a node is lost."""

import subprocess

import pytest
import torch

from recipes.serving import answer_file
from tests.ray_nodes import node_killed_when, two_nodes
from tests.recipes.test_predict import answer, command, folder, interrupted, made_up, write_jsonl  # noqa: F401


pytestmark = pytest.mark.slow

OPTIONS = ("--batch-size", "2")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as cluster:
        yield cluster


def test_predictions_are_the_bytes_of_a_local_run(cluster, folder, tmp_path):  # noqa: F811
    records = write_jsonl(tmp_path / "in.jsonl", [*made_up(100), {"id": "wrong", "note": 3}])
    counts, _ = answer(folder, records, tmp_path / "local.jsonl", *OPTIONS, "--evidence")
    assert counts == {"answered": 100, "refused": 1}
    options = (*OPTIONS, "--evidence", "--ray", cluster.address)
    assert answer(folder, records, tmp_path / "spread.jsonl", *options)[0] == counts
    assert (tmp_path / "spread.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


def test_predictions_begun_here_resume_on_a_cluster(cluster, folder, tmp_path, monkeypatch):  # noqa: F811
    records = write_jsonl(tmp_path / "in.jsonl", made_up(60))
    answer(folder, records, tmp_path / "local.jsonl", *OPTIONS)
    interrupted(folder, records, tmp_path / "begun.jsonl", monkeypatch, *OPTIONS)
    answered = []
    answer_chunks = answer_file.answer_chunks
    monkeypatch.setattr(
        answer_file,
        "answer_chunks",
        lambda *arguments: (answered.append(len(a)) or a for a in answer_chunks(*arguments)),
    )
    answer(folder, records, tmp_path / "begun.jsonl", *OPTIONS, "--ray", cluster.address)
    assert sum(answered) == 60 - 8
    assert (tmp_path / "begun.jsonl").read_bytes() == (tmp_path / "local.jsonl").read_bytes()


@pytest.mark.nightly
def test_predictions_are_the_same_when_a_node_is_killed_and_the_command_too(folder, tmp_path):  # noqa: F811
    records = write_jsonl(tmp_path / "in.jsonl", made_up(1500))
    answer(folder, records, tmp_path / "local.jsonl", *OPTIONS)
    whole = (tmp_path / "local.jsonl").read_bytes()
    output = tmp_path / "killed.jsonl"
    aside = tmp_path / "killed.jsonl.unfinished" / "answers.jsonl"
    with two_nodes() as cluster:
        options = [*OPTIONS, "--ray", cluster.address]
        first = subprocess.Popen(list(map(str, command(folder, records, output, *options))), stderr=subprocess.DEVNULL)
        while first.poll() is None and not (aside.exists() and aside.stat().st_size):
            pass
        first.kill()
        first.wait()
        assert not output.exists()
        before = aside.stat().st_size
        with node_killed_when(cluster, lambda: aside.exists() and aside.stat().st_size > before):
            answer(folder, records, output, *options)
    assert output.read_bytes() == whole
