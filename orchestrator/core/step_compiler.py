"""One step of a document becomes one `Step`. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.orchestrator.core.aggregate import REDUCERS
from headrace.orchestrator.core.call_compiler import CallCompiler
from headrace.orchestrator.core.document import check_schema_at
from headrace.orchestrator.core.nested_compiler import CompileInline, compile_nested
from headrace.orchestrator.core.nested_plan import NestedPlan
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.retry import NAMEABLE
from headrace.orchestrator.core.scope import Scope
from headrace.orchestrator.core.script_compiler import compile_script
from headrace.orchestrator.core.steps import (
    KeyRule,
    OnError,
    OnErrorMode,
    Require,
    RetryRule,
    RetryRules,
    Source,
    SplitPlan,
    Step,
    StepKind,
    WaitPlan,
)
from headrace.orchestrator.core.tool_compiler import compile_tool
from headrace.orchestrator.core.tool_plan import ToolPlan
from headrace.schemas.base import Sensitivity
from headrace.schemas.codec import canonical_json
from headrace.schemas.errors import ErrorKind
from headrace.schemas.pools import Pool
from headrace.schemas.tools import ToolSpec
from headrace.schemas.workflow import (
    CALLS,
    KINDS,
    PATTERNS,
    AtLeast,
    RetryRuleSpec,
    RetrySpec,
    Share,
    SplitSpec,
    StepSpec,
)
from headrace.schemas.workflow_waits import DefaultValue, WaitSpec

DEFAULT_FAN_IN = 8
OTHERS = tuple(kind for kind in KINDS if kind != "llm")
_TASK_OPTIONS = ("retry", "timeout_s", "max_in_flight", "key")
_PROMPTING = tuple(kind for kind in PATTERNS if kind != "saga")


@dataclass(frozen=True, slots=True)
class StepCompiler:
    """Compiles the steps of one workflow."""

    scope: Scope
    """The names there are, and where problems go."""
    pools: Mapping[str, Pool] | None
    """The pools there are; None leaves them unchecked."""
    tools: Mapping[str, ToolSpec] | None
    """The tools there are; None leaves them unchecked."""
    inline: CompileInline
    """Compiles a workflow that is written out as a step."""

    def compile(self, name: str, spec: StepSpec, raw: Any) -> tuple[Step | None, tuple[str, ...]]:
        """Return the step (None where it has no kind) and the steps that it refers to."""
        path = f"steps.{name}"
        kind = self._kind(path, spec)
        if kind is None:
            return None, ()
        self._check_options(path, spec, kind)
        source, needs = self._source(path, spec, kind)
        calls = CallCompiler(self.scope, self.pools)
        llm, split = None, None
        if spec.llm is not None:
            local = {StepKind.FOR_EACH: ("item", "index"), StepKind.REDUCE: ("items",)}.get(kind, ())
            llm, more = calls.llm(f"{path}.llm", spec.llm, local)
            needs += more
        tool: ToolPlan | None = None
        if spec.tool is not None:
            each = ("item", "index") if kind is StepKind.FOR_EACH else ()
            tool, more = compile_tool(self.scope, self.tools, f"{path}.tool", spec.tool, each)
            needs += more
        nested: NestedPlan | None = None
        if spec.workflow is not None:
            each = ("item", "index") if kind is StepKind.FOR_EACH else ()
            nested, more = compile_nested(self.scope, f"{path}.workflow", spec.workflow, each, self.inline)
            needs += more
        script, more = compile_script(calls, self.tools, path, spec)
        needs += more
        if spec.when is not None:
            needs += calls.condition(f"{path}.when", spec.when)
        if spec.split is not None:
            split, more = self._split(f"{path}.split", spec.split)
            needs += more
        needs += self._after(f"{path}.after", spec)
        step = Step(
            name=name,
            kind=kind,
            source=source,
            llm=llm,
            tool=tool,
            nested=nested,
            script=script,
            when=spec.when,
            split=split,
            wait=None if spec.wait is None else self._wait(f"{path}.wait", spec.wait),
            reducer=spec.reducer,
            fan_in=spec.fan_in or DEFAULT_FAN_IN,
            require=_require(spec),
            retry=self._retry(f"{path}.retry", spec.retry),
            timeout_ms=None if spec.timeout_s is None else max(1, round(spec.timeout_s * 1000)),
            on_error=_on_error(spec.on_error if spec.wait is None else spec.wait.on_timeout),
            max_in_flight=spec.max_in_flight,
            key=KeyRule(spec.key),
            sensitivity=None if spec.sensitivity is None else Sensitivity(spec.sensitivity),
            yields_list=kind in (StepKind.SPLIT, StepKind.FOR_EACH),
            template_hash=hashlib.sha256(canonical_json(raw)).hexdigest()[:16],
        )
        return step, tuple(dict.fromkeys(needs))

    def _problem(self, path: str, message: str) -> None:
        self.scope.problems.add(path, message)

    def _kind(self, path: str, spec: StepSpec) -> StepKind | None:
        present = [kind for kind in KINDS if getattr(spec, kind) is not None]
        leading, calls = [kind for kind in present if kind not in CALLS], [kind for kind in present if kind in CALLS]
        if not present:
            self._problem(path, f"a step needs one of {', '.join(('llm', *OTHERS[:-1]))} or {OTHERS[-1]}")
            return None
        alone = not leading or leading[0] in ("for_each", "reduce")
        if (
            len(leading) > 1
            or len(calls) > 1
            or (calls and not alone)
            or (leading == ["reduce"] and calls not in ([], ["llm"]))
        ):
            self._problem(path, f"{' and '.join(present)} do not go together in one step")
            return None
        return StepKind((leading or present)[0])

    def _check_options(self, path: str, spec: StepSpec, kind: StepKind) -> None:
        """Options that would be ignored are problems: their author expects them to act."""
        given = spec.model_fields_set
        if kind is StepKind.FOR_EACH and all(each is None for each in (spec.llm, spec.tool, spec.workflow)):
            self._problem(path, "for_each needs llm, tool or workflow: what to do with each item")
        if kind is StepKind.REDUCE:
            self._check_reduce(path, spec)
        elif "reducer" in given or "fan_in" in given:
            self._problem(path, "with and fan_in belong to reduce")
        if "require" in given and kind is not StepKind.FOR_EACH:
            self._problem(f"{path}.require", "require belongs to for_each, which has many items")
        has_tasks = kind.value in PATTERNS or any((spec.llm, spec.tool, spec.workflow))
        for option in _TASK_OPTIONS:
            if option in given and not has_tasks:
                self._problem(f"{path}.{option}", f"{option} belongs to steps that have tasks")
        if spec.wait is not None and "on_error" in given:
            self._problem(f"{path}.on_error", "a wait fails in one way only: say on_timeout within it")
        if spec.key == "prefix" and not (spec.llm or any(getattr(spec, kind) for kind in _PROMPTING)):
            self._problem(f"{path}.key", "key: prefix belongs to steps that call models")

    def _check_reduce(self, path: str, spec: StepSpec) -> None:
        if (spec.llm is None) == (spec.reducer is None):
            self._problem(path, "reduce needs either llm, or with and the name of a reducer")
        if spec.reducer is not None and spec.reducer not in REDUCERS:
            self._problem(f"{path}.with", f"unknown reducer {spec.reducer[:80]!r}{suggestion(spec.reducer, REDUCERS)}")
        if spec.llm is None and spec.fan_in is not None:
            self._problem(f"{path}.fan_in", "fan_in belongs to reduce with llm")

    def _retry(self, path: str, spec: RetrySpec) -> RetryRules:
        """Return what the step says about retries; kinds are named as results name them."""
        on: dict[ErrorKind, RetryRule] = {}
        names = {kind.value: kind for kind in NAMEABLE}
        for name, rule in spec.on.items():
            if name in names:
                on[names[name]] = self._rule(f"{path}.on.{name}", rule)
            elif name in tuple(ErrorKind):
                self._problem(f"{path}.on.{name}", f"{name} is never tried again, or not the task's to count")
            else:
                self._problem(f"{path}.on", f"unknown error kind {name[:80]!r}{suggestion(name, names)}")
        return RetryRules(self._rule(path, spec), on)

    def _rule(self, path: str, spec: RetryRuleSpec) -> RetryRule:
        base, longest = spec.backoff_ms, spec.max_backoff_ms
        if base is not None and longest is not None and longest < base:
            self._problem(path, f"max_backoff_ms {longest} is below backoff_ms {base}")
        return RetryRule(spec.attempts, base, longest)

    def _source(self, path: str, spec: StepSpec, kind: StepKind) -> tuple[Source | None, tuple[str, ...]]:
        """Return where the items come from; a template that only names a step is that step."""
        text = spec.for_each if spec.for_each is not None else spec.reduce
        if text is None:
            return None, ()
        place, bare = f"{path}.{kind}", text.strip()
        if "{" not in bare:
            if bare in self.scope.steps:
                return Source(step=bare), (bare,)
            hint = f' (an expression is written "{{{{ {bare} }}}}")' if "." in bare or bare == "input" else ""
            self._problem(place, f"unknown step {bare[:80]!r}{hint or suggestion(bare, self.scope.steps)}")
            return None, ()
        needs = self.scope.names(place, text)
        if not self.scope.is_expression(text):
            self._problem(place, "a list is needed: a step, or one expression in {{ }} and nothing around it")
        inner = bare.removeprefix("{{").removesuffix("}}").strip("- \t\n")
        return (Source(step=inner) if inner in needs else Source(expression=text)), needs

    def _after(self, path: str, spec: StepSpec) -> tuple[str, ...]:
        """Return the steps that this one waits for though no template of it names them."""
        for at, name in enumerate(spec.after):
            if name not in self.scope.steps:
                self._problem(f"{path}.{at}", f"unknown step {name[:80]!r}{suggestion(name, self.scope.steps)}")
        return tuple(name for name in spec.after if name in self.scope.steps)

    def _wait(self, path: str, spec: WaitSpec) -> WaitPlan:
        if spec.payload is not None:
            check_schema_at(f"{path}.schema", spec.payload, self.scope.problems)
        return WaitPlan(spec.signal, max(1, round(spec.timeout_s * 1_000)), spec.payload or {})

    def _split(self, path: str, spec: SplitSpec) -> tuple[SplitPlan, tuple[str, ...]]:
        if spec.size is None and spec.by != "records":
            self._problem(path, f"size is missing: how many {spec.by} a chunk holds at most")
        if spec.by != "records" and spec.format != "auto":
            self._problem(f"{path}.format", "format belongs to by: records")
        if spec.overlap and spec.by == "records":
            self._problem(f"{path}.overlap", "overlap belongs to texts: records stand for themselves")
        elif spec.size is not None and spec.overlap * 2 > spec.size:
            self._problem(f"{path}.overlap", f"overlap {spec.overlap} is above half of size {spec.size}")
        plan = SplitPlan(spec.source, spec.by, spec.size, spec.overlap, spec.format)
        return plan, self.scope.names(f"{path}.from", spec.source)


def _require(spec: StepSpec) -> Require:
    match spec.require:
        case AtLeast(at_least=number):
            return Require(at_least=number)
        case Share(share=share):
            return Require(share=share)
        case _:
            return Require()


def _on_error(said: str | DefaultValue) -> OnError:
    if isinstance(said, DefaultValue):
        return OnError(OnErrorMode.DEFAULT, said.default)
    return OnError(OnErrorMode(said))
