"""The client's half of the group protocol, as librdkafka plays it in its background thread.

What the application must hear (assigned, revoked, lost) waits as an operation until the application polls; meanwhile
the client goes on sending heartbeats. Source: ``rdkafka_cgrp.c``, librdkafka 2.16.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, TopicPartition

from tests.simulation.assignors import Place
from tests.simulation.groups import Group, Joined, Membership, Silence
from tests.simulation.network import Lost

if TYPE_CHECKING:
    from tests.simulation.consumer import Consumer

Operation = tuple[str, tuple[Place, ...], Callable[[], None] | None]
"""What happened, to which partitions, and what follows once the application has heard."""
ASSIGN, REVOKE, LOSE = "assign", "revoke", "lose"
AGAIN_US = 20_000


class Member:
    """One consumer's membership.

    Args:
        consumer: whose application hears what changes.
        group: the group's coordinator.
    """

    def __init__(self, consumer: Consumer, group: Group, topics: tuple[str, ...], config: dict[str, Any]) -> None:
        self.operations: deque[Operation] = deque()
        """What the application is to hear, in order."""
        self.leaving = False
        """No join any more."""
        self.held: tuple[Place, ...] = ()
        """What the group assigned; the application may not have heard of it yet."""
        self.member_id = ""
        self.generation = -1
        self.instance: str | None = config.get("group.instance.id")
        self.fatal: int = 0
        self._consumer = consumer
        self._world = consumer.world
        self._process = consumer.process
        self._network = consumer.cluster.network
        self._group = group
        self._topics = topics
        self._strategy = str(config["partition.assignment.strategy"])
        self._session_us = int(config["session.timeout.ms"]) * 1_000
        self._heartbeat_us = int(config["heartbeat.interval.ms"]) * 1_000
        self._seen_us = self._world.now_us
        self._in_group = False
        """Whether heartbeats are due: from the end of a join to the next one."""
        self._joining = False
        """Whether a join or sync is under way."""
        self._hearing = False
        """Whether the application is in a callback."""
        self._closed = False
        self._silence: Silence | None = None
        """Of the last id that this client had."""
        self._attempt = 0
        self._later(0, self._join)
        self._later(self._heartbeat_us, self._beat)

    @property
    def cooperative(self) -> bool:
        return self._strategy == "cooperative-sticky"

    def identity(self) -> Membership:
        return Membership(self.member_id, self.generation, self.instance)

    def hear(self, operation: Operation, callback: Callable[[list[TopicPartition]], None]) -> None:
        """Let the application hear an operation, then go on."""
        what, places, then = operation
        self._hearing = True
        callback([TopicPartition(*place) for place in places])
        self._hearing = False
        if what == LOSE and self._silence is not None:
            self._silence.heard_us = self._world.now_us
        if then is not None:
            then()

    @property
    def _busy(self) -> bool:
        return self._joining or self._hearing or bool(self.operations)

    def unsubscribe(self) -> None:
        """Give everything back, then leave the group, also as a static member."""
        self.leaving = True
        if self.held:
            self.tell(REVOKE, self.held, self._leave)
        else:
            self._leave()

    def close(self) -> None:
        """Leave the group; a static member only falls silent (KIP-345)."""
        self.leaving = self._closed = True
        if self.instance is None:
            self._leave()

    def _leave(self) -> None:
        self._closed = True
        if self.member_id:
            self._network.send(self._process, self._group.leave, (self.identity(),), lambda _: None)
            self.member_id, self.generation = "", -1

    def refused(self, code: int) -> None:
        """An offset commit was refused: this says something about the membership too."""
        illegal = code == KafkaError.ILLEGAL_GENERATION and not self._busy
        if illegal or code in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID):
            self._react(code)

    # ── Joining ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _join(self) -> None:
        if self.leaving or self.fatal:
            return
        self._joining, self._in_group = True, False
        self._attempt += 1
        attempt, answered = self._attempt, self._joined
        who = self.identity()
        owned = self.held if self.cooperative else ()

        def serve() -> None:
            def answer(joined: Joined) -> None:
                self._world.at(self._way_us(), answered, attempt, joined, process=self._process)

            self._group.join(who, self._topics, self._strategy, self._session_us, owned, answer)

        self._world.at(self._way_us(), serve)

    def _joined(self, attempt: int, joined: Joined) -> None:
        if attempt != self._attempt or self._closed:
            return
        if joined.error:
            self._joining = False
            self._react(joined.error)
            return
        self.member_id, self.generation = joined.member_id, joined.generation
        self._seen_us, self._in_group = self._world.now_us, True
        self._silence = self._group.silences.setdefault(joined.member_id, Silence(self._process.name, self._topics))
        who = self.identity()

        def serve() -> None:
            def answer(found: Any) -> None:
                self._world.at(self._way_us(), self._synced, attempt, found, process=self._process)

            self._group.sync(who, answer)

        self._world.at(self._way_us(), serve)

    def _synced(self, attempt: int, found: Any) -> None:
        if attempt != self._attempt or self._closed:
            return
        self._joining = False
        if not isinstance(found, tuple):
            if isinstance(found, Joined):
                found = found.error
            if found == KafkaError.REBALANCE_IN_PROGRESS:
                self._join()
            else:
                self._react(found)
            return
        if not self.cooperative:
            self.tell(ASSIGN, found)
            return
        new = tuple(place for place in found if place not in self.held)
        gone = tuple(place for place in self.held if place not in found)
        if gone:
            # What was taken away is let go first; then the rest is assigned, and all join again.
            self.tell(REVOKE, gone, lambda: self.tell(ASSIGN, new, self._join))
        else:
            self.tell(ASSIGN, new)

    def tell(self, what: str, places: tuple[Place, ...], then: Callable[[], None] | None = None) -> None:
        """Have the application hear something the next time it polls; to the group it holds from now on."""
        if what == ASSIGN:
            self.held = (*self.held, *places) if self.cooperative else places
        else:
            self.held = tuple(place for place in self.held if place not in places)
        self.operations.append((what, places, then))
        self._consumer.more()

    # ── Living ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self) -> None:
        if self._closed or self.fatal:
            return
        if self._in_group:
            if self._world.now_us - self._seen_us > self._session_us:
                self.member_id = ""
                self._lose()
            else:
                who, attempt = self.identity(), self._attempt
                self._network.send(
                    self._process, self._group.heartbeat, (who,), lambda code: self._beaten(attempt, code)
                )
        self._later(self._heartbeat_us, self._beat)

    def _beaten(self, attempt: int, code: Any) -> None:
        if isinstance(code, Lost) or attempt != self._attempt or self._closed:
            return
        if code in (0, KafkaError.REBALANCE_IN_PROGRESS):
            self._seen_us = self._world.now_us
        if code:
            self._react(code)

    def _react(self, code: int) -> None:
        """React to an error of the coordinator."""
        self._world.note(f"{self._process.name} {self._group.name} {self.member_id}: error {code}")
        if code == KafkaError.FENCED_INSTANCE_ID:
            self.fatal = code
            self._lose()
        elif code == KafkaError.UNKNOWN_MEMBER_ID:
            self.member_id = ""
            self._lose()
        elif code == KafkaError.ILLEGAL_GENERATION:
            self.generation = -1
            self._lose()
        elif code == KafkaError.REBALANCE_IN_PROGRESS and not self._busy:
            if self.held and not self.cooperative:
                self.tell(REVOKE, self.held, self._join)
            else:
                self._join()

    def _lose(self) -> None:
        """Others may own it all by now."""
        self._in_group = self._joining = False
        self._attempt += 1
        if self.operations:
            # The application has not heard the last change; it hears of the loss right after.
            what, places, _ = self.operations.pop()
            self.operations.append((what, places, self._lose))
        elif self.held:
            self.tell(LOSE, self.held, self._join)
        else:
            self._later(AGAIN_US, self._join)

    def _way_us(self) -> int:
        """Return how long a request takes that is sent until it arrives."""
        return self._network.delay_us() + self._process.cut_off_us

    def _later(self, delay_us: int, act: Callable[[], None]) -> None:
        self._world.at(delay_us, act, process=self._process)
