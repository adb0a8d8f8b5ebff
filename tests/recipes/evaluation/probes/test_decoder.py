# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""An untrained decoder is detected: with models trained to write well or badly, and with untrained ones."""

import json
import logging
import shutil

import pytest
import torch
from datasets import Dataset

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenPipeline, ClinRaGenProcessor
from recipes import evaluate_model, show_rationales
from recipes.evaluation.figures.metrics import multi_hot
from recipes.evaluation.figures.own_text import KnownText
from recipes.evaluation.prediction import predict
from recipes.evaluation.probes.decoder import decoder_metrics, free_lists, sample_of, warnings_of
from recipes.evaluation.report.reader import decoder_rows, decoder_warnings
from recipes.models.backbone import train_tokenizer
from recipes.models.card import add_report_to_card
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.grounded import HEART_FAILURE, KIDNEY, KNOWLEDGE, LABELS, PNEUMONIA


# A word of the note -> its finding and diagnosis.
FINDINGS = {
    "productive cough": PNEUMONIA,
    "crackles": PNEUMONIA,
    "shaking chills": PNEUMONIA,
    "leg swelling": HEART_FAILURE,
    "sevelamer": KIDNEY,
}
DAYS = ("Monday", "Friday", "Sunday")
PAIRS = [("crackles", "sevelamer"), ("leg swelling", "shaking chills"), ("productive cough", "leg swelling")]
NOTES = [f"{finding.capitalize()} since {day}." for day in DAYS for finding in FINDINGS]
RIGHT = [
    f"The note of {day} mentions {finding}, which points to {FINDINGS[finding].split(' (')[0].split(';')[0].lower()}."
    for day in DAYS
    for finding in FINDINGS
]
CONSTANT = "The note of Monday mentions crackles, which points to pneumonia."
WRITERS = {  # the targets of a decoder for each record
    "well": RIGHT,
    "always the same": [CONSTANT] * len(NOTES),
    "of any patient": [f"The note of {day} mentions {' and '.join(PAIRS[i % 3])}." for day in DAYS for i in range(5)],
    "another language": [f"Der Patient klagt seit {i} Tagen über Husten." for i in range(len(NOTES))],
    "in a loop": [f"The note mentions {'fever ' * 9}and {finding}." for _ in DAYS for finding in FINDINGS],
}


@pytest.fixture(scope="module")
def processor():
    texts = [*NOTES, *(text for texts in WRITERS.values() for text in texts), *LABELS, "0 1 2 3 4 5 6 7 8 9"]
    tokenizer = train_tokenizer(texts, [" ### Rationale:", " ### Lab Test:", "### Disease Diagnosed:"], vocab_size=600)
    extractor = ClinRaGenFeatureExtractor(make_tiny_config(tokenizer).channels, context_length=24)
    return ClinRaGenProcessor(extractor, tokenizer, LABELS, modalities=["note"], knowledge=KNOWLEDGE)


@pytest.fixture(scope="module")
def split():
    diagnoses = [[LABELS.index(FINDINGS[finding])] for _ in DAYS for finding in FINDINGS]
    ids = [{name: str(i) for name in ("subject_id", "hadm_id", "stay_id")} for i in range(len(NOTES))]
    return Dataset.from_list(
        [
            {**own, "note": note, "lab_times": [], "lab_values": [], "diagnoses": listed}
            | {"note_rationale": right, "lab_rationale": ""}
            for own, note, listed, right in zip(ids, NOTES, diagnoses, RIGHT, strict=True)
        ]
    )


def made(processor):
    config = make_tiny_config(
        processor.tokenizer,
        {"model_type": "t5", "vocab_size": len(processor.tokenizer), "d_model": 64, "d_ff": 128, "d_kv": 32,
         "num_heads": 2, "num_layers": 1, "dropout_rate": 0.0},
    )  # fmt: skip
    config.decisions.token_ids = processor.diagnosis_token_ids()
    model = make_tiny_model(config)
    model.generation_config.max_new_tokens = 60
    return model


def trained(processor, split, texts):
    """A model whose decoder has learned these texts, and its head the diagnoses."""
    model = made(processor)
    targets = [processor.target_text(ids, text) for ids, text in zip(split["diagnoses"], texts, strict=True)]
    labels = [torch.tensor(ids) for ids in processor.encode_targets(targets)["input_ids"]]
    labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    batch = dict(processor(notes=NOTES, return_tensors="pt"))
    batch["diagnosis_labels"] = torch.from_numpy(multi_hot(split["diagnoses"], len(LABELS)))
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=4e-3), torch.tensor(1.0)
    for _ in range(1500):
        if loss < 0.005:
            break
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.005, "the student has not learned its texts"
    return model.eval()


def measured(model, processor, split, **options):
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")
    predictions = list(predict(pipe, split, len(split), 1, own_text=True))
    return decoder_metrics(pipe, split, predictions, KnownText(RIGHT, NOTES), len(split), **options)


