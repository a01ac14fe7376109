"""Settings of every process: flag, then environment (``HEADRACE_``, ``__`` between levels), then file, then default.

The environment is read once, by `load_settings`, in a process's entry point. librdkafka's own options have dots in
their names, which environment variables cannot have: they go into ``kafka.options`` of the settings file, or as JSON
into ``HEADRACE_KAFKA__OPTIONS``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from headrace.schemas.errors import ConfigError
from headrace.schemas.topics import Topics

CONFIG_FILE_VARIABLE = "HEADRACE_CONFIG_FILE"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(_Group):
    """How to reach Kafka."""

    bootstrap_servers: str = ""
    """``host:port`` list; empty: Docker or the local broker is chosen."""
    sasl_username: str | None = None
    """User for SASL; the mechanism and protocol stand in ``options``."""
    sasl_password: SecretStr | None = None
    """Password for SASL; from the environment or a secrets file, never from a file under version control."""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """librdkafka's own options for every client: ``security.protocol``, ``sasl.mechanism``, ``ssl.ca.location``, …"""
    group_protocol: Literal["classic", "consumer"] = "classic"
    """``consumer`` is KIP-848, whose timeouts are the broker's; see docs/operations.md before choosing it."""
    session_timeout_ms: int = Field(default=6_000, ge=1_000)
    """How long a silent member keeps its partitions (classic)."""
    heartbeat_interval_ms: int = Field(default=1_000, ge=100)
    """How often a member reports (classic)."""
    connect_timeout_s: float = Field(default=15.0, gt=0)
    """How long a start waits for the broker before it gives up."""

    @model_validator(mode="after")
    def _heartbeats_fit_the_session(self) -> KafkaSettings:
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms:
            raise ValueError(
                f"kafka.heartbeat_interval_ms {self.heartbeat_interval_ms} must be at most a third of "
                f"kafka.session_timeout_ms {self.session_timeout_ms}"
            )
        return self


