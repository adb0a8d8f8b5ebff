# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Run the plan of a YAML file, and write its table and plots."""

import argparse
import itertools
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import torch
import yaml

from datasets_scripts.common.outputs import held
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.reproduction.plan import FILES, Job, Plan, read_plan
from recipes.reproduction.plots import plot_cost, plot_results
from recipes.reproduction.runner import run_jobs, seconds_spent
from recipes.reproduction.tables import collect, markdown, write_tables


logger = logging.getLogger(__name__)


def reproduce(arguments: argparse.Namespace) -> list[dict] | None:
    """Run the plan of `reproduce.py`'s arguments and return the rows of the table; `None` for a dry run."""
    cores = os.cpu_count() or 1
    processes = arguments.processes or torch.accelerator.device_count() or cores
    plan = read_plan(arguments.config, arguments.output, arguments.root, arguments.rows)
    missing = missing_inputs(plan.jobs)
    if arguments.dry_run:
        show_jobs(plan)
        for told in missing:
            logger.warning(told)
        return None
    if missing:
        raise ClinRaGenInputError(f"{arguments.config}: {missing[0]}")
    with held(plan.results):
        write_configs(plan)
        run_jobs(plan.jobs, processes, max(1, cores // processes), plan.output / "logs")
        results = collect(plan)
        plan.results.mkdir(exist_ok=True)
        write_tables(plan.results, plan, results)
        plot_results(plan.results / "results.png", results, plan.reference)
        plot_cost(plan.results / "cost.png", results)
        (plan.results / "rows.json").write_text(json.dumps(where(plan), indent=1), encoding="utf-8")
    print(markdown(plan, results))
    minutes = seconds_spent(plan.jobs, plan.output / "logs") / 60
    logger.info("%s: %d jobs, %.0f minutes of work, %d at once", plan.results, len(plan.jobs), minutes, processes)
    return results


def show_jobs(plan: Plan) -> None:
    """Print the jobs that are left, each below the first row and seed that needs it."""
    by_output = {job.output: job for job in plan.jobs}
    left = {job for job in plan.jobs if not job.output.exists()}
    shown: set[Job] = set()
    for (row, seed), report in plan.reports.items():
        needed = [job for job in _needed_for(report, by_output) if job in left and job not in shown]
        shown.update(needed)
        if needed:
            print(f"# {row}, seed {seed}")
        for job in needed:
            print(f"{job.command} {' '.join(job.argv)}")
    print(f"{len(left)} of {len(plan.jobs)} jobs are left")


def _needed_for(output: Path, by_output: dict[Path, Job]) -> list[Job]:
    """Return the job that makes `output` after those that it needs, each once."""
    job = by_output[output]
    needed = (other for path in job.needs for other in _needed_for(path, by_output))
    return list(dict.fromkeys((*needed, job)))


def missing_inputs(jobs: Iterable[Job]) -> list[str]:
    """Name the raw tables and YAML files that jobs which are left read, and that are not there."""
    found = []
    for job in jobs:
        options = dict(itertools.pairwise(job.argv)) if not job.output.exists() else {}
        root = options.get("--root")
        if root and options.get("--source") != "synthetic" and "://" not in root and not Path(root).exists():
            found.append(f"root {root}: no such file or folder; name the raw tables with --root")
        names = [name for name in FILES if name != "config"]  # the run writes those of the stages
        files = (name for name in names if options.get(f"--{name}", "").endswith((".yaml", ".yml")))
        found += [
            f"{name} {options[f'--{name}']}: no such file" for name in files if not Path(options[f"--{name}"]).exists()
        ]
    return list(dict.fromkeys(found))


def write_configs(plan: Plan) -> None:
    for path, config in plan.configs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def where(plan: Plan) -> list[dict]:
    """Return row, seed, model folders and report of each run."""
    return [
        {
            "row": name,
            "seed": seed,
            "models": [str(model.relative_to(plan.output)) for model in plan.models.get((name, seed), ())],
            "report": str(report.relative_to(plan.output)),
        }
        for (name, seed), report in plan.reports.items()
    ]
