# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Records that are read again in each epoch: selection, order, memory, and the training result."""

import json
import math
import shutil
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.data_loader import IterableDatasetShard
from torch.utils.data import DataLoader

from datasets_scripts.dataset.folder import label_names, load_split, read_metadata, schema_for, shards, write_shard
from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage3_multimodal, stage4_rewards
from recipes.training.checkpoints import last_checkpoint
from recipes.training.data import ClinRaGenCollator, columns_of, encode_records, encode_rows, load_records
from recipes.training.streaming import RecordStream, StreamCollator
from tests.conftest import NIGHTLY
from tests.dataset_folders import describe
from tests.recipes.conftest import STAGE
from tests.recipes.training.test_distributed import LONG, kill_second_rank, launched, run
from tests.recipes.training.test_global_batch import losses


ENCODING = {"rationales": ["note", "lab"], "max_target_tokens": 60, "rationale_first": False}
TEXTS = ["note", "note_rationale", "lab_rationale"]


@pytest.fixture(scope="module")
def folder(data_folder, tmp_path_factory):
    """The training records of `data_folder`, in five files of different sizes."""
    folder = tmp_path_factory.mktemp("streamed")
    table = pq.read_table(shards(data_folder / "dataset", "train")[0])
    for number, rows in enumerate(np.array_split(np.arange(len(table)), [3, 10, 22, 30])):
        write_shard(folder, "train", number, table.take(rows))
    describe(folder, data_folder / "dataset")
    return folder


def stream(folder, processor, batch_size=4, buffer_size=12, seed=0, length_columns=(), **options):
    records = load_records(str(folder), "train", streaming=True)
    return RecordStream(records, processor, batch_size, buffer_size, seed, list(length_columns), **options)


def stays(rows):
    return [row["stay_id"][0].as_py() for row in rows]


def loader(records, processor, batch_size, process=0, processes=1, **options):
    """The batches of one of several processes, as `accelerate` shares them out."""
    collator = StreamCollator(ClinRaGenCollator(processor), partial(encode_rows, processor=processor, **ENCODING))
    shard = IterableDatasetShard(records, batch_size, num_processes=processes, process_index=process)
    return DataLoader(shard if processes > 1 else records, batch_size=batch_size, collate_fn=collator, **options)


@pytest.mark.parametrize("length_columns", [[], TEXTS])
def test_each_record_comes_once_an_epoch_in_an_order_of_seed_and_epoch(folder, tiny_processor, length_columns):
    all_stays = sorted(load_split(folder, "train")["stay_id"])
    first, second = (stream(folder, tiny_processor, length_columns=length_columns) for _ in range(2))
    orders = []
    for epoch in (0, 1, 2):
        first.set_epoch(epoch)
        orders.append(stays(first))
        assert sorted(orders[-1]) == all_stays
        assert len(first) == len(all_stays)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    second.set_epoch(2)  # without the earlier epochs, like a resumed stage
    assert stays(second) == orders[2]
    assert stays(stream(folder, tiny_processor, length_columns=length_columns, seed=1)) == orders[1]


def test_files_are_read_in_another_order_each_epoch(folder, tiny_processor):
    file_of = {stay: path for path in shards(folder, "train") for stay in pq.read_table(path)["stay_id"].to_pylist()}
    records, orders = stream(folder, tiny_processor, batch_size=1, buffer_size=1), set()
    for epoch in range(4):
        records.set_epoch(epoch)
        files = [file_of[stay] for stay in stays(records)]
        orders.add(tuple(dict.fromkeys(files)))
        assert sum(a != b for a, b in pairwise(files)) == len(set(files)) - 1
    assert len(orders) > 1


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_yield_the_same_batches(folder, tiny_processor, workers):
    """Of seven, one has a batch more than the other, and the last is a smaller one."""
    alone, shared = (
        list(loader(stream(folder, tiny_processor, batch_size=7), tiny_processor, 7, num_workers=number))
        for number in (0, workers)
    )
    assert [len(batch["labels"]) for batch in shared] == [7] * 6 + [5]
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_persistent_workers_see_the_next_epoch(folder, tiny_processor):
    records = stream(folder, tiny_processor)
    batches = loader(records, tiny_processor, 4, num_workers=1, persistent_workers=True)
    first = next(iter(batches))["diagnosis_labels"]
    records.set_epoch(1)
    other = next(iter(loader(records, tiny_processor, 4)))["diagnosis_labels"]
    assert torch.equal(next(iter(batches))["diagnosis_labels"], other)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_share_each_step_of_one(folder, tiny_processor, workers):
    """At the same global batch; an epoch's last step is filled up from its start, so that both have a batch."""
    whole = [stays(batch) for batch in DataLoader(stream(folder, tiny_processor), 4, collate_fn=list)]
    seen = []
    for process in range(2):
        shard = IterableDatasetShard(
            stream(folder, tiny_processor), batch_size=2, num_processes=2, process_index=process
        )
        seen.append([stays(batch) for batch in DataLoader(shard, 2, collate_fn=list, num_workers=0)])
        counted = loader(stream(folder, tiny_processor), tiny_processor, 2, process, 2, num_workers=workers)
        assert len(counted) == len(list(counted)) == len(whole)
    joined = [one + other for one, other in zip(*seen, strict=True)]
    assert joined[:-1] == whole[:-1]
    assert joined[-1][: len(whole[-1])] == whole[-1]


