# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""From a folder to the Hub and back, by fresh processes in empty folders, over a Hub on loopback."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

import modeling_clinragen
from datasets_scripts import build_dataset, push_dataset
from datasets_scripts.common.command import CLIENTS
from datasets_scripts.dataset.folder import METADATA_FILE, read_metadata
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.pipeline_clinragen import ClinRaGenPipeline
from recipes import push_model
from recipes.models.folder import load_model_folder, save_model_folder
from recipes.models.weights import weights_hash
from tests.commands import run_script
from tests.conftest import make_tiny_model
from tests.hub_server import once
from tests.recipes.models.test_folder import run_elsewhere


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def dataset_folders(tmp_path_factory):
    """Two versions of a dataset of simulated patients."""
    folder = tmp_path_factory.mktemp("datasets")
    for seed in (0, 1):
        options = ["--source", "synthetic", "--limit", "30", "--seed", str(seed), "--output", str(folder / str(seed))]
        build_dataset.main(options)
    return [folder / "0", folder / "1"]


@pytest.fixture
def credentialed_dataset(dataset_folders, tmp_path):
    """A dataset that says of itself that it comes from MIMIC-III; its rows are simulated."""
    folder = tmp_path / "credentialed"
    folder.mkdir()
    for path in dataset_folders[0].iterdir():
        (folder / path.name).symlink_to(path, target_is_directory=path.is_dir())
    metadata = {**read_metadata(folder), "source": "mimic-iii"}
    (folder / METADATA_FILE).unlink()
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def push_data(folder, *options, repo_id="user/data"):
    push_dataset.main(["--dataset", str(folder), "--repo-id", repo_id, *options])


