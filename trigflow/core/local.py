"""URLs that only this machine can reach, and those that a token may go to. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_local(url: object) -> bool:
    """Tell whether a URL leads to the machine that asks."""
    try:
        host = urlsplit(str(url)).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, or no URL at all
        return False
    return address.is_loopback or address.is_unspecified


def api_url(url: str, *, example: str = "https://HOST") -> str:
    """Return the base URL of an API without its last slash; ValueError where a token could be overheard.

    It must be https, or http to this machine, and hold neither query, fragment nor user name.
    """
    parts = urlsplit(url)
    private = parts.scheme == "https" or (parts.scheme == "http" and is_local(url))
    plain = not parts.query and not parts.fragment and parts.username is None
    if not (private and plain and parts.hostname):
        raise ValueError(f"base_url of host {parts.hostname} can't be used; write {example}")
    return url.rstrip("/")
