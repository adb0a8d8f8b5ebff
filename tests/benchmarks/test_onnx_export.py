# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks import onnx_export


@pytest.mark.nightly
def test_the_benchmark_compares_the_model_with_its_export(tiny_folder, data_folder, tmp_path):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "3"]
    metrics = onnx_export.main([*arguments, "--batch-size", "2", "--output", str(tmp_path / "out")])
    assert list(metrics) == ["torch", "onnx"]
    assert metrics["torch"]["same_texts"] == metrics["onnx"]["same_texts"] == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"metrics.json", "onnx"}