def test_batches_are_those_of_records_encoded_beforehand(folder, tiny_processor):
    encoded = encode_records(load_split(folder, "train"), tiny_processor, **ENCODING).with_format("numpy")
    by_stay = dict(zip(load_split(folder, "train")["stay_id"], encoded, strict=True))
    order = [stays(batch) for batch in DataLoader(stream(folder, tiny_processor), 4, collate_fn=list)]
    for batch, members in zip(loader(stream(folder, tiny_processor), tiny_processor, 4), order, strict=True):
        expected = ClinRaGenCollator(tiny_processor)([by_stay[stay] for stay in members])
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in batch)
        assert all(batch[name].dtype == expected[name].dtype for name in batch)


def test_similar_lengths_share_a_batch(folder, tiny_processor):
    def spread(records):
        """Mean difference between the longest and the shortest of a batch, in characters."""
        lengths = [
            [sum(len(row[name][0].as_py()) for name in TEXTS) for row in batch]
            for batch in DataLoader(records, 4, collate_fn=list)
        ]
        return np.mean([max(batch) - min(batch) for batch in lengths])

    grouped = stream(folder, tiny_processor, buffer_size=40, length_columns=TEXTS)
    assert spread(grouped) < 0.4 * spread(stream(folder, tiny_processor, buffer_size=40))


def test_no_more_records_are_held_than_the_buffer_has_and_what_was_just_read(folder, tiny_processor, tmp_path):
    """Ten times the records take no more of Arrow's memory, since rows are freed with their batch."""
    table = pq.read_table(shards(folder, "train")[0])
    peaks = []
    for copies in (8, 80):
        large = tmp_path / str(copies)
        for number in range(copies):
            write_shard(large, "train", number, table.take([0, 1, 2] * 8))
        describe(large, folder)
        records = stream(large, tiny_processor, batch_size=4, buffer_size=48)
        assert len(records) == 24 * copies
        before, peak = pa.total_allocated_bytes(), 0
        for row in records:
            assert len(row) == 1
            peak = max(peak, pa.total_allocated_bytes() - before)
        peaks.append(peak)
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[0] < 6 * 48 * table.nbytes / len(table)


def changed(folder, data_folder, column, values):
    """A dataset folder of eight training records with other values in a column."""
    table = pq.read_table(shards(data_folder / "dataset", "train")[0]).slice(0, 8)
    labels = label_names(read_metadata(data_folder / "dataset"))
    index = table.schema.get_field_index(column)
    array = pa.array(values, table.schema.field(column).type)
    write_shard(folder, "train", 0, table.set_column(index, column, array).cast(schema_for(labels)))
    describe(folder, data_folder / "dataset")
    return folder


