# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The server over real HTTP: every good request answered as the pipeline answers it alone, every bad one refused."""

import http.client
import json
import logging
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import uvicorn

from modeling_clinragen import CHANNELS, ClinRaGenInputError
from modeling_clinragen.handler import MAX_RECORDS
from recipes import serve
from recipes.serving import connections
from recipes.serving import server as serving
from recipes.serving.answers import load_handler
from tests.modeling_clinragen.test_handler import same
from tests.recipes.test_predict import kill_worker_of


SHORT = {"max_new_tokens": 8}
TWO = ("--processes", "2")
JSON = {"Content-Type": "application/json"}


class Server:
    """`recipes/serve.py` in a process of its own, on a free port."""

    def __init__(self, folder, *options):
        command = [sys.executable, "-u", serve.__file__, "--model", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"answers at http://\S+:(\d+) ", line):
                self.port = int(found.group(1))
                break
        else:
            raise AssertionError("".join(self.lines))
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr))
        self.reader.start()

    def ask(self, body, method="POST", path="/", headers=JSON):
        return ask(self.port, body, method, path, headers)

    def memory(self):
        """Resident set of the process in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.reader.join()
        return code, "".join(self.lines)


def ask(port, body, method="POST", path="/", headers=JSON):
    """Return status, answer and headers; a body other than text or bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = body if isinstance(body, str | bytes) or hasattr(body, "__next__") else json.dumps(body)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    answer = json.loads(response.read(), parse_constant=pytest.fail)  # NaN is not JSON
    connection.close()
    return response.status, answer, response.headers


@pytest.fixture(scope="module")
def folder(tiny_processor, tiny_config, tmp_path_factory):
    from recipes.models.folder import save_model_folder
    from tests.conftest import make_tiny_model

    folder = tmp_path_factory.mktemp("served") / "model"
    save_model_folder(make_tiny_model(tiny_config), tiny_processor, folder)
    return folder


@pytest.fixture(scope="module")
def pipe(folder):
    return load_handler(str(folder), None, None).pipe


@pytest.fixture
def server(folder, request):
    """A server that a test may stop."""
    server = Server(folder, *getattr(request, "param", ()))
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture(scope="module")
def lasting_server(folder):
    server = Server(folder)
    yield server
    assert server.stop()[0] == 0


def made_up_record(draw):
    words = ["fever", "cough", "pain", "denies", "heart", "failure", "pressure", "low", "high", "for", "two", "days"]
    record = {"note": " ".join(draw.choices(words, k=1 + draw.randrange(40)))}
    if draw.random() < 0.5:
        hours = sorted({draw.randrange(24) for _ in range(4)})
        cell = lambda: draw.choice([None, round(draw.uniform(60, 90), 1)])  # noqa: E731
        record |= {"lab_times": hours, "lab_values": [[cell() for _ in CHANNELS] for _ in hours]}
    elif draw.random() < 0.5:
        record["labs"] = {"heart rate": [[1, 90], [2.5, 120]], "pH": [[1, 7.1]]}
    return record


def good_requests(draw, number):
    for _ in range(number):
        records = [made_up_record(draw) for _ in range(draw.choice([1, 1, 1, 3]))]
        parameters = {**SHORT, **draw.choice([{}, {}, {}, {"attention": True}, {"evidence": True}, {"num_beams": 2}])}
        yield {"inputs": records if len(records) > 1 else records[0], "parameters": parameters}


