# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Export a seq2seq model folder to ONNX, see `recipes/models/onnx.py`."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim
from tqdm import tqdm
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from datasets_scripts.common.outputs import finished_folder
from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenInputError, ClinRaGenProcessor
from recipes.models.folder import fetched, load_model_folder
from recipes.models.onnx import FACTS, GRAPHS, HEAD, HEAD_TENSORS, is_onnx_folder, layer_names


logger = logging.getLogger(__name__)

KEPT_FILES = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
)


def export_folder(model: str, output: Path) -> None:
    """
    Write the ONNX export of a model folder, or of a Hub id: three graphs, configuration, processor and tokenizer.

    Raises:
        ClinRaGenInputError: if the model cannot be read, is an export already, or is no seq2seq model.
    """
    folder = fetched(model)
    model, processor = load_exportable(folder)
    with finished_folder(output) as aside:
        made = (encoder_graph(model, processor), cross_attention_graph(model), decoder_graph(model))
        for name, graph in tqdm(zip(GRAPHS, made, strict=True), total=len(GRAPHS), desc="Exporting", unit="graph"):
            export(graph, aside / name)
        for name in KEPT_FILES:
            if (folder / name).is_file():
                shutil.copy(folder / name, aside)
        if model.diagnosis_head is not None:
            tensors = model.diagnosis_head.state_dict()
            save_file({name: tensors[name] for name in HEAD_TENSORS if name in tensors}, aside / HEAD)
        (aside / FACTS).write_text(json.dumps({"num_parameters": model.num_parameters()}), encoding="utf-8")
    size = sum((output / name).stat().st_size for name in GRAPHS)
    logger.info("%s: %.1f MB in three graphs", output, size / 1e6)


def load_exportable(folder: Path) -> tuple[ClinRaGenForConditionalGeneration, ClinRaGenProcessor]:
    """Load model and processor with eager attention, since SDPA asks for lengths that `torch.export` cannot know."""
    model, processor = load_model_folder(folder)
    if is_onnx_folder(folder):
        raise ClinRaGenInputError(f"{folder} is an ONNX export already; give the model folder that it was made from")
    if not model.config.is_encoder_decoder:
        raise ClinRaGenInputError(f"{folder} holds a decoder-only model; only seq2seq models are exported")
    return type(model).from_pretrained(folder, attn_implementation="eager").eval(), processor


@dataclass
class Graph:
    """
    A module to export, with example inputs.

    Args:
        module (`nn.Module`): takes the inputs as one dict, and returns a dict.
        inputs (`dict`): by name, tensors of any size.
        axes (`dict`): for each input the names of its axes that are free, by number.
        outputs (list of `str`): names, in the order in which `module` gives them.
    """

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    axes: dict[str, dict[int, str]]
    outputs: list[str]


class Encoder(nn.Module):
    def __init__(self, model: ClinRaGenForConditionalGeneration):
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        return list(encoded_fields(self.model.encode(**inputs)).values())


def encoded_fields(encoded) -> dict[str, torch.Tensor]:
    """Select what the decoder and the pipeline need of a `ClinRaGenEncoderOutput`."""
    names = ("last_hidden_state", "attention_mask", "diagnosis_logits", "knowledge_attentions")
    return {name: encoded[name] for name in names if encoded.get(name) is not None}


def encoder_graph(model: ClinRaGenForConditionalGeneration, processor: ClinRaGenProcessor) -> Graph:
    config, ids = model.config, torch.arange(22).view(2, 11) % 5
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    axes = {name: {0: "batch", 1: "note_length"} for name in inputs}
    if "lab" in processor.modalities:
        inputs["past_values"] = torch.ones(2, config.context_length, config.num_input_channels)
        inputs["past_observed_mask"] = torch.ones_like(inputs["past_values"], dtype=torch.bool)
        axes |= {name: {0: "batch"} for name in ("past_values", "past_observed_mask")}
    if processor.reads_terms:
        inputs["term_evidence"] = torch.ones(2, 2, config.num_evidence_terms, dtype=torch.bool)
        axes["term_evidence"] = {0: "batch"}
    with torch.no_grad():
        outputs = list(encoded_fields(model.encode(**inputs)))
    outputs[outputs.index("attention_mask")] = "encoder_attention_mask"  # a graph has one name for one thing
    return Graph(Encoder(model), inputs, axes, outputs)


class CrossAttention(nn.Module):
    def __init__(self, model: ClinRaGenForConditionalGeneration):
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        states = inputs["last_hidden_state"]
        decoded = self.model.backbone(
            encoder_outputs=BaseModelOutput(states),
            decoder_input_ids=torch.zeros_like(states[:, :1, 0], dtype=torch.long),
            past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
            use_cache=True,
        )
        return states_of(decoded.past_key_values.cross_attention_cache)


