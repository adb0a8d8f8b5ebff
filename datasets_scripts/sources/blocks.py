# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Blocks of consecutive stays, read from a cohort with their series and documents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets_scripts.sources.cohort import Cohort


@dataclass
class Block:
    """
    Consecutive stays: rows of ids, demographics, class ids and documents; and their series, one after the other.

    Args:
        stays (list of `dict`): N stays.
        offsets (int array of shape `(N + 1,)`): the measurement times of stay i are `offsets[i]` to `offsets[i + 1]`.
        times (float32 of shape `(T,)`): hours since ICU admission.
        values, available (float32 of shape `(T, num_input_channels)`): measured values, and the hour from which each
            is known; NaN = not measured.
        unread (bool array of shape `(N, num_input_channels)`): whether a result of the stay is no number.
    """

    stays: list[dict]
    offsets: np.ndarray
    times: np.ndarray
    values: np.ndarray
    available: np.ndarray
    unread: np.ndarray


def read_block(cohort: Cohort, start: int, end: int) -> Block:
    """Read the stays `start` up to `end`, by patient and time."""
    execute = cohort.connection.execute
    stays = cohort.rows(
        f"""
        SELECT s.subject_id, s.hadm_id, s.stay_id, CAST(s.age AS FLOAT) AS age, s.sex, s.ethnicity,
               s.care_unit, coalesce(l.diagnoses, []) AS diagnoses
        FROM stays s LEFT JOIN labels l USING (stay) WHERE s.stay >= {start} AND s.stay < {end} ORDER BY s.stay
        """
    )
    for row in stays:
        row["documents"] = []
    documents = execute(
        f"SELECT stay, origin, kind, rank, hour, text FROM notes WHERE stay >= {start} AND stay < {end} "
        "ORDER BY stay, rank, kind, hour, text"
    )
    for stay, *document in documents.fetchall():
        stays[stay - start]["documents"].append(
            dict(zip(("origin", "kind", "rank", "hour", "text"), document, strict=True))
        )
    kept = execute(
        f"SELECT stay, hour, channel, value, available FROM kept WHERE stay >= {start} AND stay < {end} "
        "ORDER BY stay, hour, channel"
    ).fetchnumpy()
    first = np.ones(len(kept["hour"]), dtype=bool)  # of the values of one moment
    first[1:] = (np.diff(kept["stay"]) != 0) | (np.diff(kept["hour"]) != 0)
    moment = np.cumsum(first) - 1
    values = np.full((int(first.sum()), len(cohort.channels)), np.nan, dtype=np.float32)
    available = values.copy()
    values[moment, kept["channel"]] = kept["value"]
    available[moment, kept["channel"]] = kept["available"]
    offsets = np.searchsorted(kept["stay"][first], np.arange(start, end + 1))
    unread = np.zeros((end - start, len(cohort.channels)), dtype=bool)
    cells = execute(f"SELECT DISTINCT stay, channel FROM unread WHERE stay >= {start} AND stay < {end}").fetchnumpy()
    unread[cells["stay"] - start, cells["channel"]] = True
    return Block(stays, offsets, np.asarray(kept["hour"][first], dtype=np.float32), values, available, unread)
