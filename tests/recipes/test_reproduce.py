# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score, roc_auc_score

from datasets_scripts import generate_rationales
from datasets_scripts.dataset.folder import iterate_rows, read_metadata
from modeling_clinragen import ClinRaGenInputError
from recipes import evaluate_model, reproduce
from recipes.reproduction import captions
from recipes.reproduction.plan import Job, Plan, Row, read_plan
from recipes.reproduction.runner import run_jobs, seconds_spent
from recipes.reproduction.tables import collect, latex, markdown, write_tables
from recipes.training.arguments import parse_arguments


CONFIGS = sorted(Path("recipes/configs/reproduce").glob("*.yaml"))
SMALL = {
    "seeds": [0, 1],
    "data": {"source": "synthetic", "limit": 60},
    "stages": "recipes/configs/quickstart",
    "settings": {"all": {"max_steps": 2}},
    "reference": "whole",
    "rows": {
        "whole": {"group": "model"},
        "notes": {"group": "parts", "stages": ["stage1", "stage3"], "settings": {"stage3": {"inputs": ["note"]}}},
    },
}


def plan_of(folder, **changes):
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return read_plan(path, folder / "runs")


def test_rows_share_the_stages_that_are_the_same_and_no_other(tmp_path):
    plan = plan_of(tmp_path)
    for seed in (0, 1):
        whole, notes = plan.models["whole", seed], plan.models["notes", seed]
        assert whole[0] == notes[0]
        assert len({*whole, *notes}) == 4
    assert not {*plan.models["whole", 0]} & {*plan.models["whole", 1]}
    outputs = [job.output for job in plan.jobs]
    assert len(outputs) == len(set(outputs))
    for i, job in enumerate(plan.jobs):
        assert set(job.needs) <= set(outputs[:i])


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"all": {"max_steps": 3}}},
        {"data": {"source": "synthetic", "limit": 61}},
        {"knowledge": {"corpus": "another.jsonl"}},
    ],
)
def test_what_a_model_depends_on_is_in_the_name_of_its_folder(tmp_path, changes):
    before, after = plan_of(tmp_path), plan_of(tmp_path, **changes)
    for key in before.models:
        assert not {*before.models[key]} & {*after.models[key]}
        assert before.reports[key] != after.reports[key]


def test_options_of_the_file_hold_for_every_row_but_what_is_of_models_alone_not_for_baselines(tmp_path):
    rows = {
        "whole": {},
        "own": {"rationales": {"rejected": "drop"}, "evaluation": {"num_beams": 3}},
        "words": {"baseline": "tfidf"},
    }
    options = {"rationales": {"rejected": "keep"}, "evaluation": {"num_beams": 2, "ungrounded": True}}
    plan = plan_of(tmp_path, seeds=[0], rows=rows, **options)
    jobs = {job.output: job for job in plan.jobs}
    whole, own, words = (jobs[plan.reports[row, 0]] for row in rows)
    assert evaluate_model.parse_arguments(list(whole.argv)).num_beams == 2
    assert evaluate_model.parse_arguments(list(own.argv)).num_beams == 3
    assert {"--ungrounded"} <= {*whole.argv} & {*own.argv}
    assert not {"--num-beams", "--ungrounded"} & {*words.argv}
    for report, rejected in ((whole, "keep"), (own, "drop"), (words, "keep")):
        dataset = next(jobs[need] for need in report.needs if "dataset" in need.name)
        assert generate_rationales.parse_arguments(list(dataset.argv)).rejected == rejected


def test_settings_of_a_row_win_over_those_of_the_file_and_of_the_stage(tmp_path):
    rows = {"whole": {"settings": {"all": {"max_steps": 5}, "stage3": {"max_steps": 7}}}}
    plan = plan_of(tmp_path, settings={"all": {"max_steps": 3, "learning_rate": 0.5}}, rows=rows)
    steps = {path.name.split("-")[0]: config["max_steps"] for path, config in plan.configs.items()}
    assert steps == {"stage1": 5, "stage2": 5, "stage3": 7}
    assert {config["learning_rate"] for config in plan.configs.values()} == {0.5}
    first = next(config for path, config in plan.configs.items() if path.name.startswith("stage1"))
    assert first["text_config"]["model_type"] == "t5"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"whole": {"stagse": []}}, "row 'whole': no field 'stagse'"),
        ({"whole": {"stages": ["stage4"]}}, "stage 'stage4'; choose among stage1"),
        ({"whole": {"notes": "captions"}}, "notes is 'captions'"),
        ({"whole": {"settings": {"stage5": {}}}}, "no field 'stage5'"),
        ({"whole": {}, "a": {"against": "b"}}, "'a' is compared with 'b', which is not a row"),
        ({"other": {}}, "compared with 'whole', which is not a row"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(tmp_path, rows, words):
    with pytest.raises(ClinRaGenInputError, match=words):
        plan_of(tmp_path, rows=rows)


def test_a_missing_row_is_named(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL, sort_keys=False))
    with pytest.raises(ClinRaGenInputError, match="no row 'nots'; its rows are 'whole', 'notes'"):
        read_plan(path, only=["nots"])


