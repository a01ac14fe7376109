"""One of our processes, watched during an outage."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.deployment import Deployment


class Watched:
    """What one of our processes does during an outage: its readiness, its CPU, its log lines."""

    def __init__(self, here: Deployment, name: str) -> None:
        self._here = here
        self.name = name
        self._log = Path(next(status.log for status in here.supervisor.status() if status.name == name))
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._at, self._cpu, self._lines = time.monotonic(), self._here.cpu_seconds(self.name), self._line_count()
        self._pid = self._here.pid(self.name)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a page of the admin port."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._here.admin_ports[self.name]}{path}", timeout=5
            ) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def troubles(self) -> dict[str, float]:
        """Return the seconds of trouble by kind, zeros left out."""
        found = re.findall(r'^headrace_trouble_seconds\{kind="(\w+)"\} ([\d.e+-]+)$', self.get("/metrics")[1], re.M)
        return {kind: float(seconds) for kind, seconds in found if float(seconds) > 0}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._at

    @property
    def cpu_share(self) -> float:
        return (self._here.cpu_seconds(self.name) - self._cpu) / self.seconds

    @property
    def lines(self) -> int:
        return self._line_count() - self._lines

    @property
    def same_process(self) -> bool:
        return self._here.pid(self.name) == self._pid

    def log(self) -> str:
        return self._log.read_text()

    def _line_count(self) -> int:
        return self.log().count("\n")
