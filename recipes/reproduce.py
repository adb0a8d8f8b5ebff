# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The tables of the paper, and more: every row of a YAML file trained and evaluated with every seed, and one table.

    python recipes/reproduce.py --config recipes/configs/reproduce/synthetic.yaml

Started again, it goes on where it was stopped; rows that share datasets or stages share their work.
"""

import argparse
import json
import logging
import os
from pathlib import Path

import torch
import yaml

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from recipes.reproduction.figures import plot_cost, plot_results
from recipes.reproduction.plan import Plan, read_plan
from recipes.reproduction.runner import run_jobs, seconds_spent
from recipes.reproduction.tables import collect, markdown, write_tables


logger = logging.getLogger(__name__)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train and evaluate every row of a YAML file; write one table.")
    parser.add_argument("--config", type=Path, required=True, help="rows, such as recipes/configs/reproduce/*.yaml")
    parser.add_argument(
        "--output", type=Path, help="folder for everything, which several files may share; default: runs/reproduce"
    )
    parser.add_argument("--root", help="folder of the raw tables; default: the file's")
    parser.add_argument("--seeds", type=int, nargs="+", help="for all rows; default: the file's")
    parser.add_argument("--rows", nargs="+", default=(), metavar="NAME", help="only these, and the reference")
    parser.add_argument("--processes", type=int, help="jobs at once; default: one per CPU core, on a GPU one")
    parser.add_argument("--dry-run", action="store_true", help="only list the jobs that are left")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict] | None:
    arguments = parse_arguments(argv)
    cores = os.cpu_count() or 1
    processes = arguments.processes or (1 if torch.accelerator.is_available() else cores)
    if processes < 1:
        raise ClinRaGenInputError(f"--processes is {processes}; give at least 1")
    plan = read_plan(arguments.config, arguments.output, arguments.root, arguments.seeds, arguments.rows)
    if arguments.dry_run:
        show_jobs(plan)
        return None
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
    """Row and seed -> its model folders and its report."""
    return [
        {
            "row": name,
            "seed": seed,
            "models": [str(model.relative_to(plan.output)) for model in plan.models.get((name, seed), ())],
            "report": str(report.relative_to(plan.output)),
        }
        for (name, seed), report in plan.reports.items()
    ]


if __name__ == "__main__":
    run_command(main)
