# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from recipes import evaluate_model, export_model, predict
from recipes.models.folder import load_model_folder, save_model_folder
from tests.commands import run_script
from tests.conftest import NIGHTLY, make_tiny_config, make_tiny_model


pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
QUICKSTART = ROOT / "runs" / "quickstart"
ONNX = ("--format", "onnx")
GRAPHS = {"encoder.onnx", "cross_attention.onnx", "decoder.onnx"}


def spread(model):
    """Random weights of a size that tells records apart, and a linear classifier and pairs that are not empty."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3).add_(parameter.dim() == 1)  # norms near 1
        if model.diagnosis_head is not None and model.diagnosis_head.linear is not None:
            linear = model.diagnosis_head.linear
            linear.std.uniform_(0.5, 2)
            codes = torch.randperm(linear.vocab_size**2)[: len(linear.pair_codes)].sort().values
            linear.pair_codes.copy_(codes)
    return model


def exported(model, processor, folder):
    """Model folder -> export, loaded as the commands load it."""
    save_model_folder(model, processor, folder / "model")
    export_model.main([*ONNX, "--model", str(folder / "model"), "--output", str(folder / "onnx")])
    return load_model_folder(folder / "onnx")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    text_config = {"model_type": "t5", "vocab_size": len(tiny_tokenizer), "d_model": 64, "d_ff": 128, "d_kv": 32}
    text_config |= {"num_heads": 2, "num_layers": 1}
    return spread(make_tiny_model(make_tiny_config(tiny_tokenizer, text_config=text_config, num_token_pairs=50)))


@pytest.fixture(scope="module")
def export(model, tiny_processor, folder):
    return exported(model, tiny_processor, folder)


@pytest.fixture
def batch(tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    return tiny_processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")


def row(batch, i):
    """A record alone, without the padding of its batch."""
    length = int(batch["attention_mask"][i].sum())
    return {name: v[i : i + 1, :length] if name in TEXT else v[i : i + 1] for name, v in batch.items()}


TEXT = ("input_ids", "attention_mask")


def assert_equal_passes(model, export, batch):
    with torch.no_grad():
        ours, theirs = model.encode(**batch), export.encode(**batch)
        read = ours["attention_mask"].bool()  # what states of padding hold is nothing to anyone
        torch.testing.assert_close(
            theirs["last_hidden_state"][read], ours["last_hidden_state"][read], rtol=0, atol=1e-4
        )
        for name in ("attention_mask", "diagnosis_logits", "knowledge_attentions"):
            assert (name in ours) == (name in theirs), name
            if name in ours:
                torch.testing.assert_close(theirs[name], ours[name], rtol=0, atol=1e-4)
        targets = torch.randint(3, 50, (len(batch["input_ids"]), 9), generator=torch.Generator().manual_seed(0))
        one, other = (m(**batch, decoder_input_ids=targets, use_cache=False).logits for m in (model, export))
    assert one.std() > 0.1
    torch.testing.assert_close(other, one, rtol=0, atol=1e-4)


def test_scores_and_logits_are_those_of_the_model_with_and_without_note_or_series(model, export, batch):
    assert_equal_passes(model, export, batch)
    for i in range(4):
        assert_equal_passes(model, export, row(batch, i))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}])
def test_what_is_generated_is_what_the_model_generates(model, export, batch, options):
    ours, theirs = (m.generate(**batch, max_new_tokens=60, do_sample=False, **options) for m in (model, export))
    assert torch.equal(ours, theirs)


def test_an_answer_does_not_depend_on_the_batch(export, batch, tiny_processor):
    together = export.generate(**batch, max_new_tokens=40)
    for i in range(4):
        alone = export.generate(**row(batch, i), max_new_tokens=40)[0]
        assert torch.equal(together[i, : len(alone)], alone)
        assert (together[i, len(alone) :] == export.config.pad_token_id).all()


def test_the_pipeline_gives_the_same_answers(model, export, records, tiny_processor):
    given = [{"note": note, "lab_values": values, "lab_times": times} for note, values, times in records]
    sign = {"type": "sign", "synonyms": [], "diseases": tiny_processor.labels[:2], "pattern": None}
    processor = copy.copy(tiny_processor)
    processor.knowledge = [{"term": term, **sign} for term in model.config.knowledge_terms]
    ours, theirs = (
        ClinRaGenPipeline(m, processor=processor, tokenizer=processor.tokenizer, device="cpu")(
            given, batch_size=3, max_new_tokens=60, attention=True
        )
        for m in (model, export)
    )
    for one, other in zip(ours, theirs, strict=True):
        for name in ("diagnoses", "generated_text", "claims", "probabilities", "doubt", "knowledge"):
            assert rounded(one[name]) == rounded(other[name]), name
        assert rounded(one["knowledge_over_time"]) == rounded(other["knowledge_over_time"])
    assert ours[0]["knowledge_over_time"]["terms"] == ["fever", "productive cough"]


def rounded(content):
    return json.loads(json.dumps(content), parse_float=lambda number: round(float(number), 3))


BART = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
BART |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
BART |= {"max_position_embeddings": 128, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
BERT = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT |= {"intermediate_size": 16, "max_position_embeddings": 128}
BERT_TO_BERT = {
    "model_type": "encoder-decoder",
    "encoder": BERT,
    "decoder": {**BERT, "is_decoder": True, "add_cross_attention": True},
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}


PAPER = {"knowledge_attention_type": "prototype", "use_linear_classifier": False, "diagnosis_loss_weight": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"text_config": BART},
        pytest.param({"text_config": BERT_TO_BERT}, marks=NIGHTLY),
        pytest.param(PAPER, marks=NIGHTLY),
    ],
    ids=["bart", "bert to bert", "prototypes, no diagnosis head"],
)
def test_models_of_other_shapes_are_exported(changes, tiny_tokenizer, tiny_processor, batch, tmp_path):
    if "text_config" in changes:
        text_config = json.loads(json.dumps(changes["text_config"]))
        for part in (text_config, text_config.get("encoder"), text_config.get("decoder")):
            if part is not None:
                part["vocab_size"] = len(tiny_tokenizer)
        changes = {"text_config": text_config}
    model = spread(make_tiny_model(make_tiny_config(tiny_tokenizer, **changes)))
    export = exported(model, tiny_processor, tmp_path)
    assert_equal_passes(model, export, batch)
    ours, theirs = (m.generate(**batch, max_new_tokens=30, do_sample=False) for m in (model, export))
    assert torch.equal(ours, theirs)


def test_a_model_that_reads_notes_alone_is_exported(stage1_folder, tmp_path):
    export_model.main([*ONNX, "--model", str(stage1_folder), "--output", str(tmp_path / "onnx")])
    (model, processor), (export, _) = load_model_folder(stage1_folder), load_model_folder(tmp_path / "onnx")
    batch = processor(notes=["fever and cough", "no pain"], lab_values=None, lab_times=None, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask", "term_evidence"}
    torch.testing.assert_close(
        export.diagnosis_probabilities(**batch), model.diagnosis_probabilities(**batch), rtol=0, atol=1e-5
    )
    ours, theirs = (m.generate(**batch, max_new_tokens=30) for m in (model, export))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("facts", [{}, {"int8": False}])
def test_an_export_with_facts_of_an_earlier_version_loads(export, folder, batch, tmp_path, facts):
    copy = shutil.copytree(folder / "onnx", tmp_path / "copy")
    known = json.loads((copy / "onnx.json").read_text())
    assert list(known) == ["num_parameters"]
    (copy / "onnx.json").write_text(json.dumps({**known, **facts}))
    again, _ = load_model_folder(copy)
    assert again.num_parameters() == export.num_parameters()
    assert torch.equal(again.diagnosis_probabilities(**batch), export.diagnosis_probabilities(**batch))


def test_a_folder_holds_no_weights_beside_its_graphs(export, folder, model):
    assert export.num_parameters() == model.num_parameters()
    names = {path.name for path in (folder / "onnx").iterdir()}
    assert {path for path in names if path.endswith(".onnx")} == GRAPHS
    assert not any(name.endswith((".py", ".data", "model.safetensors")) for name in names)


def test_the_commands_take_an_export(export, folder, data_folder, tmp_path):
    source = tmp_path / "records.jsonl"
    source.write_text('{"id": "a", "note": "fever and cough"}\n{"id": "b", "note": "pulse is high"}\n')
    for name in ("model", "onnx"):
        output = str(tmp_path / f"{name}.jsonl")
        predict.main(["--model", str(folder / name), "--input", str(source), "--output", output])
    ours, theirs = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("model", "onnx")
    )
    assert [answer["generated_text"] for answer in ours] == [answer["generated_text"] for answer in theirs]
    arguments = ["--model", str(folder / "onnx"), "--dataset", str(data_folder / "dataset"), "--limit", "2"]
    metrics = evaluate_model.main([*arguments, "--output", str(tmp_path / "report")])
    assert metrics["run"]["num_parameters"] == export.num_parameters()


def test_what_an_export_cannot_do_is_refused_in_one_line(export, batch, folder, data_folder, tmp_path):
    with pytest.raises(ValueError, match="this ONNX export reads input_ids, attention_mask, past_values"):
        export.encode(batch["input_ids"], batch["attention_mask"])
    with pytest.raises(ClinRaGenInputError, match="an ONNX export cannot leave out or shuffle knowledge"):
        _ = export.knowledge_attention
    with pytest.raises(ClinRaGenInputError, match="an ONNX export cannot leave out or shuffle knowledge"):
        export.encode(**batch, knowledge_mask=torch.ones(len(batch["input_ids"]), 4))
    answers = ["--input", str(tmp_path / "records.jsonl"), "--output", str(tmp_path / "answers.jsonl"), "--evidence"]
    with pytest.raises(ClinRaGenInputError, match=r"--evidence: .* is an ONNX export"):
        predict.main(["--model", str(folder / "onnx"), *answers])
    report = ["--dataset", str(data_folder / "dataset"), "--output", str(tmp_path / "report"), "--counterfactual"]
    with pytest.raises(ClinRaGenInputError, match=r"--counterfactual: .* is an ONNX export"):
        evaluate_model.main(["--model", str(folder / "onnx"), *report])
    with pytest.raises(ClinRaGenInputError, match="is an ONNX export already"):
        export_model.main([*ONNX, "--model", str(folder / "onnx"), "--output", str(tmp_path / "again")])
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("damage", ["cut short", "missing"])
def test_a_damaged_graph_is_refused_in_one_line(export, folder, tmp_path, damage):
    copy = shutil.copytree(folder / "onnx", tmp_path / "copy")
    graph = copy / "decoder.onnx"
    if damage == "missing":
        graph.unlink()
    else:
        graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ClinRaGenInputError, match=r"decoder\.onnx") as caught:
        load_model_folder(copy)
    assert "\n" not in str(caught.value)


def test_the_command_ends_in_one_line_and_code_2(tmp_path):
    done = run_script(export_model.__file__, *ONNX, "--model", tmp_path / "nothing", "--output", tmp_path / "onnx")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: no model folder at")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "merged"], "--format merged needs --adapter"),
        (["--format", "onnx", "--adapter", "adapter"], "--adapter goes with --format merged"),
    ],
)
def test_options_of_the_other_format_are_refused(options, message, tmp_path):
    with pytest.raises(ClinRaGenInputError, match=message):
        export_model.main([*options, "--model", str(tmp_path), "--output", str(tmp_path / "out")])


@pytest.mark.nightly
@pytest.mark.skipif(not QUICKSTART.is_dir(), reason="needs the model of `make quickstart`")
def test_the_quickstart_model_answers_token_for_token_the_same(tmp_path):
    from recipes.training.data import load_records

    folder, records = QUICKSTART / "stage3", load_records(str(QUICKSTART / "dataset"), "test", limit=12)
    export_model.main([*ONNX, "--model", str(folder), "--output", str(tmp_path / "onnx")])
    (model, processor), (export, _) = load_model_folder(folder), load_model_folder(tmp_path / "onnx")
    nothing = np.empty((0, len(processor.feature_extractor.channels)))
    rows = [(row["note"], row["lab_values"], row["lab_times"]) for row in records]
    rows = rows[:4] + [("", values, times) for _, values, times in rows[4:8]] + [(r[0], nothing, []) for r in rows[8:]]
    notes, values, times = map(list, zip(*rows, strict=True))
    batch = processor(notes=notes, lab_values=values, lab_times=times, return_tensors="pt")
    assert_equal_passes(model, export, batch)
    for beams in (1, 2):
        ours, theirs = (m.generate(**batch, max_new_tokens=160, num_beams=beams) for m in (model, export))
        assert torch.equal(ours, theirs)


def test_the_command_exports_in_a_process_of_its_own(export, folder, tmp_path):
    """Its path begins with the folder of the command."""
    arguments = ["--model", str(folder / "model"), "--output", str(tmp_path / "onnx")]
    done = run_script(export_model.__file__, *ONNX, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_model_folder(tmp_path / "onnx")[0].num_parameters() > 0
