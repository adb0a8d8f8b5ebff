# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The common part of `push_model.py` and `push_dataset.py`: push a folder as one commit of a repo on the Hub.

A repo never holds half a folder: large files are uploaded first, under the hash of their content, and one commit then
adds them all. The same command resumes an interrupted push; files that the Hub has are not sent again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

KEPT = {".gitattributes"}  # the Hub's own


def add_push_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repo-id", required=True, metavar="USER/NAME", help="repository on the Hub; created if it does not exist"
    )
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument(
        "--private", dest="public", action="store_false", help="push to a private repository (default)"
    )
    visibility.add_argument("--public", action="store_true", help="push to a public repository")
    parser.set_defaults(public=False)
    parser.add_argument(
        "--i-am-permitted-to-publish",
        dest="publish_permission",
        metavar="REASON",
        help="permit --public for what comes from credentialed data; the reason is recorded in the pushed files",
    )
    parser.add_argument("--message", help="commit message; default: names what was pushed")
    parser.add_argument("--dry-run", action="store_true", help="list the files and their sizes; send nothing")


def dated_reason(reason: str | None, option: str) -> str | None:
    """Return the record of a permission: the reason and the date."""
    if reason is not None and not reason.strip():
        raise ClinRaGenInputError(f"{option} needs a reason, which is recorded")
    return reason and f"{reason.strip()} (given {date.today().isoformat()})"


def files_in(folder: Path, patterns: tuple[str, ...]) -> dict[str, Path]:
    """Return path in the repo -> file for the files of a folder that match a pattern; no others are pushed."""
    found = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def push(files: dict[str, Path], arguments: argparse.Namespace, repo_type: str, message: str, gated: bool) -> None:
    """
    Push by the options of `add_push_options`, or with `--dry-run` list the files.

    Args:
        files (`dict[str, Path]`): path in the repo -> file.
        repo_type (`str`): `"model"` or `"dataset"`.
        message (`str`): of the commit, if the options give none.
        gated (`bool`): whether the repo's owner lets each user in.
    """
    if arguments.dry_run:
        sizes = {name: path.stat().st_size for name, path in files.items()}
        print(f"{arguments.repo_id}: {'public' if arguments.public else 'private'}{', gated' * gated}")
        print("".join(f"{size:>15,}  {name}\n" for name, size in sizes.items()), end="")
        print(f"{sum(sizes.values()):>15,}  bytes in {len(files)} files; nothing was sent")
        return
    with hub_errors(arguments.repo_id):
        url, commit = push_files(
            files, arguments.repo_id, repo_type, not arguments.public, gated, arguments.message or message
        )
    print(f"{url}\ncommit {commit}: pull it with revision={commit!r}")


def push_files(
    files: dict[str, Path],
    repo_id: str,
    repo_type: str,
    private: bool,
    gated: bool,
    message: str,
    token: str | None = None,
) -> tuple[str, str]:
    """
    Make `files` the content of `main` of a repo, in one commit; other files of an earlier push are deleted.

    `HfApi.upload_folder` does not work: with Xet installed it splits a large folder into several commits.

    Args:
        private (`bool`): of a new repo. An existing repo must agree: only its owner can change its visibility, which
            also affects earlier revisions.
        gated (`bool`): whether its owner lets each user in.
        token (`str`, *optional*): of the Hub. Default: that of `hf auth login` or `HF_TOKEN`.

    Returns:
        `tuple[str, str]`: address of the repo, and hash of the commit.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    url = api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True)
    there = api.repo_info(url.repo_id, repo_type=repo_type)
    if there.private != private:
        is_, wanted = ("private", "public") if there.private else ("public", "private")
        raise ClinRaGenInputError(
            f"{url.repo_id} exists already, and is {is_}: nothing was sent; give --{is_}, name another repo, or make "
            f"it {wanted} in its settings on the Hub, with all its earlier revisions"
        )
    if gated:
        gate(api, url.repo_id, repo_type, private)
    gone = {file.rfilename for file in there.siblings} - files.keys() - KEPT
    commit = api.create_commit(
        url.repo_id,
        [CommitOperationAdd(name, path) for name, path in files.items()]
        + [CommitOperationDelete(name, is_folder=False) for name in sorted(gone)],
        commit_message=message,
        repo_type=repo_type,
        parent_commit=there.sha,
    )
    return str(url), commit.oid


def gate(api, repo_id: str, repo_type: str, private: bool) -> None:
    """Enable access requests; warn if the Hub does not gate private repos, which nobody else can read anyway."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.update_repo_settings(repo_id, gated="manual", repo_type=repo_type)
    except HfHubHTTPError as error:
        if not private or error.response.status_code != 400:
            raise
        logger.warning("%s is not gated while it is private; switch access requests on before you publish it", repo_id)


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """
    Turn errors of the Hub, or of the connection to it, into one line with the remedy.

    Raises:
        ClinRaGenInputError: for every error of `huggingface_hub`, of the connection, or of an invalid repo name.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except ClinRaGenInputError:
        raise
    except OfflineModeIsEnabled:
        raise ClinRaGenInputError("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it to push") from None
    except HFValidationError:
        raise ClinRaGenInputError(f"--repo-id {repo_id} is not the name of a repo; give USER/NAME") from None
    except (*HfHubHTTPError.__bases__, RuntimeError, ValueError) as error:  # its bases: errors of HTTP, and OSError
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        response = getattr(cause, "response", None)
        if response is None:
            raise ClinRaGenInputError(
                f"{repo_id} was not pushed to {constants.ENDPOINT} ({type(cause).__name__}: {cause}); check the "
                "network, then start the same command again to resume"
            ) from error
        said = cause.server_message or response.reason_phrase
        remedy = REMEDIES.get(response.status_code, "start the same command again to resume")
        raise ClinRaGenInputError(
            f"the Hub answered {response.status_code} for {repo_id} ({said}); {remedy}"
        ) from error


REMEDIES = {
    400: "see its message, and the header of the card",
    401: "log in with `hf auth login`, or set HF_TOKEN",
    403: "log in with a token that may write to it (`hf auth login`), or give a repo of your own",
    404: "give a repo that you can write to, as USER/NAME",
    412: "somebody pushed at the same time: start the same command again",
}
