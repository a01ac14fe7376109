"""The one module that imports httpx: builds clients and posts JSON.

httpx has had no release since 2024 and its successor has other exception classes, so a move must be one file. Plain
httpx costs milliseconds of CPU a call when many are in flight, through its connection pool; `LeasedTransport` does not.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import SecretStr

from headrace import __version__
from headrace.schemas.errors import AdapterError, ErrorKind

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""A larger answer is refused: no model writes it, and it must not fill the memory."""
CONNECT_TIMEOUT_S = 5.0

if "sniffio" not in sys.modules and find_spec("sniffio") is None:
    # httpcore tries to import it several times a request. Python remembers no import that failed and would search all
    # folders again each time, which was a fifth of what a call costs; None says that it is not there.
    sys.modules["sniffio"] = None  # type: ignore[assignment]


NOT_SENT = (httpx.ConnectTimeout, httpx.ConnectError, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""Failures before the first byte of the request."""


def may_be_billed(status: int) -> bool:
    """Return whether a provider may have done and billed a call that ended with this status; 0: none was read."""
    return status == 0 or 200 <= status < 300


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
        transport: for tests; the number of connections follows the number of calls, which the pool bounds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        key: SecretStr | None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        sent = {"user-agent": f"headrace/{__version__}", "content-type": "application/json", **headers}
        if key is not None:
            sent["authorization"] = f"Bearer {key.get_secret_value()}"
        leased = transport or LeasedTransport(proxy_for(self._base_url))
        self._client = httpx.AsyncClient(transport=leased, headers=sent, follow_redirects=False)

    async def post(self, path: str, body: Any, *, timeout_s: float, headers: Mapping[str, str]) -> Answer:
        """Post one JSON body and read the whole answer.

        Raises:
            AdapterError: ``network`` or ``timeout``; what the answer means is the adapter's business. Unconfirmed where
                the request may have been sent and no error status came back.
        """
        status = 0
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        timeout = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s), pool=timeout_s)
        try:
            async with self._client.stream(
                "POST", self._base_url + path, content=content, headers=dict(headers), timeout=timeout
            ) as response:
                status = response.status_code
                return Answer(status, response.headers, await _read(response))
        except NOT_SENT as error:
            raise AdapterError(ErrorKind.NETWORK, f"no connection to {self._place()}: {_cause(error)}") from None
        except httpx.TimeoutException:
            message = f"no answer from {self._place()} within {timeout_s:g} s"
            raise AdapterError(ErrorKind.TIMEOUT, message, unconfirmed=may_be_billed(status)) from None
        except (httpx.TransportError, httpx.DecodingError, httpx.StreamError) as error:
            message = f"connection to {self._place()} broke: {_cause(error)}"
            raise AdapterError(ErrorKind.NETWORK, message, unconfirmed=may_be_billed(status)) from None
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


class PinnedClient:
    """Asks a host at an address that the caller has checked: a name that meanwhile means another one changes nothing.

    Each request has a connection of its own. One that was kept may have been closed by the server just now, and then
    nobody knows whether a request with a side effect was read. No proxy is used (it would look the name up again), no
    cookie kept, no redirect followed, and nothing unpacked: a packed answer can be a thousand times its size.
    """

    def __init__(self) -> None:
        self._verify = httpx.create_ssl_context()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        host: str,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout_s: float,
        max_bytes: int,
    ) -> Answer:
        """Make one request and read the whole answer.

        Args:
            url: with the address in place of the host.
            host: for TLS; the header ``host`` is the caller's to give.
            timeout_s: the whole request.
            max_bytes: of the answer's body.

        Raises:
            AdapterError: ``network``, ``timeout`` or ``too_large``; unconfirmed once the request began to be sent.
        """
        sent = False

        async def trace(event: str, _: Any) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        limits = httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)).as_dict()
        extensions = {"timeout": limits, "sni_hostname": host, "trace": trace}
        transport = httpx.AsyncHTTPTransport(verify=self._verify, limits=_ONE, retries=0, trust_env=False)
        try:
            async with asyncio.timeout(timeout_s), transport:
                request = httpx.Request(method, url, headers=dict(headers), content=content, extensions=extensions)
                response = await transport.handle_async_request(request)
                return Answer(response.status_code, response.headers, await _read_raw(response, max_bytes))
        except (httpx.TimeoutException, TimeoutError):
            message = f"no {'answer from' if sent else 'connection to'} {host} within {timeout_s:.3g} s"
            kind = ErrorKind.TIMEOUT if sent else ErrorKind.NETWORK
            raise AdapterError(kind, message, unconfirmed=sent) from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise AdapterError(ErrorKind.NETWORK, f"{host}: {_cause(error)}", unconfirmed=sent) from None
        except (httpx.InvalidURL, ValueError) as error:
            raise AdapterError(ErrorKind.BAD_REQUEST, f"no request can be made of this: {_cause(error)}") from None


async def _read_raw(response: httpx.Response, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > max_bytes:
            message = f"the answer is above {max_bytes:,} bytes"
            raise AdapterError(ErrorKind.TOO_LARGE, message, unconfirmed=True)
        parts.append(part)
    return b"".join(parts)


def client_for_mcp(headers: Mapping[str, str], *, timeout_s: float) -> Any:
    """Return the client that the MCP SDK asks for, which is httpx's successor: with headers, without redirects."""
    import httpx2

    timeout = httpx2.Timeout(timeout_s, read=None)  # Calls have times of their own.
    return httpx2.AsyncClient(headers=dict(headers), timeout=timeout, follow_redirects=False)


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``), or None.

    Loopback never goes through one: a local model server is not reachable from there.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    if parts.host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(parts.host):
        return None
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