BAD = [
    ('{"inputs": ', JSON, 400, "invalid JSON at line 1, column 12"),
    (b'{"inputs": {"note": "\xff"}}', JSON, 400, "not in UTF-8"),
    (
        '{"inputs": {"lab_values": [[NaN]]}}',
        JSON,
        400,
        "NaN is not JSON; leave the entry out, or write null",
    ),
    ("[" * 100_000, JSON, 400, "the JSON is not a record"),
    ("9" * 5000, JSON, 400, "the JSON is not a record"),
    ("", JSON, 400, "invalid JSON"),
    ("[]", JSON, 400, "a request is"),
    ({"inputs": {}}, JSON, 422, "inputs: neither a note nor"),
    ({"inputs": {"note": 5}}, JSON, 422, "inputs.note: must be text"),
    ({"inputs": [{"note": "a secret"}, {"note": "\ud800 a secret"}]}, JSON, 422, "inputs[1].note: holds half"),
    ({"inputs": {"note": "a secret", "labs": {"Sodium": [[1, 2]]}}}, JSON, 422, "inputs.labs: unknown channel 'Sod"),
    ({"inputs": {"note": "a secret"}, "parameters": {"seed": 1}}, JSON, 422, "parameters.seed: unknown"),
    ({"inputs": {"note": "a secret"}, "\ud800": 1}, JSON, 422, "?: unknown field"),
    ({"inputs": {"note": "a secret"}, "parameters": {"num_beams": 999}}, JSON, 422, "parameters.num_beams: must be"),
    ({"inputs": [{"note": "a secret"}] * 33}, JSON, 413, "inputs: 33 records"),
    ({"inputs": {"note": "x" * (9 * 2**20)}}, JSON, 413, "the request is larger than"),
    ({"inputs": {"note": "a secret"}}, {"Content-Type": "text/plain"}, 415, "the content type must be"),
]


def refused_as_it_should_be(server, bad):
    body, headers, status, reason = bad
    got, answer, _ = server.ask(body, headers=headers)
    return (
        got == status and list(answer) == ["error"] and reason in answer["error"] and "secret" not in answer["error"]
    )


def test_a_hundred_requests_at_once_good_and_bad_are_all_answered_and_the_memory_stays_flat(server, pipe):
    """Two rounds warm the server up; three more may cost 32 MB: four of the largest requests that are held at once."""
    draw = random.Random(0)
    good = list(good_requests(draw, 100 - 2 * len(BAD)))
    expected = [
        [json.loads(json.dumps(pipe(record, **request["parameters"]))) for record in as_list(request["inputs"])]
        for request in good
    ]
    jobs = [("good", i) for i in range(len(good))] + [("bad", i % len(BAD)) for i in range(2 * len(BAD))]
    assert len(jobs) == 100

    def run(job):
        kind, i = job
        if kind == "bad":
            return refused_as_it_should_be(server, BAD[i])
        status, answer, _ = server.ask(good[i])
        return status == 200 and same(as_list(answer), expected[i])

    memory = []
    with ThreadPoolExecutor(100) as threads:
        for _ in range(5):
            draw.shuffle(jobs)
            results = list(threads.map(run, jobs))
            assert not [job for job, right in zip(jobs, results, strict=True) if not right]
            memory.append(server.memory())
    assert memory[-1] - memory[1] < 32, memory
    code, log = server.stop()
    assert code == 0
    assert "secret" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_where_no_requests_are_joined_each_answer_is_that_of_the_pipeline_to_the_last_digit(folder, pipe, processes):
    draw = random.Random(1)
    records = [made_up_record(draw) for _ in range(24)]
    server = Server(folder, "--batch-size", "1", "--processes", processes)
    with ThreadPoolExecutor(24) as threads:
        results = list(threads.map(lambda record: server.ask({"inputs": record, "parameters": SHORT}), records))
    assert server.stop()[0] == 0
    assert [status for status, _, _ in results] == [200] * 24
    assert [answer for _, answer, _ in results] == [json.loads(json.dumps(pipe(r, **SHORT))) for r in records]


def as_list(part):
    return part if isinstance(part, list) else [part]


def test_health_paths_and_methods(lasting_server):
    status, answer, _ = lasting_server.ask(None, "GET", "/health")
    assert (status, answer["status"]) == (200, "ok")
    request = {"inputs": {"note": "fever"}, "parameters": SHORT}
    assert lasting_server.ask(request, path="/predict")[:2] == lasting_server.ask(request)[:2]
    assert lasting_server.ask(request, path="/nowhere")[:2] == (404, {"error": "Not Found"})
    assert lasting_server.ask(None, "GET", "/")[:2] == (405, {"error": "Method Not Allowed"})


