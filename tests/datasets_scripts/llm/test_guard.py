# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Records of patients stay on the machine.

Nothing here reaches the outside: a tripwire stops every connection that is not to this machine, a stand-in resolver
names addresses of documentation (RFC 5737), and listeners are this machine's own.
"""

import gzip
import json
import shutil
import socket

import pytest

from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.common.command import run_command
from datasets_scripts.dataset.folder import METADATA_FILE, iterate_records, read_metadata
from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.endpoint import EndpointModel
from datasets_scripts.llm.guard import LeavesMachineError, check_endpoint, is_loopback
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.llm.chat_server import ChatServer
from tests.datasets_scripts.teacher.small_teacher import ANSWER


OUTSIDE = "203.0.113.7"
SECRET = "xylophonic crepitations"  # in a note, and must not be in a log


@pytest.fixture
def tripwire(monkeypatch):
    """Addresses outside of this machine to which a connection was tried; none is made."""
    tried, connect = [], socket.socket.connect

    def watched(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            tried.append(address[0])
            raise OSError("stopped by the tripwire")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    return tried


@pytest.fixture
def names(monkeypatch):
    """Name -> addresses that it resolves to, one after the other; the last one stays."""
    names, resolve = {}, socket.getaddrinfo

    def stand_in(host, port, *args, **kwargs):
        host = host.decode() if isinstance(host, bytes) else host
        if host in names:
            addresses = names[host]
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return resolve(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", stand_in)
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of the source mimic-iv with a secret in each note, and knowledge."""
    folder = tmp_path_factory.mktemp("guard")
    arguments = ["--source", "synthetic", "--root", str(folder / "raw"), "--limit", "30"]
    build_dataset.main([*arguments, "--output", str(folder / "first")])
    notes = next((folder / "raw" / "note").glob("discharge*"))
    heading = b"History of Present Illness:"
    notes.write_bytes(
        gzip.compress(gzip.decompress(notes.read_bytes()).replace(heading, heading + b"\n" + SECRET.encode() + b"."))
    )
    build_dataset.main(["--source", "mimic-iv", "--root", str(folder / "raw"), "--output", str(folder / "dataset")])
    build_knowledge.main(["--corpus", "builtin", "--output", str(folder / "knowledge.json")])
    return folder


def generate(folder, output, *options):
    arguments = ["--dataset", str(folder / "dataset"), "--knowledge", str(folder / "knowledge.json")]
    generate_rationales.main([*arguments, "--output", str(output), "--teacher", "openai:m", *options])


def ask(url, log, **options):
    model = EndpointModel("m", url, log, confined=True, attempts=3, seconds=2.0, first_wait=0.01, **options)
    schema = {"type": "object"}
    return list(map_in_order(model.answer, [Request([{"role": "user", "content": SECRET}], schema)], model))


@pytest.fixture
def log(tmp_path):
    log = RequestLog(tmp_path / "requests.sqlite")
    yield log
    log.close()


@pytest.mark.parametrize(
    "host",
    [
        OUTSIDE,
        "10.0.0.5",
        "192.168.1.2",
        "0.0.0.0",
        "169.254.169.254",
        "[2001:db8::1]",
        "[::ffff:203.0.113.7]",
        "[fe80::1]",
    ],
)
def test_an_address_that_is_not_this_machine_is_refused(tmp_path, folder, tripwire, host):
    with pytest.raises(LeavesMachineError, match="nothing was sent"):
        generate(folder, tmp_path / "out", "--base-url", f"http://{host}:8000/v1")
    assert not tripwire
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_this_machine_is_allowed(host):
    check_endpoint(f"http://{host}:8000/v1", confined=True)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1/v1", "http://", "file:///etc/hosts", "unix:/run/model"]
)
def test_an_invalid_web_address_is_refused(url):
    with pytest.raises(ClinRaGenInputError, match="is not an address"):
        check_endpoint(url, confined=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http://[::1/v1", "http://127.0.0.1:port/v1"])
def test_an_address_that_cannot_be_read_is_refused(url):
    with pytest.raises(ClinRaGenInputError, match="is not an address"):
        check_endpoint(url, confined=True)


def test_an_impossible_name_is_refused():
    with pytest.raises(ClinRaGenInputError, match="cannot be resolved"):
        check_endpoint(f"http://{'a' * 70}.{'b' * 200}/v1", confined=True)


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@127.0.0.1/v1", "http://127.0.0.1/v1?key=hunter2", "http://127.0.0.1/v1#hunter2"]
)
def test_an_address_that_holds_a_secret_is_refused_without_showing_it(url):
    with pytest.raises(ClinRaGenInputError, match="OPENAI_API_KEY") as error:
        check_endpoint(url, confined=True)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("key", ["sk-hunter2\nX-Other: 1", "schlüssel-hunter2", "hunter2\x00"])
