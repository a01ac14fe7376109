"""One HTTP request: to a host that the pools file names, at an address that was checked, without redirects."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from headrace import __version__
from headrace.schemas.errors import AdapterError, ConfigError, ErrorKind
from headrace.schemas.tools import HttpProvider
from headrace.schemas.tools import HttpTool as HttpSpec
from headrace.workers.adapters.openai_errors import retry_after_ms
from headrace.workers.http import Answer, PinnedClient
from headrace.workers.tools.addresses import addresses_of
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.providers import Failover, Provider
from headrace.workers.tools.urls import Target, target_of

MAX_SAID = 200
"""Characters of a service's own words in a message."""

CHARSETS = ("ascii", "iso-8859-1", "iso-8859-15", "us-ascii", "utf-16", "windows-1252")
"""Besides UTF-8. Python knows others, of which some take long for what a hostile server can send."""

STATUS_KINDS = {
    401: ErrorKind.AUTH,
    402: ErrorKind.AUTH,
    403: ErrorKind.AUTH,
    407: ErrorKind.AUTH,
    408: ErrorKind.TIMEOUT,
    425: ErrorKind.OVERLOADED,
    429: ErrorKind.RATE_LIMITED,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}


class _Request(NamedTuple):
    arguments: dict[str, Any]
    key: str


class HttpTool:
    """A tool of the kind `http`."""

    def __init__(self, config: ToolConfig) -> None:
        spec = self._spec = cast(HttpSpec, config.spec)
        self._client = PinnedClient()
        self._failover = Failover(
            [_Asked(one, spec, config, self._client).provider for one in spec.all_providers()],
            spec.breaker,
            tool=config.name,
            pool=config.pool,
            side_effect=spec.side_effect,
        )

    async def start(self) -> None:
        """Nothing is to be made ready."""

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        return await self._failover.call(_Request(arguments, idempotency_key), timeout_s=timeout_s)

    async def close(self) -> None:
        """No connection is kept."""


class _Asked:
    """One of the tool's addresses."""

    def __init__(self, provider: HttpProvider, spec: HttpSpec, config: ToolConfig, client: PinnedClient) -> None:
        self._url = provider.url
        self._spec = spec
        self._client = client
        self._secrets: list[str] = []
        self._headers = {name.lower(): value for name, value in provider.headers.items()}
        for header, named in provider.headers_env.items():
            word, _, variable = named.rpartition(" ")
            value = config.secret(variable).get_secret_value().strip()
            if not value.isascii() or not value.isprintable():
                raise ConfigError(f"tool {config.name!r}: {variable} holds what no header can")
            self._secrets.append(value)
            self._headers[header.lower()] = f"{word} {value}" if word else value
        name = provider.name or provider.url.partition("://")[2].partition("/")[0] or provider.url
        self.provider = Provider(name, self._ask)

    async def _ask(self, request: _Request, timeout_s: float) -> Any:
        target, body = target_of(self._url, self._spec.method, request.arguments, self._spec.hosts)
        deadline = time.monotonic() + timeout_s
        addresses = await addresses_of(target.host, target.port, private=self._spec.private, timeout_s=timeout_s)
        headers = self._headers_of(target, body, request.key)
        for place, address in enumerate(addresses):
            try:
                answer = await self._client.ask(
                    self._spec.method,
                    target.at(address),
                    host=target.host,
                    headers=headers,
                    content=body,
                    timeout_s=max(0.01, deadline - time.monotonic()),
                    max_bytes=self._spec.max_answer_bytes,
                )
                return self._read(answer)
            except AdapterError as error:
                if error.kind is not ErrorKind.NETWORK or error.unconfirmed or place + 1 == len(addresses):
                    raise
        raise AdapterError(ErrorKind.NETWORK, f"host {target.host!r} has no address")

    def _headers_of(self, target: Target, body: bytes | None, key: str) -> dict[str, str]:
        headers = {
            "user-agent": f"headrace/{__version__}",
            "accept": "application/json, text/*;q=0.9, */*;q=0.1",
            **self._headers,
            "host": target.host_header,
            "accept-encoding": "identity",
            "connection": "close",
        }
        if body is not None:
            headers["content-type"] = "application/json"
        if self._spec.side_effect:
            headers["idempotency-key"] = key
        return headers

    def _read(self, answer: Answer) -> Any:
        if not 200 <= answer.status < 300:
            raise self._failure(answer)
        packed = answer.headers.get("content-encoding", "identity").lower()
        if packed != "identity":
            raise AdapterError(
                ErrorKind.SERVER_ERROR, f"the answer is packed ({packed[:40]}), unasked", unconfirmed=True
            )
        return _content(answer.headers, answer.body)

    def _failure(self, answer: Answer) -> AdapterError:
        status = answer.status
        kind = STATUS_KINDS.get(status, ErrorKind.SERVER_ERROR if status >= 500 else ErrorKind.BAD_REQUEST)
        wish_ms = retry_after_ms(answer.headers)
        if 300 <= status < 400:
            said = "redirects are not followed"
        else:
            said = " ".join(answer.body[: MAX_SAID * 8].decode(errors="replace").split())
        for secret in self._secrets:
            said = said.replace(secret, "***")
        message = f"HTTP {status}" + (f": {said[:MAX_SAID]}" if said else "")
        # A proxy says 5xx also where the service behind it has taken the request. A wish to come later is a refusal.
        doubtful = status >= 500 and not (status == 503 and wish_ms is not None)
        return AdapterError(kind, message, retry_after_ms=wish_ms, unconfirmed=doubtful)


def _content(headers: Mapping[str, str], body: bytes) -> Any:
    """Return the answer: JSON where it says so, else its text; None where it is empty."""
    if not body:
        return None
    kind, _, parameters = headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise AdapterError(
                ErrorKind.SERVER_ERROR, "the answer says that it is JSON and is not", unconfirmed=True
            ) from None
    charset = parameters.partition("charset=")[2].strip(" \"';").lower()
    try:
        return body.decode(charset if charset in CHARSETS else "utf-8")
    except ValueError:
        message = f"the answer is no text ({kind[:60] or 'no content-type'})"
        raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=True) from None
