# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Count the requests of `serve.py` for Prometheus: only numbers, no content of records."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest


SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
RECORDS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """
    Counters of one server.

    Args:
        version (`str`): of the model.
        waiting (callable): returns the number of records in the queue.
    """

    def __init__(self, version: str, waiting: Callable[[], int]):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "clinragen_requests",
            "Requests for answers, and all that lack the token, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "clinragen_request_seconds",
            "From the headers of a request to its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._records = Histogram(
            "clinragen_batch_records", "Records that were answered together.", buckets=RECORDS, registry=self.registry
        )
        Gauge("clinragen_waiting_records", "Records in the queue.", registry=self.registry).set_function(waiting)
        Info("clinragen_model", "The model that answers.", registry=self.registry).info({"version": version})

    def request(self, status: int, seconds: float | None) -> None:
        """Count a request; one that was not read has `None` as `seconds`, and does not count in the times."""
        self._requests.labels(str(status)).inc()
        if seconds is not None:
            self._seconds.observe(seconds)

    def batch(self, records: int) -> None:
        self._records.observe(records)

    def page(self) -> bytes:
        """Return all counters in the text format of Prometheus."""
        return generate_latest(self.registry)
