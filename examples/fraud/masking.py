"""Takes out of a text what must not leave: what is known of the customer, addresses, and every longer number."""

from __future__ import annotations

import re

MASK = "[…]"
_SECRETS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\+?\d(?:[ -]?\d){3,}")
"""E-mail addresses; numbers of four digits and more, however they are grouped."""


def mask(text: str, secrets: list[str]) -> str:
    """Return the text without them.

    Args:
        secrets: what is known to be one; of a name of several words, each word.
    """
    for secret in sorted({word for known in secrets for word in (known, *known.split())}, key=len, reverse=True):
        if len(secret) > 1:
            text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    return _SECRETS.sub(MASK, text)
