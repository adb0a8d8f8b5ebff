# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Determine where the page can be reached from, and whether a model's name is a missing path."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path


HERE = "What you enter stays on this machine; notes and series are neither recorded nor sent anywhere."
NETWORK = (
    "This page can be reached over the network: what you enter goes, without encryption or a password, to the machine "
    "that serves it. Notes and series are not recorded there. Enter nothing of real patients."
)
SPACE = "What you enter goes to the machine of this Space and is not recorded there. Enter nothing of real patients."


def host() -> str:
    """Return the address that Gradio will listen on."""
    return os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")


def is_of_this_machine(name: str) -> bool:
    """Return whether an address is reachable only from this machine; `False` for names other than `localhost`."""
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def where_it_goes() -> str:
    """Return the sentence of the page about where a visitor's input goes."""
    if "SPACE_ID" in os.environ:
        return SPACE
    return HERE if is_of_this_machine(host()) else NETWORK


def is_missing(model: str) -> bool:
    """Return whether a model's name is a missing path, which must not be looked up on the Hub."""
    path = Path(model)
    as_path = model.startswith((".", "/", "~")) or model.count("/") != 1 or path.parent.is_dir()
    return as_path and not path.exists()