def test_a_dataset_comes_back_with_the_same_rows_and_features_at_each_revision(hub, dataset_folders, tmp_path, capsys):
    commits = []
    for folder in dataset_folders:
        push_data(folder)
        commits += hub.commits("datasets", "user/data")[len(commits) :]
    assert all(commit in capsys.readouterr().out for commit in commits[1:])
    code = """
        import sys
        from datasets import load_dataset
        commits = sys.argv[1].split()
        for revision, folder in zip((*commits, None), (*FOLDERS, FOLDERS[-1])):
            pulled, local = load_dataset("user/data", revision=revision), load_dataset(folder)
            assert pulled.keys() == local.keys()
            for split in local:
                assert pulled[split].features == local[split].features
                assert str(pulled[split][:]) == str(local[split][:])  # NaN does not equal NaN
            print(len(pulled["train"][0]["note"]), len(pulled["train"][1]["note"]), sep="-")
    """.replace("FOLDERS", str([str(folder) for folder in dataset_folders]))
    done = run_elsewhere(code, " ".join(commits), tmp_path, **hub.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    older, newer, latest = done.stdout.split()
    assert older != newer == latest


def test_a_dry_run_lists_every_file_and_asks_the_hub_nothing(hub, dataset_folders, capsys):
    push_data(dataset_folders[0], "--dry-run")
    *rows, total = capsys.readouterr().out.splitlines()[1:]
    assert not hub.requests
    push_data(dataset_folders[0])
    tree = {
        file.path: file.size
        for file in HfApi(hub.url).list_repo_tree("user/data", recursive=True, repo_type="dataset")
        if hasattr(file, "size")
    }
    del tree[".gitattributes"]
    assert {row.split()[1]: int(row.split()[0].replace(",", "")) for row in rows} == tree
    assert int(total.split()[0].replace(",", "")) == sum(tree.values())


def test_a_repo_is_private_unless_it_is_asked_to_be_public(hub, dataset_folders):
    for repo_id, options, private in (
        ("user/by-default", (), True),
        ("user/private", ("--private",), True),
        ("user/public", ("--public",), False),
    ):
        push_data(dataset_folders[0], *options, repo_id=repo_id)
        assert hub.repos["datasets", repo_id].private is private


def test_when_a_repo_is_of_the_other_visibility_then_nothing_is_sent(hub, dataset_folders):
    push_data(dataset_folders[0], "--public")
    with pytest.raises(ClinRaGenInputError, match="exists already, and is public: nothing was sent"):
        push_data(dataset_folders[1])
    assert len(hub.commits("datasets", "user/data")) == 1


def test_files_of_an_earlier_push_that_are_gone_are_deleted_in_the_same_commit(hub, dataset_folders):
    hub.add_commit("datasets", "user/data", {"data/train-00007.parquet": b"old", "README.md": b"old"})
    push_data(dataset_folders[0], "--public")
    repo = hub.repos["datasets", "user/data"]
    _, newest = hub.commits("datasets", "user/data")
    assert "data/train-00007.parquet" not in repo.commits[newest]
    assert {"README.md", ".gitattributes", "data/train-00000.parquet"} <= repo.commits[newest].keys()


def test_when_a_folder_is_not_what_its_metadata_say_then_nothing_is_sent(hub, credentialed_dataset):
    metadata = {**read_metadata(credentialed_dataset), "source": "synthetic", "content_hash": "0" * 64}
    (credentialed_dataset / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match="the hash differs"):
        push_data(credentialed_dataset)
    assert not hub.requests


SEND = ("--i-am-permitted-to-send", "agreement 12, signed by the ethics board")
PUBLISH = ("--i-am-permitted-to-publish", "these are the open demo extract")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --i-am-permitted-to-send"),
        (("--private",), "give --i-am-permitted-to-send"),
        (("--public", *PUBLISH), "give --i-am-permitted-to-send"),
        (("--public", *SEND), "give --i-am-permitted-to-publish"),
        ((SEND[0], " "), "needs a reason"),
        (("--public", *SEND, PUBLISH[0], ""), "is empty; give a value"),
        (("--dry-run",), "give --i-am-permitted-to-send"),
    ],
)
def test_credentialed_data_stay_without_a_permission(hub, credentialed_dataset, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        push_data(credentialed_dataset, *options)
    assert not hub.requests


@pytest.mark.parametrize("options", [SEND, ("--public", *SEND, *PUBLISH)])
def test_a_permission_is_recorded_in_what_is_pushed(hub, credentialed_dataset, options):
    push_data(credentialed_dataset, *options)
    repo = hub.repos["datasets", "user/data"]
    assert (repo.private, repo.gated) == ("--public" not in options, "manual")
    pushed = repo.commits[hub.commits("datasets", "user/data")[0]]
    permissions = json.loads(pushed[METADATA_FILE].content)["permissions"]
    reasons = [text for text in options if " " in text]
    assert len(permissions) == len(reasons)
    for recorded, reason in zip(permissions.values(), reasons, strict=True):
        assert recorded.startswith(reason)
        assert recorded in pushed["README.md"].content.decode()


def test_when_a_private_repo_cannot_be_gated_then_a_warning_says_so(hub, credentialed_dataset, caplog):
    hub.fault = once("PUT", "/settings", "HTTP 400")
    push_data(credentialed_dataset, *SEND)
    assert "is not gated while it is private" in caplog.text


def test_when_a_public_repo_cannot_be_gated_then_nothing_is_sent_to_it(hub, credentialed_dataset):
    hub.fault = once("PUT", "/settings", "HTTP 400")
    with pytest.raises(ClinRaGenInputError, match="answered 400"):
        push_data(credentialed_dataset, "--public", *SEND, *PUBLISH)
    assert not hub.commits("datasets", "user/data")
    assert not hub.received


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("", "user/data", "answered 401 .*hf auth login"),
        ("hf_unknown", "user/data", "answered 401 .*hf auth login"),
        ("hf_other", "user/data", "answered 403 .*token that may write"),
        ("hf_owner", "user/da ta", "not the name of a repo"),
    ],
)
def test_errors_of_the_hub_are_one_line_with_the_remedy(hub, dataset_folders, monkeypatch, token, repo_id, message):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        push_data(dataset_folders[0], repo_id=repo_id)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("held", [("PUT", "/storage/"), pytest.param(("POST", "/commit/"), marks=pytest.mark.slow)])
def test_when_a_push_is_killed_then_the_same_command_resumes_and_sends_nothing_twice(
    hub, dataset_folders, tmp_path, held
):
    command = [sys.executable, str(ROOT / "datasets_scripts" / "push_dataset.py")]
    command += ["--dataset", str(dataset_folders[0]), "--repo-id", "user/data"]
    kill_and_go_on(hub, command, tmp_path, held)
    (commit,) = hub.commits("datasets", "user/data")
    files = hub.repos["datasets", "user/data"].commits[commit]
    assert {file.sha256 for file in files.values() if file.lfs} == hub.received.keys()
    for shard in (dataset_folders[0] / "data").iterdir():
        assert files[f"data/{shard.name}"].content == shard.read_bytes()


