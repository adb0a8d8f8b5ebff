# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""From a folder to the Hub and back, by fresh processes in empty folders, over a Hub on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from datasets_scripts import build_dataset, push_dataset
from datasets_scripts.dataset_folder import METADATA_FILE, read_metadata
from modeling_clinragen import ClinRaGenInputError
from tests.hub_server import Hub, once
from tests.modeling_clinragen.test_model_folder import run_elsewhere


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hub():
    with Hub() as hub:
        yield hub


@pytest.fixture
def logged_in(hub, monkeypatch):
    """This process uses the loopback Hub, as the owner of `user/...`; as its `environment` says for others."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return hub


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


def test_a_dataset_comes_back_with_the_same_rows_and_features_at_each_revision(
    logged_in, dataset_folders, tmp_path, capsys
):
    commits = []
    for folder in dataset_folders:
        push_data(folder)
        commits += logged_in.commits("datasets", "user/data")[len(commits) :]
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
                assert str(pulled[split][:]) == str(local[split][:])  # NaN is no equal of NaN
            print(len(pulled["train"][0]["note"]), len(pulled["train"][1]["note"]), sep="-")
    """.replace("FOLDERS", str([str(folder) for folder in dataset_folders]))
    done = run_elsewhere(code, " ".join(commits), tmp_path, **logged_in.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    older, newer, latest = done.stdout.split()
    assert older != newer == latest


def test_a_dry_run_lists_every_file_and_asks_the_hub_nothing(logged_in, dataset_folders, capsys):
    push_data(dataset_folders[0], "--dry-run")
    *rows, total = capsys.readouterr().out.splitlines()[1:]
    assert not logged_in.requests
    push_data(dataset_folders[0])
    tree = {
        file.path: file.size
        for file in HfApi(logged_in.url).list_repo_tree("user/data", recursive=True, repo_type="dataset")
        if hasattr(file, "size")
    }
    del tree[".gitattributes"]
    assert {row.split()[1]: int(row.split()[0].replace(",", "")) for row in rows} == tree
    assert int(total.split()[0].replace(",", "")) == sum(tree.values())


def test_a_repo_is_private_unless_it_is_asked_to_be_public(logged_in, dataset_folders):
    for repo_id, options, private in (
        ("user/by-default", (), True),
        ("user/private", ("--private",), True),
        ("user/public", ("--public",), False),
    ):
        push_data(dataset_folders[0], *options, repo_id=repo_id)
        assert logged_in.repos["datasets", repo_id].private is private


def test_when_a_repo_is_of_the_other_visibility_then_nothing_is_sent(logged_in, dataset_folders):
    push_data(dataset_folders[0], "--public")
    with pytest.raises(ClinRaGenInputError, match="there already, and public: nothing was sent"):
        push_data(dataset_folders[1])
    assert len(logged_in.commits("datasets", "user/data")) == 1


def test_files_of_an_earlier_push_that_are_gone_are_deleted_in_the_same_commit(logged_in, dataset_folders):
    logged_in.add_commit("datasets", "user/data", {"data/train-00007.parquet": b"old", "README.md": b"old"})
    push_data(dataset_folders[0], "--public")
    repo = logged_in.repos["datasets", "user/data"]
    _, newest = logged_in.commits("datasets", "user/data")
    assert "data/train-00007.parquet" not in repo.commits[newest]
    assert {"README.md", ".gitattributes", "data/train-00000.parquet"} <= repo.commits[newest].keys()


def test_when_a_folder_is_not_what_its_metadata_say_then_nothing_is_sent(logged_in, credentialed_dataset):
    metadata = {**read_metadata(credentialed_dataset), "source": "synthetic", "content_hash": "0" * 64}
    (credentialed_dataset / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match="the hash differs"):
        push_data(credentialed_dataset)
    assert not logged_in.requests


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
        (("--public", *SEND, PUBLISH[0], ""), "needs a reason"),
        (("--dry-run",), "give --i-am-permitted-to-send"),
    ],
)
def test_credentialed_data_stay_without_a_permission(logged_in, credentialed_dataset, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        push_data(credentialed_dataset, *options)
    assert not logged_in.requests


@pytest.mark.parametrize("options", [SEND, ("--public", *SEND, *PUBLISH)])
def test_a_permission_is_recorded_in_what_is_pushed(logged_in, credentialed_dataset, options):
    push_data(credentialed_dataset, *options)
    repo = logged_in.repos["datasets", "user/data"]
    assert (repo.private, repo.gated) == ("--public" not in options, "manual")
    pushed = repo.commits[logged_in.commits("datasets", "user/data")[0]]
    permissions = json.loads(pushed[METADATA_FILE].content)["permissions"]
    reasons = [text for text in options if " " in text]
    assert len(permissions) == len(reasons)
    for recorded, reason in zip(permissions.values(), reasons, strict=True):
        assert recorded.startswith(reason)
        assert recorded in pushed["README.md"].content.decode()


def test_when_a_private_repo_cannot_be_gated_then_it_is_told(logged_in, credentialed_dataset, caplog):
    logged_in.fault = once("PUT", "/settings", "HTTP 400")
    push_data(credentialed_dataset, *SEND)
    assert "is not gated while it is private" in caplog.text


def test_when_a_public_repo_cannot_be_gated_then_nothing_is_sent_to_it(logged_in, credentialed_dataset):
    logged_in.fault = once("PUT", "/settings", "HTTP 400")
    with pytest.raises(ClinRaGenInputError, match="answered 400"):
        push_data(credentialed_dataset, "--public", *SEND, *PUBLISH)
    assert not logged_in.commits("datasets", "user/data")
    assert not logged_in.received


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("", "user/data", "answered 401 .*hf auth login"),
        ("hf_unknown", "user/data", "answered 401 .*hf auth login"),
        ("hf_other", "user/data", "answered 403 .*token that may write"),
        ("hf_owner", "user/da ta", "no name of a repo"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_the_remedy(
    logged_in, dataset_folders, monkeypatch, token, repo_id, message
):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        push_data(dataset_folders[0], repo_id=repo_id)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("held", [("PUT", "/storage/"), ("POST", "/commit/")])
def test_when_a_push_is_killed_then_the_same_command_goes_on_and_sends_nothing_twice(
    hub, dataset_folders, tmp_path, held
):
    command = [sys.executable, str(ROOT / "datasets_scripts" / "push_dataset.py")]
    command += ["--dataset", str(dataset_folders[0]), "--repo-id", "user/data"]
    environment = {**os.environ, **hub.environment(), "HF_HOME": str(tmp_path)}
    hub.fault = once(*held, "hold")
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as push:
        assert hub.holding.wait(60)
        deadline = time.monotonic() + 60
        while not hub.received and time.monotonic() < deadline:
            time.sleep(0.01)
        push.send_signal(signal.SIGKILL)
    assert hub.received  # something had come through
    assert not hub.commits("datasets", "user/data")  # and is not to be seen
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert set(hub.received.values()) == {1}
    (commit,) = hub.commits("datasets", "user/data")
    files = hub.repos["datasets", "user/data"].commits[commit]
    assert {file.sha256 for file in files.values() if file.lfs} == hub.received.keys()
    for shard in (dataset_folders[0] / "data").iterdir():
        assert files[f"data/{shard.name}"].content == shard.read_bytes()


@pytest.mark.parametrize(
    "fault", [("PUT", "/storage/", "cut"), ("PUT", "/storage/", "HTTP 500"), ("POST", "/preupload/", "HTTP 429")]
)
def test_a_passing_fault_is_overcome(logged_in, dataset_folders, fault):
    logged_in.fault = once(*fault)
    push_data(dataset_folders[0])
    assert len(logged_in.commits("datasets", "user/data")) == 1
    assert set(logged_in.received.values()) == {1}


@pytest.mark.parametrize(
    "fault", [("POST", "/create", "drop"), ("POST", "/commit/", "drop"), ("POST", "/commit/", "HTTP 500")]
)
def test_when_a_push_fails_then_it_is_one_line_and_the_same_command_goes_on(logged_in, dataset_folders, fault):
    logged_in.fault = once(*fault)
    with pytest.raises(ClinRaGenInputError, match="start the same command again to go on") as caught:
        push_data(dataset_folders[0])
    assert len(str(caught.value).splitlines()) == 1
    push_data(dataset_folders[0])
    assert len(logged_in.commits("datasets", "user/data")) == 1
    assert set(logged_in.received.values()) == {1}


def test_when_somebody_pushes_at_the_same_time_then_the_later_push_changes_nothing(logged_in, dataset_folders):
    push_data(dataset_folders[0])

    def meanwhile(method, path):
        if "/commit/" in path and len(logged_in.commits("datasets", "user/data")) == 1:
            logged_in.add_commit("datasets", "user/data", {"README.md": b"theirs"})

    logged_in.fault = meanwhile
    with pytest.raises(ClinRaGenInputError, match=r"answered 412 .*start the same command again"):
        push_data(dataset_folders[1])
    push_data(dataset_folders[1])
    assert len(logged_in.commits("datasets", "user/data")) == 3


def test_nothing_is_asked_while_offline(logged_in, dataset_folders, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ClinRaGenInputError, match="HF_HUB_OFFLINE is set"):
        push_data(dataset_folders[0])
    assert not logged_in.requests
