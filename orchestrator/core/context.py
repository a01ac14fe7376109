"""Does a prompt fit a model's context? Two bounds, since nobody here has the model's own tokenizer. Pure.

Money wants an upper bound: what a call can cost at most is reserved before it is made. Refusing wants a lower bound:
a prompt that might fit is sent, and the provider says ``context_too_long`` if it does not; one that cannot fit under
any tokenizer is refused before it is queued and paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from headrace.schemas.base import trusted
from headrace.schemas.messages import ChatMessage, ToolOffer

TOKENS_PER_MESSAGE = 64
"""Room for what a chat template puts around a message; the known ones need 3 to 10."""
BYTES_PER_TOKEN = 32
"""No vocabulary in use reaches this on text: o200k averages 4.5 bytes a token on English, 6 to 9 on Thai or Hindi, and
its longest everyday words have about 20. The long entries there are are runs of one character (128 spaces, 64 dashes),
and runs are shortened first."""
MAX_CALL_BYTES = 33_554_432
"""Of a prompt that travels by reference: far above any context, and within what one object may have."""
MAX_INLINE_CALL_BYTES = 900_000
"""Of a prompt where there is no object store: what a record of a task topic takes."""
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def prompt_upper_tokens(messages: Iterable[ChatMessage], *, context_tokens: int | None) -> int:
    """Return a number of tokens that the prompt cannot exceed: each is a byte at least, and none beyond the context."""
    total = sum(len(message.content.encode()) + TOKENS_PER_MESSAGE for message in messages)
    return total if context_tokens is None else min(context_tokens, total)


def prompt_lower_tokens(messages: Iterable[ChatMessage]) -> int:
    """Return a number of tokens that the prompt has at least, under any tokenizer in use."""
    return sum(len(_RUN.sub(r"\1", message.content).encode()) for message in messages) // BYTES_PER_TOKEN


def surely_too_long(
    messages: Iterable[ChatMessage], *, context_tokens: int | None, max_output_tokens: int | None
) -> str | None:
    """Return why the prompt cannot fit, or None where it might.

    Args:
        messages: the prompt, rendered.
        context_tokens: the model's context; None is not checked.
        max_output_tokens: room that the answer needs; None takes one token.
    """
    if context_tokens is None:
        return None
    room = context_tokens - (max_output_tokens or 1)
    if room <= 0:
        return f"max_output_tokens {max_output_tokens} leaves no room in a context of {context_tokens} tokens"
    messages = list(messages)
    # Bytes first: most prompts are far below, and shortening runs reads the whole text.
    if sum(len(message.content) for message in messages) * 4 <= room * BYTES_PER_TOKEN:
        return None
    least = prompt_lower_tokens(messages)
    if least <= room:
        return None
    return f"the prompt has at least {least:,} tokens; {room:,} of the context of {context_tokens:,} are left for it"


def weighed_with(messages: Iterable[ChatMessage], tools: Iterable[ToolOffer]) -> tuple[ChatMessage, ...]:
    """Return the messages of a call that offers tools as texts that hold all of it, to be weighed like any prompt."""
    said = [trusted(ChatMessage, role="system", content=offer.model_dump_json()) for offer in tools]
    for message in messages:
        texts = [message.content, *(f"{use.id}{use.name}{use.arguments}" for use in message.tool_calls)]
        said.append(trusted(ChatMessage, role=message.role, content="\n".join(texts) + message.tool_call_id))
    return tuple(said)


def is_plainly_small(messages: Sequence[ChatMessage], *, context_tokens: int | None, answer_tokens: int) -> bool:
    """Whether a prompt is so short that neither `unsendable` nor `surely_too_long` has anything against it."""
    characters = 0
    for message in messages:
        characters += len(message.content)
    if characters * 6 > MAX_INLINE_CALL_BYTES:
        return False
    return context_tokens is None or 0 < characters * 4 <= (context_tokens - answer_tokens) * BYTES_PER_TOKEN


def unsendable(messages: Iterable[ChatMessage], *, objects: bool) -> str | None:
    """Return why a prompt cannot be written to a task topic, or None.

    Args:
        messages: the prompt, rendered.
        objects: whether there is an object store for what a record does not take.
    """
    messages, most = list(messages), MAX_CALL_BYTES if objects else MAX_INLINE_CALL_BYTES
    # A character takes six bytes of JSON at most; most prompts are far below.
    if sum(len(message.content) for message in messages) * 6 <= most:
        return None
    size = sum(len(json.dumps(message.content, ensure_ascii=False).encode()) for message in messages)
    if size <= most:
        return None
    hint = "split it" if objects else "install the extra `objects` on orchestrators and workers"
    return f"the prompt has {size:,} bytes as JSON, and at most {most:,} can be sent: {hint}"
