# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Dataset folders that are damaged: every reader refuses them in one line that names the file."""

import json
import re
import shutil
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts import build_dataset, build_knowledge, generate_rationales, push_dataset
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.checks import check_metadata
from datasets_scripts.dataset.folder import (
    METADATA_FILE,
    SCHEMA_VERSION,
    check_content,
    iterate_records,
    iterate_rows,
    load_split,
    read_metadata,
    shards,
)
from modeling_clinragen import ClinRaGenInputError
from tests.dataset_folders import describe


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """40 simulated patients, the training split in two files."""
    folder = tmp_path_factory.mktemp("whole") / "dataset"
    build_dataset.main(["--source", "synthetic", "--output", str(folder), "--limit", "40"])
    (path,) = shards(folder, "train")
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 10), path)
    pq.write_table(table.slice(10), path.with_name("train-00001.parquet"))
    return folder


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    path = tmp_path_factory.mktemp("knowledge") / "knowledge.json"
    build_knowledge.main(["--corpus", "builtin", "--output", str(path)])
    return path


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "dataset")


def described(folder, change):
    """Write the metadata anew after a `change` of them."""
    metadata = json.loads((folder / METADATA_FILE).read_text())
    changed = change(metadata)
    (folder / METADATA_FILE).write_text(json.dumps(metadata if changed is None else changed))


def rewritten(folder, name, change):
    """Write the first training file with the Python values of a column changed, and the hash that belongs to it."""
    path = shards(folder, "train")[0]
    table = pq.read_table(path)
    place, cells = table.schema.get_field_index(name), table[name].to_pylist()
    change(cells)
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(cells, field.type)), path)
    describe(folder, folder)


def relabelled(folder):
    """Swap two labels in the metadata: the files name their classes in another order."""

    def change(metadata):
        labels = metadata["labels"]
        labels[0], labels[1] = labels[1], labels[0]

    described(folder, change)


def without_column(folder, name):
    path = shards(folder, "train")[0]
    pq.write_table(pq.read_table(path).drop_columns([name]), path)


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def flipped(folder):
    """Change a value within its limits, as a person or a bad disk might: only the hash shows it."""
    path = shards(folder, "train")[0]
    table = pq.read_table(path)
    ages = pa.array([age + 1 for age in table["age"].to_pylist()], pa.float32())
    pq.write_table(table.set_column(table.schema.get_field_index("age"), table.schema.field("age"), ages), path)


def of_other_type(folder):
    path = shards(folder, "train")[0]
    table = pq.read_table(path)
    place = table.schema.get_field_index("age")
    pq.write_table(table.set_column(place, "age", table["age"].cast(pa.string())), path)


def overwritten(folder):
    """Fill a stretch of a file's pages with zeros; its footer stays."""
    path = shards(folder, "train")[0]
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    path.write_bytes(content)


