# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Work distributed over a Ray cluster, with the results in order, as if it were done here.

The command runs on a machine of the cluster. The project's code is sent to the workers; its requirements (`pip install
'clinragen[...]'`, the same Python and Ray) must be installed on every machine. Data go to that cluster only: usage
reports of Ray are off in this process, and `ray start --disable-usage-stats` turns them off for the cluster.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from datasets_scripts.common.outputs import ResumableError
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


Item = TypeVar("Item")
Result = TypeVar("Result")

PACKAGES = ("modeling_clinragen", "datasets_scripts", "recipes")
TASKS_PER_SLOT = 2  # one running, one waiting; more would only fill the memory
SECONDS_TO_ANSWER = 10
HELP = (
    "HOST:PORT of a Ray cluster that this machine belongs to: its machines share the work, the output is the same; "
    "default: processes of this machine"
)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], address: str, cpus: int = 1, gpus: int = 0
) -> Iterator[Result]:
    """
    Compute `map(function, items)` on the machines of a cluster. The tasks of a lost machine are repeated on another.

    Items are taken as machines become free: neither all items nor all results are ever in memory.

    Args:
        function (callable): sent once to each worker process. Its result must depend on the item alone.
        address (`str`): `"HOST:PORT"` of the cluster's head.
        cpus, gpus (`int`): needed for one call; machines with fewer are not used.

    Raises:
        ClinRaGenInputError: if Ray is not installed, the cluster cannot be reached, or none of its machines is large
            enough; and if `function` raises it.
        ResumableError: if the cluster is lost, or a call repeatedly crashes its worker.
    """
    with _connection(address) as ray:
        slots = _slots(ray, cpus, gpus)
        call = ray.remote(num_cpus=cpus, num_gpus=gpus)(_call)
        # Ray does not resolve references within lists, so each worker process fetches the function only once.
        sent = [ray.put(function)]
        items = iter(items)
        begun = deque(call.remote(sent, item) for item in itertools.islice(items, TASKS_PER_SLOT * slots))
        while begun:
            result = _result(ray, begun.popleft())
            begun.extend(call.remote(sent, item) for item in itertools.islice(items, 1))
            yield result


def _call(sent: list, item: Any) -> Any:
    return _received(sent[0])(item)


@lru_cache(maxsize=1)
def _received(reference: Any) -> Callable:
    import ray

    return ray.get(reference)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ResumableError(
            f"--ray: the cluster lost a task for good ({type(error).__name__}); start the same command again to resume"
        ) from error


@contextmanager
def _connection(address: str) -> Iterator[Any]:
    """Yield the module `ray`, connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ClinRaGenInputError("--ray: Ray is not installed; pip install 'clinragen[ray]'") from None
    _check_reachable(address)
    root = Path(__file__).resolve().parents[2]
    code = {"py_modules": [str(root / name) for name in PACKAGES], "excludes": ["__pycache__"]}
    try:
        ray.init(address=address, runtime_env=code, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ClinRaGenInputError(f"--ray: no cluster of this machine at {address}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check the address, because Ray itself would retry for a minute."""
    match = re.fullmatch(r"(\S+):(\d{1,5})", address)
    if match is None:
        raise ClinRaGenInputError(f"--ray is {address!r}; give HOST:PORT, as `ray start --head` prints it")
    try:
        socket.create_connection((match[1].strip("[]"), int(match[2])), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError):
        raise ClinRaGenInputError(
            f"--ray: nothing answers at {address}; start the cluster with `ray start --head`, and give the address "
            "that it prints"
        ) from None


def _slots(ray: Any, cpus: int, gpus: int) -> int:
    """Return the number of calls that the cluster can run at once."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = sum(
        int(min(machine.get("CPU", 0) // cpus, machine.get("GPU", 0) // gpus if gpus else float("inf")))
        for machine in machines
    )
    if not slots:
        raise ClinRaGenInputError(
            f"--ray: no machine of the cluster has {cpus} CPU{' and a GPU' if gpus else ''} for one task; start the "
            "command with a smaller OMP_NUM_THREADS, or larger machines"
        )
    return slots
