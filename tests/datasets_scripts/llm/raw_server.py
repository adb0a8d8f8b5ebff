# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A server on loopback that answers every request with arbitrary bytes."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable


class RawServer:
    """
    A context manager; `url` is the base URL while it is open.

    Args:
        reply (callable): number of a request -> all that is sent back, head and body; then the connection is closed.
    """

    def __init__(self, reply: Callable[[int], bytes]):
        self.reply, self.heads, self.bodies = reply, [], []

    def __enter__(self) -> RawServer:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    head = b"".join(iter(self.rfile.readline, b"\r\n"))
                    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    body = self.rfile.read(int(lengths[0].split(b":")[1]) if lengths else 0)
                    outer.heads.append(head)
                    outer.bodies.append(body)
                    self.wfile.write(outer.reply(len(outer.bodies) - 1))
                except OSError:  # the client has disconnected
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size = True, 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


def http(body: object, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """A whole reply; a body that is neither text nor bytes becomes JSON."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def chat(content: object, **fields: object) -> dict:
    """A completion with that content; `fields` replace others of its top."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return {"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage, **fields}
