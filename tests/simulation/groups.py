"""The coordinator of one consumer group, classic protocol: members, generations, sessions, offsets.

Assignments are worked out here rather than by the leader, which changes nothing: the group is stable once the leader's
answer is in, as in Kafka. Static members keep their place over a restart; the one they replace is fenced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from tests.simulation.assignors import Place, assign

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

EMPTY, PREPARING, COMPLETING, STABLE = "empty", "preparing", "completing", "stable"
Answer = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Membership:
    """Who asks."""

    member_id: str
    generation: int
    instance: str | None


@dataclass(slots=True, eq=False)
class Member:
    """One member."""

    member_id: str
    instance: str | None
    topics: tuple[str, ...]
    strategy: str
    session_us: int
    seen_us: int
    owned: tuple[Place, ...] = ()
    """What it says that it owns (cooperative)."""
    joining: Answer | None = None
    """Waits for the others to join."""
    syncing: Answer | None = None
    assignment: tuple[Place, ...] = ()


@dataclass(slots=True)
class Joined:
    """The answer to a join."""

    error: int
    member_id: str = ""
    generation: int = -1


@dataclass(slots=True)
class Committed:
    """An offset of the group."""

    offset: int
    metadata: str


@dataclass(slots=True, eq=False)
class Silence:
    """What a member's client did not know: that the group had let it go, because nothing was heard of it."""

    process: str
    topics: tuple[str, ...]
    dropped_us: int | None = None
    heard_us: int | None = None
    """When its application was told that all is lost."""

    def covers(self, process: str, topic: str, at_us: int) -> bool:
        """Return whether a process took a topic's partitions for its own then, though they were not."""
        if process != self.process or topic not in self.topics or self.dropped_us is None:
            return False
        return self.dropped_us <= at_us and (self.heard_us is None or at_us <= self.heard_us)


