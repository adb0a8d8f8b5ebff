# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The version of a model: a hash of all that its answers depend on."""

import hashlib
import json

import torch


# Of the configuration what says how a folder was written, and of the tokenizer what each call sets anew.
NO_MATTER = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version", "padding", "truncation"}


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
    """Return settings without `NO_MATTER`, at any depth."""
    if isinstance(settings, dict):
        kept = {key: value for key, value in settings.items() if key not in NO_MATTER}
        if kept.get("language", "") is None:  # English, as before there was another
            del kept["language"]
        return {key: _without(value) for key, value in kept.items()}
    return [_without(value) for value in settings] if isinstance(settings, list | tuple) else settings


__all__ = ["version_of"]
