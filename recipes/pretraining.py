# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Self-supervised pretraining: the series encoder fills in patches that were hidden from it, the backbone spans of notes
that were taken out.
"""

from __future__ import annotations

import numpy as np
import torch
from datasets import Array2D, Dataset, Features, List, Value
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import Trainer

from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.processing_clinragen import PROMPT
from recipes.data import pad
from recipes.trainer import ClinRaGenTrainer


class MaskedSeriesModel(nn.Module):
    """
    The series encoder of a model, with a linear head that gives back the values of hidden patches.

    To the encoder a hidden patch is one without a measurement, as it meets them in every record.

    Args:
        model (`ClinRaGenLanguageModel`): whose encoder learns; the head is left behind.

    Source: PatchTST, arXiv 2211.14730, masked pretraining. Differs from it: what is hidden are patches that hold
    measurements, and the error is that of the measured cells alone.
    """

    def __init__(self, model: ClinRaGenLanguageModel):
        super().__init__()
        if model.config.patch_layout != "fixed":
            raise ClinRaGenInputError("patch_layout: paper mixes hours and channels; hide patches of the fixed layout")
        series = model.config.time_series_config
        self.time_series_encoder = model.time_series_encoder
        self.head = nn.Linear(series.d_model, series.patch_length)

    def forward(
        self, past_values: torch.Tensor, past_observed_mask: torch.Tensor, bool_masked_pos: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            past_values, past_observed_mask (`torch.Tensor` of shape
                `(batch_size, context_length, num_input_channels)`): as the model takes them.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch_size, num_input_channels, num_patches)`): `True` for
                a patch to hide and to give back.

        Returns:
            `loss`, the mean squared error of the hidden measurements, and `prediction`, the standardised values of all
            cells, of the shape of `past_values`; of what is neither measured nor hidden nothing is predicted.
        """
        observed, hidden_cells = past_observed_mask.bool(), cells(bool_masked_pos, self.head.out_features)
        states = self.time_series_encoder(past_values, observed, bool_masked_pos).last_hidden_state
        patches = self.head(states)  # (batch, num_channels, patches up to the last of the batch, patch_length)
        patches = nn.functional.pad(patches, (0, 0, 0, bool_masked_pos.shape[2] - patches.shape[2]))
        prediction = patches.flatten(2).transpose(1, 2).float()  # (batch, context_length, num_channels)
        hidden = observed & hidden_cells
        errors = torch.where(hidden, prediction - past_values, 0.0) ** 2
        return {"loss": errors.sum() / hidden.sum().clamp(min=1), "prediction": prediction}


def cells(patches: torch.Tensor, patch_length: int) -> torch.Tensor:
    """Flags of patches `(batch, channels, patches)` -> those of their cells `(batch, time, channels)`."""
    return patches.repeat_interleave(patch_length, dim=2).transpose(1, 2)