@pytest.mark.parametrize(
    "fault", [("PUT", "/storage/", "cut"), ("PUT", "/storage/", "HTTP 500"), ("POST", "/preupload/", "HTTP 429")]
)
def test_a_passing_fault_is_overcome(hub, dataset_folders, fault):
    hub.fault = once(*fault)
    push_data(dataset_folders[0])
    assert len(hub.commits("datasets", "user/data")) == 1
    assert set(hub.received.values()) == {1}


def test_what_is_refused_amid_the_files_is_one_line_too(hub, dataset_folders):
    hub.fault = once("PUT", "/storage/", "HTTP 403")
    with pytest.raises(ClinRaGenInputError, match=r"answered 403 for user/data .*token that may write"):
        push_data(dataset_folders[0])
    assert not hub.commits("datasets", "user/data")


@pytest.mark.parametrize(
    "fault", [("POST", "/create", "drop"), ("POST", "/commit/", "drop"), ("POST", "/commit/", "HTTP 500")]
)
def test_when_a_push_fails_then_it_is_one_line_and_the_same_command_resumes(hub, dataset_folders, fault):
    hub.fault = once(*fault)
    with pytest.raises(ClinRaGenInputError, match="start the same command again to resume") as caught:
        push_data(dataset_folders[0])
    assert len(str(caught.value).splitlines()) == 1
    push_data(dataset_folders[0])
    assert len(hub.commits("datasets", "user/data")) == 1
    assert set(hub.received.values()) == {1}


def test_when_somebody_pushes_at_the_same_time_then_the_later_push_changes_nothing(hub, dataset_folders):
    push_data(dataset_folders[0])

    def meanwhile(method, path):
        if "/commit/" in path and len(hub.commits("datasets", "user/data")) == 1:
            hub.add_commit("datasets", "user/data", {"README.md": b"theirs"})

    hub.fault = meanwhile
    with pytest.raises(ClinRaGenInputError, match=r"answered 412 .*start the same command again"):
        push_data(dataset_folders[1])
    push_data(dataset_folders[1])
    assert len(hub.commits("datasets", "user/data")) == 3


def test_nothing_is_asked_while_offline(hub, dataset_folders, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ClinRaGenInputError, match="HF_HUB_OFFLINE is set"):
        push_data(dataset_folders[0])
    assert not hub.requests


SOURCE = {
    "title": "simulated patients",
    "version": "1",
    "licence": "Apache-2.0",
    "url": "no address",
    "credentialed": False,
    "cite": "nobody",
    "content_hash": "0" * 64,
}
TRAINING = {
    "base_model": None,
    "stages": [],
    "best_metric": None,
    "metric": "micro_f1",
    "data": {"dataset": "/home/me/data", "knowledge": None, "train_split": "train", "eval_split": "validation"},
    "log": [],
}


def write_training(folder, source):
    recorded = {} if source is None else {"source": source}
    (folder / "training.json").write_text(json.dumps({**TRAINING, **recorded}), encoding="utf-8")


