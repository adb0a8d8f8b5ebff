# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from modeling_clinragen import ClinRaGenInputError
from recipes import compare_reports
from tests.commands import run_script


def report(folder, answers, gold=None):
    folder.mkdir()
    gold = gold or [["a"], ["b"], ["a", "b"], []] * 10
    with open(folder / "predictions.jsonl", "w", encoding="utf-8") as file:
        for i, (names, written) in enumerate(zip(gold, answers, strict=True)):
            diagnoses = [{"label": name} for name in written]
            row = {"subject_id": str(i // 2), "stay_id": str(i), "gold": names, "diagnoses": diagnoses}
            file.write(json.dumps(row) + "\n")
    return folder


def test_two_reports_are_compared(tmp_path, capsys):
    worse = report(tmp_path / "worse", [["a"], [], ["a"], ["c"]] * 10)
    right = report(tmp_path / "right", [["a"], ["b"], ["a", "b"], []] * 10)
    compared = compare_reports.main(["--first", str(worse), "--second", str(right)])
    assert compared["micro_f1"]["second"] == 1
    assert compared["micro_f1"]["first"] == pytest.approx(4 / 7)  # 20 of 40 recorded found, 10 false positives
    assert compared["micro_f1"]["interval"][0] > 0
    assert compared["micro_f1"]["p_value"] < 0.01
    assert "| micro f1 | 0.571 | 1.000 | +0.429 |" in capsys.readouterr().out


def test_reports_of_other_records_are_refused(tmp_path):
    first = report(tmp_path / "first", [[]] * 40)
    other = report(tmp_path / "other", [[]] * 4, gold=[["a"]] * 4)
    with pytest.raises(ClinRaGenInputError, match="not about the same records"):
        compare_reports.main(["--first", str(first), "--second", str(other)])
    changed = report(tmp_path / "changed", [[]] * 40, gold=[["b"]] * 40)
    with pytest.raises(ClinRaGenInputError, match="differ in the recorded diagnoses"):
        compare_reports.main(["--first", str(first), "--second", str(changed)])


def test_a_folder_that_is_not_a_report_is_one_line(tmp_path):
    done = run_script(compare_reports.__file__, "--first", tmp_path, "--second", tmp_path)
    assert done.returncode == 2
    assert "is not a report folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