@pytest.fixture(scope="module", params=WRITERS)
def student(request, processor, split):
    return request.param, trained(processor, split, WRITERS[request.param])


@pytest.mark.slow
def test_warnings_about_a_trained_decoder_are_in_plain_words(student, processor, split):
    kind, model = student
    figures, _ = measured(model, processor, split)
    warnings = " ".join(figures["warnings"])
    said = {
        "well": "",
        "always the same": "learned words, but not the patient: in 100% of the pairs of records with other diagnoses",
        "of any patient": "learned words, but not the patient: the note supports 0% of the findings that it names",
        "another language": "not learned to write: 100% of its own sentences are unreadable (100% are of words that",
        "in a loop": "not learned to write: 100% of its own sentences are unreadable (100% repeat themselves)",
    }[kind]
    assert said in warnings
    assert len(figures["warnings"]) == (kind != "well")
    if said:
        assert warnings.endswith("of the sentences of the rationales were composed from the record.")


@pytest.mark.slow
def test_a_decoders_own_list_is_compared_with_records_and_decisions(student, processor, split):
    _, model = student
    figures, bounds = measured(model, processor, split)
    free = {"records": 15, "seed": 0, "micro_f1": 1.0, "macro_f1": 3 / 25}  # three of the labels are recorded
    assert figures["free_list"] == {**free, "agreement": 1.0, "same_list": 1.0}
    assert bounds["free_list"]["micro_f1"] == [1.0, 1.0]
    thresholds, token_ids = model.config.decisions.thresholds, model.config.decisions.token_ids
    model.config.decisions.thresholds = [2.0] * len(LABELS)  # nothing is decided; the decoder was taught to list
    try:
        for beams in (1, 2):
            undecided = measured(model, processor, split, num_beams=beams)[0]["free_list"]
            assert undecided == {**free, "agreement": 0.0, "same_list": 0.0}
        assert model.config.decisions.token_ids == token_ids  # lists are decided again
    finally:
        model.config.decisions.thresholds = thresholds


def test_an_untrained_decoder_is_detected_from_few_records(processor, split):
    for rows in (split, split.select(range(2))):
        figures, bounds = measured(made(processor), processor, rows)
        (warning,) = figures["warnings"]
        assert "has not learned to write" in warning or "writes no rationale" in warning
        assert figures["free_list"]["micro_f1"] < 0.2
        assert figures["rationales"]["records"] == len(rows)
        assert set(bounds) == set(figures) - {"warnings"}


def test_the_list_ends_the_text_and_is_free(processor, split):
    model = made(processor)
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")
    opening = processor.tokenizer(processor.target_text([0, 3]), add_special_tokens=False)["input_ids"]
    end = model.config.decisions.token_ids["end"]
    dictated = [*opening, *opening]

    class Dictated(torch.nn.Module):  # the model's own head, as if it had learned one text
        def forward(self, hidden_states):
            noted.append(len(noted))
            return (
                torch.nn.functional.one_hot(torch.tensor(dictated[noted[-1]]), len(processor.tokenizer))
                .expand(*hidden_states.shape[:2], -1)
                .float()
            )

    noted, model.backbone.lm_head = [], Dictated()
    decided = [{"diagnoses": [{"label": label} for label in LABELS[:6]]}] * len(split)
    answers = free_lists(pipe, decided, split, len(split), 1)
    assert {tuple(d["label"] for d in answer["diagnoses"]) for answer in answers} == {(LABELS[0], LABELS[3])}
    whole = "".join(map(chr, opening)).index("".join(map(chr, end))) + len(end)
    assert len(noted) == whole


@pytest.mark.parametrize(("number", "drawn"), [(1, 1), (31, 31), (33, 32), (641, 32), (660, 33), (5700, 285)])
def test_a_twentieth_of_the_records_is_drawn_with_a_minimum(number, drawn):
    positions = list(range(7, number + 7))
    sample = sample_of(positions, 32)
    assert len(sample) == drawn
    assert sample == sorted(set(sample)) == sample_of(positions, 32)
    assert set(sample) <= set(positions)


SOUND = {
    "sentences": {"unreadable": 0.04, "wordless": 0.0, "looping": 0.04, "unknown_words": 0.0, "unknown_order": 0.0},
    "rationales": {"empty": 0.0, "cut": 0.01, "pairs_of_records": 1225, "same_for_others": 0.05},
    "findings": {"total": 72, "supported": 0.38, "by_chance": 0.07},
}


