"""The admin HTTP port of a process: ``/metrics``, ``/livez``, ``/readyz``, ``/info``.

Alive means that the loops beat; a dependency that is down makes a process unready, never dead. It runs in threads of
its own, so that it answers even while the event loop is busy, and a stuck loop is seen from outside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from headrace import __version__
from headrace.runtime.metrics import BUILD_INFO, REGISTRY
from headrace.runtime.settings import AdminSettings
from headrace.schemas.errors import ConfigError

log = structlog.get_logger("headrace.admin")

Check = Callable[[], str | None]
"""Returns None when all is well, else one sentence that says what is not."""


class Heartbeats:
    """When each loop last came round. A loop calls `beat`; `stale` names those that did not within the bound."""

    def __init__(self, bound_s: float = 30.0) -> None:
        self._bound_s = bound_s
        self._at: dict[str, float] = {}

    def beat(self, name: str) -> None:
        """Note that a loop came round."""
        self._at[name] = time.monotonic()

    def forget(self, name: str) -> None:
        """Note that a loop ended as it should."""
        self._at.pop(name, None)

    def stale(self) -> str | None:
        """Return what is stuck, or None."""
        now = time.monotonic()
        late = [f"{name} {now - at:.0f} s" for name, at in list(self._at.items()) if now - at > self._bound_s]
        return f"no heartbeat: {', '.join(late)}" if late else None


class AdminServer:
    """Serves the admin port until `close`.

    Args:
        settings: where to listen.
        service: ``worker`` or ``orchestrator``, for ``/info`` and ``build_info``.
        live: says what is stuck.
        ready: says why no work can be taken now.
        info: further fields of ``/info``.
    """

    def __init__(
        self,
        settings: AdminSettings,
        service: str,
        *,
        live: Check,
        ready: Check,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        about = {"service": service, "version": __version__, **(info or {})}
        BUILD_INFO.labels(version=__version__, service=service).set(1)
        handler = _handler({"/livez": live, "/readyz": ready}, about)
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
        except OSError as error:
            raise ConfigError(
                f"admin port {settings.host}:{settings.port} cannot be opened: {error.strerror}",
                "choose another admin.port; 0 lets the system choose",
            ) from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, args=(0.2,), name="admin", daemon=True)
        self._thread.start()
        log.info("admin.started", host=settings.host, port=self.port, service=service)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


def _handler(checks: Mapping[str, Check], about: Mapping[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path in checks:
                problem = checks[path]()
                self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode(), "text/plain; charset=utf-8")
            elif path == "/metrics":
                self._answer(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)
            elif path == "/info":
                self._answer(200, json.dumps(about).encode(), "application/json")
            else:
                self._answer(404, b"/metrics /livez /readyz /info\n", "text/plain; charset=utf-8")

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds; they are not logged."""

    return Handler