class TopicSettings(_Group):
    """What the topics are called and how they are created."""

    prefix: str = Field(default="headrace", pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$")
    """What every topic, group and transactional id begins with."""
    partitions: int = Field(default=12, ge=1, le=1_000)
    """Count for ``jobs`` and its companions; fixed at creation."""
    task_partitions: int = Field(default=12, ge=1, le=1_000)
    """Count for each task topic; may grow."""
    replication_factor: int = Field(default=-1, ge=-1)
    """-1 takes the broker's default."""
    min_insync_replicas: int | None = Field(default=None, ge=1)
    """None takes the broker's default."""
    retention_ms: dict[str, int] = Field(default_factory=dict)
    """Other retention by topic kind: ``jobs``, ``tasks``, ``results``, ``outcomes``, ``events``, ``attempts``, …"""
    create: bool = True
    """Whether a process may create topics that are missing."""


class ObjectSettings(_Group):
    """Where large payloads lie."""

    url: str = ""
    """Object store, ``s3://…``, ``gs://…``, ``az://…``, ``file:///…``; empty: a folder of this user."""
    client_options: dict[str, str | bool] = Field(default_factory=dict)
    """obstore's options of the HTTP client: ``allow_http`` (an endpoint without TLS), ``proxy_url``, ``timeout``, …"""
    inline_bytes: int = Field(default=262_144, ge=1_024, le=400_000)
    """Above this a payload travels as a reference. (A marker holds an outcome with its quotes escaped: twice this.)"""
    item_inline_bytes: int = Field(default=4_096, ge=256, le=262_144)
    """Above this a finished item's output is kept as a reference."""
    cache_bytes: int = Field(default=67_108_864, ge=16_777_216)
    """What an orchestrator keeps of objects in memory, to read each once; all outputs of one step fit in it."""
    retention_s: int = Field(default=3_024_000, ge=60)
    """Objects older than this are swept; longer than every topic that refers to them keeps its records (35 days)."""
    sweep: bool = True
    """Whether the orchestrator that owns partition 0 sweeps once a day; off where a bucket's lifecycle rule does it."""

    @model_validator(mode="after")
    def _items_fit_inline(self) -> ObjectSettings:
        if self.item_inline_bytes > self.inline_bytes:
            raise ValueError(
                f"objects.item_inline_bytes {self.item_inline_bytes} must be at most "
                f"objects.inline_bytes {self.inline_bytes}"
            )
        return self


class OrchestratorSettings(_Group):
    """The orchestrator's limits."""

    slot: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """Names this instance's transactional id and group instance; empty: derived from the host, never random."""
    workflows: tuple[Path, ...] = ()
    """Folders whose ``*.yaml`` workflows are loaded."""
    max_in_flight: int = Field(default=256, ge=1, le=65_536)
    """Most tasks of one job on the task topics."""
    pool_window: int = Field(default=4_096, ge=1, le=1_000_000)
    """Most tasks of one pool and lane on the task topics, for one instance."""
    batch_records: int = Field(default=1_000, ge=1, le=10_000)
    """Most records that one transaction reads."""
    batch_ms: int = Field(default=100, ge=1, le=2_000)
    """A batch is cut after this long."""
    transaction_timeout_ms: int = Field(default=5_000, ge=1_000)
    """How long the broker keeps an open transaction of a silent instance."""
    queue_limit_s: int = Field(default=432_000, ge=60)
    """How long a task may wait for a worker before it counts as lost; below the retention of the task topics."""
    lost_grace_s: float = Field(default=60.0, ge=1)
    """A task whose offset is done counts as lost when its call's time and this have passed without a result."""
    prefix_keys: int = Field(default=4, ge=1, le=1_000)
    """Partitions, at most, to which the tasks of one prompt prefix go (``key: prefix``)."""
    max_kills: int = Field(default=3, ge=1, le=100)
    """A task during which so many workers died is quarantined: it fails, with a dead letter."""
    max_stops: int = Field(default=10, ge=1, le=1_000)
    """A task that was interrupted so often by workers that stopped fails."""
    retention_s: int = Field(default=86_400, ge=1)
    """How long a finished job's id still answers with its outcome."""
    max_markers: int = Field(default=1_000_000, ge=1)
    """Most finished jobs remembered on one partition; above it submissions are refused."""

    @model_validator(mode="after")
    def _batches_fit_the_transaction(self) -> OrchestratorSettings:
        if self.batch_ms * 10 > self.transaction_timeout_ms:
            raise ValueError(
                f"orchestrator.batch_ms {self.batch_ms} must be at most a tenth of "
                f"orchestrator.transaction_timeout_ms {self.transaction_timeout_ms}"
            )
        return self


class WorkerSettings(_Group):
    """A worker's limits."""

    drain_timeout_s: float = Field(default=60.0, ge=0)
    """How long calls may still run after SIGTERM."""
    buffer_factor: int = Field(default=2, ge=1, le=16)
    """Tasks held in memory beyond those that run, as a multiple of the concurrency."""
    batch_every: int = Field(default=8, ge=2, le=1_000)
    """While both lanes wait, every so-many-th task that is started is one of batch; the others are interactive."""
    commit_interval_ms: int = Field(default=100, ge=10, le=10_000)
    """Offsets are committed at most this often."""
    revoke_wait_s: float = Field(default=5.0, ge=0, le=5.0)
    """How long calls may still run when their partition goes to another worker; later they are handed over."""


class DeadLetterSettings(_Group):
    """What is done with dead letters."""

    max_redrives: int = Field(default=3, ge=1, le=1_000)
    """How often a record may be sent back before only ``--force`` sends it once more."""


class AdminSettings(_Group):
    """The admin HTTP port of each process."""

    host: str = "127.0.0.1"
    """Where ``/metrics``, ``/livez`` and ``/readyz`` listen; ``0.0.0.0`` in a container."""
    port: int = Field(default=0, ge=0, le=65_535)
    """0 lets the system choose; the choice is logged as ``admin.started``."""


class Settings(BaseSettings):
    """All settings. ``headrace config show`` prints them, secrets masked."""

    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    objects: ObjectSettings = ObjectSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    worker: WorkerSettings = WorkerSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    admin: AdminSettings = AdminSettings()
    pools_file: Path | None = None
    """The YAML of endpoints, pools and prices."""
    data_dir: Path = Path("~/.local/share/headrace")
    """Local broker's data, logs, and the default object store."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings, file_secret_settings]
        if path := os.environ.get(CONFIG_FILE_VARIABLE):
            sources.append(YamlConfigSettingsSource(settings_cls, yaml_file=path))
        return tuple(sources)

    @property
    def topic_names(self) -> Topics:
        """The topic catalogue under this prefix."""
        return Topics(self.topics.prefix)

    @property
    def data_path(self) -> Path:
        """The data folder, with ``~`` resolved."""
        return self.data_dir.expanduser()


def load_settings(**overrides: Any) -> Settings:
    """Read the settings once.

    Args:
        overrides: values of command-line flags; those that are None are left to the other sources.

    Raises:
        ConfigError: a value cannot be used; every finding is named with its setting, values left out.
    """
    path = os.environ.get(CONFIG_FILE_VARIABLE)
    if path and not Path(path).is_file():
        raise ConfigError(f"{CONFIG_FILE_VARIABLE} names {path}, which is not a file", "correct or unset it")
    known = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**known)
    except ValidationError as error:
        findings = [
            f"{'.'.join(str(part) for part in finding['loc'])}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False)
        ]
        raise ConfigError(f"settings: {'; '.join(findings)}", "see docs/operations.md for every setting") from None
