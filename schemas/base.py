"""What messages share: their base, and the words that several of them use."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Base of the messages that Headrace writes and reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


M = TypeVar("M", bound=Message)


def trusted(model: type[M], /, **values: Any) -> M:
    """Return a message made of values that were checked before, every required field among them; the others are at
    their defaults.

    As `BaseModel.model_construct`, which takes ten times as long: it walks over every field and its aliases.
    """
    made = object.__new__(model)
    object.__setattr__(made, "__dict__", {**_fields(model), **values})
    object.__setattr__(made, "__pydantic_fields_set__", set(values))
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


def remade(message: M, **changes: Any) -> M:
    """Return the message with some of the fields that were given to it changed to values that were checked before."""
    made = object.__new__(type(message))
    object.__setattr__(made, "__dict__", {**message.__dict__, **changes})
    # Shared, as what is made anew has no other fields: nobody changes a set of a frozen message.
    object.__setattr__(made, "__pydantic_fields_set__", message.__pydantic_fields_set__)
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


@cache
def _fields(model: type[Message]) -> dict[str, Any]:
    """Return the fields in their order with their defaults, which are immutable, so that messages may share them."""
    return {name: None if field.is_required() else field.default for name, field in model.model_fields.items()}


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
