# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The plan of a stage in comparison: memory and operations of its first steps, as planned and as measured.

    OMP_NUM_THREADS=1 python -m benchmarks.plan --stage 3 --steps 4 --output runs/plan.json \
        --config recipes/configs/quickstart/stage3.yaml --output_dir runs/plan

Other options are fields of the stage. Operations: those of matrix products that PyTorch's counter sees in
the steps of a real run. Memory: the peak resident memory of the process in a step minus that before the first one,
which holds the weights; the first step has no optimizer state yet, so the others count. In the run
freed memory is returned to the system (`MALLOC_MMAP_THRESHOLD_`): otherwise the C library keeps some. Linux only.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training import memory
from datasets_scripts.common.command import run_command
from recipes import stage1_note, stage2_lab, stage3_multimodal
from recipes.training.fields import read_fields
from recipes.training.simulation import MORE_FLOPS
from recipes.training.stage_simulation import simulated_stage
from recipes.training.trainer import ClinRaGenTrainer


STAGES = {"1": stage1_note, "2": stage2_lab, "3": stage3_multimodal}
UNTIL_THEN = ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Memory and operations of a stage, as planned and as measured.")
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--steps", type=int, default=4, help="steps of the run; default: 4")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args(argv)
    options = [*options, *UNTIL_THEN, "--max_steps", str(arguments.steps)]
    if arguments.measure:
        return measure(arguments.stage, options, arguments.measure)
    result = {"planned": planned(arguments.stage, options, arguments.steps)}
    with tempfile.TemporaryDirectory() as folder:
        own = ["--stage", arguments.stage, "--steps", str(arguments.steps), "--measure", f"{folder}/measured.json"]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.plan", *own, *options, "--output_dir", f"{folder}/stage"],
            env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
            check=True,
        )
        result["measured"] = json.loads(Path(folder, "measured.json").read_text(encoding="utf-8"))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    show(result)
    return result


def planned(stage: str, options: list[str], number: int) -> dict:
    """Return simulated operations, and memory beyond the weights, of the first steps, in order."""
    given = read_fields([*options, "--plan"], **STAGES[stage].STAGE)
    steps = simulated_stage(given, stage == "1", on_gpu=False)
    records = steps.read(steps.data_args.train_split, sample=sys.maxsize)
    batches = records.batches(steps.args)[:number]
    done = [steps.train([records.rows[i] for i in batch]) for batch in batches]
    return {
        "weights": steps.weights,
        "sizes": [records.size(batch) for batch in batches],
        "operations": [step.forward + step.backward for step in done],
        "memory": [step.peak - steps.weights for step in done],
    }


def measure(stage: str, options: list[str], output: Path) -> dict:
    """Run a stage, and write the cost of its steps; it ends before it finishes its folder."""
    figures, step = {"operations": [], "memory": []}, ClinRaGenTrainer.training_step
    prepare = ClinRaGenTrainer._prepare_for_training
    before = 0.0

    def prepared(trainer, *args, **kwargs):
        nonlocal before
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = memory("VmRSS")
        return prepare(trainer, *args, **kwargs)

    def measured(*args, **kwargs):
        end_step()
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak
        with FlopCounterMode(display=False, custom_mapping=MORE_FLOPS) as counter:
            loss = step(*args, **kwargs)
        figures["operations"].append(counter.get_total_flops())
        return loss

    def end_step():
        if figures["operations"]:
            figures["memory"].append(round((memory("VmHWM") - before) * 2**20))

    def end(*args):
        end_step()
        output.write_text(json.dumps(figures), encoding="utf-8")
        sys.exit()

    ClinRaGenTrainer._prepare_for_training, ClinRaGenTrainer.training_step = prepared, measured
    ClinRaGenTrainer.whole_model = end  # called after the last step
    STAGES[stage].main(options)
    return figures


def show(result: dict) -> None:
    planned, measured = result["planned"], result["measured"]
    print(f"weights: {planned['weights'] / 1e6:,.0f} MB, before the first step in both")
    print("| step | records, tokens read and written | GFLOP planned | measured | MB planned | measured |")
    print("| --- " * 6 + "|")
    for i, size in enumerate(planned["sizes"]):
        rows = [f"{each['operations'][i] / 1e9:,.1f}" for each in (planned, measured)]
        rows += [f"{each['memory'][i] / 1e6:,.0f}" for each in (planned, measured)]
        print(f"| {i + 1} | {' x '.join(map(str, size))} | {' | '.join(rows)} |")
    for name, first in (("operations", 0), ("memory", 1)):
        of_all = sum if name == "operations" else max
        ours, theirs = (of_all(each[name][first:]) for each in (planned, measured))
        print(f"{name}: planned / measured = {ours / theirs:.3f}")


if __name__ == "__main__":
    run_command(main)
