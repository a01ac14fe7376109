"""HTTP/1.1 on asyncio and h11 (which httpx brings along): small, without extras, some thousand requests a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import h11

from headrace.workers.adapters.faulty.provider import ScriptedProvider
from headrace.workers.adapters.faulty.replies import Reply

MAX_BODY_BYTES = 32 * 1024 * 1024


class HttpProtocol(asyncio.Protocol):
    """One connection: one request at a time, kept alive in between."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
        self._transport: asyncio.Transport | None = None
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._later: asyncio.TimerHandle | None = None
        self._due: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._later:
            self._later.cancel()
        if self._due is not None:
            self._provider.ended(self._due, left=True)

    def data_received(self, data: bytes) -> None:
        self._conn.receive_data(data)
        self._advance()

    def eof_received(self) -> bool:
        return False

    def _advance(self) -> None:
        try:
            while self._transport is not None:
                event = self._conn.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError:
            self._close()

    def _take(self, event: Any) -> None:
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > MAX_BODY_BYTES:
                self._close()
        elif isinstance(event, h11.EndOfMessage):
            self._answer()
        elif isinstance(event, h11.ConnectionClosed):
            self._close()

    def _answer(self) -> None:
        request = self._request
        assert request is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        target = request.target.decode("latin-1")
        reply = self._provider.reply(request.method.decode(), target, headers, bytes(self._body))
        self._due = reply
        if reply.delay_s > 0:
            self._later = asyncio.get_running_loop().call_later(reply.delay_s, self._send, reply, True)
        else:
            self._send(reply, False)

    def _send(self, reply: Reply, resume: bool) -> None:
        if self._transport is None:
            return
        self._due = None
        self._provider.ended(reply)
        if reply.manner == "reset":
            self._transport.abort()
            return
        length = len(reply.body)
        head = h11.Response(
            status_code=reply.status,
            reason=HTTPStatus(reply.status).phrase.encode() if reply.status in HTTPStatus._value2member_map_ else b"",
            headers=[
                ("content-type", reply.content_type),
                ("content-length", str(length)),
                *reply.headers,
            ],
        )
        if reply.manner == "half":
            body = self._conn.send(h11.Data(data=reply.body[: length // 2])) if (sent := self._conn.send(head)) else b""
            self._transport.write((sent or b"") + (body or b""))
            self._close()
            return
        parts = [self._conn.send(head), self._conn.send(h11.Data(data=reply.body)), self._conn.send(h11.EndOfMessage())]
        self._transport.write(b"".join(part for part in parts if part))
        self._next(resume)

    def _next(self, resume: bool) -> None:
        if self._conn.our_state is h11.MUST_CLOSE:
            self._close()
            return
        self._conn.start_next_cycle()
        if resume:
            self._advance()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


async def serve(provider: ScriptedProvider, *, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until cancelled; ``ready`` is told the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(provider), host, port, backlog=1_024)
    async with server:
        ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()
