# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The time that a stage takes, including its restarts."""

from __future__ import annotations

import json
import time
from pathlib import Path

from transformers import TrainerCallback

from datasets_scripts.common.outputs import write_whole


class StageClock(TrainerCallback):
    """
    Seconds of a stage, including restarts: those until a checkpoint are saved beside it.

    Args:
        folder (`Path`): of the stage's checkpoints.
    """

    def __init__(self, folder: Path):
        self.path = folder / "seconds.json"
        self.before = self._seconds_before()
        self.started = time.perf_counter()

    def _seconds_before(self) -> float:
        try:
            return float(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):  # missing, or cut off by a kill: only the time is lost
            return 0.0

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.started

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            write_whole(self.path, json.dumps(self.seconds))
