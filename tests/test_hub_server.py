# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The loopback Hub answers `huggingface_hub` as the Hub does."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


FILES = {f"folder/{number}.txt": f"text {number}".encode() for number in range(7)}


@pytest.fixture
def api(hub):
    return HfApi(hub.url, token=hub.token)


@pytest.fixture
def other(hub):
    return HfApi(hub.url, token=hub.other_token)


@pytest.fixture
def anybody(hub):
    return HfApi(hub.url, token=False)


def test_a_tree_is_listed_over_several_pages(hub, api):
    hub.add_commit("models", "user/model", {**FILES, "model.safetensors": b"weights"})
    hub.page_size = 3
    listed = {entry.path: entry for entry in api.list_repo_tree("user/model", recursive=True, expand=True)}
    assert listed.keys() == {".gitattributes", "folder", "model.safetensors", *FILES}
    assert sum(path.endswith("/tree/main") for _, path in hub.requests) == 4
    assert listed["model.safetensors"].lfs.size == 7
    assert {entry.path for entry in api.list_repo_tree("user/model")} == listed.keys() - FILES.keys()
    assert [info.path for info in api.get_paths_info("user/model", ["folder/1.txt", "none"])] == ["folder/1.txt"]


def test_every_revision_is_kept(hub, api, tmp_path):
    api.create_repo("user/data", repo_type="dataset")
    commits = []
    for content in (b"first", b"second"):
        operations = [CommitOperationAdd("a.txt", content), CommitOperationAdd("b.bin", content)]
        commits.append(api.create_commit("user/data", operations, commit_message="m", repo_type="dataset").oid)
    api.create_commit("user/data", [CommitOperationDelete("a.txt")], commit_message="m", repo_type="dataset")
    api.create_tag("user/data", tag="v1", revision=commits[0], repo_type="dataset")
    api.create_branch("user/data", branch="old", revision=commits[1], repo_type="dataset")
    for revision, content in ((commits[0], "first"), ("v1", "first"), ("old", "second"), (commits[1], "second")):
        folder = snapshot_download("user/data", revision=revision, repo_type="dataset", local_dir=tmp_path / revision)
        assert [(tmp_path / revision / name).read_text() for name in ("a.txt", "b.bin")] == [content] * 2
        assert folder
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("user/data", "a.txt", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("user/data", "b.bin", revision="none", repo_type="dataset")
    history = [commit.commit_id for commit in api.list_repo_commits("user/data", repo_type="dataset")]
    assert history[1:3] == commits[::-1]
    refs = api.list_repo_refs("user/data", repo_type="dataset")
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": history[0], "old": commits[1]}
    assert [(ref.name, ref.target_commit) for ref in refs.tags] == [("v1", commits[0])]


def test_a_part_of_a_file_can_be_asked_for(hub, api):
    from huggingface_hub.utils import get_session

    hub.add_commit("models", "user/model", {"a.txt": b"0123456789"})
    url = f"{hub.url}/user/model/resolve/main/a.txt"
    answers = [get_session().get(url, headers={"Range": f"bytes={part}"}) for part in ("2-4", "7-", "10-")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(206, b"234"), (206, b"789"), (416, b"")]


def test_a_private_repo_is_its_owners_alone(api, other, anybody):
    api.create_repo("user/model", private=True)
    assert api.model_info("user/model").private
    assert api.whoami()["name"] == "user"
    for stranger in (other, anybody):
        with pytest.raises(RepositoryNotFoundError):
            stranger.model_info("user/model")
    api.update_repo_settings("user/model", private=False)
    assert not anybody.model_info("user/model").private
    for stranger, status in ((other, 403), (anybody, 401)):
        with pytest.raises(HfHubHTTPError) as caught:
            stranger.create_commit("user/model", [CommitOperationAdd("a", b"a")], commit_message="m")
        assert caught.value.response.status_code == status


def test_the_files_of_a_gated_repo_are_given_to_its_owner_alone(hub, api, other, anybody):
    hub.add_commit("models", "user/model", {"a.txt": b"text"})
    api.update_repo_settings("user/model", gated="manual")
    assert anybody.model_info("user/model").gated == "manual"
    for stranger in (other, anybody):
        with pytest.raises(GatedRepoError):
            stranger.hf_hub_download("user/model", "a.txt")
    assert api.hf_hub_download("user/model", "a.txt")


def test_a_card_with_a_broken_header_is_refused(api):
    api.create_repo("user/model")
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.create_commit("user/model", [CommitOperationAdd("README.md", b"---\na: [\n---\n")], commit_message="m")
