# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find out where the page can be reached from, and where a model's name points to."""

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
    """Return whether an address is reached from this machine alone; of a name but `localhost` that is not known."""
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def where_it_goes() -> str:
    """Return the sentence of the page on where goes what a visitor enters."""
    if "SPACE_ID" in os.environ:
        return SPACE
    return HERE if is_of_this_machine(host()) else NETWORK


def is_missing(model: str) -> bool:
    """Return whether a model's name is a path at which nothing is, which is not to be looked up on the Hub."""
    path = Path(model)
    as_path = model.startswith((".", "/", "~")) or model.count("/") != 1 or path.parent.is_dir()
    return as_path and not path.exists()
