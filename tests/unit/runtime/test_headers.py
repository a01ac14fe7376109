"""Headers and metadata that the Kafka client cannot read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from headrace.runtime.kafka import headers_of, metadata_of
from headrace.schemas.codec import UNREADABLE_HEADERS


class Message:
    def __init__(self, headers):
        self._headers, self.asked = headers, 0

    def headers(self):
        self.asked += 1
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


def test_headers_are_read_as_they_are_and_none_is_no_header():
    assert headers_of(Message([("a", b"1"), ("a", None)])) == (("a", b"1"), ("a", None))
    assert headers_of(Message(None)) == ()


def test_unreadable_headers_are_asked_for_once_and_say_so():
    """The second answer of confluent-kafka 2.16.1 has a null pointer in it."""
    message = Message(SystemError("returned a result with an exception set"))
    assert headers_of(message) == ((UNREADABLE_HEADERS, b"true"),)
    assert message.asked == 1


class Committed:
    def __init__(self, metadata):
        self._metadata = metadata

    @property
    def metadata(self):
        return None if self._metadata is None else self._metadata.decode()


def test_metadata_of_a_commit_that_is_not_utf_8_says_nothing():
    assert [metadata_of(Committed(given)) for given in (b"2:1:1;", b"", None, b"\xff\xfe")] == ["2:1:1;", "", "", ""]


def test_names_that_are_not_utf_8_end_no_process_where_python_has_specialised_the_call():
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-m", "tests.hostile.read_headers"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr[-2_000:]) == (0, "")