def encode_series(records: Dataset, processor: ClinRaGenProcessor) -> Dataset:
    """
    `past_values` and `past_observed_mask` (context_length, num_input_channels) of the records with a measurement.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    extractor = processor.feature_extractor
    shape = (extractor.context_length, len(extractor.channels))
    encoded = records.select_columns(["lab_values", "lab_times"]).map(
        lambda rows: dict(extractor(rows["lab_values"], rows["lab_times"])),
        batched=True,
        batch_size=256,
        remove_columns=["lab_values", "lab_times"],
        features=Features({"past_values": Array2D(shape, "float32"), "past_observed_mask": Array2D(shape, "bool")}),
        desc="Encoding series",
    )
    encoded = encoded.with_format("numpy")
    return _not_empty(encoded, [row["past_observed_mask"].any() for row in encoded], "measurement")


def encode_notes(records: Dataset, processor: ClinRaGenProcessor) -> Dataset:
    """
    `input_ids` of each note, cut at `max_note_tokens`, without special tokens, and their `length`.

    Raises:
        ClinRaGenInputError: if no record has a note.
    """
    records = _not_empty(records, [bool(note and note.strip()) for note in records["note"]], "note")
    return records.select_columns("note").map(
        _encode_notes,
        batched=True,
        batch_size=256,
        remove_columns="note",
        features=Features({"input_ids": List(Value("int32")), "length": Value("int32")}),
        fn_kwargs={"processor": processor},
        desc="Encoding notes",
    )


def _encode_notes(rows: dict, processor: ClinRaGenProcessor) -> dict:
    tokens = processor.tokenizer(processor.cut_notes(rows["note"]), add_special_tokens=False)["input_ids"]
    return {"input_ids": tokens, "length": [len(ids) for ids in tokens]}


def _not_empty(records: Dataset, kept: list[bool], what: str) -> Dataset:
    if not any(kept):
        raise ClinRaGenInputError(f"no record has a {what} to learn from; leave that part out of trained_modules")
    return records.select(np.flatnonzero(kept))


class MaskedSeriesCollator:
    """
    Batches of series, with a random share of the patches that hold measurements to hide.

    At least one stays to be seen; a record with one such patch alone has none hidden.

    Args:
        patch_length (`int`): hours of a patch.
        mask_ratio (`float`): that share.
    """

    def __init__(self, patch_length: int, mask_ratio: float):
        self.patch_length, self.mask_ratio = patch_length, mask_ratio

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = {
            name: torch.stack([torch.as_tensor(row[name]) for row in rows])
            for name in ("past_values", "past_observed_mask")
        }
        held = batch["past_observed_mask"].unflatten(1, (-1, self.patch_length)).any(dim=2).transpose(1, 2)
        return {**batch, "bool_masked_pos": self.hidden_patches(held)}

    def hidden_patches(self, held: torch.Tensor) -> torch.Tensor:
        """Which of the patches `(batch, channels, patches)` that hold measurements to hide."""
        order = torch.rand(held.shape).masked_fill(~held, 2.0).flatten(1)
        rank = order.argsort(dim=1).argsort(dim=1)
        number = held.flatten(1).sum(dim=1)
        number = (number * self.mask_ratio).round().clamp(min=1).minimum(number - 1).clamp(min=0)
        return (rank < number.unsqueeze(1)).view(held.shape)


class SpanDenoisingCollator:
    """
    Notes with random spans taken out as `input_ids`, and the spans as `labels`.

    T5's form: each span is replaced by one sentinel, and the target is each sentinel with its span. Where the
    tokenizer has no sentinels, its mask token (else the unknown one) stands for each, and spans are told apart by
    their order: no vocabulary grows.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): of the model.
        noise_density (`float`): share of the tokens that are taken out.
        mean_span_length (`float`): tokens of a span, in the mean.

    Source: Raffel et al., arXiv 1910.10683, span corruption. Differs from it: sentinels where there are none.
    """

    def __init__(self, tokenizer, noise_density: float = 0.15, mean_span_length: float = 3.0):
        self.tokenizer, self.noise_density, self.mean_span_length = tokenizer, noise_density, mean_span_length
        self.sentinels = sentinels(tokenizer)
        self.opening, self.closing = _special_tokens(tokenizer)

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        notes = [torch.as_tensor(row["input_ids"]).tolist() for row in rows]
        sources, targets = zip(*map(self.corrupt, notes), strict=True)
        sources, targets = ([self._closed(ids) for ids in part] for part in (sources, targets))
        return {
            "input_ids": pad(sources, self.tokenizer.pad_token_id),
            "attention_mask": pad([torch.ones_like(ids) for ids in sources], 0),
            "labels": pad(targets, -100),
        }

    def corrupt(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """A note's tokens without its spans, and the spans; both without special tokens at their ends."""
        source, target, end = [], [], 0
        for number, (start, stop) in enumerate(self.spans(len(ids))):
            sentinel = self.sentinels[number % len(self.sentinels)]
            source += [*ids[end:start], sentinel]
            target += [sentinel, *ids[start:stop]]
            end = stop
        return source + ids[end:], target

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Where random spans begin and end in a note of `length` tokens; none is at its beginning."""
        num_noise = min(max(round(length * self.noise_density), 1), length - 1)
        if num_noise < 1:
            return []
        num_spans = min(max(round(num_noise / self.mean_span_length), 1), num_noise, length - num_noise)
        kept, noise = (_random_lengths(total, num_spans) for total in (length - num_noise, num_noise))
        ends = np.cumsum(np.stack([kept, noise], axis=1))  # of what is kept and what is taken out, in turn
        return list(zip(ends[0::2].tolist(), ends[1::2].tolist(), strict=True))

    def _closed(self, ids: list[int]) -> torch.Tensor:
        return torch.tensor([*self.opening, *ids, *self.closing])


def sentinels(tokenizer) -> list[int]:
    """What marks the spans: T5's sentinels, or one token that the tokenizer has for what it does not know."""
    numbered = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)])
    found = [token for token in numbered if token not in (None, tokenizer.unk_token_id)]
    if not found:
        found = [tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id]
    if None in found:
        raise ClinRaGenInputError("the tokenizer has no sentinels, no mask and no unknown token to mark spans by")
    return found


