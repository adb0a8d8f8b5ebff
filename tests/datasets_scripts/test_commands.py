# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.sources import cohort, reader
from modeling_clinragen import ClinRaGenInputError


HEAVY = {"aiohttp", "datasets", "duckdb", "matplotlib", "numpy", "pyarrow", "requests", "torch", "transformers"}
COMMANDS = ["build_dataset", "build_knowledge", "generate_rationales", "push_dataset"]
WRONG = {  # command -> a mistake that it finds before it does any work
    "build_dataset": "--source eicu --root x --output y --splits train=2",
    "build_knowledge": "--corpus builtin --output knowledge.md",
    "generate_rationales": "--dataset x --knowledge y --teacher template --output z --tries 0",
    "push_dataset": "--dataset x --repo-id USER/NAME --private --public",
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("wrong", [False, True])
def test_a_command_reads_its_arguments_before_it_loads_what_does_the_work(name, wrong):
    code = (
        f"import sys; from datasets_scripts import {name}\n"
        f"try: {name}.main(sys.argv[1:])\n"
        "except (SystemExit, ValueError) as error: print(error)\n"
        "print(*sys.modules)"
    )
    arguments = WRONG[name].split() if wrong else ["--help"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    *_, end, modules = done.stdout.splitlines()
    assert end == "0" if not wrong else end != "0"
    assert not HEAVY & set(modules.split())


def test_the_sources_offered_are_those_described():
    folder = Path(reader.__file__).parent
    described = {path.stem for path in folder.glob("*.yaml") if "stays" in yaml.safe_load(path.read_text())}
    assert set(build_dataset.SOURCES) == {*described, "synthetic", "tables"} - {"tables_example"}


def test_the_choices_of_stays_are_those_that_the_cohort_selects():
    source = {"diagnoses": "SELECT stay_id FROM d"}
    arguments = ["--source", "eicu", "--output", "x", "--stays"]
    steps = {}
    for stays in ("all", "single", "first"):
        chosen = build_dataset.parse_arguments([*arguments, stays]).stays
        steps[stays] = list(cohort.filters(source, cohort.CohortOptions(stays=chosen)))
    assert steps["single"][:-1] == steps["first"][:-1] == steps["all"]
    assert steps["single"] != steps["first"]
    with pytest.raises(ClinRaGenInputError, match="--stays: invalid choice: 'last'"):
        build_dataset.parse_arguments([*arguments, "last"])
