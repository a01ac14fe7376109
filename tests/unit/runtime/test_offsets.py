"""The ends of partitions: what Kafka does not know yet is no offset."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from headrace.runtime.offsets import beginnings, ends
from headrace.schemas.errors import DependencyUnavailable


class Admin:
    """Answers one offset for every partition."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def list_offsets(self, wanted: dict[TopicPartition, Any], **_: Any) -> dict[TopicPartition, Future[Any]]:
        return {place: self._answer() for place in wanted}

    def _answer(self) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(SimpleNamespace(offset=self._offset))
        return future


@pytest.mark.parametrize("asked", [ends, beginnings])
def test_an_offset_that_is_not_known_while_a_leader_is_replaced_is_asked_for_later(asked: Any) -> None:
    """Taken for the end of the log, -1001 made an orchestrator begin nowhere and stand still."""
    with pytest.raises(DependencyUnavailable, match=r"not known yet: jobs\[0\]"):
        asked(Admin(-1001), [("jobs", 0)])
    assert asked(Admin(7), [("jobs", 0)]) == {("jobs", 0): 7}