class LeasedTransport(httpx.AsyncBaseTransport):
    """Gives each request a connection of its own, the one used last first.

    httpcore's pool looks at every connection (and asks the kernel about the idle ones) on every request, which at 64
    in flight was measured to cost 10 ms of CPU a call. One pool of one connection for each lease costs none of that.

    Only the connection of an answer that was read to its end is used again. httpcore keeps one for ever that was
    cancelled at the wrong moment (before it was opened, or while it was closed), and each later request would wait
    for it until its timeout: found by tests/chaos.

    Args:
        proxy: the proxy that every connection goes through.
    """

    def __init__(self, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._verify = httpx.create_ssl_context()
        self.free: list[httpx.AsyncHTTPTransport] = []
        """Connections without a request."""
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = self.free.pop() if self.free else self._open()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            self._drop(transport)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _LeasedStream(response.stream, lambda whole: self._give_back(transport, whole=whole))
        return response

    async def aclose(self) -> None:
        free, self.free = self.free, []
        for transport in free:
            self._drop(transport)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _open(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._verify, limits=_ONE, retries=0, proxy=self._proxy)

    def _give_back(self, transport: httpx.AsyncHTTPTransport, *, whole: bool) -> None:
        if whole:
            self.free.append(transport)
        else:
            self._drop(transport)

    def _drop(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Close a connection in a task of its own: who gave it up may be cancelled just now."""
        task = asyncio.get_running_loop().create_task(transport.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # Looked at, so that asyncio does not complain: it is closed either way.


_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=60.0)


class _LeasedStream(httpx.AsyncByteStream):
    """A body that gives its connection back when it is closed, and says whether it was read to its end."""

    def __init__(self, stream: httpx.AsyncByteStream, give_back: Callable[[bool], None]) -> None:
        self._stream = stream
        self._give_back: Callable[[bool], None] | None = give_back
        self._read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part
        self._read = True

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        closed = False
        try:
            await self._stream.aclose()
            closed = True
        finally:
            if give_back is not None:
                give_back(closed and self._read)


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            message = f"the answer is above {MAX_RESPONSE_BYTES} bytes"
            raise AdapterError(ErrorKind.SERVER_ERROR, message, unconfirmed=may_be_billed(response.status_code))
        parts.append(part)
    return b"".join(parts)


def _cause(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__
