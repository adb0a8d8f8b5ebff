# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Throughput of the teachers: records a second of the template, gate included; and how close the client of an endpoint
comes to the ideal rate, with a server that takes the same time for each request.

    python -m benchmarks.teacher --dataset data/records --knowledge knowledge.json --output runs/teacher
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from datasets_scripts import generate_rationales
from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.dataset.folder import iterate_records, read_metadata
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.endpoint import EndpointModel
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from datasets_scripts.teacher.template import TemplateTeacher, write_in_processes


WARM = 1000  # records until all processes have started
SERVER = """
import asyncio, json, sys
from aiohttp import web
usage = {"prompt_tokens": 1, "completion_tokens": 1}
reply = json.dumps({"choices": [{"message": {"content": "{}"}}], "usage": usage})
async def answer(request):
    await request.read()
    await asyncio.sleep(float(sys.argv[1]))
    return web.Response(text=reply, content_type="application/json")
async def main():
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        description="Throughput of the template teacher and of the client of an endpoint."
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder, of 10,000 records or more")
    parser.add_argument("--knowledge", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json to")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--latency", type=float, default=0.5, help="seconds that the server takes; default 0.5")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[16, 64], help="requests at once; default 16 64")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        metrics = {"template": template(arguments, aside), "endpoint": endpoint(arguments, aside)}
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    show(metrics)
    return metrics


def template(arguments: argparse.Namespace, folder: Path) -> dict:
    metadata = read_metadata(arguments.dataset)
    teacher = TemplateTeacher(load_knowledge(arguments.knowledge), metadata["channels"], metadata["labels"])
    rationales = write_in_processes(teacher, iterate_records(arguments.dataset), arguments.processes)
    for _ in islice(rationales, WARM):
        pass
    began = time.perf_counter()
    records = sum(1 for _ in rationales)
    running = records / (time.perf_counter() - began)
    command = [sys.executable, generate_rationales.__file__, "--dataset", str(arguments.dataset)]
    command += ["--knowledge", str(arguments.knowledge), "--teacher", "template", "--output", str(folder / "written")]
    began = time.perf_counter()
    subprocess.run([*command, "--processes", str(arguments.processes)], check=True, stderr=subprocess.DEVNULL)
    whole = (records + WARM) / (time.perf_counter() - began)
    return {
        "records": records + WARM,
        "processes": arguments.processes,
        "records_per_second": round(running),
        "records_per_second_of_the_whole_command": round(whole),
    }


def endpoint(arguments: argparse.Namespace, folder: Path) -> list[dict]:
    """Return for each number of requests in flight the rate, and its ratio to that number divided by the latency."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(arguments.latency)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        return [_in_flight(url, number, arguments.latency, folder) for number in arguments.in_flight]
    finally:
        server.terminate()


def _in_flight(url: str, number: int, latency: float, folder: Path) -> dict:
    log = RequestLog(folder / f"requests-{number}.sqlite")
    model = EndpointModel("m", url, log, confined=True, concurrency=number)
    records = 40 * number
    note = "word " * 1500  # the length of a chat with examples, a note and its series
    requests: Iterable[Request] = (
        Request([{"role": "user", "content": f"{i} {note}"}], {"type": "object"}) for i in range(records)
    )
    began = time.perf_counter()
    answered = sum(a.value is not None for a in map_in_order(model.answer, requests, model))
    seconds = time.perf_counter() - began
    log.close()
    return {
        "in_flight": number,
        "requests": answered,
        "requests_per_second": round(answered / seconds, 1),
        "of_ideal": round(answered / seconds / (number / latency), 3),
    }


def show(metrics: dict) -> None:
    found = metrics["template"]
    print(
        f"Template teacher: {found['records_per_second']:,} records/s with {found['processes']} processes, "
        f"{found['records_per_second_of_the_whole_command']:,} records/s with starting, writing and hashing "
        f"({found['records']:,} records)."
    )
    print("\n| requests in flight | requests/s | of ideal |\n| --- | --- | --- |")
    for run in metrics["endpoint"]:
        print(f"| {run['in_flight']} | {run['requests_per_second']} | {run['of_ideal']:.1%} |")


if __name__ == "__main__":
    run_command(main)
