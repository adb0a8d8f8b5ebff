# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Baselines: they learn simple rules, choose without the reported split, and write comparable reports."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel, LlamaConfig, set_seed

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.processing_clinragen import PROMPT, TARGET
from recipes import compare_reports, evaluate_baseline, evaluate_model
from recipes.baselines import boosting, decoder, encoder, fusion, tfidf
from recipes.baselines.common import Task, best_threshold
from recipes.baselines.run import predict, read_task
from recipes.baselines.settings import DecoderSettings, EncoderSettings, NoSettings, RunArguments, parse_arguments
from recipes.configs import FOLDER
from recipes.evaluation.report.folder import read_metrics
from recipes.models.backbone import train_tokenizer
from recipes.training.data import load_records
from tests.commands import run_script
from tests.dataset_folders import describe


HEART_RATE = [channel["name"] for channel in CHANNELS].index("Heart Rate")

SMALL_DECODER = {
    "text_config": {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    "vocab_size": 1500,
    "pretraining": {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_checkpointing": False},
    "training": {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.01},
    "lora": {"r": 2, "target_modules": "all-linear", "modules_to_save": ["lm_head"]},
    "max_note_tokens": 60,
    "max_target_tokens": 20,
}


def simulated(number, seed):
    """Records in which the word "cough" gives label 0, and a fast heart label 1."""
    rng = np.random.default_rng(seed)
    coughs, races = rng.random(number) < 0.5, rng.random(number) < 0.5
    series = []
    for fast in races:
        values = np.full((6, len(CHANNELS)), np.nan)
        values[:, HEART_RATE] = rng.normal(150 if fast else 70, 3, 6)
        series.append(values.tolist())
    return Dataset.from_dict(
        {
            "note": [f"seen today, {'cough' if cough else 'calm'} and tired" for cough in coughs],
            "lab_values": series,
            "lab_times": [[0.5, 3.0, 9.0, 20.0, 30.0, 47.0]] * number,
            "diagnoses": [[i for i, has in enumerate(pair) if has] for pair in zip(coughs, races, strict=True)],
        }
    )


@pytest.fixture
def task(tmp_path):
    extractor = ClinRaGenFeatureExtractor(context_length=48)
    return Task(simulated(80, 0), simulated(40, 1), ["Cough", "Fast heart"], extractor, seed=0, work=tmp_path)


@pytest.mark.parametrize(("baseline", "learned"), [(tfidf, [0]), (boosting, [1]), (fusion, [0, 1])])
def test_an_obvious_rule_is_learned_from_the_inputs(task, baseline, learned):
    unseen = simulated(60, 2)
    answers = baseline.fit(task, NoSettings()).answer(unseen.remove_columns("diagnoses"))
    gold = task.gold(unseen)
    for i, label in enumerate(task.labels):
        area = roc_auc_score(gold[:, i], [answer["probabilities"][label] for answer in answers])
        assert area == 1 if i in learned else area < 0.8
        if learned == [0, 1]:
            written = [label in [d["label"] for d in answer["diagnoses"]] for answer in answers]
            assert written == gold[:, i].astype(bool).tolist()


def test_a_label_of_nobody_or_everybody_is_not_an_error(task):
    task.labels.extend(["Rare", "Common"])
    everybody = task.train.map(lambda row: {"diagnoses": [*row["diagnoses"], 3]})
    task = Task(everybody, task.validation, task.labels, task.extractor, seed=0, work=task.work)
    for baseline in (tfidf, boosting):
        probabilities = baseline.fit_classifier(task).probabilities(task.validation)
        assert (probabilities[:, 2] == 0).all()
        assert (probabilities[:, 3] == 1).all()


cells = hnp.arrays(np.int64, (7, 3), elements=st.integers(0, 1))
chances = hnp.arrays(np.float64, (7, 3), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))


@given(gold=cells, probabilities=chances)
@settings(max_examples=60)
def test_the_threshold_is_the_best_of_all(gold, probabilities):
    threshold, f1 = best_threshold(gold, probabilities)
    scores = {
        t: f1_score(gold, probabilities >= t, average="micro", zero_division=0) for t in np.unique(probabilities)
    }
    assert f1 == pytest.approx(max(scores.values()) if gold.any() else 0)
    if gold.any():
        assert scores[threshold] == pytest.approx(f1)


def test_statistics_are_those_of_the_measured_hours():
    rng = np.random.default_rng(0)
    values, observed = rng.normal(size=(5, 12, 4)), rng.random((5, 12, 4)) < 0.3
    observed[1], observed[:, :, 2] = False, False
    observed[2, 7, 2] = True
    found = boosting.statistics(values, observed).reshape(5, 6, 4)
    for record in range(5):
        for channel in range(4):
            own = values[record, observed[record, :, channel], channel]
            expected = [own.mean(), own.min(), own.max(), own[-1], own[-1] - own[0]] if len(own) else [np.nan] * 5
            np.testing.assert_allclose(found[record, :, channel], [*expected, len(own)])


def test_unread_values_change_no_statistic():
    extractor = ClinRaGenFeatureExtractor(context_length=24)
    records = simulated(3, 0)
    before = boosting.features_of(records, extractor)
    late = [[row if hour < 24 else [900.0] * len(row) for row, hour in zip(values, hours, strict=True)]
            for values, hours in zip(records["lab_values"], records["lab_times"], strict=True)]  # fmt: skip
    np.testing.assert_array_equal(
        before, boosting.features_of(records.remove_columns("lab_values").add_column("lab_values", late), extractor)
    )
    assert (before[:, 5 * len(CHANNELS) + HEART_RATE] == 4).all()


def run(baseline, dataset, output, *options):
    return evaluate_baseline.main(
        ["--baseline", baseline, "--dataset", str(dataset), "--output", str(output), *map(str, options)]
    )


def predictions(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_the_report_has_the_form_of_a_models_report(stage1_folder, data_folder, tmp_path, capsys):
    dataset = data_folder / "dataset"
    metrics = run("tfidf", dataset, tmp_path / "baseline")
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith(f"| tfidf | {metrics['diagnosis']['micro_f1']:.3f} |")
    evaluate_model.main(
        ["--model", str(stage1_folder), "--dataset", str(dataset), "--output", str(tmp_path / "model")]
    )
    ours, theirs = (predictions(tmp_path / name) for name in ("baseline", "model"))
    of_a_model = ["model_version", "own_text"]  # a baseline has no decoder
    assert [[*row, *of_a_model] for row in ours] == [list(row) for row in theirs]
    assert json.loads((tmp_path / "baseline" / "metrics.json").read_text()) == metrics
    wanted = {"baseline": "tfidf", "split": "test", "seed": 0, "dataset": str(dataset)}
    assert wanted.items() <= metrics["run"].items()
    assert metrics["run"]["num_parameters"] > 0
    compared = compare_reports.main(["--first", str(tmp_path / "baseline"), "--second", str(tmp_path / "model")])
    assert compared["micro_f1"]["first"] == pytest.approx(metrics["diagnosis"]["micro_f1"])
    assert not (tmp_path / "baseline" / "work").exists()


def test_diagnoses_of_the_reported_split_change_no_prediction(data_folder, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(data_folder / "records", changed)
    for shard in (changed / "data").glob("test-*.parquet"):
        table = pq.read_table(shard)
        position = table.schema.get_field_index("diagnoses")
        others = pa.array([[0, 7, 24]] * len(table), table.schema.field(position).type)
        pq.write_table(table.set_column(position, table.schema.field(position), others), shard)
    describe(changed, changed)
    for dataset in (data_folder / "records", changed):
        run("fusion", dataset, tmp_path / f"report-{dataset.name}")
    before, after = (predictions(tmp_path / f"report-{name}") for name in ("records", "changed"))
    assert all(len(row["gold"]) == 3 for row in after)
    assert [{**row, "gold": None} for row in before] == [{**row, "gold": None} for row in after]


@pytest.mark.parametrize("baseline", ["tfidf", "boosting"])
def test_a_record_without_inputs_gets_an_empty_answer(data_folder, baseline, tmp_path):
    task = read_task(
        RunArguments(baseline, str(data_folder / "records"), str(tmp_path)),
        ("note", "lab"),
        tmp_path,
    )
    record = load_records(str(data_folder / "records"), "test").select([0])
    blanks = {"tfidf": {"note": "  "}, "boosting": {"lab_times": [], "lab_values": []}}
    module = {"tfidf": tfidf, "boosting": boosting}[baseline]
    fitted = module.fit(task, NoSettings())
    blank = record.map(lambda row: blanks[baseline])
    (row,) = predict(fitted, blank, module.READS, task)
    assert not row["readable"]
    assert row["diagnoses"] == []
    assert row["probabilities"] == {}
    (row,) = predict(fitted, record, module.READS, task)
    assert row["readable"]
    assert len(row["probabilities"]) == 25


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), **shape, initializer_range=0.2)  # notes far apart, as when trained
    set_seed(0)
    BertModel(config).save_pretrained(folder)
    return EncoderSettings(str(folder), num_train_epochs=2, learning_rate=0.01)


def test_the_encoder_moves_every_weight_it_uses_and_resumes_where_it_stopped(task, small_encoder):
    trainer = encoder.classifier_trainer(task, small_encoder)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    assert trainer.model.config.problem_type == "multi_label_classification"
    trainer.train()
    unmoved = [name for name, p in trainer.model.named_parameters() if torch.equal(p, before[name])]
    assert [name for name in unmoved if "token_type" not in name] == []
    once = encoder.fit_classifier(task, small_encoder)  # finds its checkpoints
    np.testing.assert_allclose(
        once.probabilities(task.validation),
        encoder.sigmoid(trainer.predict(trainer.eval_dataset).predictions),
        rtol=1e-5,
    )


def test_the_encoder_answers_in_the_order_of_the_records(task, small_encoder):
    classifier = encoder.fit_classifier(task, small_encoder)
    longer = task.validation.map(lambda row, i: {"note": row["note"] + " and so on" * (i % 7)}, with_indices=True)
    backwards = classifier.probabilities(longer.select(range(len(longer))[::-1]))
    np.testing.assert_allclose(classifier.probabilities(longer), backwards[::-1], rtol=1e-4)


def test_the_encoder_starts_from_the_probe_of_its_features(task, small_encoder):
    trainer = encoder.classifier_trainer(task, small_encoder)
    encoder.start_from_probe(trainer)
    logits = trainer.predict(trainer.train_dataset).predictions
    with torch.no_grad():
        model = trainer.model.eval()
        tokens = trainer.processing_class(list(task.train["note"]), return_tensors="pt", padding=True)
        features = StandardScaler().fit_transform(model.bert(**tokens).pooler_output.numpy())
    for i, column in enumerate(task.gold(task.train).T):
        oracle = LogisticRegression(C=0.1, max_iter=1000).fit(features, column)
        np.testing.assert_allclose(logits[:, i], oracle.decision_function(features), atol=0.02)


@pytest.fixture
def decoder_task(data_folder, tmp_path):
    dataset = str(data_folder / "dataset")
    run = RunArguments("decoder", dataset, str(tmp_path))
    return read_task(run, decoder.READS, tmp_path)


@pytest.fixture
def small_llama(decoder_task):
    """A model with random weights, and a processor with a vocabulary for every record."""
    set_seed(0)
    known = (decoder_task.train, decoder_task.validation)
    texts = [text for records in known for text in decoder.documents(records, decoder_task.extractor)]
    tokenizer = train_tokenizer([*texts, PROMPT, TARGET, ", ".join(decoder_task.labels)], [], vocab_size=1500)
    shape = {**SMALL_DECODER["text_config"], "num_key_value_heads": 2}
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = LlamaConfig(**shape, vocab_size=len(tokenizer), **special, bos_token_id=None)
    processor = ClinRaGenProcessor(decoder_task.extractor, tokenizer, decoder_task.labels, max_note_tokens=60)
    return AutoModelForCausalLM.from_config(config), processor


def small_settings(**changes):
    return DecoderSettings(**{**SMALL_DECODER, **changes})


def test_the_decoder_learns_the_answer_alone(decoder_task, small_llama):
    model, processor = small_llama
    trainer = decoder.adapter_trainer(model, processor, decoder_task, small_settings(max_target_tokens=400))
    row, record = trainer.eval_dataset[0], decoder_task.validation[0]
    start = row["labels"].index(next(label for label in row["labels"] if label != -100))
    assert set(row["labels"][:start]) == {-100}
    assert row["labels"][start:] == row["input_ids"][start:]
    prompt, answer = (
        processor.tokenizer.decode(part) for part in (row["input_ids"][:start], row["input_ids"][start:])
    )
    assert prompt.startswith("Diagnose disease from the following medical notes:")
    assert prompt.endswith(record["lab_caption"])
    target = processor.target_text(record["diagnoses"], record["note_rationale"], record["lab_rationale"])
    assert answer.strip() == f"{target}{processor.tokenizer.eos_token}"
    loss = trainer.evaluate(trainer.eval_dataset.select([0]))["eval_loss"]
    with torch.no_grad():
        logits = trainer.model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
    wanted = torch.nn.functional.cross_entropy(logits[start - 1 : -1], torch.tensor(row["input_ids"][start:]))
    assert loss == pytest.approx(wanted.item(), rel=1e-4)


def test_the_decoder_trains_only_adapters_and_the_modules_to_save(decoder_task, small_llama):
    trainer = decoder.adapter_trainer(*small_llama, decoder_task, small_settings())
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("lora_" in name or "lm_head.modules_to_save" in name for name in moved)
    assert any("lora_B" in name for name in moved)
    assert any("lm_head" in name for name in moved)


def test_without_a_rationale_the_decoder_learns_diagnoses_and_no_end(decoder_task, small_llama):
    _, processor = small_llama
    silent = decoder_task.validation.map(lambda row: {"teacher": "", "note_rationale": "", "lab_rationale": ""})
    labels = decoder.encoded(silent, processor, 400)[0]["labels"]
    text = processor.tokenizer.decode([label for label in labels if label != -100])
    assert text.strip().endswith("### Rationale:")
    with pytest.raises(ClinRaGenInputError, match="no rationales for the decoder"):
        decoder.fit(Task(**{**vars(decoder_task), "train": silent}), small_settings())


def test_a_record_gets_the_same_answer_alone_and_in_a_batch(decoder_task, small_llama):
    model, processor = small_llama
    records = decoder_task.validation.select(range(3)).map(
        lambda row, i: {"note": row["note"] if i else "cough"}, with_indices=True
    )
    together = list(decoder.written(model, processor, records, small_settings(generation_batch_size=3)))
    alone = list(decoder.written(model, processor, records, small_settings(generation_batch_size=1)))
    assert together == alone


def test_claims_of_the_decoders_rationale_are_checked(decoder_task, small_llama, monkeypatch):
    text = "### Disease Diagnosed: Shock. ### Rationale: Pale. ### Lab Test: pH is not measured."
    monkeypatch.setattr(decoder, "written", lambda model, processor, records, settings: [text] * len(records))
    records = decoder_task.validation
    for row, answer in zip(records, decoder.answers(*small_llama, records, small_settings()), strict=True):
        measured = not np.isnan(np.asarray(row["lab_values"])[:, -1]).all()
        assert [claim["verdict"] for claim in answer["claims"]] == ["contradicted" if measured else "supported"]
        assert answer["diagnoses"] == [{"label": "Shock", "probability": None}]
        assert answer["note_rationale"] == "Pale."


def test_the_decoder_command_learns_a_language_first_and_repeats_itself(data_folder, tmp_path):
    config = tmp_path / "decoder.yaml"
    config.write_text(yaml.safe_dump(SMALL_DECODER))
    metrics = run("decoder", data_folder / "dataset", tmp_path / "first", "--config", config)
    run("decoder", data_folder / "dataset", tmp_path / "second", "--config", config)
    assert predictions(tmp_path / "first") == predictions(tmp_path / "second")
    assert 0 < metrics["run"]["trained_parameters"] < metrics["run"]["num_parameters"]
    assert "probability" not in metrics
    assert "rationale" in metrics
    first = tmp_path / "first"
    assert read_metrics(first)["run"]["model"] == str(first)  # its weights have no name
    compare_reports.main(["--first", str(first), "--second", str(tmp_path / "second")])


@pytest.mark.slow
def test_same_seed_same_predictions_of_the_encoder(data_folder, tmp_path):
    for name in ("first", "second"):
        run("encoder", data_folder / "records", tmp_path / name, "--num_train_epochs", 1)
    assert predictions(tmp_path / "first") == predictions(tmp_path / "second")


@pytest.mark.parametrize("baseline", ["tfidf", "boosting"])
def test_same_seed_same_probabilities(task, baseline):
    module = {"tfidf": tfidf, "boosting": boosting}[baseline]
    first, second = (module.fit_classifier(task).probabilities(task.validation) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("config", sorted((FOLDER / "baselines").glob("*.yaml")), ids=lambda path: path.stem)
def test_settings_files_hold_fields_that_exist(config, tmp_path):
    name = config.stem.split("_")[0]
    argv = ["--baseline", name, "--config", str(config), "--dataset", "d", "--output", "o", "--seed", "3"]
    run_arguments, found = parse_arguments(argv)
    assert run_arguments.seed == 3
    assert vars(found) == vars(type(found)()) | yaml.safe_load(config.read_text())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--baseline", "tfidf", "--output", "o"], "--dataset is needed"),
        (["--baseline", "oracle", "--dataset", "d", "--output", "o"], "invalid choice: 'oracle'"),
        (["--baseline", "tfidf", "--dataset", "d", "--output", "o", "--lora", "{}"], "there is no field 'lora'"),
        (["--baseline", "decoder", "--dataset", "d", "--output", "o", "--lora", "r"], "'r' is not a dictionary"),
        (["--baseline", "encoder", "--dataset", "d", "--output", "o", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--baseline", "tfidf", "--dataset", "nowhere", "--output", "o"], "nowhere is not a finished dataset folder"),
    ],
)
def test_a_mistake_is_named(argv, words):
    with pytest.raises(ClinRaGenInputError, match=words):
        evaluate_baseline.main(argv)


def test_unknown_fields_of_the_trainer_and_missing_models_are_named(decoder_task, small_llama):
    with pytest.raises(ClinRaGenInputError, match=r"adapters: .*epochs_of_training"):
        decoder.adapter_trainer(*small_llama, decoder_task, small_settings(training={"epochs_of_training": 3}))
    with pytest.raises(ClinRaGenInputError, match="no causal model in nowhere"):
        decoder.load_language_model("nowhere")
    with pytest.raises(ClinRaGenInputError, match="no encoder to load from nowhere"):
        encoder.load_encoder("nowhere", ["a"])


def test_the_command_ends_with_code_2(data_folder, tmp_path):
    arguments = ["--baseline", "tfidf", "--split", "dev", "--dataset", data_folder / "records"]
    done = run_script(evaluate_baseline.__file__, *arguments, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "no split 'dev'" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())
