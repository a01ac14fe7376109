"""From a tool's URL and its arguments to the request. Pure.

What stands for an argument is one segment of the path, or one value of the query, whatever it holds: it is escaped,
and neither empty nor a step upwards.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from headrace.schemas.errors import AdapterError, ErrorKind
from headrace.schemas.tools import PLACEHOLDER

MAX_URL = 8_192
DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE = "/:@!$&'()*+,;=-._~%"
_BODY_METHODS = ("POST", "PUT", "PATCH")
_BAD = re.compile(r"[\s\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query."""

    @property
    def host_header(self) -> str:
        """What the header ``host`` says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"

    def at(self, address: str) -> str:
        """Return the URL with an address in place of the host."""
        name = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{name}:{self.port}{self.rest}"


def target_of(
    template: str, method: str, arguments: dict[str, Any], hosts: tuple[str, ...]
) -> tuple[Target, bytes | None]:
    """Return where a call goes, and its body.

    Args:
        template: the tool's URL; wholly a placeholder, it may lead to `hosts`.

    Raises:
        AdapterError: ``bad_request``: an argument cannot stand where it would, or the host is not one of `hosts`.
    """
    whole = PLACEHOLDER.fullmatch(template)
    used = set(PLACEHOLDER.findall(template))
    url = str(arguments.get(whole[1], "")) if whole else PLACEHOLDER.sub(lambda one: _escaped(one, arguments), template)
    left = {name: value for name, value in arguments.items() if name not in used}
    body = None
    if method in _BODY_METHODS:
        body = json.dumps(left, ensure_ascii=False, separators=(",", ":")).encode()
    elif left:
        url += ("&" if "?" in url else "?") + _query(left)
    target = _parsed(url)
    if whole and not _is_listed(target, hosts):
        raise _refused(f"host {target.host!r} is not one that this tool may ask ({', '.join(hosts)})")
    return target, body


def _escaped(placeholder: re.Match[str], arguments: dict[str, Any]) -> str:
    name = placeholder[1]
    value = arguments.get(name)
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float) or value == "":
        raise _refused(f"argument {name!r} stands in the URL: it must be a text that is not empty, or a number")
    return quote(str(value), safe="")


def _query(left: dict[str, Any]) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in left.items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, one if isinstance(one, str) else json.dumps(one)) for one in values if one is not None]
    return urlencode(pairs)


def _parsed(url: str) -> Target:
    if len(url) > MAX_URL or _BAD.search(url):
        raise _refused(f"the URL is above {MAX_URL} characters, or has a space, a backslash or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("the URL cannot be read") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in DEFAULT_PORTS or not host or not host.isascii() or "%" in host:
        raise _refused("the URL is none of a host in ASCII, by http or https")
    if parts.username is not None or parts.password is not None:
        raise _refused("the URL holds a user or a password")
    path = quote(parts.path or "/", safe=_SAFE)
    if any(part.replace("%2e", ".").replace("%2E", ".") in (".", "..") for part in path.split("/")):
        raise _refused("the path of the URL has a step upwards")
    query = quote(parts.query, safe=_SAFE + "?")
    return Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path + (f"?{query}" if query else ""))


def _is_listed(target: Target, hosts: tuple[str, ...]) -> bool:
    usual = target.port == DEFAULT_PORTS[target.scheme]
    for listed in hosts:
        name, _, port = listed.lower().partition(":")
        if not (usual if not port else port == str(target.port)):
            continue
        if target.host == name or (name.startswith("*.") and target.host.endswith(name[1:])):
            return True
    return False


def _refused(message: str) -> AdapterError:
    return AdapterError(ErrorKind.BAD_REQUEST, message)
