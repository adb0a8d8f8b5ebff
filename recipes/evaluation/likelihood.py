# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What the decoder itself says of each diagnosis: how likely it is to write its name."""

from __future__ import annotations

import torch
from torch.nn.functional import pad
from transformers import StoppingCriteria

from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenProcessor
from modeling_clinragen.generation_clinragen import ClinRaGenDiagnosisLogitsProcessor, DiagnosisGrammar
from modeling_clinragen.modeling_clinragen import ClinRaGenEncoderOutput


MAX_ROWS = 64  # decoder inputs in memory at once


def undecided(model: ClinRaGenForConditionalGeneration, encoded: ClinRaGenEncoderOutput) -> ClinRaGenEncoderOutput:
    """`encoded` for a decoder that shall not know the diagnosis head's decisions: each halfway between yes and no."""
    unknown = model.diagnosis_head.decision_tokens(torch.zeros_like(encoded.diagnosis_logits))
    record = encoded.last_hidden_state[:, : -unknown.shape[1]]
    return ClinRaGenEncoderOutput(
        torch.cat([record, unknown.to(record.dtype)], dim=1), attention_mask=encoded.attention_mask
    )


@torch.no_grad()
def name_log_probabilities(
    model: ClinRaGenForConditionalGeneration, encoded: ClinRaGenEncoderOutput, grammar: DiagnosisGrammar
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Log-probability of the tokens of each label's name right after the list's opening.

    Names that go the same way but for their last token share a decoder input, so that names of one token each cost
    one; the encoder's states are expanded for `MAX_ROWS` inputs at a time.

    Args:
        encoded (`ClinRaGenEncoderOutput`): from `encode`, of any number of records.
        grammar (`DiagnosisGrammar`): of a text that begins with the list.

    Returns:
        Two tensors of shape `(num_records, num_labels)`: sums over the tokens of a name, of the probabilities among
        all tokens, and of those among the tokens that a list may begin or go on with. The latter does not count
        whether a name that begins another name ends there.
    """
    inputs = list(dict.fromkeys(name[:-1] for name in grammar.names))
    step = max(MAX_ROWS // len(inputs), 1)
    found = [
        _name_log_probabilities(
            model,
            encoded.last_hidden_state[start : start + step],
            encoded.attention_mask[start : start + step],
            grammar,
            inputs,
        )
        for start in range(0, len(encoded.last_hidden_state), step)
    ]
    free, in_list = zip(*found, strict=True)
    return torch.cat(free), torch.cat(in_list)


def _name_log_probabilities(model, states, attention_mask, grammar, inputs) -> tuple[torch.Tensor, torch.Tensor]:
    begin = torch.tensor([model.config.decoder_start_token_id, *grammar.opening])
    longest = max(len(tokens) for tokens in inputs)
    rest = torch.stack([pad(torch.tensor(tokens, dtype=torch.long), (0, longest - len(tokens))) for tokens in inputs])
    ids = torch.cat([begin.expand(len(inputs), -1), rest], dim=1).to(states.device)
    logits = torch.cat(
        [
            model(
                encoder_outputs=ClinRaGenEncoderOutput(
                    states.repeat_interleave(len(rows), dim=0),
                    attention_mask=attention_mask.repeat_interleave(len(rows), dim=0),
                ),
                decoder_input_ids=rows.repeat(len(states), 1),
                use_cache=False,
            )
            .logits[:, len(begin) - 1 :]  # from the token after the opening on
            .float()
            .log_softmax(dim=-1)
            .unflatten(0, (len(states), len(rows)))
            for rows in ids.split(MAX_ROWS)
        ],
        dim=1,
    )  # (records, inputs, longest + 1, vocabulary)
    free, in_list = [], []
    for name in grammar.names:
        scores = logits[:, inputs.index(name[:-1])]
        own = [scores[:, place, token] for place, token in enumerate(name)]
        allowed = [scores[:, place, tokens].logsumexp(dim=-1) for place, tokens in enumerate(_options(grammar, name))]
        free.append(sum(own))
        in_list.append(sum(own) - sum(allowed))
    return torch.stack(free, dim=1), torch.stack(in_list, dim=1)


def _options(grammar: DiagnosisGrammar, name: tuple[int, ...]) -> list[list[int]]:
    """The tokens that may stand at each place of a first name."""
    states, options = grammar.start(), []
    for token in name:
        options.append(sorted(grammar.options(states)))
        states = grammar.step(states, token)
    return options


class _ListsEnded(StoppingCriteria):
    """Stops when the lists of all rows have ended."""

    def __init__(self, constraint: ClinRaGenDiagnosisLogitsProcessor):
        self.constraint = constraint

    def __call__(self, input_ids: torch.LongTensor, scores, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.constraint.ended, device=input_ids.device)


def listed_shares(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    encoded: ClinRaGenEncoderOutput,
    grammar: DiagnosisGrammar,
    num_samples: int,
) -> torch.Tensor:
    """
    In how many of the lists that the decoder writes each label stands: its probability, by sampling.

    The lists are valid, but no decision of the diagnosis head is forced upon them.

    Args:
        encoded (`ClinRaGenEncoderOutput`): from `encode`, of any number of records.
        grammar (`DiagnosisGrammar`): of a text that begins with the list.
        num_samples (`int`): lists of each record.

    Returns:
        `torch.Tensor` of shape `(num_records, num_labels)`, in [0, 1].
    """
    constraint = ClinRaGenDiagnosisLogitsProcessor(grammar)
    number, labels = len(encoded.last_hidden_state), len(grammar.names)
    ids = model.generate(
        encoder_outputs=encoded,
        # The text is begun here, so that `generate` does not add the decisions.
        decoder_input_ids=torch.full((number, 1), model.config.decoder_start_token_id, device=model.device),
        logits_processor=[constraint],
        stopping_criteria=[_ListsEnded(constraint)],
        do_sample=True,
        top_k=0,
        num_return_sequences=num_samples,
        max_new_tokens=len(grammar.opening) + len(grammar.write(range(labels))) + 1,
    )
    position = {label: i for i, label in enumerate(processor.labels)}
    shares = torch.zeros(number, labels)
    texts = processor.batch_decode(ids, skip_special_tokens=True)
    named = {text: processor.parse(text)["diagnoses"] for text in set(texts)}
    for row, text in enumerate(texts):
        for name in named[text]:
            shares[row // num_samples, position[name]] += 1 / num_samples
    return shares
