# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Run jobs in several processes, each as soon as its needs exist; finished jobs are not repeated."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import multiprocessing
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.workers import worker_pool
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.reproduction.plan import Job


TIMES = "times.jsonl"


def run_jobs(jobs: list[Job], processes: int, threads: int, logs: Path) -> None:
    """
    Args:
        jobs (list of `Job`): in an order in which they could be run one by one.
        processes (`int`), threads (`int`): workers at once, and CPU threads of each.
        logs (`Path`): folder for what each job prints, and for `times.jsonl`.

    Raises:
        ClinRaGenInputError: of the first job that fails; running jobs finish first, and no other starts.
    """
    left = {job.output: job for job in jobs if not job.output.exists()}
    begun: dict[Future, Job] = {}
    with (
        worker_pool(processes, _prepare, threads) as pool,
        tqdm(total=len(jobs), initial=len(jobs) - len(left), desc="Reproducing", unit="job") as bar,
    ):
        while left or begun:
            ready = [job for job in left.values() if all(need.exists() for need in job.needs)]
            for job in ready[: processes - len(begun)]:
                begun[pool.submit(_run, job, logs / f"{job.output.parent.name}-{job.output.name}.log")] = job
                del left[job.output]
            if not begun:
                raise ClinRaGenInputError(f"no job writes {next(iter(left.values())).needs}; a folder was removed")
            bar.set_postfix_str(", ".join(job.output.name for job in begun.values()))
            for future in wait(begun, return_when=FIRST_COMPLETED).done:
                job = begun.pop(future)
                _check(job, future)
                _note(logs / TIMES, job, future.result())
                bar.update()


def _note(path: Path, job: Job, seconds: float) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"job": str(job.output), "seconds": round(seconds, 1)}) + "\n")


def seconds_spent(jobs: list[Job], logs: Path) -> float:
    """Return the seconds that these jobs took in sum, over all starts."""
    wanted, times = {str(job.output) for job in jobs}, {}
    if (logs / TIMES).exists():
        for line in (logs / TIMES).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError):  # a line cut off by a kill
                entry = json.loads(line)
                times[entry["job"]] = entry["seconds"]
    return sum(seconds for job, seconds in times.items() if job in wanted)


def _check(job: Job, future: Future) -> None:
    error = future.exception()
    if error is not None:
        message = str(error) if isinstance(error, ClinRaGenInputError) else f"{type(error).__name__}: {error}"
        raise ClinRaGenInputError(f"{job.output}: {message}") from error


def _prepare(threads: int) -> None:
    import torch

    from recipes.training.devices import see_one_gpu

    see_one_gpu(int(multiprocessing.current_process().name.rpartition("-")[2]))  # of the worker
    torch.set_num_threads(threads)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=_CurrentErrorStream())


class _CurrentErrorStream:
    """Write to where `sys.stderr` points now, not where it pointed when logging began."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _run(job: Job, log: Path) -> float:
    """Run a job, and return its seconds."""
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        importlib.import_module(job.command).main(list(job.argv))
    return time.monotonic() - started
