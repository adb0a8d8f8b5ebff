# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The captions of the open MIMIC demos, checked by pandas and the table of docs/data.md alone."""

import re

import pandas as pd
import pytest

from datasets_scripts import build_dataset
from tests.datasets_scripts.sources.test_channels import limits_of, rows_under


DEMOS = {"mimic-iii": "mimic-iii-demo", "mimic-iv": "mimic-iv-layout"}
NORMAL = {"Fraction inspired oxygen": "room air"}
COUNT = re.compile(r"(higher|lower) than ([a-z ]+?) (\d+) times?")


@pytest.fixture(scope="module", params=DEMOS)
def stays(request, real_data, tmp_path_factory):
    """The rows of a dataset, as pandas reads them."""
    root = real_data / DEMOS[request.param]
    output = tmp_path_factory.mktemp("ranges") / "dataset"
    build_dataset.main(["--source", request.param, "--root", str(root), "--output", str(output), "--threads", "1"])
    return pd.concat([pd.read_parquet(path) for path in sorted((output / "data").glob("*.parquet"))])


def clauses_of(stays):
    """Yield channel, clause of the caption, and the measured values as decimal numbers, for all channels and stays."""
    names = [row[0] for row in rows_under("## Reference ranges")][:11]
    for stay in stays.itertuples():
        rows = [list(row) for row in stay.lab_values]
        values = pd.DataFrame(rows, columns=names, dtype="float32").astype("float64").round(4)
        clauses = stay.lab_caption.removesuffix(".").split(", ")
        assert len(clauses) == len(names)
        for name, clause in zip(names, clauses, strict=True):
            assert clause.startswith(f"{name} is ")
            yield name, clause.removeprefix(f"{name} is "), values[name].dropna()


@pytest.mark.slow
def test_no_clause_of_a_caption_is_wrong(stays):
    limits = {row[0]: limits_of(row[2], "from", "to") for row in rows_under("## Reference ranges")}
    seen, outside_called_normal, outside, wrong = 0, 0, 0, []
    for name, clause, values in clauses_of(stays):
        low, high = limits[name]
        above = 0 if high is None else int((values > high).sum())
        below = 0 if low is None else int((values < low).sum())
        normal, seen, outside = NORMAL.get(name, "normal"), seen + 1, outside + above + below
        told = {word: int(count) for word, said, count in COUNT.findall(clause) if said == normal}
        if clause == f"{normal} all the time":
            outside_called_normal += above + below
            right = len(values) > 0 and above == below == 0
        elif clause == "measured partly as text":
            right = len(values) > 0 and above == below == 0
        elif clause in ("not measured", "not measured as a number"):
            right = values.empty
        elif name == "Weight":
            ends = [f"{end:.1f}" for end in (values.min(), values.max())]
            right = clause == (f"{ends[0]} kg" if ends[0] == ends[1] else f"between {ends[0]} and {ends[1]} kg")
        else:
            right = told == {word: n for word, n in (("higher", above), ("lower", below)) if n}
        wrong += [] if right else [(name, clause, above, below)]
    assert wrong == []
    assert outside_called_normal == 0
    assert seen == 11 * len(stays)
    assert outside > 1000  # there is something to be called abnormal