def test_records_without_inputs_or_rationale_are_left_out_and_not_counted(data_folder, tiny_processor, tmp_path):
    tiny_processor.modalities = ["note"]
    try:
        some = changed(tmp_path / "some", data_folder, "note", ["fever"] * 3 + [""] * 5)
        assert len(stream(some, tiny_processor)) == len(stays(stream(some, tiny_processor))) == 3
        with pytest.raises(
            ClinRaGenInputError,
            match=r"no record has a note; .* --inputs lab",
        ):
            stream(changed(tmp_path / "none", data_folder, "note", [""] * 8), tiny_processor)
    finally:
        tiny_processor.modalities = ["note", "lab"]
    taught = changed(tmp_path / "taught", data_folder, "teacher", ["", "template"] * 4)
    assert len(stays(stream(taught, tiny_processor, taught_only=True))) == 4
    assert len(stream(taught, tiny_processor)) == 8
    untaught = changed(tmp_path / "untaught", data_folder, "teacher", [""] * 8)
    with pytest.raises(ClinRaGenInputError, match="no record that can be read has a rationale to learn from"):
        stream(untaught, tiny_processor, taught_only=True)


def test_a_malformed_series_is_reported_with_its_row_before_training(data_folder, tiny_processor, tmp_path):
    good = columns_of(pq.read_table(shards(data_folder / "dataset", "train")[0]).slice(0, 8))
    times = good["lab_times"][:5] + [good["lab_times"][5][::-1]] + good["lab_times"][6:]
    with pytest.raises(ClinRaGenInputError, match="row 5: lab_times must increase"):
        stream(changed(tmp_path / "times", data_folder, "lab_times", times), tiny_processor)
    values = [rows.tolist() for rows in good["lab_values"]]
    values[2][0] = values[2][0][:-1]
    with pytest.raises(ClinRaGenInputError, match="row 2: lab_values needs one number"):
        stream(changed(tmp_path / "values", data_folder, "lab_values", values), tiny_processor)


def test_columns_as_arrays_hold_what_nested_lists_do(data_folder):
    table = pq.read_table(shards(data_folder / "dataset", "train")[0])
    table = pa.concat_tables([table.slice(3, 4), table.slice(9, 5)])
    columns = columns_of(table)
    for name, rows in table.to_pydict().items():
        for cell, expected in zip(columns[name], rows, strict=True):
            np.testing.assert_array_equal(cell, expected) if name.startswith("lab_") else None
            assert name.startswith("lab_") or cell == expected
    assert columns["lab_values"][0].shape == (len(columns["lab_times"][0]), len(table["lab_values"][0][0]))


WITHOUT_DROPOUT = {**STAGE["text_config"], "dropout_rate": 0.0}
STREAMED = {"streaming": True, "streaming_buffer_size": 16, "use_linear_classifier": False}


def history(folder):
    return json.loads((folder / "training.json").read_text())


def test_an_epoch_has_the_steps_of_its_records_and_the_same_is_learned_with_workers(
    data_folder, stage_arguments, tmp_path
):
    options = {"max_steps": -1, "num_train_epochs": 2, "eval_steps": 50, "save_steps": 50, **STREAMED}
    stage1_note.main(stage_arguments(tmp_path / "alone", **options))
    stage1_note.main(stage_arguments(tmp_path / "workers", dataloader_num_workers=2, **options))
    records = len(load_split(data_folder / "dataset", "train"))
    assert len(losses(tmp_path / "alone")) == 2 * math.ceil(records / 4)
    assert np.isfinite(losses(tmp_path / "alone")).all()
    assert losses(tmp_path / "alone") == losses(tmp_path / "workers")
    assert history(tmp_path / "alone")["data"]["streaming"] is True
    assert history(tmp_path / "alone")["log"][-1]["epoch"] == 2


def test_streaming_in_one_batch_gives_the_same_weights_as_records_on_disk(data_folder, stage_arguments, tmp_path):
    """A step of all records has no order."""
    records = len(load_split(data_folder / "dataset", "train"))
    options = {
        "per_device_train_batch_size": records,
        "max_steps": 3,
        "optim": "sgd",
        "use_linear_classifier": False,
        "text_config": WITHOUT_DROPOUT,
    }
    stage1_note.main(stage_arguments(tmp_path / "disk", **options))
    stage1_note.main(stage_arguments(tmp_path / "stream", "--streaming", **options))
    assert losses(tmp_path / "stream") == pytest.approx(losses(tmp_path / "disk"), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [pytest.param("random", marks=NIGHTLY), "group_by_length"])