def test_a_body_without_end_is_refused_and_never_held(lasting_server):
    lasting_server.ask({"inputs": {"note": "fever"}, "parameters": SHORT})
    before = lasting_server.memory()

    def endless():
        while True:
            yield b" " * 2**20

    with pytest.raises((ConnectionError, http.client.HTTPException)):
        lasting_server.ask(endless(), headers={**JSON, "Transfer-Encoding": "chunked"})
    assert lasting_server.memory() - before < 32
    assert lasting_server.ask({"inputs": {"note": "fever"}, "parameters": SHORT})[0] == 200


def test_a_client_that_disconnects_harms_nobody(lasting_server, pipe):
    body = json.dumps({"inputs": {"note": "fever and cough"}, "parameters": SHORT}).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    for sent in (head, head + body[:10], head + body):  # in the middle of the request, and before its answer
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", lasting_server.port)) as connection:
                connection.sendall(sent)
    status, answer, _ = lasting_server.ask(body)
    assert (status, answer) == (200, json.loads(json.dumps(pipe({"note": "fever and cough"}, **SHORT))))
    assert "Traceback" not in "".join(lasting_server.lines)


def slow_request(number=32):
    return {"inputs": [{"note": "fever and cough"}] * number, "parameters": {"num_beams": 4, "max_new_tokens": 150}}