@pytest.fixture
def model_folders(tiny_config, tiny_processor, tmp_path):
    """Two versions of a model: random weights of two seeds."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        save_model_folder(make_tiny_model(tiny_config, seed), tiny_processor, folder)
        write_training(folder, SOURCE)
    return folders


def push_weights(folder, *options, repo_id="user/model"):
    push_model.main(["--model", str(folder), "--repo-id", repo_id, *options])


RECORD = {"note": "fever and productive cough", "labs": {"Heart Rate": [[1, 90], [2, 135]]}}


def answer_of(folder):
    model, processor = load_model_folder(folder)
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)
    return pipe(RECORD, max_new_tokens=12, num_beams=1, do_sample=False)


def test_a_model_answers_from_the_hub_as_from_its_folder_at_each_revision(hub, model_folders, tmp_path):
    for folder in model_folders:
        push_weights(folder)
    commits = hub.commits("models", "user/model")
    code = f"""
        import json, sys
        from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoProcessor, pipeline
        answers = []
        for revision in (*sys.argv[1].split(), None):
            place = {{"revision": revision, "trust_remote_code": True}}
            model = AutoModel.from_pretrained("user/model", **place)
            assert type(model).__name__ == type(AutoModelForSeq2SeqLM.from_pretrained("user/model", **place)).__name__
            batch = AutoProcessor.from_pretrained("user/model", **place)(notes=["fever"], return_tensors="pt")
            pipe = pipeline("clinical-rationale-generation", model="user/model", **place)
            answer = pipe({RECORD}, max_new_tokens=12, num_beams=1, do_sample=False)
            answers.append([answer, model.diagnosis_probabilities(**batch).tolist()])
        assert pipeline(model="user/model", trust_remote_code=True).task == "clinical-rationale-generation"
        print(json.dumps(answers))
    """
    done = run_elsewhere(code, " ".join(commits), tmp_path, **hub.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    pulled = json.loads(done.stdout.splitlines()[-1])
    local = []
    for folder in model_folders:
        model, processor = load_model_folder(folder)
        batch = processor(notes=["fever"], return_tensors="pt")
        local.append([answer_of(folder), model.diagnosis_probabilities(**batch).tolist()])
    assert local[0] != local[1]
    assert pulled == json.loads(json.dumps([*local, local[1]]))
    older = load_model_folder("user/model", revision=commits[0])[0]
    assert weights_of(older) == weights_of(load_model_folder(model_folders[0])[0])


def test_a_command_that_reads_a_model_of_the_hub_does_not_list_its_requests(hub, model_folders, tmp_path):
    push_weights(model_folders[0])
    for client in CLIENTS:
        logging.getLogger(client).setLevel(logging.NOTSET)  # other tests of this process may have set it
    (tmp_path / "records.jsonl").write_text(json.dumps({"id": "a", **RECORD}), encoding="utf-8")
    options = ["--model", "user/model", "--input", tmp_path / "records.jsonl", "--output", tmp_path / "answers.jsonl"]
    done = run_script(ROOT / "recipes" / "predict.py", *options)
    assert done.returncode == 0, done.stderr
    assert hub.url not in done.stderr


def weights_of(model):
    return {name: weight.tolist() for name, weight in model.state_dict().items()}


def test_the_snippet_of_the_card_runs(hub, model_folders, tmp_path):
    push_weights(model_folders[0], "--message", "a first version")
    (commit,) = hub.commits("models", "user/model")
    card = hub.repos["models", "user/model"].commits[commit]["README.md"].content.decode()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert 'model="user/model"' in code
    done = run_elsewhere(code, "", tmp_path, **hub.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().startswith("[")  # the diagnoses that it prints


def test_what_push_to_hub_of_model_and_processor_makes_loads_elsewhere(
    hub, tiny_model, tiny_processor, tiny_folder, tmp_path
):
    tiny_model.push_to_hub("user/model")
    tiny_processor.push_to_hub("user/model")
    assert hub.repos["models", "user/model"].private
    code = f"""
        import json
        from transformers import AutoModel, AutoProcessor, pipeline
        AutoModel.from_pretrained("user/model", trust_remote_code=True)
        AutoProcessor.from_pretrained("user/model", trust_remote_code=True)
        pipe = pipeline("clinical-rationale-generation", model="user/model", trust_remote_code=True)
        print(json.dumps(pipe({RECORD}, max_new_tokens=12, num_beams=1, do_sample=False)))
    """
    done = run_elsewhere(code, "", tmp_path, **hub.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(json.dumps(answer_of(tiny_folder)))


def test_only_what_this_project_writes_is_pushed_of_a_model(hub, model_folders, capsys):
    folder = model_folders[0]
    (folder / "notes.csv").write_text("a patient's note")
    (folder / "optimizer.json").write_text("{}")
    (folder / "modeling_clinragen.py").write_text("raise RuntimeError('changed by somebody')")
    push_weights(folder, "--dry-run")
    listed = {line.split()[1] for line in capsys.readouterr().out.splitlines()[1:-1]}
    assert not hub.requests
    push_weights(folder)
    (commit,) = hub.commits("models", "user/model")
    files = hub.repos["models", "user/model"].commits[commit]
    assert files.keys() - {".gitattributes"} == listed
    assert not {"notes.csv", "optimizer.json"} & listed
    own = Path(modeling_clinragen.__file__).parent
    code = {name: file.content for name, file in files.items() if name.endswith(".py")}
    assert code
    assert code == {name: (own / name).read_bytes() for name in code}


CREDENTIALED = {**SOURCE, "title": "MIMIC-III", "credentialed": True}
OLDER = None  # a history that does not name its data


@pytest.mark.parametrize("source", [CREDENTIALED, OLDER])
def test_a_model_of_credentialed_data_is_pushed_with_a_warning_and_gated(hub, model_folders, caplog, source):
    write_training(model_folders[0], source)
    push_weights(model_folders[0])
    assert "credentialed data" in caplog.text
    repo = hub.repos["models", "user/model"]
    assert (repo.private, repo.gated) == (True, "manual")
    files = repo.commits[hub.commits("models", "user/model")[0]]
    assert b"extra_gated_prompt" in files["README.md"].content
    if source is OLDER:
        assert b"/home/me" not in files["training.json"].content


@pytest.mark.parametrize("source", [CREDENTIALED, OLDER])
@pytest.mark.parametrize("options", [(), (PUBLISH[0], " ")])
def test_a_model_of_credentialed_data_is_not_made_public_without_a_permission(hub, model_folders, source, options):
    write_training(model_folders[0], source)
    with pytest.raises(ClinRaGenInputError, match="i-am-permitted-to-publish"):
        push_weights(model_folders[0], "--public", *options)
    assert not hub.requests


def test_the_permission_to_publish_a_model_is_recorded_in_what_is_pushed(hub, model_folders):
    write_training(model_folders[0], CREDENTIALED)
    push_weights(model_folders[0], "--public", *PUBLISH)
    repo = hub.repos["models", "user/model"]
    assert (repo.private, repo.gated) == (False, "manual")
    files = repo.commits[hub.commits("models", "user/model")[0]]
    recorded = json.loads(files["training.json"].content)["permission_to_publish"]
    assert recorded.startswith(PUBLISH[1])
    assert recorded in files["README.md"].content.decode()


def test_a_report_of_other_weights_is_refused(hub, model_folders, tmp_path):
    report = {"run": {"weights_hash": weights_hash(model_folders[1]), "split": "test", "dataset_title": "x"}}
    report |= {"records": 7, "patients": 5, "diagnosis": {"micro_f1": 0.4321}}
    (tmp_path / "metrics.json").write_text(json.dumps(report), encoding="utf-8")
    options = ("--report", str(tmp_path), "--dataset-id", "user/data")
    with pytest.raises(ClinRaGenInputError, match="other weights"):
        push_weights(model_folders[0], *options)
    assert not hub.requests
    push_weights(model_folders[1], *options)
    info = HfApi(hub.url).model_info("user/model")
    assert [(result.metric_name, result.metric_value) for result in info.card_data.eval_results] == [
        ("Micro-F1", 0.4321)
    ]
    assert info.card_data.datasets == ["user/data"]


@pytest.mark.slow
def test_when_a_push_of_a_model_is_killed_before_its_commit_then_the_weights_are_not_sent_again(
    hub, model_folders, tmp_path
):
    command = [sys.executable, str(ROOT / "recipes" / "push_model.py")]
    command += ["--model", str(model_folders[0]), "--repo-id", "user/model"]
    kill_and_go_on(hub, command, tmp_path, ("POST", "/commit/"))
    (commit,) = hub.commits("models", "user/model")
    files = hub.repos["models", "user/model"].commits[commit]
    assert files["model.safetensors"].content == (model_folders[0] / "model.safetensors").read_bytes()


def kill_and_go_on(hub, command, home, held):
    """Start a push, kill it while the Hub holds a request and something has come through, and start it again."""
    environment = {**os.environ, **hub.environment(), "HF_HOME": str(home)}
    hub.fault = once(*held, "hold")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as push:
        assert hub.holding.wait(60)
        deadline = time.monotonic() + 60
        while not hub.received and time.monotonic() < deadline:
            time.sleep(0.01)
        push.send_signal(signal.SIGKILL)
    assert hub.received
    (repo,) = hub.repos.values()
    assert len(repo.commits) == 1  # the first one, of `.gitattributes`
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert set(hub.received.values()) == {1}
