# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""BERTScore against the package of its authors, and its invariants."""

import numpy as np
import pytest
import torch
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.figures import bertscore
from recipes.evaluation.figures.bertscore import BertScorer


TEXT = "fever cough points to pneumonia , heart failure is suggested by edema 7.25 and rales of the lungs ."
WORDS = TEXT.split()


@pytest.fixture(scope="module")
def scorer():
    return BertScorer.from_pretrained("all-MiniLM-L6-v2", device="cpu")


def drawn(seed, number=6):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 40))) for _ in range(number)]


def test_scores_are_those_of_the_authors_package(scorer):
    package = pytest.importorskip("bert_score")
    layers = scorer.model.config.num_hidden_layers
    theirs = package.BERTScorer(model_type=resolve_checkpoint(MINILM), num_layers=layers, device="cpu")
    references, candidates = [*drawn(0), "fever", "cough"], [*drawn(1), "fever", "fever " * 600]
    expected = theirs.score(candidates, references)
    found = scorer(references, candidates)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
        assert found[name] == pytest.approx(values.numpy(), abs=1e-5)


def test_scores_are_those_of_a_loop_over_tokens(scorer):
    tokenizer, references, candidates = scorer.tokenizer, drawn(2, 4), drawn(3, 4)

    def vectors(text):
        with torch.no_grad():
            hidden = scorer.model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        return [vector / np.sqrt((vector**2).sum()) for vector in hidden]

    found = scorer(references, candidates)
    for i, (a, b) in enumerate(zip(map(vectors, references), map(vectors, candidates), strict=True)):
        recall = np.mean([max(float(x @ y) for y in b) for x in a[1:-1]])  # without [CLS] and [SEP]
        precision = np.mean([max(float(x @ y) for x in a) for y in b[1:-1]])
        assert [found["precision"][i], found["recall"][i]] == pytest.approx([precision, recall], abs=1e-5)
        assert found["f1"][i] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)


def test_a_text_equals_itself_and_an_empty_one_equals_nothing(scorer):
    found = scorer([*drawn(4), "", "fever", ""], [*drawn(4), "fever", " ", ""])
    for values in found.values():
        assert values[:-3] == pytest.approx(np.ones(6), abs=1e-6)
        assert values[-3:].tolist() == [0, 0, 0]


def test_precision_is_recall_with_the_texts_exchanged(scorer):
    one, other = scorer(drawn(5), drawn(6)), scorer(drawn(6), drawn(5))
    assert one["precision"] == pytest.approx(other["recall"], abs=1e-6)
    assert one["f1"] == pytest.approx(other["f1"], abs=1e-6)


def test_neither_batch_nor_block_nor_order_matters(scorer, monkeypatch):
    references, candidates = drawn(7), drawn(8)
    expected = scorer(references, candidates)["f1"]
    monkeypatch.setattr(bertscore, "BLOCK", 4)
    small = BertScorer(scorer.model, scorer.tokenizer, batch_size=3)
    assert small(references[::-1], candidates[::-1])["f1"] == pytest.approx(expected[::-1], abs=1e-5)
    alone = [small([r], [c])["f1"][0] for r, c in zip(references, candidates, strict=True)]
    assert alone == pytest.approx(expected, abs=1e-5)


def test_each_distinct_text_is_embedded_once(scorer):
    seen = []
    handle = scorer.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = scorer(["fever", "cough", "fever", "fever"], ["cough", "fever", "cough", "edema"])
    handle.remove()
    assert sum(seen) == 3
    assert found["f1"][0] == found["f1"][2]


def test_the_encoder_of_a_seq2seq_model_can_be_used(tiny_tokenizer):
    torch.manual_seed(0)
    size = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_heads": 2, "num_layers": 1, "vocab_size": len(tiny_tokenizer)}
    model = T5ForConditionalGeneration(T5Config(**size)).eval()
    alone = T5EncoderModel(T5Config(**size)).eval()
    alone.load_state_dict(model.state_dict(), strict=False)
    texts = (["fever and cough", "heart failure"], ["productive cough", "low blood pressure"])
    expected = BertScorer(alone, tiny_tokenizer)(*texts)
    assert BertScorer(model, tiny_tokenizer)(*texts)["f1"] == pytest.approx(expected["f1"])


def test_a_missing_model_is_one_clear_error(tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"--bertscore-model .*give the folder of one"):
        BertScorer.from_pretrained(str(tmp_path))
