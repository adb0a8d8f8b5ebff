# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model folder that is sent to the machines of a cluster, and answers chunks of records there."""

import tempfile
from functools import cached_property
from pathlib import Path

import torch

from modeling_clinragen.handler import EndpointHandler
from recipes.models.folder import check_model_folder, fetched
from recipes.serving.answers import answer_chunk, load_handler
from recipes.serving.record_files import Entry


class ShippedModel:
    """
    `answer_chunk` with its model: the pickle holds the folder's files, and no path of this machine.

    Args:
        model, revision (`str`): model folder or Hub id, as `load_model_folder` takes them.
        device (`str`): `"cpu"` or `"cuda"`.
        batch_size (`int`), options (`dict`): as `answer_chunk` takes them.
    """

    def __init__(self, model: str, revision: str | None, device: str, batch_size: int, options: dict):
        folder = check_model_folder(fetched(model, revision))
        self.files = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        self.device, self.batch_size, self.options = device, batch_size, options
        self.threads = torch.get_num_threads()  # rounding may depend on the number of threads

    def __call__(self, chunk: list[Entry]) -> list[dict]:
        return answer_chunk(self.handler, chunk, self.batch_size, self.options)

    @cached_property
    def handler(self) -> EndpointHandler:
        torch.set_num_threads(self.threads)
        with tempfile.TemporaryDirectory() as folder:
            while self.files:
                name, content = self.files.popitem()
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return load_handler(folder, None, self.device)
