"""The mapping: what a foreign system's records look like, and what it wants to read. One YAML; see mapping.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.schemas.errors import ConfigError


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class _Answer(_Closed):
    encoding: str = "utf-8"
    """Of the answer's bytes."""
    newline: str = "\n"
    """How its lines end."""


class XmlAnswer(_Answer):
    """Templates of text around and for each record; values are escaped."""

    begin: str
    draft: str
    """Knows ``record``, ``draft`` (the job's output) and ``position`` (from 1)."""
    problem: str
    """Knows ``record``, ``problem`` and ``position``, which is 0 where it is the whole file's."""
    end: str


class CsvAnswer(_Answer):
    """Templates of the columns; values are quoted. They know what those of `XmlAnswer` know."""

    head: tuple[str, ...]
    draft: tuple[str, ...]
    problem: tuple[str, ...]


class XmlSource(_Closed):
    """Records that are elements; the file says its encoding itself."""

    format: Literal["xml"]
    files: str
    """Which files of the folder, as a pattern."""
    records: str
    """The path of a record, from the root."""
    fields: dict[str, str]
    """The path of each field from its record, ``path/@name`` for an attribute."""
    answer: XmlAnswer


class CsvSource(_Closed):
    """Records that are rows below a row of heads."""

    format: Literal["csv"]
    files: str
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    fields: dict[str, str]
    """The head of each field's column."""
    answer: CsvAnswer


Source = XmlSource | CsvSource


class Mapping(_Closed):
    """The whole file."""

    workflow: str
    """Which workflow a record is the input of."""
    job: dict[str, Any] = Field(default_factory=dict)
    """What stands on each job besides: tenant, lane, sensitivity, labels."""
    sources: dict[str, Annotated[Source, Field(discriminator="format")]]


def load_mapping(path: Path) -> Mapping:
    """Read it.

    Raises:
        ConfigError: it cannot be read, or does not hold.
    """
    try:
        return Mapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"mapping {path}: {error}") from None