def test_an_edited_file_of_labels_makes_other_datasets_and_models_and_an_equal_one_the_same(tmp_path):
    labels = tmp_path / "labels.yaml"
    made = []
    for name in ("Gout", "Scurvy", "Gout"):
        labels.write_text(f"labels: [{{name: {name}, ccs: [54]}}]")
        data = {**SMALL["data"], "labels": str(labels)}
        plan = plan_of(tmp_path, data=data, knowledge={"corpus": "tests", "labels": str(labels)})
        made.append({job.output for job in plan.jobs})
        assert not any("content" in argument for job in plan.jobs for argument in job.argv)
    assert made[0] == made[2]
    assert not made[0] & made[1]


def test_a_dry_run_lists_the_jobs_of_each_row_and_what_is_missing(tmp_path, capsys, caplog):
    data = {"source": "mimic-iv", "root": str(tmp_path / "tables"), "labels": "nowhere.yaml"}
    plan = plan_of(tmp_path, data=data)
    arguments = ["--config", str(tmp_path / "small.yaml"), "--output", str(tmp_path / "runs")]
    reproduce.main([*arguments, "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    rows = [f"# {row}, seed {seed}" for row in SMALL["rows"] for seed in SMALL["seeds"]]
    assert [line for line in lines if line.startswith("# ")] == rows
    assert sorted(line for line in lines[:-1] if line not in rows) == sorted(
        " ".join((job.command, *job.argv)) for job in plan.jobs
    )
    second = lines[lines.index("# notes, seed 0") + 1 : lines.index("# notes, seed 1")]
    assert [line.split()[0] for line in second] == ["recipes.stage3_multimodal", "recipes.evaluate_model"]
    assert f"root {tmp_path / 'tables'}: no such file or folder" in caplog.text
    assert "labels nowhere.yaml: no such file" in caplog.text
    with pytest.raises(ClinRaGenInputError, match=r"small.yaml: root .*name the raw tables with --root"):
        reproduce.main(arguments)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_stage_of_every_table_can_be_read(config, tmp_path):
    plan = read_plan(config, tmp_path)
    assert len(plan.configs) >= 3
    for path, settings in plan.configs.items():
        if path.parent.name != "seed0":  # the others differ in the seed and in paths
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(settings))
        _, data_args, _ = parse_arguments(["--config", str(path)])
        assert data_args.dataset == settings["dataset"]
    groups = [row.group for row in plan.rows]
    assert groups == sorted(groups, key=groups.index)  # rows of a group stand together


def job(output, *needs, arguments=()):
    argv = ["--output", str(output), "--inputs", *map(str, needs), *arguments]
    return Job(output, "tests.recipes.small_jobs", tuple(argv), needs)


def test_jobs_run_after_what_they_need_and_only_once(tmp_path):
    a, b, c, d = (tmp_path / name for name in "abcd")
    jobs = [job(a, arguments=["--seconds", "0.3"]), job(b, a), job(c), job(d, b, c)]
    run_jobs(jobs, 2, 1, tmp_path / "logs")
    assert d.read_text() == "abcd"
    times = {path: path.stat().st_mtime_ns for path in (a, b, c, d)}
    d.unlink()
    run_jobs(jobs, 2, 1, tmp_path / "logs")
    assert {path: path.stat().st_mtime_ns for path in (a, b, c)} == {p: times[p] for p in (a, b, c)}
    assert d.read_text() == "abcd"
    assert seconds_spent(jobs, tmp_path / "logs") >= 0.3
    logs = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert str(a) in logs[f"{tmp_path.name}-b.log"]


@pytest.mark.parametrize(
    ("fail", "words"), [("input", "no such thing; give another"), ("oh no", "RuntimeError: oh no")]
)
def test_a_job_that_fails_ends_the_run_by_name_and_what_ran_beside_it_is_kept(tmp_path, fail, words):
    bad, beside, after = (tmp_path / name for name in ("bad", "beside", "after"))
    jobs = [job(bad, arguments=["--fail", fail]), job(beside, arguments=["--seconds", "1"]), job(after, bad, beside)]
    with pytest.raises(ClinRaGenInputError, match=f"{bad}: {words}"):
        run_jobs(jobs, 2, 1, tmp_path / "logs")
    assert beside.read_text() == "beside"
    assert not after.exists()


def test_no_job_outlives_a_run_that_is_killed(tmp_path):
    begun, late = tmp_path / "begun", tmp_path / "late"
    program = (
        "from pathlib import Path\nfrom recipes.reproduction.plan import Job\n"
        "from recipes.reproduction.runner import run_jobs\n"
        "if __name__ == '__main__':\n"
        f"    folder = Path({str(tmp_path)!r})\n"
        "    first = Job(folder / 'begun', 'tests.recipes.small_jobs', ('--output', str(folder / 'begun')))\n"
        "    last = ('--output', str(folder / 'late'), '--seconds', '4')\n"
        "    jobs = [first, Job(folder / 'late', 'tests.recipes.small_jobs', last, (folder / 'begun',))]\n"
        "    run_jobs(jobs, 1, 1, folder / 'logs')\n"
    )
    (tmp_path / "run.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, str(tmp_path / "run.py")], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(8)
    assert begun.exists()
    assert not late.exists()


LABELS = ["Shock", "Pneumonia", "Fever"]


def fake_reports(folder, quality):
    """Reports of 40 records of 30 patients; `quality[row]`: the share of cells that each seed gets right."""
    draw = random.Random(3)
    records = [(str(i), f"p{i % 30}", [name for name in LABELS if draw.random() < 0.4]) for i in range(40)]
    reports, answers = {}, {}
    for row, seeds in quality.items():
        for seed, right in enumerate(seeds):
            report = reports[row, seed] = folder / "reports" / f"{row}-{seed}"
            report.mkdir(parents=True)
            written = [[n for n in LABELS if (n in gold) == (draw.random() < right)] for _, _, gold in records]
            answers[row, seed] = written
            lines = [
                json.dumps(
                    {"stay_id": stay, "subject_id": patient, "gold": gold, "note_rationale": "", "lab_rationale": ""}
                    | {"probabilities": {}}
                    | {"diagnoses": [{"label": n, "probability": None} for n in names]}
                )
                for (stay, patient, gold), names in zip(records, written, strict=True)
            ]
            (report / "predictions.jsonl").write_text("\n".join(lines))
            figures = {name: f1(records, written) for name in ("micro_f1", "macro_f1", "micro_precision")}
            metrics = {
                "diagnosis": {
                    "per_label": {name: {} for name in LABELS},
                    **figures,
                    "micro_recall": 0,
                    "exact_match": 0,
                },
                "claims": {"supported": None},
                "run": {"model": "m", "num_parameters": 1000, "seconds": 60 * (seed + 1)},
            }
            (report / "metrics.json").write_text(json.dumps(metrics))
    return records, reports, answers


def give_probabilities(reports, answers, rows):
    """Draw probabilities around what was written; for each row, those of its seeds."""
    given, draw = {row: [] for row in rows}, np.random.default_rng(5)
    for (row, seed), report in reports.items():
        if row not in rows:
            continue
        cells = np.array([[name in names for name in LABELS] for names in answers[row, seed]])
        given[row].append(np.where(cells, 0.6, 0.4) + draw.uniform(-0.3, 0.3, cells.shape))
        path = report / "predictions.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line, scores in zip(lines, given[row][-1].tolist(), strict=True):
            line["probabilities"] = dict(zip(LABELS, scores, strict=True))
        path.write_text("\n".join(map(json.dumps, lines)))
    return given


def f1(records, written, average="micro"):
    cells = [[[n in row for n in LABELS] for row in rows] for rows in ([gold for *_, gold in records], written)]
    return f1_score(*cells, average=average, zero_division=0)


def plan_from(folder, reports, rows):
    return Plan(folder, folder / "table", rows[0].name, rows, [], reports, {}, {})


def test_a_table_holds_means_over_seeds_and_paired_differences(tmp_path):
    records, reports, answers = fake_reports(tmp_path, {"whole": [0.95, 0.9], "part": [0.7, 0.75], "same": [0.8]})
    probabilities = give_probabilities(reports, answers, ["whole", "part"])
    plan = plan_from(tmp_path, reports, [Row("whole"), Row("part"), Row("same", against="part")])
    whole, part, same = collect(plan)
    scores = {key: f1(records, written) for key, written in answers.items()}
    assert whole["micro_f1"] == pytest.approx(np.mean([scores["whole", 0], scores["whole", 1]]))
    assert whole["micro_f1_sd"] == pytest.approx(abs(scores["whole", 0] - scores["whole", 1]) / 2**0.5)
    macro = [f1(records, answers["part", seed], "macro") for seed in (0, 1)]
    assert part["macro_f1"] == pytest.approx(np.mean(macro))
    assert part["micro_f1_difference"] == pytest.approx(part["micro_f1"] - whole["micro_f1"])
    assert part["micro_f1_difference_low"] < part["micro_f1_difference"] < part["micro_f1_difference_high"] < 0
    assert same["micro_f1_difference"] == pytest.approx(same["micro_f1"] - part["micro_f1"])
    assert (whole["minutes"], same["minutes"], same["micro_f1_sd"]) == (1.5, 1.0, None)
    assert "micro_f1_difference" not in whole
    hot = np.array([[name in gold for name in LABELS] for *_, gold in records])
    assert part["macro_auroc"] == pytest.approx(np.mean([roc_auc_score(hot, p) for p in probabilities["part"]]))
    assert part["macro_auroc_difference"] == pytest.approx(part["macro_auroc"] - whole["macro_auroc"])
    decided = [f1_score(hot, p >= 0.5, average="micro") for p in probabilities["whole"]]
    assert whole["decided_f1"] == pytest.approx(np.mean(decided))
    assert whole["decided_f1_sd"] == pytest.approx(np.std(decided, ddof=1))
    assert part["decided_f1_difference"] == pytest.approx(part["decided_f1"] - whole["decided_f1"])
    assert "macro_auroc" not in same  # one of its seeds has no probabilities


def test_a_row_is_no_better_than_one_with_the_same_answers(tmp_path):
    _, reports, _ = fake_reports(tmp_path, {"whole": [0.9]})
    reports["twin", 0] = reports["whole", 0]
    _, twin = collect(plan_from(tmp_path, reports, [Row("whole"), Row("twin")]))
    assert [twin[f"micro_f1_difference{end}"] for end in ("", "_low", "_high")] == [0.0, 0.0, 0.0]


def test_rows_about_other_records_are_not_compared(tmp_path):
    _, reports, _ = fake_reports(tmp_path, {"whole": [0.9], "part": [0.7]})
    path = reports["part", 0] / "predictions.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    with pytest.raises(ClinRaGenInputError, match="'part' and 'whole' are not about the same records"):
        collect(plan_from(tmp_path, reports, [Row("whole"), Row("part")]))


def test_the_three_tables_hold_the_same_rows(tmp_path):
    _, reports, _ = fake_reports(tmp_path, {"whole": [0.95, 0.9], "a_part & 50%": [0.7]})
    plan = plan_from(tmp_path, reports, [Row("whole", "model"), Row("a_part & 50%", "parts")])
    results = collect(plan)
    write_tables(tmp_path, plan, results)
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["whole", "a_part & 50%"]
    assert float(rows[1]["micro_f1"]) == results[1]["micro_f1"]
    lines = markdown(plan, results).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert f"{results[1]['micro_f1']:.3f}" in next(line for line in lines if "a_part" in line)
    body = [line for line in latex(plan, results).splitlines() if line.endswith(r"\\")]
    assert r"a\_part \& 50\%" in body[-1]
    cells = [line.replace(r"\&", "").count("&") for line in body if "multicolumn" not in line]
    assert len(set(cells)) == 1


def test_captions_follow_the_notes_and_nothing_else_changes(data_folder, tmp_path):
    source, output = data_folder / "dataset", tmp_path / "captions"
    captions.main(["--dataset", str(source), "--output", str(output)])
    for split in ("train", "validation", "test"):
        for before, after in zip(iterate_rows(source, split), iterate_rows(output, split), strict=True):
            assert after["note"] == f"{before['note']}\n\n{before['lab_caption']}".strip()
            unchanged = [name for name in before if name not in ("note", "lab_values", "lab_available_times")]
            assert {name: before[name] for name in unchanged} == {name: after[name] for name in unchanged}
    assert read_metadata(output)["notes_end_with_caption"]


@pytest.mark.slow
def test_a_table_from_one_command_and_nothing_to_do_the_second_time(tmp_path, capsys):
    config = tmp_path / "small.yaml"
    quick = {"max_steps": 2, "max_eval_samples": 4, "generation_max_length": 20, "max_target_tokens": 40}
    rows = {
        **SMALL["rows"],
        "captions": {"stages": ["stage1"], "notes": "note and caption", "seeds": [0]},
        "words": {"baseline": "tfidf", "seeds": [0]},
    }
    config.write_text(yaml.safe_dump({**SMALL, "settings": {"all": quick}, "rows": rows}, sort_keys=False))
    arguments = ["--config", str(config), "--output", str(tmp_path / "runs")]
    results = reproduce.main(arguments)
    assert [result["name"] for result in results] == list(rows)
    assert [result["seeds"] for result in results] == [2, 2, 1, 1]
    files = {path.name for path in (tmp_path / "runs" / "small").iterdir()}
    assert files == {"table.md", "table.csv", "table.tex", "results.png", "cost.png", "rows.json"}
    capsys.readouterr()
    reproduce.main([*arguments, "--dry-run"])
    assert capsys.readouterr().out == f"0 of {len(read_plan(config, tmp_path / 'runs').jobs)} jobs are left\n"
    assert reproduce.main(arguments) == results