@pytest.mark.parametrize("server", [(), pytest.param(TWO, marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_when_it_is_stopped_then_it_first_answers_pending_requests(server, number):
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(server.ask, slow_request()) for _ in range(3)]
        time.sleep(0.3)
        assert not any(future.done() for future in asked)
        code, log = server.stop(number)
        assert [future.result()[0] for future in asked] == [200] * 3
    assert code == 0
    assert "Traceback" not in log
    assert log.rstrip().endswith("stopped")


@pytest.mark.slow
@pytest.mark.parametrize("server", [TWO], indirect=True)
def test_when_a_process_that_answers_is_killed_then_the_server_ends_and_says_so(server):
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(server.ask, slow_request()) for _ in range(2)]
        time.sleep(0.3)
        assert kill_worker_of(server.process) is not None
        assert [future.result()[0] for future in asked] == [500] * 2
    assert server.process.wait(60) == 2
    server.reader.join()
    log = "".join(server.lines)
    assert "--processes: one of them was killed" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_when_the_queue_is_full_then_further_requests_get_503(lasting_server):
    with ThreadPoolExecutor(12) as threads:
        results = list(threads.map(lambda _: lasting_server.ask(slow_request()), range(12)))
    full = [(answer, headers) for status, answer, headers in results if status == 503]
    answered = [answer for status, answer, _ in results if status == 200]
    assert len(full) + len(answered) == 12
    assert full
    assert len(answered) >= 4
    assert all(len(answer) == 32 for answer in answered)
    assert all(int(headers["Retry-After"]) > 0 and "try again" in answer["error"] for answer, headers in full)
    assert lasting_server.ask({"inputs": {"note": "fever"}, "parameters": SHORT})[0] == 200


@contextmanager
def served(handler, held=None):
    """The port of a server in a thread of this process; `held` becomes the set of those that it holds."""
    listener = serving.listen("127.0.0.1", 0)
    server = uvicorn.Server(serving.server_config(handler))
    if held is not None:
        server.server_state.connections = held
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_a_request_that_is_never_completed_is_disconnected(folder, monkeypatch):
    monkeypatch.setattr(serving, "SECONDS_FOR_BODY", 0.2)
    with (
        served(load_handler(str(folder), None, None)) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
SILENT = {
    "nothing": b"",
    "half-of-a-header": b"POST / HTTP/1.1\r\nHo",
    "half-of-a-body": BODY,
    "idle": HEALTH,
    "half-of-the-next": HEALTH + b"G",
    "answers-untaken": HEALTH * 10_000,
}


def silent_connection(port, sent):
    """A connection that sends `sent`, as far as it is received, and reads nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.setblocking(False)
    with suppress(BlockingIOError):
        while sent:
            sent = sent[connection.send(sent) :]
    return connection


def within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def is_closed(connection):
    try:
        while connection.recv(2**20):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.fixture
def handler(folder):
    return load_handler(str(folder), None, None)


@pytest.mark.parametrize("kind", SILENT)
def test_a_connection_whose_client_is_silent_is_closed(handler, monkeypatch, kind):
    monkeypatch.setattr(connections, "SECONDS_FOR_HEADERS", 0.5)
    monkeypatch.setattr(connections, "SECONDS_FOR_CLIENT", 1)
    held = set()
    with served(handler, held) as port, silent_connection(port, SILENT[kind]) as connection:
        assert within(20, lambda: held)
        assert within(30, lambda: not held)  # until then this test does not read an answer either
        assert within(20, lambda: is_closed(connection))
        assert ask(port, None, "GET", "/health")[0] == 200


def test_sending_headers_byte_by_byte_gives_no_more_time(handler, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_FOR_HEADERS", 1)
    with served(handler) as port, silent_connection(port, b"GET / HTTP/1.1\r\nX: ") as connection:
        started = time.monotonic()
        while not is_closed(connection) and time.monotonic() - started < 20:
            time.sleep(0.1)
            with suppress(ConnectionError):
                connection.send(b"x")
        assert time.monotonic() - started < 10


def test_a_connection_with_repeated_requests_is_kept(handler, monkeypatch):
    """For five times as long as a silent one."""
    monkeypatch.setattr(connections, "SECONDS_FOR_HEADERS", 1)
    monkeypatch.setattr(connections, "SECONDS_FOR_CLIENT", 1)
    with served(handler) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(25):
            connection.request("GET", "/health")
            assert connection.getresponse().read().startswith(b'{"status":"ok"')
            time.sleep(0.2)
        connection.close()


def test_a_request_that_the_model_works_on_for_long_is_answered(handler, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS_FOR_HEADERS", 0.1)
    monkeypatch.setattr(connections, "SECONDS_FOR_CLIENT", 0.1)
    monkeypatch.setattr(handler, "answer", lambda records, parameters: [time.sleep(3) or {"diagnoses": []}])
    with served(handler) as port:
        assert ask(port, {"inputs": {"note": "fever"}})[:2] == (200, {"diagnoses": []})


def test_when_arriving_requests_hold_too_much_memory_then_the_oldest_is_disconnected(handler, monkeypatch):
    monkeypatch.setattr(serving, "MAX_BODIES", 3000)
    part = BODY.replace(b"900", b"9000") + b" " * 1200
    with served(handler) as port:
        arriving = []
        for _ in range(3):
            arriving.append(silent_connection(port, part))
            time.sleep(0.3)
        assert arriving[0].recv(1000).startswith(b"HTTP/1.1 408 ")
        assert not any(is_closed(connection) for connection in arriving[1:])
        assert ask(port, {"inputs": {"note": "fever"}, "parameters": SHORT})[0] == 200
        for connection in arriving:
            connection.close()


def test_headers_without_end_are_refused(lasting_server):
    with socket.create_connection(("127.0.0.1", lasting_server.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 2**17)
        connection.settimeout(20)
        assert connection.recv(1000).startswith(b"HTTP/1.1 4")


@contextmanager
def slow_clients(port, number):
    """Clients that send a byte of a request every 0.1 s, and reconnect when they are disconnected."""
    stopped = threading.Event()

    def send():
        while not stopped.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                for i in range(len(request)):
                    connection.sendall(request[i : i + 1])
                    if stopped.wait(0.1):
                        return

    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n" + b" " * 999
    )
    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    yield
    stopped.set()
    for thread in threads:
        thread.join()


@pytest.mark.slow
def test_60_slow_clients_and_500_silent_connections_do_not_hold_up_good_requests(server):
    """In the best of three rounds of 60 requests, 95 of 100 wait for none of those clients, which stay for seconds."""

    def percentile():
        seconds = []
        for i in range(60):
            started = time.perf_counter()
            request = {"inputs": {"note": f"fever and cough for {i} days"}, "parameters": {"max_new_tokens": 32}}
            assert server.ask(request)[0] == 200
            seconds.append(time.perf_counter() - started)
        return statistics.quantiles(seconds, n=20)[-1]

    percentile()  # warms up
    undisturbed, disturbed = [], []
    for _ in range(3):
        undisturbed.append(percentile())
        kinds = [SILENT[kind] for kind in ("nothing", "half-of-a-header", "half-of-a-body", "idle")]
        silent = [silent_connection(server.port, kinds[i % len(kinds)]) for i in range(500)]
        with slow_clients(server.port, 60):
            disturbed.append(percentile())
        for connection in silent:
            connection.close()
    assert min(disturbed) <= min(undisturbed) + 0.5, (undisturbed, disturbed)


def test_when_the_model_fails_on_one_request_then_only_that_one_gets_500_and_no_note_is_shown(
    folder, monkeypatch, caplog
):
    handler = load_handler(str(folder), None, None)
    expected = json.loads(json.dumps(handler.pipe({"note": "fever"}, **SHORT)))
    preprocess, batches = handler.pipe.preprocess, []

    def failing(record):
        if "secret" in record["note"]:
            raise RuntimeError(record["note"])
        return preprocess(record)

    answer = handler.answer

    def counted(records, parameters):
        batches.append(len(records))
        return answer(records, parameters)

    monkeypatch.setattr(handler.pipe, "preprocess", failing)
    monkeypatch.setattr(handler, "answer", counted)
    notes = ["fever", "a secret", "fever", "fever"] * 5
    with served(handler) as port, ThreadPoolExecutor(20) as threads:
        results = list(threads.map(lambda n: ask(port, {"inputs": {"note": n}, "parameters": SHORT}), notes))
    for note, (status, answered, _) in zip(notes, results, strict=True):
        if note == "fever":
            assert (status, answered) == (200, expected)
        else:
            assert status == 500
            assert "secret" not in answered["error"]
    assert max(batches) > 1  # they were encoded together
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_batch_holds_as_many_records_as_a_request_may():
    assert serve.MAX_RECORDS == MAX_RECORDS


def test_outside_the_loopback_it_warns(caplog):
    caplog.set_level(logging.WARNING)
    with serving.listen("127.0.0.1", 0) as listener:
        serving.warn_if_open(listener, None)
    assert not caplog.text
    for token, anybody in (("a" * 16, False), (None, True)):
        caplog.clear()
        with serving.listen("0.0.0.0", 0) as listener:
            serving.warn_if_open(listener, token)
        assert "records and answers are readable there (no TLS)" in caplog.text
        assert ("anybody may send requests" in caplog.text) == anybody


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port is 70000"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--host", "256.0.0.1"], "--host 256.0.0.1"),
        (["--host", "é" * 70], "is not the name of a machine"),
        (["--host", ""], "--host is empty"),
        (["--port", "0", "--model", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_a_users_mistake_is_one_line(tmp_path, options, message):
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        serve.main(["--model", str(tmp_path), *options])
    assert "\n" not in str(caught.value)


def test_when_the_port_is_taken_then_it_says_so(tmp_path):
    with serving.listen("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
        with pytest.raises(ClinRaGenInputError, match=f"--port {port}: Address already in use"):
            serve.main(["--model", str(tmp_path), "--port", port])


def test_code_of_the_folder_is_not_run(folder, tmp_path):
    os.makedirs(tmp_path / "cwd")
    for path in folder.iterdir():
        text = path.read_bytes()
        (tmp_path / path.name).write_bytes(text + b"\nopen('touched', 'w')\n" if path.suffix == ".py" else text)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from recipes.serving.answers import load_handler; load_handler(sys.argv[1], None, None)",
        ]
        + [str(tmp_path)],
        cwd=tmp_path / "cwd",
        env={**os.environ, "PYTHONPATH": str(Path(serve.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert not list((tmp_path / "cwd").iterdir()), done.stderr
