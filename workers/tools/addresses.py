"""Which addresses a tool may ask: by default none of this machine and of private networks.

A name is looked up once, every address that it has is checked, and the connection goes to one that was: a name that
means something else a moment later (DNS rebinding) is not asked again.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from headrace.schemas.errors import AdapterError, ErrorKind

LOOK_UP_S = 10.0
MAX_ADDRESSES = 4
"""Of a name with more, the others are not tried."""

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


async def addresses_of(host: str, port: int, *, private: bool, timeout_s: float = LOOK_UP_S) -> list[str]:
    """Return the addresses of a host that may be asked, in the order in which to try them.

    Args:
        private: whether addresses of this machine and of private networks may be.

    Raises:
        AdapterError: ``network``: there is none; ``bad_request``: one of them is private. Nothing was sent.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(min(LOOK_UP_S, timeout_s)):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise AdapterError(ErrorKind.NETWORK, f"host {host!r} cannot be looked up: {reason}") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not private and (closed := [address for address in addresses if not is_public(address)]):
        # One is enough: which of them would answer is not for us to guess.
        message = f"host {host!r} has a private address ({closed[0]}); a tool that may ask it says private: true"
        raise AdapterError(ErrorKind.BAD_REQUEST, message)
    return addresses[:MAX_ADDRESSES]


def is_public(address: str) -> bool:
    """Return whether an address lies in the public network."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and (within := _embedded(found)) is not None:
        return is_public(str(within))
    if found.is_multicast or getattr(found, "is_site_local", False):
        return False
    return found.is_global


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which an IPv6 address leads, where it is one of that sort."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
