# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BartConfig, BertConfig, EncoderDecoderConfig, PreTrainedTokenizerFast

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.generation_clinragen import ClinRaGenDiagnosisLogitsProcessor, DiagnosisGrammar
from modeling_clinragen.processing_clinragen import TARGET
from recipes.models.backbone import train_tokenizer
from tests.conftest import WORDS, make_tiny_config, make_tiny_model


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
TEXTS = [WORDS, TARGET, NO_DISEASE, *LABELS]
ALIKE = ["Fever", "Fever, rash, and cough", "Rash", "Rash and fever"]


def processor_of(tokenizer, labels):
    return ClinRaGenProcessor(ClinRaGenFeatureExtractor(context_length=24), tokenizer, labels=labels)


@pytest.fixture(scope="module")
def wordpiece():
    return AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))


@pytest.fixture(scope="module")
def phrase_processor():
    """Most names, and the marks, are one token each, as in a vocabulary that a stage trains; lists are short."""
    phrases = [f" {label}" for label in LABELS[2:]] + re.findall(r" ?### [\w ]+:", TARGET)
    return processor_of(train_tokenizer(TEXTS, phrases, vocab_size=300), LABELS)


@pytest.fixture(scope="module")
def small_wordpiece():
    """A tokenizer of BERT's kind with a small vocabulary: lower case, and its two marks around each text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(params=["tiny_tokenizer", "wordpiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def assert_lists_only(text, names):
    """Between the marks stand these names, and nothing else."""
    listed = re.search(r"iagnosed ?:(.*?)\.? ?# ?# ?#", text).group(1)
    plain = ["".join(c for c in words.lower() if c.isalnum()) for words in (listed, "".join(names) or NO_DISEASE)]
    assert plain[0] == plain[1]


def random_list(grammar, draw):
    """Tokens of a random walk through the grammar, to its end."""
    states, tokens = grammar.start(), []
    while states != [None]:
        token = draw.choice(sorted(grammar.options(states)))
        states = grammar.step(states, token)
        assert states
        tokens.append(token)
    return tokens


@pytest.mark.parametrize("labels", [LABELS, ALIKE])
def test_every_walk_through_the_grammar_writes_labels_each_once(tokenizer, labels):
    processor = processor_of(tokenizer, labels)
    grammar, draw, seen = DiagnosisGrammar(**processor.diagnosis_token_ids()), random.Random(0), set()
    for _ in range(100):
        text = tokenizer.decode([*grammar.opening, *random_list(grammar, draw)], skip_special_tokens=True)
        found = processor.parse(text)["diagnoses"]
        seen.add(tuple(found))
        assert_lists_only(text, found)
    assert () in seen
    assert len(seen) > 20 or labels is ALIKE


@given(decided=st.sets(st.integers(0, 24)))
@settings(max_examples=60)
def test_a_decided_list_equals_the_training_target(tiny_processor, decided):
    grammar = DiagnosisGrammar(**tiny_processor.diagnosis_token_ids())
    tokens = grammar.write(decided)
    taught = tiny_processor.tokenizer(text_target=tiny_processor.target_text(decided))["input_ids"]
    assert taught[: len(grammar.opening) + len(tokens)] == [*grammar.opening, *tokens]


def test_training_targets_are_allowed(tokenizer):
    processor = processor_of(tokenizer, LABELS)
    grammar = DiagnosisGrammar(**processor.diagnosis_token_ids())
    for decided in ([], [3], [0, 8, 9, 24], list(range(25))):
        tokens = tokenizer(text_target=processor.target_text(decided, "fever", "low"))["input_ids"]
        assert tokens[: len(grammar.opening)] == list(grammar.opening)
        states = grammar.start()
        for token in tokens[len(grammar.opening) :]:
            if states == [None]:
                break
            assert token in grammar.options(states)
            states = grammar.step(states, token)
        assert states == [None]


def test_a_label_is_not_written_twice_nor_before_its_turn():
    grammar = DiagnosisGrammar([1], [[5], [5, 6], [7]], separator=[2], end=[3], nothing=[8])
    start = grammar.start()
    assert grammar.options(start) == {5, 7, 8}
    first = grammar.step(start, 5)
    assert grammar.options(first) == {2, 3, 6}
    after = grammar.step(first, 2)
    assert grammar.options(after) == {5, 7}  # 5 begins the second name
    assert grammar.options(grammar.step(after, 5)) == {6}
    last = grammar.step(grammar.step(after, 7), 3)
    assert last == [None]
    assert grammar.options(grammar.step(after, 7)) == {3}
    assert grammar.step(start, 9) == []


def generate(model, processor, records, **options):
    notes, values, times = zip(*records, strict=True)
    batch = processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")
    return model.generate(**batch, **options)


SETTINGS = [
    {"do_sample": False},
    {"do_sample": True, "temperature": 5.0, "top_k": 0},
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 3, "do_sample": True, "temperature": 3.0},
    {"do_sample": True, "num_return_sequences": 4, "top_p": 0.9},
]


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("with_decisions", [False, True])
def test_random_weights_write_valid_lists_however_they_generate(
    tiny_model, phrase_processor, records, options, with_decisions
):
    torch.manual_seed(0)
    decisions = torch.rand(len(records), 25) < 0.2 if with_decisions else None
    constraint = ClinRaGenDiagnosisLogitsProcessor(
        DiagnosisGrammar(**phrase_processor.diagnosis_token_ids()), decisions
    )
    ids = generate(tiny_model, phrase_processor, records, logits_processor=[constraint], max_new_tokens=110, **options)
    per_record = len(ids) // len(records)
    for i, text in enumerate(phrase_processor.batch_decode(ids, skip_special_tokens=True)):
        assert text.startswith("### Disease Diagnosed:")
        found = phrase_processor.parse(text)["diagnoses"]
        assert_lists_only(text, found)
        if with_decisions:
            wanted = decisions[i // per_record].nonzero().flatten().tolist()
            assert found == [LABELS[j] for j in wanted]


def test_the_rest_of_the_text_is_not_constrained(tiny_model, tiny_processor, records):
    grammar = DiagnosisGrammar(**tiny_processor.diagnosis_token_ids())
    decisions = torch.zeros(len(records), 25, dtype=torch.bool)
    decisions[:, 3] = True
    constraint = ClinRaGenDiagnosisLogitsProcessor(grammar, decisions)
    ids = generate(
        tiny_model, tiny_processor, records, logits_processor=[constraint], max_new_tokens=60, do_sample=False
    )
    listed = len(grammar.opening) + len(grammar.write([3]))
    free = generate(
        tiny_model,
        tiny_processor,
        records,
        decoder_input_ids=ids[:, : listed + 1],
        max_new_tokens=60 - listed,
        do_sample=False,
    )
    assert torch.equal(free[:, : ids.shape[1]], ids[:, : free.shape[1]])


def model_with(processor, head=True, rationale_first=False, text_config=None, seed=0):
    """A tiny random model whose `generate` is constrained; with a head, by decisions that differ between labels."""
    model = make_tiny_model(
        make_tiny_config(processor.tokenizer, text_config, diagnosis_loss_weight=float(head)), seed=seed
    )
    model.config.decisions.token_ids = processor.diagnosis_token_ids(rationale_first)
    model.config.decisions.thresholds = torch.rand(25).mul(0.9).add(0.3).clamp(max=0.99).tolist()
    return model


def made_records(draw, number):
    """Notes alone; what they say does not matter to random weights."""
    words = WORDS.split()
    return [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(number)]


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("head", [True, False])
def test_a_list_that_comes_last_ends_the_text(phrase_processor, head, num_beams):
    model = model_with(phrase_processor, head, rationale_first=True)
    grammar = DiagnosisGrammar(**model.config.decisions.token_ids)
    batch = phrase_processor(notes=made_records(random.Random(0), 12), return_tensors="pt")
    torch.manual_seed(0)
    ids = model.generate(
        **batch,
        do_sample=True,
        num_beams=num_beams,
        max_new_tokens=200,
        sequence_bias={grammar.opening: 4.0},  # written early, but not at once
    )
    opened, eos, pad = [], phrase_processor.tokenizer.eos_token_id, phrase_processor.tokenizer.pad_token_id
    for i, row in enumerate(ids[:, 1:].tolist()):
        starts = [j for j in range(len(row)) if tuple(row[j : j + len(grammar.opening)]) == grammar.opening]
        if not starts:
            continue
        opened.append(starts[0])
        rest = row[starts[0] + len(grammar.opening) :]
        found = phrase_processor.parse(phrase_processor.tokenizer.decode(row, skip_special_tokens=True))["diagnoses"]
        if head:
            decided = model.diagnosis_decisions(**{name: tensor[i : i + 1] for name, tensor in batch.items()})[0]
            assert found == [LABELS[j] for j in decided.nonzero().flatten().tolist()]
        listed = grammar.write([LABELS.index(name) for name in found])
        assert rest[: len(listed)] == listed
        assert listed[-1] == eos
        assert set(rest[len(listed) :]) <= {pad, eos}  # beams are padded with the latter
    assert len(opened) > 2
    assert max(opened) > 0


def test_a_text_that_the_caller_began_is_not_constrained(tiny_processor, records):
    model = model_with(tiny_processor)
    start = torch.full((len(records), 1), model.config.decoder_start_token_id)
    own = generate(model, tiny_processor, records, max_new_tokens=20, do_sample=False)
    begun = generate(model, tiny_processor, records, decoder_input_ids=start, max_new_tokens=20, do_sample=False)
    model.config.decisions.token_ids = None
    free = generate(model, tiny_processor, records, max_new_tokens=20, do_sample=False)
    assert torch.equal(begun, free)
    assert not torch.equal(begun, own)


def plain(text):
    return "".join(c for c in text.lower() if c.isalnum())


def assert_valid(text, processor, decided=None):
    """
    The list is names in class-id order, each once, and where the text was cut, the begin of one more; with `decided`
    (class ids) it is these, as far as it goes.
    """
    opening = re.search(r"# ?# ?# ?disease diagnosed ?:", text, re.IGNORECASE)
    if opening is None:
        return
    listed, *rest = text[opening.end() :].split("#", 1)
    whole = bool(rest) or listed.rstrip().endswith(".")
    found = [processor.labels.index(name) for name in processor.parse(text)["diagnoses"]]
    names = "".join(plain(processor.labels[i]) for i in found)
    left = plain(listed).removeprefix(names)
    assert plain(listed).startswith(names)
    if whole:
        assert left == ("" if found else plain(NO_DISEASE))
        assert decided is None or found == decided
        return
    last = found[-1] if found else -1
    later = range(last + 1, 25) if decided is None else decided[len(found) : len(found) + 1]
    allowed = [plain(processor.labels[i]) for i in later] + ([] if found or decided else [plain(NO_DISEASE)])
    assert not left or any(name.startswith(left) for name in allowed)
    assert decided is None or found == decided[: len(found)]


def random_options(draw):
    """Settings of `generate` that try to break a list: hot, cut short, with beams and samples."""
    sampled, beams = draw.random() < 0.7, draw.choice([1, 1, 2, 4])
    options = {"num_beams": beams, "do_sample": sampled, "max_new_tokens": draw.randint(1, 200)}
    options["num_return_sequences"] = draw.randint(1, 4 if sampled and beams == 1 else beams)
    if sampled:
        options |= {"temperature": draw.choice([0.5, 1.0, 5.0, 50.0]), "top_k": draw.choice([0, 5])}
        options["top_p"] = draw.choice([0.5, 1.0])
    return options


def assert_generations_are_valid(shapes, number, batch_size):
    """`number` texts of random weights, each call with a model and settings of its own."""
    draw, done, listed = random.Random(0), 0, 0
    while done < number:
        seed = draw.randrange(10**6)
        torch.manual_seed(seed)
        processor, text_config = draw.choice(shapes)
        head, rationale_first = draw.random() < 0.5, draw.random() < 0.2
        model = model_with(processor, head, rationale_first, text_config, seed)
        batch = processor(notes=made_records(draw, batch_size), return_tensors="pt")
        options = random_options(draw)
        if rationale_first:
            options["sequence_bias"] = {tuple(model.config.decisions.token_ids["opening"]): 4.0}
        decisions = model.diagnosis_decisions(**batch) if head else None
        ids = model.generate(**batch, **options)
        for i, text in enumerate(processor.batch_decode(ids, skip_special_tokens=True)):
            decided = decisions[i // (len(ids) // batch_size)].nonzero().flatten().tolist() if head else None
            assert_valid(text, processor, decided)
            listed += bool(processor.parse(text)["diagnoses"])
        done += len(ids)
    assert listed > number / 3


@pytest.fixture
def shapes(phrase_processor, tiny_tokenizer, small_wordpiece):
    """(processor, configuration of the language model): T5 twice, BART, BERT to BERT."""
    sizes = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": len(tiny_tokenizer)}
    sizes |= {
        f"{part}_{name}": n for part in ("encoder", "decoder") for name, n in (("layers", 1), ("attention_heads", 2))
    }
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 0, "decoder_start_token_id": 1}
    part = BertConfig(
        vocab_size=len(small_wordpiece),
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        intermediate_size=16,
    )
    bert = EncoderDecoderConfig.from_encoder_decoder_configs(part, part)
    bert.pad_token_id, bert.eos_token_id, bert.decoder_start_token_id = 0, 3, 2
    spelled = processor_of(tiny_tokenizer, LABELS)
    return [
        (phrase_processor, None),
        (spelled, None),
        (spelled, BartConfig(**sizes, **special)),
        (processor_of(small_wordpiece, LABELS), bert),
    ]


def test_hundreds_of_adversarial_generations_are_valid(shapes):
    assert_generations_are_valid(shapes, 300, batch_size=8)


@pytest.mark.nightly
def test_ten_thousand_adversarial_generations_are_valid(shapes):
    assert_generations_are_valid(shapes, 10_000, batch_size=48)
