# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A model folder in ONNX, as `recipes/export_model.py --format onnx` writes it: three graphs that run in onnxruntime.

    encoder.onnx           input_ids, attention_mask and, of a model that reads series, past_values,
                           past_observed_mask, of one that reads terms, term_evidence
                           -> last_hidden_state, encoder_attention_mask; with a diagnosis head diagnosis_logits; with
                           knowledge knowledge_attentions: the fields of `ClinRaGenEncoderOutput`
    cross_attention.onnx   last_hidden_state -> keys and values of each layer of the decoder, once per record
    decoder.onnx           decoder_input_ids, encoder_attention_mask, those keys and values, and the keys and values of
                           the tokens before (none at first) -> logits, keys and values with these tokens

Sizes of batch, note and target are free. `head.safetensors` holds the little of the diagnosis head that is asked for
outside of the graphs.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import EncoderDecoderCache, GenerationConfig
from transformers.modeling_outputs import Seq2SeqLMOutput

from modeling_clinragen import ClinRaGenConfig, ClinRaGenForConditionalGeneration, ClinRaGenInputError
from modeling_clinragen.diagnosis_clinragen import ClinRaGenDiagnosisHead
from modeling_clinragen.modeling_clinragen import ClinRaGenPreTrainedModel
from modeling_clinragen.outputs_clinragen import ClinRaGenEncoderOutput


HEAD = "head.safetensors"
HEAD_TENSORS = (
    "label_embedding.weight",
    "decision_embedding.weight",
    "linear.pair_codes",
    "linear.inverse_document_frequency",
    "linear.term_links",
    "linear.term_channels",
    "linear.shared_evidence_weight",
    "linear.evidence_weight",
)
FIXED_KNOWLEDGE = (
    "an ONNX export cannot leave out or shuffle knowledge, as evidence and counterfactuals do: "
    "use the model folder that was exported"
)
GRAPHS = ("encoder.onnx", "cross_attention.onnx", "decoder.onnx")
FACTS = "onnx.json"  # what the graphs do not say: `num_parameters`
DTYPES = {"tensor(int64)": torch.int64, "tensor(float)": torch.float32, "tensor(bool)": torch.bool}


def layer_names(kind: str, num_layers: int) -> list[str]:
    """Names of the keys and values of each layer: `kind` is `past`, `present` or `cross`."""
    return [f"{kind}.{layer}.{part}" for layer in range(num_layers) for part in ("key", "value")]


class OnnxGraph:
    """
    A graph on as many threads of the CPU as torch uses.

    Args:
        path (`Path`): `*.onnx`.
    """

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.outputs = [node.name for node in self.session.get_outputs()]

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        feed = {
            name: inputs[name].detach().to("cpu", DTYPES[node.type]).numpy(force=True)
            for name, node in self.inputs.items()
        }
        found = zip(self.outputs, self.session.run(self.outputs, feed), strict=True)
        return {name: torch.from_numpy(value) for name, value in found}


