# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The version of a model: a hash of everything that its answers depend on."""

import hashlib
import json

import torch


# Fields of the configuration on how a folder was written, and fields of the tokenizer that each call sets.
IGNORED = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version", "padding", "truncation"}


def version_of(model, processor) -> str:
    """Return a hash of weights, configuration, processor and tokenizer, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        if tensor.numel():
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    tokenizer = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    for part in (model.config.to_dict(), model.generation_config.to_dict(), processor.to_dict(), tokenizer):
        digest.update(json.dumps(_without(part), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _without(settings):
    """Return settings without `IGNORED`, at any depth."""
    if isinstance(settings, dict):
        kept = {key: value for key, value in settings.items() if key not in IGNORED}
        if kept.get("language", "") is None:  # English; older folders have no such field
            del kept["language"]
        return {key: _without(value) for key, value in kept.items()}
    return [_without(value) for value in settings] if isinstance(settings, list | tuple) else settings


__all__ = ["version_of"]