def test_a_key_that_a_header_cannot_hold_is_refused_without_showing_it(log, key):
    with pytest.raises(ClinRaGenInputError, match="OPENAI_API_KEY") as error:
        EndpointModel("m", "http://127.0.0.1:8000/v1", log, confined=True, api_key=key)
    assert "hunter2" not in str(error.value)


def test_a_name_that_resolves_to_the_outside_is_refused(tmp_path, folder, tripwire, names):
    names["model.hospital.test"] = [OUTSIDE]
    with pytest.raises(LeavesMachineError, match=OUTSIDE):
        generate(folder, tmp_path / "out", "--base-url", "http://model.hospital.test:8000/v1")
    assert not tripwire


def test_a_redirect_is_not_followed(tmp_path, tripwire, log):
    redirected = []

    def location(number):
        redirected.append(number)
        return "redirect"

    with ChatServer(fault=location) as server:
        server.location = f"http://{OUTSIDE}/v1/chat/completions"
        with pytest.raises(ClinRaGenInputError, match="redirects are not followed"):
            ask(server.url, log)
    assert redirected == [0]
    assert not tripwire


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_proxies_of_the_environment_are_not_used(tripwire, log, monkeypatch, scheme):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"{scheme}://{OUTSIDE}:3128")
    with ChatServer(lambda body: "{}") as server:
        (answer,) = ask(server.url, log)
    assert answer.value == {}
    assert len(server.bodies) == 1
    assert not tripwire


def test_a_retry_after_the_name_came_to_mean_another_machine_is_refused(tripwire, names, log):
    with ChatServer(lambda body: "{}", fault=lambda number: "dropped") as server:
        names["model.test"] = ["127.0.0.1", "127.0.0.1", OUTSIDE]  # for the check, the first attempt, the second
        with pytest.raises(LeavesMachineError, match="before a byte was sent"):
            ask(f"http://model.test:{server.port}/v1", log)
    assert len(server.bodies) == 1
    assert not tripwire


def own_address():
    """An address of this machine that is not loopback, so that a connection to it is a real one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OUTSIDE, 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network address")
        return probe.getsockname()[0]


def test_permission_opens_the_way_and_is_recorded(tmp_path, folder):
    with ChatServer(lambda body: json.dumps(ANSWER), host=own_address()) as server:
        with pytest.raises(LeavesMachineError):
            generate(folder, tmp_path / "refused", "--base-url", server.url)
        assert not server.bodies
        with pytest.raises(ClinRaGenInputError, match="needs a reason"):
            generate(folder, tmp_path / "refused", "--base-url", server.url, "--i-am-permitted-to-send", " ")
        assert not server.bodies
        permission = ("--i-am-permitted-to-send", "agreement 12, signed by the ethics board")
        generate(folder, tmp_path / "out", "--base-url", server.url, *permission)
    assert server.bodies
    rationales = read_metadata(tmp_path / "out")["rationales"]
    assert rationales["permission_to_send"].startswith(permission[1])
    assert rationales["endpoint"] == server.url
    assert permission[1] in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", [source for source in build_dataset.SOURCES if source != "synthetic"])
def test_every_source_of_real_records_is_guarded_regardless_of_its_description(tmp_path, folder, source, tripwire):
    copy = shutil.copytree(folder / "dataset", tmp_path / "dataset")
    metadata = read_metadata(folder / "dataset")
    metadata["source"], metadata["source_description"]["credentialed"] = source, False
    (copy / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    (tmp_path / "knowledge.json").write_bytes((folder / "knowledge.json").read_bytes())
    with pytest.raises(LeavesMachineError):
        generate(tmp_path, tmp_path / "out", "--base-url", f"http://{OUTSIDE}/v1")
    assert not tripwire


def test_simulated_records_may_leave_the_machine(folder, tripwire, names, log):
    check_endpoint(f"http://{OUTSIDE}/v1", confined=False)
    assert not tripwire  # a check resolves, it does not connect


def test_logs_and_errors_carry_no_text_of_a_note(tmp_path, folder, caplog, capsys):
    caplog.set_level("DEBUG")
    notes = "".join(row["note"] for row in iterate_records(folder / "dataset"))
    assert SECRET in notes
    faults = iter(["HTTP 500", "malformed", "dropped", None, "HTTP 400"] * 500)
    with ChatServer(lambda body: SECRET, fault=lambda number: next(faults)) as server:
        generate(folder, tmp_path / "out", "--base-url", server.url, "--attempts", "3", "--tries", "2")
        for argument in ("--help", "--base-url"):
            with pytest.raises(SystemExit):
                run_command(lambda _, option=argument: generate(folder, tmp_path / "out", option))
    assert any(SECRET in body["messages"][-1]["content"] for body in server.bodies)
    printed = capsys.readouterr()
    for text in (caplog.text, printed.out, printed.err, (tmp_path / "out" / "set_aside.jsonl").read_text()):
        assert SECRET not in text