@pytest.mark.parametrize(
    ("group", "changes", "said"),
    [
        ("sentences", {}, None),
        ("sentences", {"unreadable": 0.3, "looping": 0.3}, "30% of its own sentences are unreadable (30% repeat"),
        ("sentences", {"unreadable": None, "looping": None}, None),  # no sentence was written
        ("rationales", {"empty": 1.0}, "writes no rationale in 100% of its texts"),
        ("rationales", {"cut": 0.6}, "does not come to an end: 60%"),
        ("rationales", {"same_for_others": 0.26}, "in 26% of the pairs of records with other diagnoses"),
        ("rationales", {"same_for_others": 0.9, "pairs_of_records": 36}, None),  # nine records are too few
        ("rationales", {"same_for_others": None, "pairs_of_records": 0}, None),  # all have the same diagnoses
        (
            "findings",
            {"supported": 0.19, "by_chance": 0.13},
            "supports 19% of the findings that it names",
        ),
        ("findings", {"supported": 0.19, "by_chance": 0.13, "total": 20}, None),
        ("findings", {"supported": None, "by_chance": None, "total": 0}, None),
    ],
)
def test_warnings_lie_between_trained_and_untrained_decoders(group, changes, said):
    warnings = warnings_of({**SOUND, group: {**SOUND[group], **changes}}, composed=0.25)
    if said is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert said in warning
        assert warning.endswith(" 25% of the sentences of the rationales were composed from the record.")
        (ungrounded,) = warnings_of({**SOUND, group: {**SOUND[group], **changes}}, composed=0.0)
        assert warning.startswith(ungrounded)
        assert "composed" not in ungrounded


def test_a_model_that_does_not_read_notes_is_not_judged_by_findings_of_notes():
    figures = {name: group for name, group in SOUND.items() if name != "findings"}
    assert warnings_of(figures, 0.0) == []


@pytest.fixture(scope="module")
def report(stage1_folder, data_folder, tmp_path_factory):
    """The report of a stage that was trained for two steps."""
    output = tmp_path_factory.mktemp("untrained") / "report"
    dataset = ["--dataset", str(data_folder / "dataset"), "--split", "test"]
    evaluate_model.main(["--model", str(stage1_folder), *dataset, "--output", str(output)])
    return output


def test_the_report_warns_of_a_decoder_that_has_not_learned(report):
    metrics = json.loads((report / "metrics.json").read_text())
    (warning,) = metrics["decoder"]["warnings"]
    page = (report / "report.html").read_text()
    assert page.index(warning) < page.index("micro-F1")
    assert page.count('<th scope="row">own sentences that cannot be read</th>') == 1
    free = metrics["decoder"]["free_list"]
    assert f"<td>{free['records']} records drawn</td>" in page
    low, high = metrics["intervals"]["decoder"]["free_list"]["micro_f1"]
    assert low <= free["micro_f1"] <= high
    for line in (report / "predictions.jsonl").read_text().splitlines():
        own = json.loads(line)["own_text"]
        assert set(own) == {"note_rationale", "lab_rationale", "finished"}


def test_the_terminal_warns(stage1_folder, data_folder, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        metrics = evaluate_model.main(
            ["--model", str(stage1_folder), "--dataset", str(data_folder / "dataset"), "--limit", "2"]
            + ["--output", str(tmp_path / "report"), "--ungrounded"]
        )
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert metrics["decoder"]["warnings"][0] in warnings
    assert "composed" not in metrics["decoder"]["warnings"][0]
    assert any("the decoder alone: micro-F1" in record.message for record in caplog.records)


def test_the_card_and_the_page_of_rationales_warn(stage1_folder, report, data_folder, tmp_path):
    metrics = json.loads((report / "metrics.json").read_text())
    (warning,) = metrics["decoder"]["warnings"]
    folder = tmp_path / "stage1"
    shutil.copytree(stage1_folder, folder)
    add_report_to_card(folder, report)
    card = (folder / "README.md").read_text()
    assert f"\n> **Warning.** {warning}\n" in card[: card.index("## Use")]
    table = card[card.index("### The decoder alone") : card.index("## Training")]
    assert f"| own sentences that cannot be read | {metrics['decoder']['sentences']['unreadable']:.3f} | " in table
    page = tmp_path / "page.md"
    arguments = ["--report", str(report), "--dataset", str(data_folder / "dataset"), "--records", "1"]
    show_rationales.main([*arguments, "--output", str(page)])
    assert "**Warning.** The decoder" in page.read_text()[:1500]


def test_a_stage_reports_at_its_end_what_its_decoder_writes(stage1_folder):
    training = json.loads((stage1_folder / "training.json").read_text())
    (warning,) = training["decoder"]["warnings"]
    assert training["decoder"]["rationales"]["records"] <= 16
    card = (stage1_folder / "README.md").read_text()
    assert f"\n> **Warning.** {warning}\n" in card[: card.index("## Use")]
    assert "| own sentences that cannot be read |" in card


def test_older_reports_and_histories_have_no_rows_and_no_warnings():
    for before in ({"listed_diagnoses": {}, "intervals": {}}, {"decoder": {}, "intervals": {"decoder": {}}}, {}):
        assert decoder_rows(before) == decoder_warnings(before) == []
