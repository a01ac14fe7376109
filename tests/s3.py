"""A store that speaks enough S3 for obstore, over real HTTP: for what a folder cannot do (be slow, refuse, go away).

Not a stand-in for a real S3: signatures are not checked, and listings have one page after another by key.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import pytest

PAGE = 1_000


class FakeS3:
    """One bucket. What it does is set from outside, and what was asked is noted."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.asked: list[tuple[str, str]] = []
        """Method and key, in order."""
        self.delay_s = 0.0
        self.fail: int | None = None
        """Answer everything with this status."""
        self.denied: set[str] = set()
        """Keys that are answered 403."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)


@contextmanager
def fake_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """Serve a bucket and let this process's environment lead there, as a deployment's would."""
    store = FakeS3()
    for name, value in environment(store.url).items():
        monkeypatch.setenv(name, value)
    try:
        yield store
    finally:
        store.close()


def environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "local",
    }


def _handler(store: FakeS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65_536

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            if self._admitted():
                store.objects[self._key] = (content, datetime.now(UTC))
                self._answer(200, headers={"etag": '"x"'})

        def do_GET(self) -> None:
            if "list-type" in parse_qs(urlsplit(self.path).query):
                self._list()
            else:
                self._read(body=True)

        def do_HEAD(self) -> None:
            self._read(body=False)

        def do_POST(self) -> None:
            """Delete several, as S3's clients do also for one."""
            asked = self.rfile.read(int(self.headers["content-length"])).decode()
            keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", asked)]
            if self._admitted():
                store.asked += [("DELETE", key) for key in keys]
                for key in keys:
                    store.objects.pop(key, None)
                gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
                self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())

        @property
        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

        def _admitted(self) -> bool:
            store.asked.append((self.command, self._key))
            time.sleep(store.delay_s)
            if store.fail is not None or self._key in store.denied:
                self._answer(store.fail or 403)
                return False
            return True

        def _read(self, *, body: bool) -> None:
            if not self._admitted():
                return
            if self._key not in store.objects:
                self._answer(404)
                return
            content, at = store.objects[self._key]
            headers = {"last-modified": format_datetime(at, usegmt=True), "etag": '"x"'}
            self._answer(200, content if body else b"", length=len(content), headers=headers)

        def _list(self) -> None:
            if not self._admitted():
                return
            query = parse_qs(urlsplit(self.path).query)
            start, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
            keys = [key for key in sorted(store.objects) if key.startswith(start) and key > after]
            page = keys[:PAGE]
            more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > PAGE else ""
            contents = "".join(_entry(key, *store.objects[key]) for key in page)
            truncated = str(len(keys) > PAGE).lower()
            text = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{contents}</ListBucketResult>"
            self._answer(200, text.encode(), headers={"content-type": "application/xml"})

        def _answer(
            self, status: int, body: bytes = b"", *, length: int | None = None, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


def _entry(key: str, content: bytes, at: datetime) -> str:
    return (
        f"<Contents><Key>{escape(key)}</Key><LastModified>{at.isoformat().replace('+00:00', 'Z')}</LastModified>"
        f'<ETag>"x"</ETag><Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass></Contents>'
    )
