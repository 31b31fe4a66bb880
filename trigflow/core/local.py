"""URLs that only this machine can reach. Pure: no name is looked up."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_local(url: object) -> bool:
    """Tell whether a URL leads to the machine that asks."""
    host = urlsplit(str(url)).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
