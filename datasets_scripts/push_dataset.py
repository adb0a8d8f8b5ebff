# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Push a dataset folder to the Hub, where `load_dataset("USER/NAME")` reads it.

    python datasets_scripts/push_dataset.py --dataset data/mine --repo-id USER/NAME --dry-run
    python datasets_scripts/push_dataset.py --dataset data/mine --repo-id USER/NAME

The repo is private unless `--public` is given. Without a permission, records of real patients stay on the machine;
with one, their repo is gated: its owner admits each user.
"""

import argparse
import json
import tempfile
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.hub import add_push_options, dated_reason, files_in, push
from datasets_scripts.dataset.splits import SPLITS
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Push a dataset folder to the Hub.")
    parser.add_argument("--dataset", type=Path, required=True, help="finished dataset folder")
    add_push_options(parser)
    parser.add_argument(
        "--i-am-permitted-to-send",
        dest="send_permission",
        metavar="REASON",
        help="permit pushing credentialed data, even to a private repo; the reason is recorded in the pushed files",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    from datasets_scripts.dataset.card import dataset_card
    from datasets_scripts.dataset.folder import LABEL_AUDIT, METADATA_FILE, check_content
    from datasets_scripts.dataset.terms import is_open

    metadata = check_content(arguments.dataset)
    credentialed = not is_open(arguments.dataset, metadata)
    permissions = permissions_to_push(arguments) if credentialed else {}
    pushed = (*(f"data/{split}-*.parquet" for split in SPLITS), LABEL_AUDIT)
    with tempfile.TemporaryDirectory() as aside:
        described = {**metadata, "permissions": permissions} if permissions else metadata
        text = json.dumps(described, indent=1, ensure_ascii=False)
        (Path(aside) / METADATA_FILE).write_text(text, encoding="utf-8")
        (Path(aside) / "README.md").write_text(dataset_card(described, Path(aside)), encoding="utf-8")
        files = {**files_in(arguments.dataset, pushed), **files_in(Path(aside), ("**/*",))}
        message = f"{metadata['source']} records {metadata['content_hash'][:12]}"
        push(files, arguments, "dataset", message, gated=credentialed)


def permissions_to_push(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the permissions for the card that credentialed data need; a missing one is a `ClinRaGenInputError`."""
    needed = {"send": ("--i-am-permitted-to-send", arguments.send_permission)}
    if arguments.public:
        needed["publish"] = ("--i-am-permitted-to-publish", arguments.publish_permission)
    for option, reason in needed.values():
        if reason is None:
            raise ClinRaGenInputError(
                f"{arguments.dataset} comes from credentialed data: nothing was sent; if the data-use agreement "
                f'allows it, give {option} "reason", which is recorded in what is pushed'
            )
    return {to: dated_reason(reason, option) for to, (option, reason) in needed.items()}


if __name__ == "__main__":
    run_command(main)