DAMAGES = {
    "a missing file": (lambda f: shards(f, "train")[0].unlink(), "split 'train' has .* records in 1 files"),
    "no files": (lambda f: shutil.rmtree(f / "data"), "split 'train' has 0 records"),
    "a file too many": (
        lambda f: shutil.copy(shards(f, "train")[0], f / "data" / "train-00007.parquet"),
        "split 'train' has",
    ),
    "a file of another split": (
        lambda f: shards(f, "train")[0].rename(f / "data" / "test-00007.parquet"),
        "records in",
    ),
    "a file cut short": (lambda f: cut(shards(f, "train")[0]), "train-00000.parquet cannot be read"),
    "an empty file": (lambda f: cut(shards(f, "train")[0], 0), "train-00000.parquet cannot be read"),
    "pages overwritten": (overwritten, "train-00000.parquet cannot be read"),
    "a folder for a file": (
        lambda f: (shards(f, "train")[0].unlink(), (f / "data" / "train-00000.parquet").mkdir()),
        "train-00000.parquet cannot be read",
    ),
    "times shorter than values": (
        lambda f: rewritten(f, "lab_times", lambda cells: cells[3].pop()),
        r"train-00000.parquet, row 3: lab_times does not have as many entries",
    ),
    "times longer than values": (
        lambda f: rewritten(f, "lab_times", lambda cells: cells[3].append(9999.0)),
        "row 3: lab_times does not have as many entries",
    ),
    "lengths that make up for each other": (
        lambda f: rewritten(f, "lab_times", lambda cells: (cells[3].append(9999.0), cells[4].pop())),
        "row 3: lab_times does not have as many entries",
    ),
    "a row too narrow": (
        lambda f: rewritten(f, "lab_values", lambda cells: cells[2][0].pop()),
        "row 2: lab_values needs one number .or NaN. for each of the 11 channels",
    ),
    "widths that make up for each other": (
        lambda f: rewritten(f, "lab_values", lambda cells: cells[2][1].append(cells[2][0].pop())),
        "row 2: lab_values needs one number .or NaN. for each of the 11 channels",
    ),
    "an infinite value": (
        lambda f: rewritten(f, "lab_values", lambda cells: cells[5][0].__setitem__(0, np.inf)),
        "row 5: lab_values holds an infinite value",
    ),
    "a null among the values": (
        lambda f: rewritten(f, "lab_values", lambda cells: cells[5][0].__setitem__(0, None)),
        "row 5: lab_values holds null",
    ),
    "a row of values that is null": (
        lambda f: rewritten(f, "lab_values", lambda cells: cells[5].__setitem__(0, None)),
        "row 5: lab_values needs one number",
    ),
    "hours for availability of another number": (
        lambda f: rewritten(f, "lab_available_times", lambda cells: cells[1].pop()),
        "row 1: lab_available_times does not have as many rows",
    ),
    "times that fall": (
        lambda f: rewritten(f, "lab_times", lambda cells: cells[4].reverse()),
        "row 4: lab_times must increase strictly",
    ),
    "a time twice": (
        lambda f: rewritten(f, "lab_times", lambda cells: cells[4].__setitem__(1, cells[4][0])),
        "row 4: lab_times must increase strictly",
    ),
    **{
        f"a time of {hour}": (
            lambda f, hour=hour: rewritten(f, "lab_times", lambda cells: cells[6].__setitem__(0, hour)),
            "row 6: lab_times holds a value that is not a finite number",
        )
        for hour in (np.nan, np.inf, None)
    },
    **{
        f"class {number}": (
            lambda f, number=number: rewritten(f, "diagnoses", lambda cells: cells.__setitem__(7, [number])),
            "row 7: diagnoses holds an unknown class: the classes are 0 to 24",
        )
        for number in (-1, 25, None)
    },
    "a class twice": (
        lambda f: rewritten(f, "diagnoses", lambda cells: cells.__setitem__(7, [3, 3])),
        "row 7: diagnoses are not sorted",
    ),
    **{
        f"{name} that is null": (
            lambda f, name=name: rewritten(f, name, lambda cells: cells.__setitem__(8, None)),
            f"row 8: {name} is null",
        )
        for name in ("subject_id", "stay_id", "note", "lab_times", "lab_values", "diagnoses", "teacher")
    },
    **{
        f"no {name}": (lambda f, name=name: without_column(f, name), f"column {name} is missing")
        for name in ("note", "lab_times", "diagnoses", "age", "stay_id", "care_unit")
    },
    "a column of another type": (of_other_type, "column age holds string, not float"),
    "labels in another order": (relabelled, "another order"),
    "a changed value": (flipped, "the hash differs"),
    "metadata of another build": (
        lambda f: described(f, lambda metadata: metadata.update(content_hash="0" * 64)),
        "the hash differs",
    ),
}
READERS = {
    "load": lambda folder, knowledge: load_split(folder, "train"),
    "stream": lambda folder, knowledge: load_split(folder, "train", streaming=True),
    "another split": lambda folder, knowledge: load_split(folder, "test"),
    "records": lambda folder, knowledge: next(iterate_records(folder)),
    "rows": lambda folder, knowledge: next(iterate_rows(folder, "train")),
    "push": lambda folder, knowledge: push_dataset.main(["--dataset", str(folder), "--repo-id", "u/d", "--dry-run"]),
    "teach": lambda folder, knowledge: generate_rationales.main(
        ["--dataset", str(folder), "--knowledge", str(knowledge), "--teacher", "template"]
        + ["--output", str(folder.parent / "taught")]
    ),
}


