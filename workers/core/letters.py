"""From the arguments of an e-mail to the message. Pure: the moment is an argument.

Whoever gets to write an argument (a model, the text of a ticket) must not get to write a header or an SMTP command.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any, NamedTuple

from headrace.schemas.errors import AdapterError, ErrorKind

ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""What is taken for an address: ASCII, without quoting, comments and routes."""
MAX_RECIPIENTS = 100
_POLICY = SMTP.clone(cte_type="7bit")
"""Lines end with CR LF, and nothing needs a server that takes eight bits."""


class Letter(NamedTuple):
    """An e-mail, ready to be sent."""

    sender: str
    """The address for the envelope."""
    recipients: tuple[str, ...]
    message_id: str
    content: bytes
    """The message, its lines ended by CR LF and its dots doubled, without the dot that ends it."""


def letter_of(arguments: dict[str, Any], *, sender: str, allowed: tuple[str, ...], key: str, at_ms: int) -> Letter:
    """Return the letter of a call.

    Args:
        sender: ``Name <address>``, from the pools file.
        allowed: who may be written to; empty: everyone.
        key: the idempotency key. The Message-ID is made of it, so that two letters of one call are seen to be one.

    Raises:
        AdapterError: ``bad_request``: an address is none or not allowed, or a header would hold a line break.
    """
    name, address = parseaddr(sender)
    message_id = message_id_of(key, address)
    recipients = [*_addresses(arguments.get("to")), *_addresses(arguments.get("cc"))]
    if not recipients or len(recipients) > MAX_RECIPIENTS:
        raise _refused(f"a letter has between one and {MAX_RECIPIENTS} recipients")
    for one in recipients:
        if allowed and not any(_matches(one, pattern) for pattern in allowed):
            raise _refused(f"{one!r} is not one that this tool may write to")
    letter = EmailMessage(_POLICY)
    try:
        letter["From"] = Address(name, addr_spec=address)
        letter["To"] = [Address(addr_spec=one) for one in _addresses(arguments.get("to"))]
        if copies := _addresses(arguments.get("cc")):
            letter["Cc"] = [Address(addr_spec=one) for one in copies]
        if arguments.get("reply_to"):
            letter["Reply-To"] = [Address(addr_spec=one) for one in _addresses(arguments["reply_to"])]
        letter["Subject"] = arguments["subject"]
        letter["Date"] = format_datetime(datetime.fromtimestamp(at_ms / 1_000, tz=UTC))
        letter["Message-ID"] = message_id
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(arguments["text"])
        if arguments.get("html"):
            letter.add_alternative(arguments["html"], subtype="html")
        content = letter.as_bytes()
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        # Line breaks in a header, lone surrogates, and what else the standard library finds.
        raise _refused(f"no letter can be made of this: {str(error)[:200] or type(error).__name__}") from None
    return Letter(address, tuple(dict.fromkeys(recipients)), message_id, _stuffed(content))


def message_id_of(key: str, sender: str) -> str:
    """Return the Message-ID: a hash, since a key names the job, and recipients need not know it."""
    domain = sender.rpartition("@")[2] or "localhost"
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"


def is_address(text: str) -> bool:
    """Return whether a text is an address and nothing else."""
    return bool(ADDRESS.fullmatch(text)) and ".." not in text


def _addresses(value: Any) -> list[str]:
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    for one in found:
        if not isinstance(one, str) or not is_address(one):
            raise _refused(f"{str(one)[:80]!r} is no address")
    return found


def _matches(address: str, pattern: str) -> bool:
    address, pattern = address.lower(), pattern.lower()
    return address.endswith(pattern[1:]) if pattern.startswith("*@") else address == pattern


def _stuffed(content: bytes) -> bytes:
    """Return the content as it goes over the wire (RFC 5321, 4.5.2). A lone CR or LF could end it early elsewhere."""
    lines = re.split(rb"\r\n|\r|\n", content)
    if lines[-1] == b"":
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)


def _refused(message: str) -> AdapterError:
    return AdapterError(ErrorKind.BAD_REQUEST, message)
