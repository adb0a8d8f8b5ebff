# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write each address that a process looks up, or connects to, on a line of the file `WATCHED_SOCKETS`.

Python imports a module of this name when it starts, if its folder is on `PYTHONPATH`; so do the processes it starts.
"""

import json
import os
import sys


EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")


def note(event: str, arguments: tuple) -> None:
    if event in EVENTS:
        address = arguments[0] if event.startswith("socket.get") else arguments[1]
        with open(os.environ["WATCHED_SOCKETS"], "a", encoding="utf-8") as file:
            file.write(json.dumps([event, address], default=repr) + "\n")


if "WATCHED_SOCKETS" in os.environ:
    sys.addaudithook(note)
