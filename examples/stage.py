"""What an example runs on: a Kafka, whatever it starts beside it, and the checks that say what it shows.

The ``example.py`` of an example has a docstring, whose first line lists show, and one function::

    def run(stage: Stage) -> None:
        model = stage.provider(stage.home / "answers.yaml")
        here = stage.deploy(stage.pools({"127.0.0.1:9801": model.address}))
        outcome = here.run("tutor", {"question": "Who was first?"})
        stage.expect("history is asked", outcome.output["to"] == "history", outcome.output)

Everything that was started is stopped when the stage is left, also after Ctrl-C.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml

from headrace.console.deployment import free_port, provider_command
from headrace.console.models import model_spec
from headrace.console.options import settings_with_servers
from headrace.examples.deployment import Deployment
from headrace.examples.provider import Provider
from headrace.runtime.local_model import ModelServer, bundled_small_model, server_available
from headrace.runtime.settings import Settings
from headrace.runtime.supervisor import ProcessSpec, Supervisor
from headrace.schemas.errors import ConfigError, DependencyUnavailable

T = TypeVar("T")
Say = Callable[[str], None]
Answers = Literal["usual", "scripted"]
"""``usual``: a model on this machine where one can run; ``scripted``: written answers in any case."""
PARTITIONS = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an example shows."""

    what: str
    held: bool
    saw: str = ""


@dataclass(slots=True)
class Stage:
    """A context manager, for one run of one example.

    Args:
        name: the example's.
        home: its folder: workflow, input, answers.
        scratch: a folder of this run's own.
        settings: how Kafka is reached, and a topic prefix that no other run has.
        say: takes one line for people.
        answers: who answers where the example leaves it open.
        given_pools: a pools file of the user's own, in place of the example's.
    """

    name: str
    home: Path
    scratch: Path
    settings: Settings
    say: Say
    answers: Answers = "usual"
    given_pools: Path | None = None
    checks: list[Check] = field(default_factory=list)
    _held: ExitStack = field(default_factory=ExitStack)
    _supervisor: Supervisor | None = None

    def __enter__(self) -> Self:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *raised: object) -> None:
        self._held.close()

    # What it shows

    def expect(self, what: str, held: bool, saw: object = "") -> None:
        """Note a check and say it; a run goes on after one that does not hold, so that all are seen.

        Args:
            what: what should be so, as a sentence.
            held: whether it is.
            saw: what was seen, shown beside it.
        """
        check = Check(what, bool(held), _short(saw))
        self.checks.append(check)
        self.say(f"  {'✓' if check.held else '✗'} {what}" + (f": {check.saw}" if check.saw else ""))

    # What it needs

    def needs(self, module: str, *, extra: str) -> None:
        """Look whether a package is installed that Headrace itself does not need.

        Raises:
            DependencyUnavailable: it is not; the extra that brings it is named.
        """
        if find_spec(module) is None:
            raise DependencyUnavailable(f"example {self.name} needs {module}", f"pip install 'headrace[{extra}]'")

    def enter(self, manager: AbstractContextManager[T]) -> T:
        """Enter a context that is left with the stage."""
        return self._held.enter_context(manager)

    def start(self, spec: ProcessSpec) -> None:
        """Run a process until the stage is left."""
        if self._supervisor is None:
            self._supervisor = self.enter(Supervisor(self.scratch / "logs"))
        self._supervisor.start(spec)

    def provider(self, script: Path | Mapping[str, Any], name: str = "provider") -> Provider:
        """Start the scripted provider; its log keeps what was sent to it.

        Args:
            script: the file of its rules, or its content.
            name: of the process, where there is more than one.
        """
        path = script if isinstance(script, Path) else self.scratch / f"{name}.yaml"
        if not isinstance(script, Path):
            path.write_text(yaml.safe_dump(dict(script), allow_unicode=True), encoding="utf-8")
        provider = Provider(free_port())
        command = [*provider_command(provider.port, path), "--keep-bodies"]
        self.start(ProcessSpec(name=name, command=command, ready=provider.listens))
        return provider

    def model(self, script: Path | Mapping[str, Any], names: Sequence[str] = ("small", "large")) -> Provider:
        """Start the small model on this machine, or the scripted provider where none can run or none is wanted.

        Args:
            script: the answers in that case.
            names: the models that pools ask for.
        """
        reason = "asked for" if self.answers == "scripted" else server_available()
        if reason:
            self.say(f"  scripted answers ({reason})")
            return self.provider(script)
        server = Provider(free_port())
        self.start(model_spec(ModelServer(bundled_small_model(), tuple(names), server.port)))
        return server

    def service(self, handler: type[BaseHTTPRequestHandler]) -> str:
        """Serve HTTP from a thread of this process; return host and port."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._held.callback(server.server_close)
        self._held.callback(server.shutdown)
        return f"127.0.0.1:{server.server_address[1]}"

    def pools(
        self, places: Mapping[str, object] | None = None, file: str = "pools.yaml", *, services: bool = False
    ) -> Path:
        """Return the pools file of this run: the user's own, else the example's with other addresses in it.

        Args:
            places: what stands in the example's file, and what to write in its place, such as
                ``{"127.0.0.1:9801": provider.address}``.
            file: which file of the example.
            services: its pools are services that the example itself starts, so no file of the user's has them.

        Raises:
            ConfigError: the file does not hold one of the places.
        """
        if self.given_pools is not None and not services:
            return self.given_pools
        text = (self.home / file).read_text(encoding="utf-8")
        for place, instead in (places or {}).items():
            if place not in text:
                raise ConfigError(f"example {self.name}: {file} does not hold {place!r}")
            text = text.replace(place, str(instead))
        made = self.scratch / Path(file).name
        made.write_text(text, encoding="utf-8")
        return made

    def deploy(
        self,
        pools: Path,
        *,
        workflows: Sequence[Path] = (),
        workers: Mapping[str, int] | None = None,
        orchestrators: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> Deployment:
        """Start orchestrators and workers under this run's prefix and wait until they are ready.

        Args:
            pools: the pools file.
            workflows: files; the example's own ``workflow.yaml`` where left out.
            workers: how many of a pool, where it is not one.
            orchestrators: how many.
            environment: added to that of every process, such as ``HEADRACE_WORKER__…`` and the keys of providers.
        """
        topics = self.settings.topics.model_copy(update={"partitions": PARTITIONS, "task_partitions": PARTITIONS})
        settings = settings_with_servers(self.settings, self.settings.kafka.bootstrap_servers).model_copy(
            update={"topics": topics, "pools_file": pools, "data_dir": self.scratch}
        )
        deployment = Deployment(
            settings,
            workflows=tuple(workflows) or (self.home / "workflow.yaml",),
            workers=dict(workers or {}),
            orchestrators=orchestrators,
            environment=dict(environment or {}),
        )
        return self.enter(deployment)


def _short(saw: object) -> str:
    text = " ".join(str(saw).split())
    return text if len(text) <= 160 else f"{text[:159]}…"
