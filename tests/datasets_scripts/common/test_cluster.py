# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A build and a template teacher on a Ray cluster: the same bytes as on one machine, even if a node is lost."""

import socket
import sys
import time

import pytest

from benchmarks.etl import copy_tables
from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.common.cluster import TASKS_PER_SLOT, ordered_map
from datasets_scripts.dataset import records
from datasets_scripts.sources.synthetic import write_synthetic_tables
from datasets_scripts.teacher import template
from modeling_clinragen import ClinRaGenInputError
from tests.commands import run_script
from tests.datasets_scripts.dataset.test_restart import files
from tests.ray_nodes import node_killed_when, two_nodes


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 20)
    monkeypatch.setattr(template, "ROWS_PER_TASK", 20)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    write_synthetic_tables(root, 120, seed=0)
    return root


def build(raw, output, *options):
    build_dataset.main(["--source", "mimic-iv", "--root", str(raw), "--output", str(output), *options])
    return files(output)


def teach(dataset, output, *options):
    knowledge = output.parent / "knowledge.json"
    if not knowledge.exists():
        build_knowledge.main(["--corpus", "builtin", "--output", str(knowledge)])
    arguments = ["--dataset", str(dataset), "--knowledge", str(knowledge), "--teacher", "template"]
    generate_rationales.main([*arguments, "--output", str(output), *options])
    return files(output)


def where(number):
    """A square, and the node that computed it."""
    import ray

    time.sleep(0.05)
    return number * number, ray.get_runtime_context().get_node_id()


@pytest.mark.slow
def test_both_nodes_work_and_the_results_are_in_order(cluster):
    results = list(ordered_map(where, range(40), cluster.address))
    assert [square for square, _ in results] == [number * number for number in range(40)]
    assert len({node for _, node in results}) == 2


@pytest.mark.slow
def test_items_are_taken_only_as_the_results_are_read(cluster):
    """Two nodes of one CPU: neither all items nor all results are in memory."""
    taken = []
    results = ordered_map(abs, (taken.append(i) or i for i in range(1000)), cluster.address)
    for _ in range(10):
        next(results)
    results.close()
    assert len(taken) == 2 * TASKS_PER_SLOT + 10


@pytest.mark.slow
def test_an_error_of_a_worker_is_raised_unchanged(cluster):
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        list(ordered_map(lambda number: 1 / number, [1, 0], cluster.address))


@pytest.mark.slow
def test_a_task_that_no_node_has_room_for_is_refused_not_waited_for(cluster):
    with pytest.raises(ClinRaGenInputError, match="no machine of the cluster has 64 CPU"):
        next(ordered_map(abs, [1], cluster.address, cpus=64))


def test_an_address_without_a_cluster_is_one_line(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = ["--source", "synthetic", "--limit", "5", "--output", str(tmp_path / "out"), "--ray", address]
        done = run_script(build_dataset.__file__, *arguments)
    assert done.returncode == 2
    assert f"error: --ray: nothing answers at {address}" in done.stderr.splitlines()[-1]
    with pytest.raises(ClinRaGenInputError, match="give HOST:PORT"):
        next(ordered_map(abs, [1], "auto"))


def test_without_ray_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(ClinRaGenInputError, match=r"pip install 'clinragen\[ray\]'"):
        next(ordered_map(abs, [1], "127.0.0.1:6379"))


def test_a_language_model_teacher_is_not_distributed(tmp_path):
    arguments = ["--dataset", "d", "--knowledge", "k", "--output", str(tmp_path / "o"), "--ray", "127.0.0.1:1"]
    with pytest.raises(ClinRaGenInputError, match="template teacher only"):
        generate_rationales.main([*arguments, "--teacher", "openai:model"])


@pytest.mark.slow
def test_a_build_and_its_rationales_are_the_bytes_of_a_local_run(cluster, raw, small_blocks, tmp_path):
    local = build(raw, tmp_path / "local")
    assert sum(name.endswith(".parquet") for name in local) > 6
    assert build(raw, tmp_path / "spread", "--ray", cluster.address) == local
    taught = teach(tmp_path / "local", tmp_path / "taught")
    assert teach(tmp_path / "local", tmp_path / "taught-spread", "--ray", cluster.address) == taught


@pytest.mark.slow
def test_a_build_begun_on_a_cluster_resumes_here_and_vice_versa(cluster, raw, small_blocks, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # this process alone writes what is not written by the cluster
    local, write_shard = build(raw, tmp_path / "local"), records.write_shard
    for first, then in ((["--ray", cluster.address], []), ([], ["--ray", cluster.address])):
        output, written = tmp_path / f"begun{len(first)}", []

        def write_and_die(folder, split, number, table):
            if number == 3:
                raise KeyboardInterrupt  # keeps what was done, like a kill
            write_shard(folder, split, number, table)

        def write_and_note(folder, split, number, table, written=written):
            written.append(number)
            write_shard(folder, split, number, table)

        monkeypatch.setattr(records, "write_shard", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            build(raw, output, *first)
        monkeypatch.setattr(records, "write_shard", write_and_note)
        assert build(raw, output, *then) == local
        assert min(written) == 3


def slow_square(number):
    time.sleep(0.2)
    return number * number


@pytest.mark.slow
def test_work_of_a_killed_node_is_repeated():
    with two_nodes() as cluster:
        results = ordered_map(slow_square, range(30), cluster.address)
        seen = [next(results)]
        with node_killed_when(cluster, lambda: True):
            seen += results
    assert seen == [number * number for number in range(30)]


@pytest.mark.slow
def test_a_build_of_ten_copies_of_the_demo_is_the_same_also_when_a_node_is_killed(real_data, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 50)  # 18 blocks, most of them unfinished when the node is killed
    root = copy_tables(real_data / "mimic-iii-demo", 10, tmp_path / "x10")

    def build_demo(name, *options):
        arguments = ["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / name)]
        build_dataset.main([*arguments, *options])
        return files(tmp_path / name)

    local = build_demo("local")
    with two_nodes() as cluster:
        assert build_demo("spread", "--ray", cluster.address) == local
        shards = tmp_path / "killed.unfinished" / "data"
        with node_killed_when(cluster, lambda: shards.is_dir() and any(shards.iterdir())):
            assert build_demo("killed", "--ray", cluster.address) == local
