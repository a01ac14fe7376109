"""The one module that imports httpx: builds clients and posts JSON.

httpx has had no release since 2024 and its successor has other exception classes, so a move must be one file. Plain
httpx costs some milliseconds of CPU a call; with the extra ``speed`` the same client runs over an aiohttp transport.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from headrace import __version__
from headrace.schemas.errors import AdapterError, ErrorKind

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""A larger answer is refused: no model writes it, and it must not fill the memory."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class HttpClient:
    """Posts JSON to one endpoint: no retries, no redirects, bounded answers.

    Args:
        base_url: what paths are appended to.
        headers: sent with each request; never logged.
        key: sent as ``Authorization: Bearer``.
        connections: most connections at a time, all of them kept alive.
    """

    def __init__(self, base_url: str, *, headers: Mapping[str, str], key: SecretStr | None, connections: int) -> None:
        self._base_url = base_url.rstrip("/")
        sent = {"user-agent": f"headrace/{__version__}", "content-type": "application/json", **headers}
        if key is not None:
            sent["authorization"] = f"Bearer {key.get_secret_value()}"
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=60.0)
        self._client = httpx.AsyncClient(
            transport=_transport(limits, connections), headers=sent, follow_redirects=False, trust_env=True
        )

    async def post(self, path: str, body: Any, *, timeout_s: float, headers: Mapping[str, str]) -> Answer:
        """Post one JSON body and read the whole answer.

        Raises:
            AdapterError: ``network`` or ``timeout``; what the answer means is the adapter's business.
        """
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s), pool=timeout_s)
        try:
            async with self._client.stream(
                "POST", self._base_url + path, content=content, headers=dict(headers), timeout=timeout
            ) as response:
                return Answer(response.status_code, response.headers, await _read(response))
        except (httpx.ConnectTimeout, httpx.ConnectError) as error:
            raise AdapterError(ErrorKind.NETWORK, f"no connection to {self._place()}: {_cause(error)}") from None
        except httpx.TimeoutException:
            raise AdapterError(ErrorKind.TIMEOUT, f"no answer from {self._place()} within {timeout_s:g} s") from None
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
            raise AdapterError(ErrorKind.NETWORK, f"connection to {self._place()} broke: {_cause(error)}") from None
        except httpx.InvalidURL:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"endpoint address {self._place()} is not a URL") from None

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _place(self) -> str:
        try:
            url = httpx.URL(self._base_url)
        except httpx.InvalidURL:
            return "the endpoint"
        return f"{url.host}:{url.port}" if url.port else url.host


def _transport(limits: httpx.Limits, connections: int) -> httpx.AsyncBaseTransport | None:
    del connections
    return httpx.AsyncHTTPTransport(limits=limits, retries=0)


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise AdapterError(ErrorKind.SERVER_ERROR, f"the answer is above {MAX_RESPONSE_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _cause(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
