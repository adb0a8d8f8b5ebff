# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Run the plan of a YAML file, and write its table and plots."""

import argparse
import json
import logging
import os

import torch
import yaml

from datasets_scripts.common.outputs import held
from recipes.reproduction.plan import Plan, read_plan
from recipes.reproduction.plots import plot_cost, plot_results
from recipes.reproduction.runner import run_jobs, seconds_spent
from recipes.reproduction.tables import collect, markdown, write_tables


logger = logging.getLogger(__name__)


def reproduce(arguments: argparse.Namespace) -> list[dict] | None:
    """Run the plan of `reproduce.py`'s arguments and return the rows of the table; `None` for a dry run."""
    cores = os.cpu_count() or 1
    processes = arguments.processes or torch.accelerator.device_count() or cores
    plan = read_plan(arguments.config, arguments.output, arguments.root, arguments.rows)
    if arguments.dry_run:
        show_jobs(plan)
        return None
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
    left = [job for job in plan.jobs if not job.output.exists()]
    for job in left:
        print(f"{job.command} {' '.join(job.argv)}")
    print(f"{len(left)} of {len(plan.jobs)} jobs are left")


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
