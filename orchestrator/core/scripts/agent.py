"""``agent``: a model that calls tools until it has its answer.

Stages, by turns: the model is asked, then the calls of tools that it asks for go out side by side. The conversation is
made again of the tasks' records wherever it is needed: the step's own messages, then for each turn what the model said
and what came of its calls. A call that cannot be made is no task: the model is told why in the next turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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

    exchanges: list[Exchange]
    turns: int = 0
    made: int = 0
    refused: int = 0

    def receipt(self) -> PatternReceipt:
        """Return what is told of it."""
        return PatternReceipt(turns=self.turns, tool_calls=self.made, refused_calls=self.refused)


def decide(plan: AgentPlan, run: Run) -> Verdict:
    """Say what follows."""
    left, talk = list(run.past), _Talk([])
    news: tuple[News, ...] = ()
    while True:
        if not left:
            return Stage((_ask(plan, talk),), news)
        answer = left.pop(0)[0]
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
        news = _refused(run, said, talk)
        calls = tuple(_call(plan, asked) for asked in said.asked if not asked.reason)
        answers: tuple[Answer, ...] = ()
        if calls:
            if not left:
                return Stage(calls, news)
            answers, news = left.pop(0), ()
            talk.made += len(calls)
            for call, made in zip(calls, answers, strict=True):
                if failure := _in_doubt(call, made):
                    return Failed(failure, receipt=talk.receipt())
        talk.exchanges.append(Exchange(said, answers))


def _ask(plan: AgentPlan, talk: _Talk) -> Call:
    """Return the next turn: the last one, and one after the last call of a tool, are to answer."""
    closed = talk.turns + 1 == plan.max_turns or talk.made >= plan.max_calls
    return Call(plan.last if closed else plan.turn, more=_conversation(plan, tuple(talk.exchanges)))


def _call(plan: AgentPlan, asked: Asked) -> Call:
    return Call(tool=plan.allowed[asked.tool], arguments=asked.arguments)


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


def _conversation(plan: AgentPlan, exchanges: tuple[Exchange, ...]) -> Callable[[], tuple[ChatMessage, ...]]:
    """Return what gives the messages that follow the step's own: each turn, and what came of its calls."""

    def messages() -> tuple[ChatMessage, ...]:
        found: list[ChatMessage] = []
        for exchange in exchanges:
            first = sum(bool(message.tool_call_id) for message in found)
            # Nine letters and digits: the form of id that every provider takes back.
            ids = [f"call{first + number:05d}" for number in range(len(exchange.said.asked))]
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