def test_a_killed_streamed_stage_resumes_where_it_stopped(stage_arguments, tmp_path, sampling):
    rare = {"eval_steps": 50, "save_steps": 1, "save_total_limit": 20, "load_best_model_at_end": False}
    options = {
        **STREAMED,
        **rare,
        "text_config": WITHOUT_DROPOUT,
        "train_sampling_strategy": sampling,
        "max_steps": 16,
    }
    stage1_note.main(stage_arguments(tmp_path / "whole", **options))
    shutil.copytree(tmp_path / "whole.training", tmp_path / "killed.training")
    for reached in (3, 14):  # within the first epoch of 12 steps, and within the second
        shutil.rmtree(tmp_path / "killed", ignore_errors=True)
        for checkpoint in (tmp_path / "killed.training").glob("checkpoint-*"):
            if int(checkpoint.name.partition("-")[2]) > reached:
                shutil.rmtree(checkpoint)
        stage1_note.main(stage_arguments(tmp_path / "killed", **options))
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)


LONG_STREAMED = {**LONG, **STREAMED}


@pytest.fixture(scope="module")
def long_run(stage_arguments, tmp_path_factory):
    """Fourteen streamed steps of four records, in one process."""
    folder = tmp_path_factory.mktemp("one_process") / "long"
    stage1_note.main(stage_arguments(folder, per_device_train_batch_size=4, **LONG_STREAMED))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "workers"), [pytest.param("ddp", 0, marks=NIGHTLY), ("ddp", 2), ("fsdp2", 2)])
def test_two_processes_learn_from_a_stream_as_one_does(long_run, stage_arguments, tmp_path, launcher, workers):
    options = {**LONG_STREAMED, "per_device_train_batch_size": 2, "dataloader_num_workers": workers}
    run(launcher, "stage1", stage_arguments(tmp_path / "two", **options))
    assert losses(tmp_path / "two") == pytest.approx(losses(long_run), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, pytest.param(1, marks=NIGHTLY)])
def test_when_one_of_two_is_killed_the_stream_resumes_with_the_remaining_processes(
    long_run, stage_arguments, tmp_path, processes
):
    output = tmp_path / "run"
    first = launched("ddp", "stage1", stage_arguments(output, per_device_train_batch_size=2, **LONG_STREAMED))
    while first.poll() is None and last_checkpoint(f"{output}.training") is None:
        time.sleep(0.01)
    kill_second_rank(first)
    assert first.wait(timeout=120) != 0
    assert int(last_checkpoint(f"{output}.training").rpartition("-")[2]) < LONG["max_steps"]
    arguments = stage_arguments(output, per_device_train_batch_size=4 // processes, **LONG_STREAMED)
    run("ddp", "stage1", arguments, processes)
    assert losses(output) == pytest.approx(losses(long_run), rel=1e-4)


def test_stage_3_streams_series_too(stage_arguments, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "stage1", **STREAMED))
    before = ["--model_name_or_path", tmp_path / "stage1"]
    stage3_multimodal.main(stage_arguments(tmp_path / "stage3", *before, **STREAMED))
    assert np.isfinite(losses(tmp_path / "stage3")).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_linear_classifier": True}, "--use_linear_classifier false"),
        ({"train_sampling_strategy": "sequential"}, "streaming takes random or group_by_length"),
        ({"dataloader_drop_last": True}, "dataloader_drop_last has no effect"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size has no effect"),
        ({"streaming_buffer_size": 0}, "streaming_buffer_size is 0; give at least 1"),
    ],
)
def test_limits_of_streams_are_reported_before_anything_is_read(stage_arguments, tmp_path, changes, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage1_note.main(stage_arguments(tmp_path / "out", **{**STREAMED, **changes}))


def test_the_stage_that_reads_in_any_order_says_so(stage1_folder, stage_arguments, tmp_path):
    arguments = stage_arguments(tmp_path / "out", "--model_name_or_path", stage1_folder, "--streaming")
    with pytest.raises(ClinRaGenInputError, match="streaming is for stages 1 to 3"):
        stage4_rewards.main(arguments)


def test_a_stage_that_fits_no_classifier_streams_whatever_its_model_has(stage1_folder, stage_arguments, tmp_path):
    options = ["--model_name_or_path", stage1_folder, "--streaming", "--trained_modules", "backbone"]
    stage3_multimodal.main(stage_arguments(tmp_path / "stage3", *options))
    assert len(losses(tmp_path / "stage3")) == 2