def _special_tokens(tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain, whole = (tokenizer(PROMPT, add_special_tokens=add)["input_ids"] for add in (False, True))
    lead = next(i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    return whole[:lead], whole[lead + len(plain) :]


def _random_lengths(total: int, parts: int) -> np.ndarray:
    """`parts` lengths of 1 or more that add up to `total`."""
    cuts = torch.randperm(total - 1)[: parts - 1].sort().values.numpy() + 1
    return np.diff([0, *cuts, total])


class PretrainingMixin:
    """A `Trainer` of a self-supervised loss: what is hidden from a validation is the same each time."""

    def evaluate(self, *args, **kwargs):
        with torch.random.fork_rng():
            torch.manual_seed(self.args.seed)
            return super().evaluate(*args, **kwargs)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None, **gen_kwargs):
        with torch.no_grad(), self.compute_loss_context_manager():
            return model(**self._prepare_inputs(inputs))["loss"].detach(), None, None


class MaskedSeriesTrainer(PretrainingMixin, Trainer):
    """`Trainer` of a [`MaskedSeriesModel`]."""


class DenoisingTrainer(PretrainingMixin, ClinRaGenTrainer):
    """`ClinRaGenTrainer` of a model that gives back what a [`SpanDenoisingCollator`] took out."""


@torch.no_grad()
def reconstruction_errors(
    model: MaskedSeriesModel, encoded: Dataset, collator: MaskedSeriesCollator, seed: int
) -> dict[str, float]:
    """
    Mean squared error of hidden measurements, in squared standard deviations of their channels: of the model, of the
    channel's last value before that is seen (its mean where there is none), and of its mean.
    """
    model.eval()
    device, total, count = model.head.weight.device, torch.zeros(3, dtype=torch.float64), 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in tqdm(DataLoader(encoded, 64, collate_fn=collator), desc="Reconstruction", unit="batch"):
            hidden = batch["past_observed_mask"] & cells(batch["bool_masked_pos"], collator.patch_length)
            seen = batch["past_observed_mask"] & ~hidden
            prediction = model(**{name: tensor.to(device) for name, tensor in batch.items()})["prediction"].cpu()
            values = batch["past_values"]
            guesses = (prediction, carried_forward(values, seen), torch.zeros_like(values))
            total += torch.stack([((guess - values)[hidden].double() ** 2).sum() for guess in guesses])
            count += int(hidden.sum())
    names = ("model", "last_value_carried_forward", "mean")
    return dict(zip(names, (total / max(count, 1)).tolist(), strict=True))


def carried_forward(past_values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """For each cell `(batch, time, channels)` the last value before it, or at it, that is seen; 0 where none is."""
    time = torch.arange(seen.shape[1]).view(1, -1, 1).expand_as(seen)
    last = time.masked_fill(~seen, -1).cummax(dim=1).values
    return past_values.gather(1, last.clamp(min=0)).masked_fill(last < 0, 0.0)
