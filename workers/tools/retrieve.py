"""The passages of a folder's documents that are nearest to a question: exact, by one product over all of them.

Up to some fifty thousand passages that is faster than what an index saves. The folder is read at the start; what
changes in it later is seen by the next worker.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

from headrace.schemas.errors import ConfigError
from headrace.schemas.tools import RetrieveTool as RetrieveSpec
from headrace.workers.adapters.base import AdapterConfig, open_embedder
from headrace.workers.core.chunks import chunks_of
from headrace.workers.tools.base import ToolAnswer, ToolConfig
from headrace.workers.tools.embedders import AdapterEmbedder, DocumentEmbedder, HashingEmbedder

if TYPE_CHECKING:
    from headrace.workers.tools.embedders import Matrix

log = structlog.get_logger("headrace.tools")

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_PASSAGES = 200_000
"""Of hashed words that is 1.6 GB; more needs a store of its own."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document."""

    source: str
    """The file, from the folder."""
    start: int
    """Where in it, in characters."""
    text: str


class RetrieveTool:
    """A tool of the kind `retrieve`."""

    def __init__(self, config: ToolConfig) -> None:
        spec = self._spec = cast(RetrieveSpec, config.spec)
        self._name = config.name
        if find_spec("numpy") is None:
            raise ConfigError(f"tool {config.name!r} needs the extra retrieve", "pip install 'headrace[retrieve]'")
        self._folder = Path(spec.folder).expanduser().resolve()
        if not self._folder.is_dir():
            raise ConfigError(f"tool {config.name!r}: there is no folder {spec.folder!r}")
        self._embedder: DocumentEmbedder = HashingEmbedder(config.name)
        if spec.endpoint is not None:
            adapter = AdapterConfig(spec.endpoint, *config.endpoints[spec.endpoint], config.concurrency)
            self._embedder = AdapterEmbedder(config.name, open_embedder(adapter), spec.model)
        self._passages: list[Passage] = []
        self._rows: Matrix | None = None

    async def start(self) -> None:
        """Read the folder and embed it.

        Raises:
            ConfigError: it has no documents, or more than fit.
            DependencyUnavailable: the endpoint does not embed them.
        """
        began = time.monotonic()
        self._passages = await asyncio.to_thread(self._read)
        self._rows = await self._embedder.documents([one.text for one in self._passages])
        files = len({one.source for one in self._passages})
        took_ms = round((time.monotonic() - began) * 1_000)
        log.info("retrieve.indexed", tool=self._name, files=files, passages=len(self._passages), took_ms=took_ms)

    async def call(self, arguments: dict[str, Any], *, timeout_s: float, idempotency_key: str) -> ToolAnswer:
        question = await self._embedder.query(arguments["query"], timeout_s=timeout_s, idempotency_key=idempotency_key)
        top_k = int(arguments.get("top_k") or self._spec.top_k)
        return ToolAnswer(await asyncio.to_thread(self._nearest, question, top_k))

    async def close(self) -> None:
        await self._embedder.close()

    def _nearest(self, question: Matrix, top_k: int) -> list[dict[str, Any]]:
        import numpy as np

        from headrace.workers.core.rows import cosines

        assert self._rows is not None, "started"
        scores = cosines(self._rows, question)
        count = min(top_k, len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        # The earlier passage first where two are equally near, so that an answer is the same every time.
        best = best[np.lexsort((best, -scores[best]))]
        return [
            {"text": one.text, "source": one.source, "start": one.start, "score": round(float(scores[at]), 6)}
            for at, one in ((at, self._passages[at]) for at in best)
            if scores[at] >= self._spec.min_score
        ]

    def _read(self) -> list[Passage]:
        found: list[Passage] = []
        for path in self._files():
            text = path.read_text(encoding="utf-8", errors="replace")
            source = path.relative_to(self._folder).as_posix()
            spec = self._spec
            cut = chunks_of(text, most=spec.chunk_characters, overlap=spec.overlap_characters)
            found += [Passage(source, one.start, one.text) for one in cut]
            if len(found) > MAX_PASSAGES:
                message = f"tool {self._name!r}: folder {self._spec.folder!r} has more than {MAX_PASSAGES:,} passages"
                raise ConfigError(message, "raise chunk_characters, or name fewer files")
        if not found:
            message = f"tool {self._name!r}: folder {self._spec.folder!r} has no text in {', '.join(self._spec.files)}"
            raise ConfigError(message, "correct folder or files")
        return found

    def _files(self) -> list[Path]:
        """Return the documents; none outside the folder, wherever a link in it leads."""
        named = {path for pattern in self._spec.files for path in self._folder.glob(pattern)}
        found = []
        for path in sorted(named):
            if not path.is_file() or not path.resolve().is_relative_to(self._folder):
                continue
            if path.stat().st_size > MAX_FILE_BYTES:
                log.warning("retrieve.left_out", tool=self._name, file=str(path), reason="above 16 MiB")
                continue
            found.append(path)
        return found
