"""A real HTTP server on this machine that answers as the test says, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager


class Web:
    """Answers by path; a coroutine may do with the connection what it likes."""

    def __init__(self):
        self.routes, self.asked, self.port, self.last_body = {}, [], 0, b""

    def answer(self, path, body=b"", *, status=200, **headers):
        if not isinstance(body, bytes | str):
            body, headers = json.dumps(body), {"content_type": "application/json", **headers}
        content = body.encode() if isinstance(body, str) else body
        named = {"content-length": len(content), **{key.replace("_", "-"): value for key, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.routes[path] = f"HTTP/1.1 {status} x\r\n{lines}\r\n".encode() + content

    def raw(self, path, act):
        self.routes[path] = act

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.asked.append((method, path, headers, body.decode()))
            self.last_body = body
            found = self.routes.get(path.partition("?")[0], b"HTTP/1.1 404 x\r\ncontent-length: 9\r\n\r\nnot there")
            if callable(found):
                await found(writer)
            else:
                writer.write(found)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(*, tls: ssl.SSLContext | None = None):
    web = Web()
    server = await asyncio.start_server(web._serve, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
