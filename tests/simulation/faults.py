"""What goes wrong, by seed: each kind of fault is on or off for a whole run, and can be switched off by hand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from confluent_kafka import KafkaError

from tests.simulation.world import World

PASSING = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.COORDINATOR_LOAD_IN_PROGRESS)
READING = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.UNKNOWN_TOPIC_OR_PART)
"""The last of them ends a worker."""
TRANSACTIONAL = frozenset({"init", "add offsets", "offsets", "end"})


@dataclass(frozen=True, slots=True)
class Switches:
    """Which faults a run has."""

    crash: bool = False
    """Processes are killed at a boundary, and started again."""
    freeze: bool = False
    """Processes stand still, some longer than their session, and go on."""
    scale: bool = False
    """Processes are added, and told to stop."""
    rebalance: bool = False
    """Groups are told to join again."""
    duplicate: bool = False
    """Records of ``jobs`` and ``results`` are written twice."""
    cut: bool = False
    """Processes are cut off from the broker while they go on, some longer than their session."""
    replaced: bool = False
    """A process that stands still is replaced by another one in its slot, and then goes on."""
    slow: bool = False
    """The broker is slow for a while."""
    loss: bool = False
    """Connections break; requests and answers get lost, and some endings of transactions arrive late."""
    errors: bool = False
    """Calls fail in passing; deliveries fail; queues are full."""
    unknown: bool = False
    """Commits end nobody knows how: some took place, some did not."""
    skew: bool = False
    """Wall clocks of processes differ, and jump."""
    provider: bool = False
    """The provider answers 429, 5xx, garbage, or not at all."""
    store: bool = False
    """The object store is slow, and refuses now and then."""
    garbage: bool = False
    """Records that nobody can read lie on every topic."""

    def on(self) -> list[str]:
        """Return the names of what is on."""
        return [each.name for each in fields(self) if getattr(self, each.name)]


def only(*names: str) -> Switches:
    """Return switches of which these are on."""
    return replace(Switches(), **dict.fromkeys(names, True))


def draw_switches(world: World) -> Switches:
    """Draw which faults a run has: every sixth has none, the others each fault with probability 0.4."""
    draws = world.draws("switches")
    if draws.random() < 1 / 6:
        return Switches()
    return replace(Switches(), **{each.name: draws.random() < 0.4 for each in fields(Switches)})


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one delivery."""

    delay_us: int = 0
    lost: bool = False
    answer_lost: bool = False


WELL = Fate()


class Faults:
    """Decides about each call; `calm` ends it all."""

    def __init__(self, world: World, switches: Switches) -> None:
        self.switches = switches
        self.calm = False
        self._draws = world.draws("calls")

    def passing_error(self, call: str) -> int | None:
        """Return an error that a call fails with though nothing is wrong, or None."""
        if self.calm or not self.switches.errors or self._draws.random() >= 0.01:
            return None
        if call in TRANSACTIONAL:
            return int(KafkaError._TIMED_OUT)
        return int(self._draws.choice(PASSING))

    def reading_error(self) -> int | None:
        """Return an error that a poll hands out in place of a record, or None."""
        if self.calm or not self.switches.errors or self._draws.random() >= 0.001:
            return None
        return int(self._draws.choice(READING))

    def queue_is_full(self) -> bool:
        """Return whether a producer's queue is full at this moment."""
        return not self.calm and self.switches.errors and self._draws.random() < 0.002

    def delivery_fate(self, transactional: bool) -> Fate:
        """Return what becomes of one batch of records."""
        if self.calm or not self.switches.errors or self._draws.random() >= 0.01:
            return WELL
        if self._draws.random() < 0.6:
            return Fate(delay_us=self._draws.randrange(300_000))
        lost = self._draws.random() < 0.5
        return Fate(self._draws.randrange(300_000), lost=lost, answer_lost=not lost)

    def unknown_ending(self) -> str | None:
        """Return how a commit ends unknown: ``before`` or ``after`` it took place; None for most."""
        if self.calm or not self.switches.unknown or self._draws.random() >= 0.02:
            return None
        return self._draws.choice(("before", "after"))
