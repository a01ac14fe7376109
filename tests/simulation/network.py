"""Requests and answers between clients and the broker: how long they take, and which of them get lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from tests.simulation.process import Process
from tests.simulation.world import World


class Lost(Exception):
    """The connection broke: the request was served, or not, or will be late."""


class Network:
    """One cluster's network.

    Attributes:
        slow: factor on every delay, raised by a fault for a while.
        loss: share of requests of which the request or the answer is lost; raised by a fault.
        late: share of the lost requests that arrive after all, when nobody waits for them any more. Only endings of
            transactions do, since only for them the order of two connections matters to us.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._draws = world.draws("network")
        self.slow = 1
        self.loss = 0.0
        self.late = 0.8

    def delay_us(self) -> int:
        """Draw how long one way takes: mostly half a millisecond."""
        draw = self._draws.random()
        return int((100 + 2_000 * draw * draw * draw) * self.slow)

    def send(
        self,
        process: Process,
        serve: Callable[..., Any],
        args: tuple[Any, ...],
        answer: Callable[[Any], None],
        *,
        may_be_late: bool = False,
    ) -> None:
        """Send a request; ``answer`` is called in the client's background with what came back, or `Lost`."""
        world, fate = self.world, 0
        if process.cut_off_us:
            world.at(self._broken_us(), answer, Lost(), process=process)
            return
        if self.loss and self._draws.random() < self.loss:
            fate = 1 if self._draws.random() < 0.5 else 2
        if fate == 1:
            if may_be_late and self._draws.random() < self.late:
                world.at(self._broken_us() + int(self._draws.expovariate(1 / 150_000)), serve, *args)
            world.at(self._broken_us(), answer, Lost(), process=process)
            return

        def arrive() -> None:
            value = serve(*args)
            if fate == 2 or process.cut_off_us:
                world.at(self._broken_us(), answer, Lost(), process=process)
            else:
                world.at(self.delay_us(), answer, value, process=process)

        world.at(self.delay_us(), arrive)

    def ask(self, serve: Callable[..., Any], *args: Any, may_be_late: bool = False) -> Any:
        """Send a request from the thread that runs, and wait for what comes back.

        Raises:
            Lost: nothing came back.
        """
        world = self.world
        thread = world.boundary()
        box: list[Any] = []

        def answer(value: Any) -> None:
            box.append(value)
            thread.wake()

        self.send(thread.process, serve, args, answer, may_be_late=may_be_late)
        while not box:
            thread.pause()
        world.boundary()
        if isinstance(box[0], Lost):
            raise box[0]
        return box[0]

    def _broken_us(self) -> int:
        """Draw how long it takes until a client notices that its connection is gone."""
        return 20_000 + self._draws.randrange(400_000)


def kafka_error(code: int, *, fatal: bool = False, retriable: bool = False, abort: bool = False) -> KafkaError:
    """Return an error as librdkafka hands it out."""
    return KafkaError(code, f"simulated {code}", fatal, retriable, abort)
