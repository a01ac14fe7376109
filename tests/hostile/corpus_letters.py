"""Hostile records of `dead-letters`: letters and resolutions as the console meets them."""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad, Ends, RawHeaders, js

TAKEN, PASSED_OVER = Ends.TAKEN, Ends.PASSED_OVER
MEGABYTE = 900_000
KEEP: Any = object()
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"
RESOLUTION = [(b"x-schema", b"resolution")]


def letter(title: str, ends: Ends = TAKEN, /, *, raw: Any = KEEP, sent_with: RawHeaders = (), **fields: Any) -> Bad:
    """Return a letter that is good but for what is given."""
    plain = {
        "reason": "invalid_json", "message": "m", "origin": {"topic": "t.jobs", "partition": 0, "offset": 4},
        "at_ms": 1, "by": "o-1", "job_id": "h-letter", "key_base64": "aA==", "value_base64": "e30=", "key_bytes": 1,
        "value_bytes": 2, **fields,
    }  # fmt: skip
    value = js({name: given for name, given in plain.items() if given is not KEEP}) if raw is KEEP else raw
    return Bad(title, "dead-letters", ends, b"h", value, sent_with)


def at(topic: str, partition: Any = 0, offset: Any = 4) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset}


LETTERS = [
    letter("no value", PASSED_OVER, raw=None),
    letter("empty", PASSED_OVER, raw=b""),
    letter("not json", PASSED_OVER, raw=b"{"),
    letter("a list", PASSED_OVER, raw=b"[]"),
    letter("invalid utf-8", PASSED_OVER, raw=b'{"reason":"\xff"}'),
    letter("a hundred thousand brackets", PASSED_OVER, raw=b"[" * 100_000),
    letter("a header name that is not utf-8", PASSED_OVER, sent_with=[(b"\xff", b"x")]),
    letter("of the future", PASSED_OVER, sent_with=[(b"x-schema-version", b"2")]),
    letter("schema version of five thousand digits", PASSED_OVER, sent_with=[(b"x-schema-version", b"9" * 5_000)]),
    letter("without an origin", PASSED_OVER, origin=KEEP),
    letter("an offset that is a text", PASSED_OVER, origin=at("t.jobs", 0, "four")),
    letter("a letter where a resolution is said to be", PASSED_OVER, sent_with=RESOLUTION),
    letter("a resolution of nothing", PASSED_OVER, raw=b"{}", sent_with=RESOLUTION),
    letter("a resolution that is not json", PASSED_OVER, raw=b"{", sent_with=RESOLUTION),
    letter("an offset of a thousand digits", origin=at("t.jobs", 0, 10**1_000)),
    letter("a partition below zero", origin=at("t.results", -7)),
    letter("a partition of a thousand digits", origin=at("t.results", 10**1_000)),
    letter("a job without an id on a partition below zero", key_base64=None, key_bytes=0, origin=at("t.jobs", -7)),
    letter("a job without an id on a partition that there is not", key_base64=None, key_bytes=0,
           origin=at("t.jobs", 10**1_000)),
    letter("a topic that there is not", origin=at("galaxy")),
    letter("a topic of a megabyte", origin=at("t" * MEGABYTE)),
    letter("a topic of another prefix", origin=at("u.jobs")),
    letter("a task topic with a lane that there is not", origin=at("t.tasks.noop.fast")),
    letter("a task topic whose pool goes up", origin=at("t.tasks.../../x.batch")),
    letter("of state", origin=at("t.state")),
    letter("set aside at the end of all time", at_ms=10**400),
    letter("set aside before all time", at_ms=-(10**400)),
    letter("text that commands a terminal", message=ESCAPES, reason=ESCAPES, by=ESCAPES, job_id=ESCAPES,
           errors=[ESCAPES], origin=at(ESCAPES), tenant=ESCAPES, workflow=ESCAPES, pool=ESCAPES),
    letter("a message of a megabyte", message="m" * MEGABYTE),
    letter("a value that is not base64", value_base64="!" * 100),
    letter("a value of base64 cut short", value_base64="e30"),
    letter("a value in base64 of another alphabet", value_base64="_-_-"),
    letter("a value that is not ascii", value_base64="é"),
    letter("a key that is not base64", key_base64="!"),
    letter("a value of minus one byte", value_bytes=-1),
    letter("a value of a thousand digits of bytes", value_bytes=10**1_000),
    letter("a value that nests without end", value_base64="W1tb" * 30_000),
    letter("headers that are not base64", headers=[["h", "!"], ["", ""], ["\ufffe", "_"]]),
    letter("a header that commands a terminal", headers=[[ESCAPES, "G10wO293bmVkBw=="]]),
    letter("redrives below zero", redrives=-1),
    letter("redrives of a thousand digits", redrives=10**1_000),
    letter("exhausted without a task", reason="exhausted"),
    letter("exhausted with a task that goes up", reason="exhausted", task_id="../x/0"),
    letter("exhausted with a value that is no task", reason="exhausted", task_id="h-letter/say/0"),
    letter("quarantined with a pool that is none", reason="quarantined", task_id="h-letter/say/0", pool="\x00"),
    letter("attempts of another kind", PASSED_OVER, attempts=[{"kind": "bad_mood"}]),
    letter("a hundred thousand errors", errors=["e"] * 100_000),
]  # fmt: skip
