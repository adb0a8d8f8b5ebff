# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Answer records over HTTP on this machine.

    python recipes/serve.py --model runs/quickstart/stage3
    curl -H 'Content-Type: application/json' -d '{"inputs": {"note": "fever and cough"}}' http://127.0.0.1:8000

`POST /` (or `/predict`) takes the same requests as [`EndpointHandler`], and returns the same answers. Waiting requests
are encoded together. `GET /health` reports whether the server is up, `/metrics` has counters for Prometheus, and
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.workers import import_ahead, quick_imports, several_wanted
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MAX_RECORDS = 32  # of a batch, as of a request: `MAX_RECORDS` of `modeling_clinragen.handler`


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Answer records over HTTP.")
    parser.add_argument("--model", required=True, help="model folder or Hub id")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub id")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1, this machine only"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on, 0 for a free one; default: 8000")
    parser.add_argument(
        "--batch-size", type=int, default=16, help="waiting records that are encoded together, at most; default: 16"
    )
    parser.add_argument(
        "--processes",
        type=int,
        help="number of processes; default: one per core, at most four, for a large model or on a GPU one",
    )
    parser.add_argument(
        "--token-file", type=Path, help="file with a token that every request must send; default: no token"
    )
    parser.add_argument("--device", help="device to run on; default: cuda if there is one, else cpu")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if not 1 <= arguments.batch_size <= MAX_RECORDS:
        raise ClinRaGenInputError(f"--batch-size is {arguments.batch_size}; give 1 to {MAX_RECORDS}")
    if arguments.processes is not None and arguments.processes < 1:
        raise ClinRaGenInputError(f"--processes is {arguments.processes}; give 1 or more")
    if several_wanted(arguments.processes):
        import_ahead("recipes.serving.processes")
    with quick_imports():
        from recipes.serving.server import serve

    serve(arguments)


if __name__ == "__main__":
    run_command(main)
