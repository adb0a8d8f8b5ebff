# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import argparse
import json

from benchmarks import teacher
from datasets_scripts import build_dataset, build_knowledge
from datasets_scripts.dataset.folder import iterate_records
from datasets_scripts.sources.synthetic import write_synthetic_tables


def test_an_endpoint_is_not_faster_than_its_requests_in_flight(tmp_path):
    arguments = argparse.Namespace(latency=0.1, in_flight=[1, 4])
    one, four = teacher.endpoint(arguments, tmp_path)
    assert (one["requests"], four["requests"]) == (40, 160)
    assert one["of_ideal"] <= 1
    assert four["of_ideal"] <= 1
    assert four["requests_per_second"] > one["requests_per_second"]


def test_the_benchmark_counts_all_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(teacher, "WARM", 5)
    raw, dataset, knowledge = tmp_path / "raw", tmp_path / "dataset", tmp_path / "knowledge.json"
    write_synthetic_tables(raw, 30, seed=0)
    build_dataset.main(["--source", "mimic-iv", "--root", str(raw), "--output", str(dataset)])
    build_knowledge.main(["--corpus", "builtin", "--output", str(knowledge)])
    options = ["--processes", "1", "--latency", "0.01", "--in-flight", "2", "--output", str(tmp_path / "out")]
    metrics = teacher.main(["--dataset", str(dataset), "--knowledge", str(knowledge), *options])
    assert metrics["template"]["records"] == sum(1 for _ in iterate_records(dataset)) == 30
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert "| 2 |" in capsys.readouterr().out
