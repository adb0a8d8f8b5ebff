# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The data-use guard: records of patients stay on the machine unless the user gives a recorded permission.

The check is at the socket, where every connection begins, after names are resolved: it also covers redirects and names
that resolve elsewhere, now or later. Proxies are never used, so that no variable of the environment can divert a
request, and redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import aiohttp

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


REMEDY = (
    "use a model served on this machine, or, if the data-use agreement allows it, give "
    '--i-am-permitted-to-send "reason"'
)


class LeavesMachineError(ClinRaGenInputError):
    """Raised for a connection that would send records off the machine; nothing was sent."""


def is_loopback(address: str) -> bool:
    """Return whether an IP address, as text, is this machine's own."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def check_endpoint(base_url: str, confined: bool) -> None:
    """
    Check an endpoint before any work is done for it.

    Args:
        base_url (`str`): such as `http://127.0.0.1:8000/v1`.
        confined (`bool`): whether what is sent must stay on this machine.

    Raises:
        ClinRaGenInputError: if it is not a valid address, cannot be resolved, or leaves the machine while `confined`.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port or 443
    except ValueError:  # a port above 65535, a bracket too many
        parts = port = None
    if parts is not None and ("@" in parts.netloc or parts.query or parts.fragment):
        raise ClinRaGenInputError(
            "--base-url holds a password, or a ? or # behind the address: it is shown and recorded, so give the "
            "address alone, and the key in OPENAI_API_KEY"
        )
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClinRaGenInputError(f"--base-url {base_url} is not an address such as http://127.0.0.1:8000/v1")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ClinRaGenInputError(f"--base-url {base_url}: {parts.hostname} cannot be resolved: {error}") from None
    for *_, address in found:
        if confined and not is_loopback(address[0]):
            raise LeavesMachineError(
                f"{base_url} is {address[0]}, which is not this machine: nothing was sent; {REMEDY}"
            )


def open_session(confined: bool, seconds: float, connections: int) -> aiohttp.ClientSession:
    """
    Return a session that checks every connection; call it within a running event loop.

    Args:
        confined (`bool`): refuse all but loopback addresses.
        seconds (`float`): limit of one request, from connecting to its last byte.
        connections (`int`): most connections at once.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        resolver=aiohttp.ThreadedResolver(),
        use_dns_cache=False,
        happy_eyeballs_delay=None,
        socket_factory=_loopback_socket if confined else None,
    )
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, 10))
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)


def _loopback_socket(address_info: tuple) -> socket.socket:
    family, kind, protocol, _, address = address_info
    if not is_loopback(address[0]):
        raise LeavesMachineError(f"a connection to {address[0]} was refused before a byte was sent; {REMEDY}")
    return socket.socket(family, kind, protocol)