def refusal(read, *inputs):
    with pytest.raises(ClinRaGenInputError) as caught:
        read(*inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_by_every_reader(folder, knowledge, name):
    damage, message = DAMAGES[name]
    check_content(folder)  # the cached check does not hold for the damaged folder
    damage(folder)
    messages = {refusal(read, folder, knowledge) for read in READERS.values()}
    assert len(messages) == 1
    assert re.search(message, next(iter(messages)))
    assert str(folder) in next(iter(messages))
    assert [path.name for path in folder.parent.iterdir()] == ["dataset"]


def test_a_whole_folder_is_read(folder):
    assert check_content(folder) == json.loads((folder / METADATA_FILE).read_text())
    assert len(load_split(folder, "train")) == read_metadata(folder)["counts"]["train"]["stays"]


def test_a_whole_folder_is_read_through_once_in_a_process(folder, monkeypatch):
    from datasets_scripts.dataset import folder as module

    check_content(folder)
    monkeypatch.setattr(module, "content_hash", lambda *_: pytest.fail("read again"))
    check_content(folder)


TEXTS = [
    "",
    "[]",
    "null",
    "3",
    '"text"',
    "{",
    '{"schema_version": 2',
    "\x00",
    "[" * 100_000,
    "{}",
    '{"schema_version": 3}',
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_metadata_other_than_an_object_are_refused(folder, text):
    (folder / METADATA_FILE).write_text(text)
    line = refusal(read_metadata, folder)
    assert METADATA_FILE in line
    assert "again" in line


def test_metadata_other_than_text_are_refused(folder):
    (folder / METADATA_FILE).write_bytes(b"\xff\xfe\x00" * 50)
    assert METADATA_FILE in refusal(read_metadata, folder)


READ_FIELDS = ("channels", "labels", "counts", "attrition", "leakage", "source_description", "codes", "values")


@pytest.mark.parametrize("name", [*READ_FIELDS, "source", "settings", "seed", "content_hash"])
def test_a_field_of_the_metadata_that_is_missing_is_named(folder, name):
    described(folder, lambda metadata: {key: value for key, value in metadata.items() if key != name})
    assert f"{name} is missing" in refusal(read_metadata, folder)


def places(value, path=()):
    """Yield the path of every value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from places(part, (*path, key))


JUNK = st.sampled_from([None, "x", "", -1, 0, 7, 1e300, float("nan"), float("inf"), [], {}, [None], True, 10**400])


@st.composite
def changed_metadata(draw, metadata):
    """Metadata with one value, anywhere, changed or removed."""
    place = draw(st.sampled_from(list(places(metadata))))
    inside = metadata = json.loads(json.dumps(metadata))
    for key in place[:-1]:
        inside = inside[key]
    if draw(st.booleans()):
        inside[place[-1]] = draw(JUNK)
    else:
        del inside[place[-1]]
    return metadata


@settings(max_examples=300)
@given(data=st.data())
def test_metadata_with_any_one_value_changed_are_read_or_refused_in_a_line(whole, data):
    metadata = data.draw(changed_metadata(json.loads((whole / METADATA_FILE).read_text())))
    if metadata.get("schema_version") == SCHEMA_VERSION:
        with suppress(ClinRaGenInputError):
            check_metadata(metadata, whole / METADATA_FILE)


@pytest.mark.slow
@settings(max_examples=30)
@given(data=st.data())
def test_metadata_that_pass_the_check_are_enough_for_the_card(whole, tmp_path_factory, data):
    """The card is written last, after all other work."""
    metadata = data.draw(changed_metadata(json.loads((whole / METADATA_FILE).read_text())))
    try:
        check_metadata(metadata, whole / METADATA_FILE)
    except ClinRaGenInputError:
        return
    assert dataset_card(metadata, tmp_path_factory.mktemp("card"))