class OnnxBackbone(nn.Module):
    """The backbone's decoder, called as the backbone of a [`ClinRaGenForConditionalGeneration`] is."""

    def __init__(self, config: ClinRaGenConfig, cross_attention: OnnxGraph, decoder: OnnxGraph):
        super().__init__()
        self.config, self.cross_attention, self.decoder = config.text_config, cross_attention, decoder
        self.num_layers = len(cross_attention.outputs) // 2

    def forward(
        self,
        encoder_outputs,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.LongTensor,
        decoder_attention_mask: torch.Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> Seq2SeqLMOutput:
        if decoder_attention_mask is not None:
            raise ValueError("an ONNX export takes no `decoder_attention_mask`")
        past, cross = self._states(past_key_values, encoder_outputs.last_hidden_state)
        inputs = {"decoder_input_ids": decoder_input_ids, "encoder_attention_mask": attention_mask, **past, **cross}
        found = {name: value.to(attention_mask.device) for name, value in self.decoder(inputs).items()}
        logits = found.pop("logits")
        if not use_cache:
            return Seq2SeqLMOutput(logits=logits)
        present, cross = list(found.values()), list(cross.values())
        layers = zip(present[::2], present[1::2], cross[::2], cross[1::2], strict=True)
        return Seq2SeqLMOutput(logits=logits, past_key_values=EncoderDecoderCache(layers))

    def _states(self, cache: EncoderDecoderCache | None, hidden_states: torch.Tensor) -> tuple[dict, dict]:
        """Keys and values of the tokens before, and of the encoded record."""
        if cache is None or cache.get_seq_length() == 0:
            cross = self.cross_attention({"last_hidden_state": hidden_states})
            names = layer_names("past", self.num_layers)
            sizes = [self.decoder.inputs[name].shape for name in names]  # (batch, num_heads, length, head_dim)
            empty = [hidden_states.new_zeros(len(hidden_states), heads, 0, width) for _, heads, _, width in sizes]
            return dict(zip(names, empty, strict=True)), {n: v.to(hidden_states.device) for n, v in cross.items()}
        return _named("past", cache.self_attention_cache), _named("cross", cache.cross_attention_cache)


def _named(kind: str, cache) -> dict[str, torch.Tensor]:
    states = [state for layer in cache.layers for state in (layer.keys, layer.values)]
    return dict(zip(layer_names(kind, len(cache.layers)), states, strict=True))


def read_head(config: ClinRaGenConfig, path: Path) -> ClinRaGenDiagnosisHead:
    """A diagnosis head of `HEAD_TENSORS` alone: it knows words, terms and decision tokens, and decides nothing."""
    tensors = load_file(path)
    with torch.device("meta"):
        head = ClinRaGenDiagnosisHead(config, tensors["label_embedding.weight"].shape[1])
    head.load_state_dict(tensors, strict=False, assign=True)
    for module in head.modules():
        for name in [name for name, tensor in module.named_parameters(recurse=False) if tensor.is_meta]:
            setattr(module, name, None)
    return head.requires_grad_(False)


class OnnxClinRaGen(ClinRaGenForConditionalGeneration):
    """
    A [`ClinRaGenForConditionalGeneration`] whose forward passes run in onnxruntime: `encode`, `forward`, `generate`,
    `diagnosis_probabilities` and the pipeline are the same. It cannot be trained, nor changed inside.

    Args:
        config (`ClinRaGenConfig`): of the model that was exported.
        folder (`Path`): that `export_model.py` wrote.
    """

    def __init__(self, config: ClinRaGenConfig, folder: Path):
        from recipes.models.weights import weights_hash

        ClinRaGenPreTrainedModel.__init__(self, config)
        self.encoder_graph, cross_attention, decoder = (OnnxGraph(folder / name) for name in GRAPHS)
        self.backbone = OnnxBackbone(config, cross_attention, decoder)
        has_head = "diagnosis_logits" in self.encoder_graph.outputs
        self.diagnosis_head = read_head(config, folder / HEAD) if has_head else None
        self.facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        # so that the model has a state which tells it from others, and a device
        self.register_buffer("weights_hash", torch.tensor(list(bytes.fromhex(weights_hash(folder)))))
        self.eval()

    @property
    def knowledge_attention(self):
        raise ClinRaGenInputError(FIXED_KNOWLEDGE)

    @property
    def device(self) -> torch.device:
        return self.weights_hash.device

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def num_parameters(self, *args, **kwargs) -> int:
        """Of the model that was exported."""
        return self.facts["num_parameters"]

    def encode(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_values: torch.Tensor | None = None,
        past_observed_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        knowledge_mask: torch.Tensor | None = None,
        term_evidence: torch.Tensor | None = None,
    ) -> ClinRaGenEncoderOutput:
        """Encode what the processor makes of a record, as [`~ClinRaGenForConditionalGeneration.encode`]."""
        if knowledge_mask is not None:
            raise ClinRaGenInputError(FIXED_KNOWLEDGE)
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "past_values": past_values,
            "past_observed_mask": past_observed_mask,
            "inputs_embeds": inputs_embeds,
            "term_evidence": term_evidence,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if given.keys() != self.encoder_graph.inputs.keys():
            raise ValueError(
                f"this ONNX export reads {', '.join(self.encoder_graph.inputs)}, not {', '.join(given) or 'nothing'}; "
                "its processor gives what it reads, for records without a series too"
            )
        self._validate_inputs(input_ids, inputs_embeds, past_values, past_observed_mask)
        found = {name: value.to(input_ids.device) for name, value in self.encoder_graph(given).items()}
        return ClinRaGenEncoderOutput(attention_mask=found.pop("encoder_attention_mask"), **found)


def is_onnx_folder(folder: str | Path) -> bool:
    return (Path(folder) / FACTS).is_file()


def refuse_onnx(folder: str | Path, option: str) -> None:
    """A `ClinRaGenInputError` if the folder is an ONNX export, for an option that changes a model inside."""
    if is_onnx_folder(folder):
        raise ClinRaGenInputError(
            f"{option}: {folder} is an ONNX export, of which no knowledge can be left out or shuffled; "
            "give the model folder that was exported"
        )


def read_onnx_model(folder: str | Path) -> OnnxClinRaGen:
    """
    The model of a folder that `export_model.py` wrote.

    Raises:
        ClinRaGenInputError: if a graph is missing or damaged, or onnxruntime is not installed.
    """
    folder = Path(folder)
    try:
        model = OnnxClinRaGen(ClinRaGenConfig.from_pretrained(folder), folder)
    except ImportError:
        raise ClinRaGenInputError(f"{folder} is an ONNX export: pip install onnxruntime to run it") from None
    except Exception as error:  # onnxruntime has a class of its own for each mistake, without a common one
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(f"{folder} cannot be read: {reason}; export the model again") from error
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


__all__ = ["OnnxClinRaGen", "is_onnx_folder", "read_onnx_model", "refuse_onnx"]
