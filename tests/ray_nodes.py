# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A Ray cluster of two nodes on this machine, real processes each, one of which may be killed."""

import os
import threading
from contextlib import contextmanager

import pytest


MEGABYTE = 2**20


@contextmanager
def two_nodes(cpus=1):
    """
    The cluster: `address`, and `kill_a_node()`. The head is the node that commands run on; the other may be killed.
    """
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    node = {"num_cpus": cpus, "object_store_memory": 200 * MEGABYTE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        second = cluster.add_node(**node)
        cluster.kill_a_node = lambda: cluster.remove_node(second, allow_graceful=False)
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def node_killed_when(cluster, begun):
    """The second node is killed as soon as `begun()` is true, while the block runs; it must have been by its end."""
    over, killed = threading.Event(), threading.Event()

    def watch():
        while not over.wait(0.02):
            if begun():
                cluster.kill_a_node()
                killed.set()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
        assert killed.is_set(), "the work was done before the node could be killed"
    finally:
        over.set()
        watcher.join()
