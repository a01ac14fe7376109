"""What messages share: their base, and the words that several of them use."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Base of the messages that Headrace writes and reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Lane(StrEnum):
    """How urgent a task is to the workers of its pool."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Sensitivity(StrEnum):
    """Who may see the payload."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


class ObjectRef(Message):
    """A claim check: content that is too large to travel inline."""

    key: str
    """Where it lies in the object store: ``sha256/<hex>``."""
    size_bytes: int
    """Its size."""
    sha256: str
    """Its checksum, checked on every read."""