@dataclass(slots=True, eq=False)
class Group:
    """One group."""

    cluster: Cluster
    name: str
    state: str = EMPTY
    generation: int = 0
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    offsets: dict[Place, Committed] = field(default_factory=dict)
    pending: dict[int, dict[Place, Committed]] = field(default_factory=dict)
    """By producer id: offsets of transactions whose marker is not written yet."""
    epochs: dict[int, int] = field(default_factory=dict)
    """By producer id, the newest epoch whose marker was written here."""
    fencing: bool = True
    """Off only where a test shows that its absence is noticed."""
    joins: int = 0
    silences: dict[str, Silence] = field(default_factory=dict)
    """By id of a member whose client knows it: what the judges ask about it."""

    # ── Members ──────────────────────────────────────────────────────────────────────────────────────────────────

    def join(
        self,
        who: Membership,
        topics: tuple[str, ...],
        strategy: str,
        session_us: int,
        owned: tuple[Place, ...],
        answer: Answer,
    ) -> None:
        """Take a member in, or back; answered once all have joined."""
        now_us = self.cluster.world.now_us
        known = self.instances.get(who.instance) if who.instance is not None else None
        if who.member_id and who.member_id not in self.members:
            code = KafkaError.UNKNOWN_MEMBER_ID if known is None else KafkaError.FENCED_INSTANCE_ID
            answer(Joined(int(code)))
            return
        if known is not None and who.member_id and known != who.member_id:
            answer(Joined(int(KafkaError.FENCED_INSTANCE_ID)))
            return
        if who.member_id:
            member = self.members[who.member_id]
        else:
            self.joins += 1
            member_id = f"{who.instance or 'm'}-{self.joins}"
            if known is not None and self._replace(known, member_id, now_us, topics, answer):
                return
            if member_id not in self.members:
                self.members[member_id] = Member(member_id, who.instance, topics, strategy, session_us, now_us)
                if who.instance is not None:
                    self.instances[who.instance] = member_id
                self._watch(self.members[member_id])
            member = self.members[member_id]
        member.topics, member.owned, member.seen_us, member.joining = topics, owned, now_us, answer
        self.rebalance()
        self._complete_join()

    def _replace(self, known: str, member_id: str, now_us: int, topics: tuple[str, ...], answer: Answer) -> bool:
        """Give a static member's place to its successor; return whether that is all there is to do."""
        member = self.members.pop(known)
        for waiting in (member.joining, member.syncing):
            if waiting is not None:
                waiting(Joined(int(KafkaError.FENCED_INSTANCE_ID)))
        member.joining = member.syncing = None
        member.member_id, member.seen_us = member_id, now_us
        self.members[member_id] = member
        assert member.instance is not None
        self.instances[member.instance] = member_id
        if self.leader == known:
            self.leader = member_id
        if self.state == STABLE and member.topics == topics:
            answer(Joined(0, member_id, self.generation))
            return True
        return False

    def rebalance(self) -> None:
        """Call everybody to join again."""
        if self.state == PREPARING or not self.members:
            return
        self.state = PREPARING
        self.cluster.world.note(f"{self.name} rebalances")
        for member in self.members.values():
            if member.syncing is not None:
                syncing, member.syncing = member.syncing, None
                syncing(int(KafkaError.REBALANCE_IN_PROGRESS))

    def _complete_join(self) -> None:
        """Begin the next generation, once everybody has joined."""
        if not self.members:
            self.state = EMPTY
            return
        if self.state != PREPARING or not all(member.joining for member in self.members.values()):
            return
        self.generation += 1
        self.state = COMPLETING
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        for member in self.members.values():
            answer, member.joining = member.joining, None
            member.seen_us = self.cluster.world.now_us
            assert answer is not None
            answer(Joined(0, member.member_id, self.generation))

    def sync(self, who: Membership, answer: Answer) -> None:
        """Give a member its assignment, once the leader is here."""
        if error := self._check(who):
            answer(error)
            return
        member = self.members[who.member_id]
        if self.state == PREPARING:
            answer(int(KafkaError.REBALANCE_IN_PROGRESS))
        elif self.state == STABLE:
            answer(member.assignment)
        else:
            member.syncing = answer
            if who.member_id == self.leader:
                self._become_stable()

    def _become_stable(self) -> None:
        self.state = STABLE
        found = assign(list(self.members.values()), self.cluster.partition_count)
        for member in self.members.values():
            member.assignment = found[member.member_id]
            if member.syncing is not None:
                answer, member.syncing = member.syncing, None
                answer(member.assignment)

    def heartbeat(self, who: Membership) -> int:
        """Note that a member lives; return an error or 0."""
        if error := self._check(who):
            return error
        self.members[who.member_id].seen_us = self.cluster.world.now_us
        return int(KafkaError.REBALANCE_IN_PROGRESS) if self.state == PREPARING else 0

    def leave(self, who: Membership) -> int:
        """Let a member go."""
        if who.member_id in self.members:
            self._remove(who.member_id)
        return 0

    def _remove(self, member_id: str) -> None:
        member = self.members.pop(member_id)
        if member.instance is not None:
            self.instances.pop(member.instance, None)
        self.cluster.world.note(f"{self.name} lost {member_id}")
        self.rebalance()
        self._complete_join()

    def _watch(self, member: Member) -> None:
        """Remove a member that is silent for its session; one whose answer is held back is not silent."""
        world = self.cluster.world
        if self.members.get(member.member_id) is not member:
            return
        if member.joining is not None:
            member.seen_us = world.now_us
        left_us = member.seen_us + member.session_us - world.now_us
        if left_us <= 0:
            if (known := self.silences.get(member.member_id)) is not None:
                known.dropped_us = world.now_us
            self._remove(member.member_id)
        else:
            world.at(left_us, self._watch, member)

    def _check(self, who: Membership) -> int:
        """Return why somebody is no member of this generation, or 0."""
        if who.instance is not None and self.instances.get(who.instance, who.member_id) != who.member_id:
            return int(KafkaError.FENCED_INSTANCE_ID)
        if who.member_id not in self.members:
            return int(KafkaError.UNKNOWN_MEMBER_ID)
        return 0 if who.generation == self.generation else int(KafkaError.ILLEGAL_GENERATION)

    # ── Offsets ──────────────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, who: Membership, offsets: dict[Place, Committed]) -> int:
        """Take offsets; return an error or 0. A member's commit keeps its session, as a heartbeat does; one in a
        transaction does not (``OffsetMetadataManager.java``, Kafka 4).
        """
        if self.fencing and (who.generation >= 0 or who.member_id or self.state != EMPTY):
            if error := self._check(who):
                return error
            if self.state == COMPLETING:
                return int(KafkaError.REBALANCE_IN_PROGRESS)
            self.members[who.member_id].seen_us = self.cluster.world.now_us
        self.offsets.update(offsets)
        for listener in self.cluster.on_commit:
            listener(self.name, offsets)
        return 0

    def commit_in_transaction(
        self, producer_id: int, epoch: int, who: Membership, offsets: dict[Place, Committed]
    ) -> int:
        """Take the offsets of a transaction; they count once its marker is written. Source: KIP-447.

        A request that names no member and no generation is not checked at all, as in Kafka.
        """
        named = who.generation >= 0 or bool(who.member_id) or who.instance is not None
        if self.fencing and named and (error := self._check(who)):
            return error
        if self.fencing and epoch < self.epochs.get(producer_id, 0):
            return int(KafkaError.INVALID_PRODUCER_EPOCH)
        self.pending.setdefault(producer_id, {}).update(offsets)
        return 0

    def end(self, producer_id: int, epoch: int, committed: bool) -> None:
        """Write the marker of a transaction that sent offsets."""
        self.epochs[producer_id] = epoch
        offsets = self.pending.pop(producer_id, {})
        if committed:
            self.offsets.update(offsets)

    def committed(self, places: list[Place], *, stable: bool) -> dict[Place, Committed] | int:
        """Return what is committed, or an error while an open transaction holds an offset (``require_stable``)."""
        if stable and any(place in pending for pending in self.pending.values() for place in places):
            return int(KafkaError.UNSTABLE_OFFSET_COMMIT)
        return {place: self.offsets[place] for place in places if place in self.offsets}
