"""A model call of a document becomes an `LlmPlan`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.orchestrator.core.document import check_schema_at
from headrace.orchestrator.core.llm_plan import LlmPlan, MessageTemplate
from headrace.orchestrator.core.problems import suggestion
from headrace.orchestrator.core.scope import Scope
from headrace.schemas.pools import Pool
from headrace.schemas.workflow_calls import CallSpec, LlmSpec

Needs = tuple[str, ...]
"""The steps that something refers to."""


@dataclass(frozen=True, slots=True)
class CallCompiler:
    """Compiles the calls of one workflow."""

    scope: Scope
    """The names there are, and where problems go."""
    pools: Mapping[str, Pool] | None
    """The pools there are; None leaves them unchecked."""

    def llm(self, path: str, spec: LlmSpec, local: tuple[str, ...] = ()) -> tuple[LlmPlan, Needs]:
        """Return one call, and the steps that its templates refer to.

        Args:
            path: where it stands.
            local: names that its templates know beside the input and the steps.
        """
        self.pool(f"{path}.pool", spec.pool)
        return self.call(path, spec, spec.pool, local)

    def pool(self, path: str, name: str, *, serves: str = "chat") -> None:
        """Check that a pool is there, and does what is asked of it."""
        if self.pools is None:
            return
        if name not in self.pools:
            self.scope.problems.add(path, f"unknown pool {name[:80]!r}{suggestion(name, self.pools)}")
        elif self.pools[name].serves != serves:
            fit = [other for other, pool in self.pools.items() if pool.serves == serves]
            message = f"pool {name!r} serves {self.pools[name].serves}, and {serves} is needed"
            self.scope.problems.add(path, f"{message}; there is {', '.join(fit) or 'none'} that does")

    def call(self, path: str, spec: CallSpec, pool: str, local: tuple[str, ...] = ()) -> tuple[LlmPlan, Needs]:
        """Return a call that goes to a pool which is named elsewhere; as `llm`."""
        if spec.output is not None:
            check_schema_at(f"{path}.output", spec.output, self.scope.problems)
        needs: Needs = ()
        messages = self._messages(path, spec)
        for place, message in messages:
            needs += self.scope.names(place, message.content, local=local)
        plan = LlmPlan(
            pool=pool,
            messages=tuple(message for _, message in messages),
            temperature=spec.temperature,
            top_p=spec.top_p,
            seed=spec.seed,
            stop=tuple(spec.stop),
            max_output_tokens=spec.max_output_tokens,
            output_schema=spec.output,
        )
        return plan, needs

    def condition(self, path: str, text: str, local: tuple[str, ...] = ()) -> Needs:
        """Check a condition, and return the steps that it refers to."""
        needs = self.scope.names(path, text, local=local)
        if not self.scope.is_expression(text):
            self.scope.problems.add(path, "one expression in {{ }} is needed, and nothing around it")
        return needs

    def _messages(self, path: str, spec: CallSpec) -> list[tuple[str, MessageTemplate]]:
        if spec.messages is not None:
            if spec.prompt is not None or spec.system is not None:
                self.scope.problems.add(path, "messages stands in place of prompt and system: use one or the other")
            return [
                (f"{path}.messages.{at}.content", MessageTemplate(message.role, message.content))
                for at, message in enumerate(spec.messages)
            ]
        if spec.prompt is None:
            self.scope.problems.add(path, "prompt or messages is missing")
        pairs = (("system", "system", spec.system), ("prompt", "user", spec.prompt))
        return [(f"{path}.{key}", MessageTemplate(role, text)) for key, role, text in pairs if text is not None]
