# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
From a YAML file of rows to the jobs that produce them: datasets, stages, baselines and evaluations, each run once,
however many rows share it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of
from recipes.configs import read_config


STAGES = {"stage1": "stage1_note", "stage2": "stage2_lab", "stage3": "stage3_multimodal"}
NOTES = ("note", "note and caption")
FILES = ("channels", "config", "corpus", "labels", "language", "mapping", "prompt")  # options that may name files
OPTIONS = {str: (None, bool, int, float, str)}
PLAN = {
    "seeds": [int],
    "data": OPTIONS,
    "stages": str,
    "reference": (None, str),
    "rows": {str: (None, dict)},
    "settings?": {str: dict},
    "knowledge?": OPTIONS,
    "rationales?": OPTIONS,
    "evaluation?": OPTIONS,
    "output?": str,
}
ROW = {
    "group?": str,
    "stages?": [str],
    "settings?": {str: dict},
    "baseline?": (None, str),
    "notes?": str,
    "dataset?": OPTIONS,
    "rationales?": OPTIONS,
    "evaluation?": OPTIONS,
    "against?": (None, str),
    "seeds?": (None, [int]),
}


@dataclass(frozen=True)
class Job:
    """
    One command of the project.

    Args:
        output (`Path`): output of the command; the job is done when it exists.
        command (`str`): the module that holds its `main`.
        argv (tuple of `str`): the command's arguments.
        needs (tuple of `Path`): outputs of other jobs that it reads.
    """

    output: Path
    command: str
    argv: tuple[str, ...]
    needs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    Args:
        name (`str`): as the table shows it.
        group (`str`): heading under which it stands.
        stages (list of `str`): those of `stage1`, `stage2`, `stage3` to run, in order; repetitions are allowed.
        settings (`dict`): stage, or `all` -> fields of its YAML file that differ.
        baseline (`str`, *optional*): of `evaluate_baseline.py`, instead of stages.
        notes (`str`): `"note"`, or `"note and caption"`: the series as text after the note.
        dataset, rationales, evaluation (`dict`): options of `build_dataset.py`, `generate_rationales.py` and
            `evaluate_model.py` or `evaluate_baseline.py` that differ.
        against (`str`, *optional*): the row that this one is compared with; default: the file's reference.
        seeds (list of `int`, *optional*): default: those of the file.
    """

    name: str
    group: str = ""
    stages: list = field(default_factory=lambda: list(STAGES))
    settings: dict = field(default_factory=dict)
    baseline: str | None = None
    notes: str = "note"
    dataset: dict = field(default_factory=dict)
    rationales: dict = field(default_factory=dict)
    evaluation: dict = field(default_factory=dict)
    against: str | None = None
    seeds: list | None = None


@dataclass(frozen=True)
class Plan:
    """
    Args:
        output (`Path`): folder of datasets, models and reports, which several files may share.
        results (`Path`): folder of this file's table and plots, inside of it.
        rows (list of `Row`), reference (`str`): of the table.
        jobs (list of `Job`): in an order that respects their needs.
        reports (`dict`): (row name, seed) -> report folder.
        models (`dict`): (row name, seed) -> its model folders, in order.
        configs (`dict`): YAML file -> its content, of every stage.
    """

    output: Path
    results: Path
    reference: str
    rows: list[Row]
    jobs: list[Job]
    reports: dict[tuple[str, int], Path]
    models: dict[tuple[str, int], list[Path]]
    configs: dict[Path, dict]


def read_plan(
    path: Path,
    output: Path | None = None,
    root: str | None = None,
    only: Iterable[str] = (),
) -> Plan:
    """
    Args:
        path (`Path`): the YAML file; `docs/reproduce.md` lists its fields.
        output, root, only (*optional*): instead of the file's folder, raw tables and rows.

    Raises:
        ClinRaGenInputError: naming the field that cannot be used.
    """
    raw = read_config(path)
    known = {name.removesuffix("?") for name in PLAN}
    _check_fields(f"{path}", raw, known, {"seeds", "data", "stages", "reference", "rows"})
    _check_shape(f"{path}", raw, PLAN)
    rows = [_row(path, name, given or {}) for name, given in raw["rows"].items()]
    names = [row.name for row in rows]
    if unknown := set(only) - set(names):
        told = ", ".join(map(repr, names))
        raise ClinRaGenInputError(f"--rows: {path} has no row {sorted(unknown)[0]!r}; its rows are {told}")
    for row in rows:
        for name in (row.against, raw["reference"]):
            if name is not None and name not in names:
                raise ClinRaGenInputError(f"{path}: {row.name!r} is compared with {name!r}, which is not a row")
    if only:
        rows = [row for row in rows if row.name in only or row.name == raw["reference"]]
    if root is not None:
        raw["data"] = {**raw["data"], "root": root}
    output = output or Path(raw.get("output", "runs/reproduce"))
    planner = _Planner(output, raw)
    for row in rows:
        planner.add(row)
    return Plan(
        output,
        output / path.stem,
        raw["reference"],
        rows,
        list(planner.jobs.values()),
        planner.reports,
        planner.models,
        planner.configs,
    )


def _row(path: Path, name: str, given: dict) -> Row:
    where = f"{path}: row {name!r}"
    _check_fields(where, given, {f.name for f in fields(Row)} - {"name"}, set())
    _check_shape(where, given, ROW)
    row = Row(name, **given)
    if unknown := [stage for stage in row.stages if stage not in STAGES]:
        raise ClinRaGenInputError(f"{where}: stage {unknown[0]!r}; choose among {', '.join(STAGES)}")
    if row.notes not in NOTES:
        raise ClinRaGenInputError(f"{where}: notes is {row.notes!r}; choose among {', '.join(NOTES)}")
    _check_fields(f"{where}, settings", row.settings, {*STAGES, "all"}, set())
    return row


def _check_fields(where: str, given, known: set[str], needed: set[str]) -> None:
    if not isinstance(given, dict):
        raise ClinRaGenInputError(f"{where} must hold fields, such as {', '.join(sorted(known))}")
    if unknown := sorted(set(given) - known):
        raise ClinRaGenInputError(f"{where}: no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
    if missing := sorted(needed - set(given)):
        raise ClinRaGenInputError(f"{where}: field {missing[0]!r} is missing")


def _check_shape(where: str, given: dict, shape: dict) -> None:
    fault = fault_of(given, shape)
    if fault is not None:
        raise ClinRaGenInputError(f"{where}: {fault}")


class _Planner:
    """Collects the jobs of rows; what rows share has one folder, named by the hash of everything it depends on."""

    def __init__(self, output: Path, raw: dict):
        self.output, self.raw = output, raw
        self.bases = {stage: read_config(Path(raw["stages"]) / f"{stage}.yaml") for stage in STAGES}
        self.jobs: dict[Path, Job] = {}
        self.reports: dict[tuple[str, int], Path] = {}
        self.models: dict[tuple[str, int], list[Path]] = {}
        self.configs: dict[Path, dict] = {}
        options = {"corpus": "builtin", **raw.get("knowledge", {})}
        self.knowledge = output / "data" / f"knowledge-{_digest(_with_contents(options))}.json"
        arguments = ["--output", self.knowledge, *_options(options)]
        self._add(self.knowledge, "datasets_scripts.build_knowledge", arguments)

    def add(self, row: Row) -> None:
        dataset = self._dataset(row)
        for seed in self.raw["seeds"] if row.seeds is None else row.seeds:
            command, needs = "recipes.evaluate_baseline", [dataset]
            common = self.raw.get("evaluation", {}) if row.baseline is None else {}
            evaluation = {"split": "test", **common, **row.evaluation}
            arguments = ["--dataset", dataset, *_options(evaluation)]
            if row.baseline is not None:
                arguments += ["--baseline", row.baseline, "--seed", seed]
            else:
                models = self.models[row.name, seed] = self._stages(row, dataset, seed)
                command, needs = "recipes.evaluate_model", [dataset, models[-1]]
                arguments += ["--model", models[-1]]
            name = f"{_slug(row.name)}-{_digest([*map(str, arguments), *_contents(evaluation).values()])}"
            report = self.output / "reports" / f"seed{seed}" / name
            self.reports[row.name, seed] = report
            self._add(report, command, [*arguments, "--output", report], *needs)

    def _dataset(self, row: Row) -> Path:
        """Return the dataset with rationales that a row is trained on."""
        options = {**self.raw["data"], **row.dataset}
        build = _with_contents(options)
        records = self.output / "data" / f"records-{_digest(build)}"
        arguments = ["--output", records, *_options(options)]
        self._add(records, "datasets_scripts.build_dataset", arguments)
        options = {"teacher": "template", **self.raw.get("rationales", {}), **row.rationales}
        dataset = self.output / "data" / f"dataset-{_digest([build, _with_contents(options), self.knowledge.name])}"
        self._add(
            dataset,
            "datasets_scripts.generate_rationales",
            ["--dataset", records, "--knowledge", self.knowledge, "--output", dataset, *_options(options)],
            records,
            self.knowledge,
        )
        if row.notes == "note":
            return dataset
        captioned = dataset.with_name(f"{dataset.name}-captions")
        self._add(captioned, "recipes.reproduction.captions", ["--dataset", dataset, "--output", captioned], dataset)
        return captioned

    def _stages(self, row: Row, dataset: Path, seed: int) -> list[Path]:
        models: list[Path] = []
        for stage in row.stages:
            config = _merged(
                self.bases[stage],
                *(
                    block.get(part, {})
                    for block in (self.raw.get("settings", {}), row.settings)
                    for part in ("all", stage)
                ),
            )
            needs = [dataset, *models[-1:]]
            if models:
                config.pop("knowledge", None)
                config["model_name_or_path"] = str(models[-1])
            elif config.pop("knowledge", True) is not None:
                config["knowledge"] = str(self.knowledge)
                needs.append(self.knowledge)
            config |= {"dataset": str(dataset), "seed": seed, "disable_tqdm": True}
            config.pop("output_dir", None)
            name = f"{stage}-{_digest([stage, config])}"
            model = self.output / "models" / f"seed{seed}" / name
            config["output_dir"] = str(model)
            path = self.output / "configs" / f"seed{seed}" / f"{name}.yaml"
            self.configs[path] = config
            self._add(model, f"recipes.{STAGES[stage]}", ["--config", path], *needs)
            models.append(model)
        return models

    def _add(self, output: Path, command: str, argv: list, *needs: Path) -> None:
        self.jobs.setdefault(output, Job(output, command, tuple(map(str, argv)), needs))


def _merged(*blocks: dict) -> dict:
    """Merge blocks, later fields first; nested blocks, such as `text_config`, are merged likewise."""
    merged: dict = {}
    for block in blocks:
        for name, value in block.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **value} if both else value
    return merged


def _options(options: dict) -> list[str]:
    """Return `{"note_text": "paper", "limit": 5}` as `--note-text paper --limit 5`; `true` becomes a bare flag."""
    found = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(flag)
        elif value is not None and value is not False:
            found += [flag, str(value)]
    return found


def _with_contents(options: dict) -> dict:
    """Return the options with the content of the files that they name, so that an edited file is another dataset."""
    return {**options, **_contents(options)}


def _contents(options: dict) -> dict[str, str]:
    return {
        f"content of {name}": hashlib.sha256(Path(options[name]).read_bytes()).hexdigest()
        for name in FILES
        if isinstance(options.get(name), str) and Path(options[name]).is_file()
    }


def _digest(settings) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
