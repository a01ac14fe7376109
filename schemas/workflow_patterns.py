"""Steps of several calls that decide as they go: which branch, how far up, what most say, once more or not.

Part of `schemas.workflow`. docs/workflows.md shows each.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from headrace.schemas.workflow_calls import CallSpec, Closed, LlmSpec, ToolCallSpec

Share = Annotated[float, Field(ge=0, le=1)]
AT_LEAST = 0.3
"""The least score of a semantic route. Of CLINC150's texts that belong to no branch, nine of ten are turned away with
both defaults (ADR 27)."""
MARGIN = 0.03
"""What its best branch must have over the next."""


class RuleSpec(Closed):
    """A rule of a route."""

    when: str
    """A condition: one expression."""
    to: str
    """The branch that is taken where it holds."""


class ClassifierSpec(LlmSpec):
    """A model that names the branch, by an enum of them and ``unsure``."""

    labels: dict[str, str] = Field(default_factory=dict, max_length=100)
    """Branches that it may name, each with what belongs there; its prompt knows them as ``labels``. Missing: all."""
    at_least: Share | None = None
    """Confidence below which its answer counts as unsure; it is not asked for where this is missing."""
    remember_s: int | None = Field(default=None, ge=1, le=604_800)
    """For how long a session keeps the branch that it named, in seconds: the step asks no more in the session's later
    jobs. Missing: it is asked in each job."""


class SemanticSpec(Closed):
    """A comparison with example utterances of the branches, by their embeddings."""

    pool: str
    """A pool that serves embeddings."""
    text: str
    """What is compared; a template."""
    examples: dict[str, list[str]] = Field(min_length=1, max_length=100)
    """What belongs to a branch, in a few texts each: 10 to 50 do well."""
    at_least: float = Field(default=AT_LEAST, ge=-1, le=1)
    """The score from which the nearest branch is taken; what is far from all is left to the classifier."""
    margin: float = Field(default=MARGIN, ge=0, le=2)
    """What it must have over the next."""


class BranchSpec(Closed):
    """What is done where a branch is taken; nothing: the step's output is the branch's name."""

    llm: LlmSpec | None = None
    """One model call, whose answer is the step's output."""
    tool: ToolCallSpec | None = None
    """In its place: one call of a tool."""


class RouteSpec(Closed):
    """One of several calls: by rules, else by example utterances, else by a classifier, else `otherwise`."""

    rules: list[RuleSpec] = Field(default_factory=list, max_length=100)
    """The first that holds decides."""
    semantic: SemanticSpec | None = None
    """Compared where no rule holds; abstains where the nearest branch is far, or another about as near."""
    classifier: ClassifierSpec | None = None
    """Asked where nothing before it decided, once."""
    otherwise: str
    """The branch where nothing else decides: no rule holds, the examples leave a doubt, and the classifier is unsure,
    wrong, or fails."""
    to: dict[str, BranchSpec] = Field(min_length=1, max_length=100)
    """The branches, by name."""


class LeastConfidence(Closed):
    """How sure a model must be."""

    at_least: Share
    """e to the mean log-probability of the answer's tokens."""


class AgreementSpec(Closed):
    """How many answers must be the same."""

    samples: int = Field(default=1, ge=1, le=16)
    """Calls of each pool."""
    at_least: int = Field(ge=2, le=64)
    """How many of them must be the same."""
    compare: str | None = None
    """What of an answer is compared: an expression over ``answer``; all of it where this is missing."""


class JudgeSpec(LlmSpec):
    """A model that gives an answer a score from 0 to 1; its prompt knows it as ``answer``."""

    at_least: Share
    """The score from which it is accepted."""


class AcceptSpec(Closed):
    """What an answer must hold; all of what is named."""

    answer_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    """JSON Schema of the answer; asked of the model too, unless the call has an ``output`` of its own."""
    confidence: LeastConfidence | None = None
    """How sure the model must be."""
    agreement: AgreementSpec | None = None
    """How many answers must be the same."""
    judge: JudgeSpec | None = None
    """A model that judges what holds all else."""


class CascadeSpec(CallSpec):
    """One call that goes to pools in order, until an answer is accepted; the last pool's is taken as it is."""

    pools: list[str | list[str]] = Field(min_length=2, max_length=8)
    """From the smallest to the best; a list in place of a name: several that are asked side by side."""
    accept: AcceptSpec
    """What the answers of all pools but the last must hold."""


class VoterSpec(Closed):
    """Who votes, and in what it differs from the others."""

    pool: str
    """The pool whose workers make the call."""
    samples: int = Field(default=1, ge=1, le=32)
    """How many votes it has, each a call."""
    prompt: str | None = None
    """The user's message in place of the vote's; a template."""
    system: str | None = None
    """The system's message in place of the vote's; a template."""
    temperature: float | None = Field(default=None, ge=0, le=10)
    """In place of the vote's."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """In place of the vote's."""
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    """In place of the vote's."""


class VoteSpec(CallSpec):
    """One question to several models or samples, side by side, and one answer of theirs."""

    voters: list[VoterSpec] = Field(min_length=1, max_length=32)
    """Who votes: 2 to 32 calls."""
    pick: Literal["majority", "first_valid", "merge", "best_of"] = "majority"
    """How one answer comes of theirs."""
    ask: Literal["all", "as_needed"] = "all"
    """Of ``majority`` and ``first_valid``: all at once, or no more at a time than can decide."""
    quorum: int | None = Field(default=None, ge=1, le=32)
    """Of ``majority``: so many must say the same. More than half where it is missing, and then fewer will do."""
    compare: str | None = None
    """Of ``majority``: what of an answer is compared, an expression over ``answer``."""
    judge: LlmSpec | None = None
    """Of ``best_of``, and of ``majority`` without a quorum: says which of ``answers`` is the best, by number from 0."""
    merge: LlmSpec | None = None
    """Of ``merge``: makes one of ``answers``; without it objects and lists are merged as they are."""


class EvaluateSpec(LlmSpec):
    """A model that accepts a draft or says what is wrong with it; its prompt knows ``draft`` and ``round``."""

    at_least: Share | None = None
    """The score, from 0 to 1, that an accepted draft must have too."""


class RefineSpec(Closed):
    """A draft, its evaluation, another draft with the feedback, and so on."""

    generate: LlmSpec
    """Writes a draft; its prompt knows ``draft`` and ``feedback`` (null in the first round) and ``round``, from 1."""
    evaluate: EvaluateSpec
    """Accepts it, or says what is wrong with it."""
    max_rounds: int = Field(default=3, ge=1, le=20)
    """The most drafts."""
    keep: Literal["last", "best"] = "last"
    """Which draft is kept where none was accepted."""