def states_of(cache: DynamicCache) -> list[torch.Tensor]:
    """Keys and values of each layer in turn, each `(batch, num_heads, length, head_dim)`."""
    return [states for layer in cache.layers for states in (layer.keys, layer.values)]


def cross_attention_graph(model: ClinRaGenForConditionalGeneration) -> Graph:
    inputs = {"last_hidden_state": torch.ones(2, 7, model.get_input_embeddings().embedding_dim)}
    module = CrossAttention(model)
    with torch.no_grad():
        num_layers = len(module(inputs)) // 2
    axes = {"last_hidden_state": {0: "batch", 1: "encoder_length"}}
    return Graph(module, inputs, axes, layer_names("cross", num_layers))


class Decoder(nn.Module):
    def __init__(self, model: ClinRaGenForConditionalGeneration):
        super().__init__()
        self.model, self.hidden_size = model, model.get_input_embeddings().embedding_dim

    def forward(self, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        past, cross = (
            [value for name, value in inputs.items() if name.startswith(kind)] for kind in ("past", "cross")
        )
        mask = inputs["encoder_attention_mask"]
        decoded = self.model.backbone(
            encoder_outputs=BaseModelOutput(cross[0].new_zeros(*mask.shape, self.hidden_size)),  # its keys are given
            attention_mask=mask,
            decoder_input_ids=inputs["decoder_input_ids"],
            past_key_values=EncoderDecoderCache(zip(past[::2], past[1::2], cross[::2], cross[1::2], strict=True)),
            use_cache=True,
        )
        return [decoded.logits, *states_of(decoded.past_key_values.self_attention_cache)]


def decoder_graph(model: ClinRaGenForConditionalGeneration) -> Graph:
    cross = cross_attention_graph(model)
    with torch.no_grad():
        states = dict(zip(cross.outputs, cross.module(cross.inputs), strict=True))
    past = [value[:, :, :5] for value in states.values()]
    num_layers = len(past) // 2
    inputs = {
        "decoder_input_ids": torch.ones(2, 3, dtype=torch.long),
        "encoder_attention_mask": torch.ones(2, 7, dtype=torch.long),
        **dict(zip(layer_names("past", num_layers), past, strict=True)),
        **states,
    }
    axes = {name: {0: "batch", 2: "past_length" if name.startswith("past") else "encoder_length"} for name in inputs}
    axes["decoder_input_ids"] = {0: "batch", 1: "target_length"}
    axes["encoder_attention_mask"] = {0: "batch", 1: "encoder_length"}
    return Graph(Decoder(model), inputs, axes, ["logits", *layer_names("present", num_layers)])


def export(graph: Graph, path: Path) -> None:
    """
    Write a graph as one file.

    Raises:
        RuntimeError: if a size that is meant to be free was taken for a constant.
    """
    free = {name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in graph.axes.items()}
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.module,
            kwargs={"inputs": graph.inputs},
            dynamo=True,
            dynamic_shapes={"inputs": free},
            input_names=list(graph.inputs),
            output_names=graph.outputs,
            custom_translation_table=translations(),
            verbose=False,
        )
    for value in program.model.graph.inputs:
        for axis, name in graph.axes[value.name].items():
            if isinstance(value.shape[axis], int):
                raise RuntimeError(f"{path.name}: the {name} of {value.name} became a constant")
    program.save(path, external_data=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Mute the exporter, which logs packages that it does not need, its own older names and each step."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [talker.level for talker in loggers]
    for talker in loggers:
        talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for talker, level in zip(loggers, levels, strict=True):
            talker.setLevel(level)


def translations() -> dict:
    """Return the operations that the exporter does not know, written in ONNX."""
    from onnxscript import opset18 as op

    def searchsorted(sorted_sequence, values, **options):
        """The number of elements below each value, by halving."""
        number = sorted_sequence.shape[0]
        place, count, one = op.Sub(values, values), op.Constant(value_int=number), op.Constant(value_int=1)
        step = 1 << (number.bit_length() - 1)
        while step:
            next_place = op.Add(place, op.Constant(value_int=step))
            last = op.Gather(sorted_sequence, op.Sub(op.Min(next_place, count), one))
            below = op.And(op.LessOrEqual(next_place, count), op.Less(last, values))
            place = op.Where(below, next_place, place)
            step //= 2
        return place

    def stable_sort(values, stable=None, dim=-1, descending=False):
        """`TopK` of all: of equal elements the first one comes first."""
        size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, size, axis=dim, largest=int(descending))

    return {torch.ops.aten.searchsorted.Tensor: searchsorted, torch.ops.aten.sort.stable: stable_sort}
