"""``agent``: a model that calls tools until it has its answer.

Stages, by turns: the model is asked, then the calls of tools that it asks for go out side by side. The conversation is
made again of the tasks' records wherever it is needed: the step's own messages, then for each turn what the model said
and what came of its calls. A call that cannot be made is no task: the model is told why in the next turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from headrace.orchestrator.core.scripts.agent_plan import AgentPlan
from headrace.orchestrator.core.scripts.agent_turn import Asked, Said, read_turn, told_of
from headrace.orchestrator.core.scripts.run import Answer, Call, Failed, Finished, News, Run, Stage, Verdict
from headrace.orchestrator.core.sensitivity import is_confidential
from headrace.schemas.base import trusted
from headrace.schemas.errors import ErrorKind
from headrace.schemas.messages import ChatMessage, Failure, PatternReceipt, ToolUse

DOUBTFUL = (ErrorKind.TIMEOUT, ErrorKind.NETWORK, ErrorKind.SERVER_ERROR, ErrorKind.INTERRUPTED)
"""Failures after which a tool may yet have done what it was asked."""
_NONE_LEFT = "no calls are left; answer with what there is"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A turn that asked for calls, and what came of them."""

    said: Said
    """What the model said."""
    answers: tuple[Answer, ...]
    """Of the calls that were made, in their order."""


@dataclass(slots=True)
class _Talk:
    """A conversation, as far as it is read."""

    exchanges: list[Exchange] = field(default_factory=list)
    stages: int = 0
    """How many are read."""
    turns: int = 0
    made: int = 0
    refused: int = 0
    open: Said | None = None
    """The turn whose calls are made next, or out."""
    news: tuple[News, ...] = ()
    """What the last turn has to tell of."""

    def receipt(self) -> PatternReceipt:
        """Return what is told of it."""
        return PatternReceipt(turns=self.turns, tool_calls=self.made, refused_calls=self.refused)


def decide(plan: AgentPlan, run: Run) -> Verdict:
    """Say what follows."""
    talk: _Talk
    talk = run.kept = run.kept or _Talk()
    for stage in run.past[talk.stages :]:
        talk.stages += 1
        end = _turn(plan, run, talk, stage[0]) if talk.open is None else _answers(plan, talk, talk.open, stage)
        if end is not None:
            return end
    calls = (_ask(plan, talk),) if talk.open is None else _calls(plan, talk.open)
    return Stage(calls, talk.news)


def _turn(plan: AgentPlan, run: Run, talk: _Talk, answer: Answer) -> Finished | Failed | None:
    """Take what the model said; return the end, where it is one."""
    talk.turns += 1
    if not answer.good:
        return Failed(answer.failure, receipt=talk.receipt())
    said = read_turn(plan, answer)
    if said is None:
        return _malformed("the model's turn has not the form of one", talk)
    if not said.asked:
        return _finished(answer, talk)
    if talk.turns == plan.max_turns:
        return _malformed(f"the model asked for tools in its last turn, the {plan.max_turns}th", talk)
    said = _within(plan, said, talk.made)
    talk.news = _refused(run, said, talk)
    if all(asked.reason for asked in said.asked):
        talk.exchanges.append(Exchange(said, ()))
    else:
        talk.open = said
    return None


def _answers(plan: AgentPlan, talk: _Talk, said: Said, answers: tuple[Answer, ...]) -> Failed | None:
    """Take what the tools answered; return the end, where nothing can follow."""
    talk.open, talk.news = None, ()
    talk.made += len(answers)
    for call, answer in zip(_calls(plan, said), answers, strict=True):
        if failure := _in_doubt(call, answer):
            return Failed(failure, receipt=talk.receipt())
    talk.exchanges.append(Exchange(said, answers))
    return None


def _calls(plan: AgentPlan, said: Said) -> tuple[Call, ...]:
    """Return the calls of a turn that are made."""
    made = (asked for asked in said.asked if not asked.reason)
    return tuple(Call(tool=plan.allowed[asked.tool], arguments=asked.arguments) for asked in made)


def _ask(plan: AgentPlan, talk: _Talk) -> Call:
    """Return the next turn: the last one, and one after the last call of a tool, are to answer."""
    closed = talk.turns + 1 == plan.max_turns or talk.made >= plan.max_calls
    return Call(plan.last if closed else plan.turn, more=_conversation(plan, talk.exchanges, len(talk.exchanges)))


def _within(plan: AgentPlan, said: Said, made: int) -> Said:
    """Return a turn in which the calls beyond those that are left are not made."""
    room = plan.max_calls - made
    asked: list[Asked] = []
    for each in said.asked:
        going = not each.reason and room > 0
        room -= going
        asked.append(each if going or each.reason else replace(each, reason="bound", problem=_NONE_LEFT))
    return replace(said, asked=tuple(asked))


def _refused(run: Run, said: Said, talk: _Talk) -> tuple[News, ...]:
    """Count the calls that are not made, and tell of them; a name that the model made up is its text."""
    refused = [each for each in said.asked if each.reason]
    if not refused:
        return ()
    talk.refused += len(refused)
    confidential = is_confidential(run.turn, run.step)
    calls = [
        {"tool": "" if confidential and each.reason == "unlisted" else each.tool, "reason": each.reason}
        for each in refused
    ]
    return (News("agent.refused", str(talk.turns), {"turn": talk.turns, "calls": calls}),)


def _in_doubt(call: Call, answer: Answer) -> Failure | None:
    """Return why nothing can follow: nobody knows whether a call was done that must not be done twice.

    A model would ask for it again, under a key of its own.
    """
    tool = call.tool
    if answer.good or tool is None or tool.repeatable or answer.failure.kind not in DOUBTFUL:
        return None
    message = f"tool {tool.name} failed, and may have done what it was asked: {answer.failure.message}"
    return answer.failure.model_copy(update={"message": message[:1_000]})


def _finished(answer: Answer, talk: _Talk) -> Finished:
    receipt = talk.receipt()
    data = {"turns": talk.turns, "tool_calls": talk.made, "refused": talk.refused}
    return Finished(lambda: answer.value()["content"], (News("agent.answered", "", data),), receipt)


def _malformed(message: str, talk: _Talk) -> Failed:
    return Failed(Failure(kind=ErrorKind.MALFORMED_OUTPUT, message=message), receipt=talk.receipt())


def _conversation(plan: AgentPlan, exchanges: list[Exchange], count: int) -> Callable[[], tuple[ChatMessage, ...]]:
    """Return what gives the messages that follow the step's own: each turn, and what came of its calls.

    Args:
        exchanges: they may become more.
        count: how many of them the turn knows.
    """

    def messages() -> tuple[ChatMessage, ...]:
        found: list[ChatMessage] = []
        numbers = itertools.count()
        for exchange in exchanges[:count]:
            # Nine letters and digits: the form of id that every provider takes back.
            ids = [f"call{next(numbers):05d}" for _ in exchange.said.asked]
            uses = tuple(
                trusted(ToolUse, id=id_, name=asked.tool, arguments=asked.text)
                for id_, asked in zip(ids, exchange.said.asked, strict=True)
            )
            found.append(trusted(ChatMessage, role="assistant", content=exchange.said.content, tool_calls=uses))
            answers = iter(exchange.answers)
            for id_, asked in zip(ids, exchange.said.asked, strict=True):
                text = f"refused: {asked.problem}" if asked.reason else told_of(plan, next(answers))
                found.append(trusted(ChatMessage, role="tool", content=text, tool_call_id=id_))
        return tuple(found)

    return messages
