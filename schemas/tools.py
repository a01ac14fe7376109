"""The section ``tools`` of the pools file: what a worker can do besides asking a model. See docs/tools.md.

What all kinds have in common stands in `ToolSpec`; the orchestrator needs no more than that.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOOL_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
"""What models may call a tool, too."""
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

HeaderMap = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")], Annotated[str, Field(pattern=r"^[^\r\n\x00]*$")]
]
"""Headers by name: a line break in one would begin another."""
EnvName = Annotated[str, Field(pattern=ENV_PATTERN)]
"""The name of an environment variable; a secret itself never stands in a file."""
EnvValue = Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9-]* )?[A-Za-z_][A-Za-z0-9_]*$")]
"""The same, after a word that stands before the secret: ``Bearer CRM_TOKEN``."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ToolSpec(_Closed):
    """One tool, as workflows and workers know it."""

    kind: str
    """What does it; see the classes below."""
    pool: str = ""
    """The pool whose workers run it, ``tool-<kind>`` where it is missing. Tools of one pool share its workers."""
    description: str = Field(default="", max_length=10_000)
    """What it does, for people and for models."""
    arguments: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema of its arguments: checked before dispatch, and again by the worker."""
    side_effect: bool = True
    """Whether a call changes anything outside. Such a call carries an idempotency key, and is not made again where it
    may have been made, unless ``idempotent`` says that this does no harm."""
    idempotent: bool = False
    """Whether the service does a call only once that comes again with the same key."""
    public: bool = True
    """Whether it lies outside: confidential payloads never go there."""
    timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """How long a call may take where the step says nothing."""
    price_microusd: int = Field(default=0, ge=0, le=10**12)
    """What one call costs, in micro-US-dollars."""
    max_answer_bytes: int = Field(default=1_048_576, ge=1, le=16_777_216)
    """A longer answer is refused."""

    NESTED: ClassVar[dict[str, type[BaseModel]]] = {}
    """Fields that hold models of their own, for suggestions."""

    @property
    def repeatable(self) -> bool:
        """Whether a call that may have been made already can be made again without harm."""
        return self.idempotent or not self.side_effect

    @model_validator(mode="after")
    def _arguments_are_an_object(self) -> ToolSpec:
        if self.arguments.get("type", "object") != "object":
            raise ValueError("arguments: the schema of arguments is one of an object (type: object)")
        return self

    def argument_names(self) -> tuple[str, ...]:
        """Return the arguments that the schema names."""
        found = self.arguments.get("properties")
        return tuple(found) if isinstance(found, dict) else ()


class BreakerSpec(_Closed):
    """When a provider that fails is left alone, and for how long."""

    failures: int = Field(default=5, ge=1, le=1_000)
    """So many of the last ``window`` calls failing open it."""
    window: int = Field(default=10, ge=1, le=1_000)
    """Calls that are looked at."""
    open_s: float = Field(default=30.0, gt=0, le=3_600)
    """After so many seconds one call is let through, to see."""

    @model_validator(mode="after")
    def _can_open(self) -> BreakerSpec:
        if self.failures > self.window:
            raise ValueError(f"failures {self.failures} of window {self.window} calls can never be")
        return self


class HttpProvider(_Closed):
    """One address that an `http` tool can ask."""

    name: str = Field(default="", max_length=64)
    """What logs and metrics call it; its host where it is missing."""
    url: str = Field(pattern=r"^(\{[A-Za-z_][A-Za-z0-9_]*\}|https?://[^\s]+)$")
    """Where it is. ``{name}`` in path or query stands for an argument; a whole ``"{url}"`` needs ``hosts``."""
    headers: HeaderMap = Field(default_factory=dict)
    """Further headers; never secrets."""
    headers_env: dict[str, EnvValue] = Field(default_factory=dict)
    """Further headers whose values stand in environment variables: ``authorization: Bearer CRM_TOKEN``."""


class HttpTool(ToolSpec):
    """One HTTP request."""

    kind: Literal["http"]
    """``http``."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Arguments that the URL does not name go as JSON body of POST, PUT and PATCH, else into the query."""
    url: str | None = Field(default=None, pattern=r"^(\{[A-Za-z_][A-Za-z0-9_]*\}|https?://[^\s]+)$")
    """See `HttpProvider`; this is its short form."""
    headers: HeaderMap = Field(default_factory=dict)
    """See `HttpProvider`."""
    headers_env: dict[str, EnvValue] = Field(default_factory=dict)
    """See `HttpProvider`."""
    providers: tuple[HttpProvider, ...] = Field(default=(), max_length=16)
    """Several addresses in place of ``url``: the next is asked where nothing can have been done at the one before."""
    hosts: tuple[str, ...] = Field(default=(), max_length=1_000)
    """The hosts that ``"{url}"`` may name; ``*.example.org`` takes those below it."""
    private: bool = False
    """Whether addresses of this machine and of private networks may be asked."""
    breaker: BreakerSpec = BreakerSpec()
    """When one of several providers is left alone."""

    NESTED: ClassVar[dict[str, type[BaseModel]]] = {"providers": HttpProvider, "breaker": BreakerSpec}

    @model_validator(mode="before")
    @classmethod
    def _reading_changes_nothing(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("method", "GET") == "GET":
            return {"side_effect": False, **values}
        return values

    @model_validator(mode="after")
    def _urls_hold(self) -> HttpTool:
        if (self.url is None) == (not self.providers):
            raise ValueError("name one url, or providers with one url each")
        if self.providers and (self.headers or self.headers_env):
            raise ValueError("with providers, headers stand at each provider")
        for provider in self.all_providers():
            self._check_url(provider.url)
        return self

    def all_providers(self) -> tuple[HttpProvider, ...]:
        """Return the providers, of which the short form is one."""
        if self.url is None:
            return self.providers
        return (HttpProvider(url=self.url, headers=self.headers, headers_env=self.headers_env),)

    def _check_url(self, url: str) -> None:
        for name in PLACEHOLDER.findall(url):
            if name not in self.argument_names():
                near = get_close_matches(name, self.argument_names(), n=1)
                hint = f"did you mean {near[0]!r}?" if near else "add it to arguments.properties"
                raise ValueError(f"url {url!r} names argument {name!r}, which arguments do not have ({hint})")
            if name not in self.arguments.get("required", ()):
                raise ValueError(f"url {url!r} needs argument {name!r}: add it to arguments.required")
        if PLACEHOLDER.fullmatch(url):
            if not self.hosts:
                raise ValueError(f"url {url!r} is an argument: list the hosts that it may name (hosts: [example.org])")
            return
        parts = urlsplit(url)
        if PLACEHOLDER.search(parts.netloc) or parts.username is not None or not parts.hostname:
            raise ValueError(f"url {url!r}: the host is no argument, and holds no user or password")


class EmailProvider(_Closed):
    """One mail server that takes messages (SMTP submission)."""

    name: str = Field(default="", max_length=64)
    """What logs and metrics call it; its host where it is missing."""
    host: str = Field(min_length=1, max_length=253, pattern=r"^[^\s/@]+$")
    """Where it listens."""
    port: int = Field(default=587, ge=1, le=65_535)
    """And at which port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; ``none`` is for servers on this machine and in tests."""
    user_env: EnvName | None = None
    """The environment variable with the user's name; no login where it is missing."""
    password_env: EnvName | None = None
    """The environment variable with the password."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> EmailProvider:
        if (self.user_env is None) != (self.password_env is None):
            raise ValueError("user_env and password_env go together")
        if self.security == "none" and self.password_env is not None:
            raise ValueError("a password goes over an encrypted connection only (security: starttls or tls)")
        return self


EMAIL_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
        "cc": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "reply_to": {"type": "string"},
        "subject": {"type": "string", "maxLength": 500},
        "text": {"type": "string"},
        "html": {"type": "string"},
    },
    "required": ["to", "subject", "text"],
    "additionalProperties": False,
}


class EmailTool(ToolSpec):
    """One e-mail, over the first provider that takes it."""

    kind: Literal["email"]
    """``email``."""
    arguments: dict[str, Any] = Field(default_factory=lambda: EMAIL_ARGUMENTS)
    """``to``, ``subject`` and ``text``, and as they please ``cc``, ``reply_to`` and ``html``."""
    sender: str = Field(min_length=3, max_length=320)
    """Who writes: ``Orders <orders@example.org>``."""
    providers: tuple[EmailProvider, ...] = Field(min_length=1, max_length=16)
    """In order: the next is asked where nothing can have been sent by the one before."""
    recipients: tuple[str, ...] = Field(default=(), max_length=1_000)
    """Who may be written to: addresses, or ``*@example.org``; everyone where it is missing."""
    breaker: BreakerSpec = BreakerSpec()
    """When one of several providers is left alone."""

    NESTED: ClassVar[dict[str, type[BaseModel]]] = {"providers": EmailProvider, "breaker": BreakerSpec}


SQL_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "maxLength": 100_000},
        "parameters": {"anyOf": [{"type": "object"}, {"type": "array"}]},
    },
    "required": ["query"],
    "additionalProperties": False,
}


class SqlTool(ToolSpec):
    """One SQL statement on an SQLite file."""

    kind: Literal["sql"]
    """``sql``."""
    arguments: dict[str, Any] = Field(default_factory=lambda: SQL_ARGUMENTS)
    """With ``statement``: its parameters. Without: ``query``, and ``parameters`` to bind."""
    database: str = Field(min_length=1, max_length=4_096)
    """The file; relative to where the worker is started."""
    statement: str | None = Field(default=None, min_length=1, max_length=100_000)
    """The one statement that it runs, with ``:name`` for each argument; where it is missing, a call brings its own."""
    write: bool = False
    """Whether INSERT, UPDATE and DELETE are allowed; nothing else ever is besides SELECT."""
    tables: tuple[str, ...] | None = Field(default=None, max_length=10_000)
    """The tables and views that may be touched; all where it is missing."""
    max_rows: int = Field(default=1_000, ge=1, le=1_000_000)
    """More rows are cut off, and the answer says so."""
    log_statements: bool = False
    """Whether the worker logs every statement that runs, with its parameters: ``statement.ran``."""
    side_effect: bool = False
    """As ``write`` says."""
    public: bool = False
    """The file lies here."""

    @model_validator(mode="before")
    @classmethod
    def _writing_changes_something(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("write") is True:
            return {"side_effect": True, **values}
        return values

    @model_validator(mode="after")
    def _says_what_it_does(self) -> SqlTool:
        if self.write and not self.side_effect:
            raise ValueError("a tool that writes has a side effect (side_effect: true)")
        if self.statement is not None and self.arguments is SQL_ARGUMENTS:
            raise ValueError("statement: say which arguments it takes (arguments: {type: object, properties: …})")
        return self


class PythonTool(ToolSpec):
    """One call of a Python function, in a thread of its own."""

    kind: Literal["python"]
    """``python``."""
    function: str = Field(pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$")
    """``module:function``, or the name of an entry point in the group ``headrace.tools``."""


class RetrieveTool(ToolSpec):
    """The passages of a folder's documents that are nearest to a question."""

    kind: Literal["retrieve"]
    """``retrieve``."""
    arguments: dict[str, Any] = Field(
        default_factory=lambda: {
            "type": "object",
            "properties": {
                "query": {"type": "string", "maxLength": 20_000},
                "top_k": {"type": "integer", "minimum": 1, "maximum": 100},
            },
            "required": ["query"],
            "additionalProperties": False,
        }
    )
    """``query``, and ``top_k`` as one pleases."""
    folder: str = Field(min_length=1, max_length=4_096)
    """Where the documents lie; relative to where the worker is started."""
    files: tuple[str, ...] = Field(default=("**/*.md", "**/*.txt"), min_length=1, max_length=100)
    """Which files of the folder, as globs."""
    chunk_characters: int = Field(default=1_000, ge=20, le=100_000)
    """The most a passage has; it ends at a paragraph, a line or a word where one is near."""
    overlap_characters: int = Field(default=100, ge=0, le=50_000)
    """What a passage repeats of the one before."""
    top_k: int = Field(default=5, ge=1, le=100)
    """How many passages an answer has where the call does not say."""
    min_score: float = Field(default=0.0, ge=-1, le=1)
    """Passages below it are left out."""
    endpoint: str | None = None
    """The endpoint that makes embeddings (``POST /embeddings``); where it is missing, hashed words do without."""
    model: str = ""
    """The embedding model, in the endpoint's words."""
    side_effect: bool = False
    """Reading changes nothing."""
    public: bool = False
    """The folder lies here; an endpoint that lies outside makes the tool public."""

    @model_validator(mode="after")
    def _chunks_advance(self) -> RetrieveTool:
        if self.overlap_characters * 2 > self.chunk_characters:
            raise ValueError("overlap_characters is at most half of chunk_characters")
        return self


class McpServer(_Closed):
    """A server of the Model Context Protocol: a command to start, or the address of one that runs."""

    command: tuple[str, ...] = Field(default=(), max_length=100)
    """What to start, with its arguments; the protocol goes over its standard input and output."""
    env: dict[str, str] = Field(default_factory=dict)
    """Its environment; besides this it gets ``PATH``, ``HOME`` and the like, and nothing of the worker's own."""
    env_from: tuple[EnvName, ...] = ()
    """Variables that are handed on from the worker's environment; secrets go this way."""
    url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Where it listens (streamable HTTP)."""
    headers: HeaderMap = Field(default_factory=dict)
    """Headers of each request to ``url``; never secrets."""
    headers_env: dict[str, EnvValue] = Field(default_factory=dict)
    """Headers whose values stand in environment variables."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (not self.command) == (self.url is None):
            raise ValueError("name either a command or a url")
        return self


class McpTool(ToolSpec):
    """One tool of an MCP server; its other tools cannot be called."""

    kind: Literal["mcp"]
    """``mcp``."""
    server: McpServer
    """The server; tools with the same one share its session."""
    remote: str = Field(default="", max_length=200)
    """What the server calls the tool, where that is not its name here."""

    NESTED: ClassVar[dict[str, type[BaseModel]]] = {"server": McpServer}


class NoopTool(ToolSpec):
    """Answers with its arguments: for tests, and for benchmarks of the engine alone."""

    kind: Literal["noop"]
    """``noop``."""
    side_effect: bool = False
    """It does nothing."""
    public: bool = False
    """It goes nowhere."""


Tool = Annotated[
    HttpTool | EmailTool | SqlTool | PythonTool | RetrieveTool | McpTool | NoopTool, Field(discriminator="kind")
]

TOOL_KINDS: dict[str, type[ToolSpec]] = {
    "email": EmailTool,
    "http": HttpTool,
    "mcp": McpTool,
    "noop": NoopTool,
    "python": PythonTool,
    "retrieve": RetrieveTool,
    "sql": SqlTool,
}
