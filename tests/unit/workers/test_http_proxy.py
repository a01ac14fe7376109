"""Which calls go through the company's proxy."""

from __future__ import annotations

import asyncio

import pytest

from headrace.schemas.errors import AdapterError
from headrace.workers.http import HttpClient, proxy_for


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.example.com/v1", "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "https://api.example.com/v1", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://api.example.com/v1", None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://api.example.com/v1", "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example.com"}, "https://api.example.com/v1", None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://127.0.0.1:9801/v1", None),
        ({}, "https://api.example.com/v1", None),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_call_reaches_the_proxy_and_not_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.close()

    async def call() -> None:
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        client = HttpClient("https://provider.invalid/v1", headers={}, key=None)
        with pytest.raises(AdapterError):
            await client.post("/chat/completions", {}, timeout_s=5, headers={})
        await client.close()
        server.close()
        await server.wait_closed()

    asyncio.run(call())
    assert seen == [b"CONNECT provider.invalid:443 HTTP/1.1\r\n"]
