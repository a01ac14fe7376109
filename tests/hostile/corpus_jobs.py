"""Hostile submissions: what a producer can write to `jobs` and should not."""

from __future__ import annotations

from typing import Any

from tests.hostile.bad import Bad, Ends, RawHeaders, js, slug

KEEP: Any = object()
MEGABYTE = 900_000
REJECTED, LETTER, TAKEN = Ends.REJECTED, Ends.LETTER, Ends.TAKEN


def job(
    title: str, ends: Ends, reason: str = "", /, *, raw: Any = KEEP, headers: RawHeaders = (), **fields: Any
) -> Bad:
    """Return a submission that is good but for what is given; `key` and `raw` take the place of key and value."""
    job_id = f"h-{slug(title)}"
    key = fields.pop("key", KEEP)
    plain: dict[str, Any] = {"job_id": job_id, "workflow": "one", "input": {"who": "you"}}
    plain.update(fields)
    value = js({name: given for name, given in plain.items() if given is not KEEP}) if raw is KEEP else raw
    named = plain["job_id"] if isinstance(plain["job_id"], str) else ""
    works = "that spin" in title
    return Bad(title, "jobs", ends, job_id.encode() if key is KEEP else key, value, headers, reason, named, works)


def text(title: str, value: str, ends: Ends = REJECTED, reason: str = "") -> Bad:
    """Return a good submission but for its input, which is given as it stands on the wire."""
    head = js({"job_id": f"h-{slug(title)}", "workflow": "one"})[:-1]
    return job(title, ends, reason, raw=head + b',"input":' + value.encode() + b"}")


def inline(title: str, ends: Ends = REJECTED, reason: str = "invalid_workflow", /, **fields: Any) -> Bad:
    """Return a submission with a workflow of its own that is good but for what is given."""
    step = {"llm": {"pool": "noop", "prompt": "x"}}
    return job(title, ends, reason, workflow={"name": "w", "version": 1, "steps": {"a": step}, **fields})


def llm(**fields: Any) -> dict[str, Any]:
    return {"a": {"llm": {"pool": "noop", "prompt": "x", **fields}}}


NOT_JSON = [
    job("no value", REJECTED, raw=None),
    job("empty value", REJECTED, raw=b""),
    job("white space", REJECTED, raw=b" \n\t "),
    job("half an object", REJECTED, raw=b'{"workflow":'),
    job("not json without a key", LETTER, "invalid_json", raw=b"{not json", key=None),
    job("python literals", REJECTED, raw=b"{'workflow': None}"),
    job("trailing comma", REJECTED, raw=b'{"workflow":"one",}'),
    job("two objects", REJECTED, raw=b'{"workflow":"one"}{"workflow":"one"}'),
    job("a list", REJECTED, raw=b"[]"),
    job("a number", REJECTED, raw=b"1"),
    job("a text", REJECTED, raw=b'"workflow"'),
    job("null", REJECTED, raw=b"null"),
    job("true", REJECTED, raw=b"true"),
    job("binary", REJECTED, raw=bytes(range(256)) * 4),
    job("zip", REJECTED, raw=b"PK\x03\x04" + b"\x00" * 100),
    job("invalid utf-8", REJECTED, raw=b'{"workflow":"\xff\xfe"}'),
    job("overlong utf-8", REJECTED, raw=b'{"workflow":"\xc0\xaf"}'),
    job("utf-16", REJECTED, raw='{"workflow":"one"}'.encode("utf-16")),
    job("a byte order mark", REJECTED, raw=b'\xef\xbb\xbf{"workflow":"one"}'),
    job("raw control characters", REJECTED, raw=b'{"workflow":"o\x00ne"}'),
    job("a lone surrogate", REJECTED, raw=b'{"workflow":"\\ud800"}'),
    job("a hundred thousand brackets", REJECTED, raw=b"[" * 100_000),
    job("a hundred thousand braces", REJECTED, raw=b'{"a":' * 100_000),
    job("an exponent that never ends", REJECTED, raw=b'{"priority":1e' + b"9" * 100_000 + b"}"),
    text("nan", '{"a":NaN}'),
    text("infinity", '{"a":[-Infinity,Infinity]}'),
    text("a float above all floats", '{"a":1e999}'),
    text("a number of five thousand digits", '{"a":' + "9" * 5_000 + "}"),
    text("a number of four thousand digits", '{"a":' + "9" * 4_000 + "}", reason="invalid_input"),
    text("a number above 64 bits", '{"a":36893488147419103232}', reason="invalid_input"),
    text("nests 150 deep", '{"a":' + "[" * 150 + "]" * 150 + "}", reason="invalid_input"),
    text("nests 195 deep", '{"a":' + "[" * 195 + "]" * 195 + "}"),
    text("220 thousand empty lists", '{"who":[' + ",".join(["[]"] * 220_000) + "]}", Ends.IGNORED),
    text("duplicate keys in the input", '{"who":"me","who":"you"}', TAKEN),
    job("duplicate job ids", REJECTED, raw=b'{"job_id":"h-other","job_id":"h-another","workflow":"one"}'),
]

IDS = [
    job("job id is a number", REJECTED, job_id=7),
    job("job id is a list", REJECTED, job_id=["a"]),
    job("job id is empty", LETTER, "invalid_job_id", job_id=""),
    job("job id has a slash", LETTER, "invalid_job_id", job_id="a/b"),
    job("job id has a space", LETTER, "invalid_job_id", job_id="a b"),
    job("job id has a line break", LETTER, "invalid_job_id", job_id="a\n"),
    job("job id has a null", LETTER, "invalid_job_id", job_id="a\0b"),
    job("job id is not ascii", LETTER, "invalid_job_id", job_id="é"),
    job("job id begins with a dash", LETTER, "invalid_job_id", job_id="-rf"),
    job("job id goes up", LETTER, "invalid_job_id", job_id="../../state"),
    job("job id of 201 characters", LETTER, "invalid_job_id", job_id="a" * 201),
    job("job id of a megabyte", LETTER, "invalid_job_id", job_id="a" * MEGABYTE),
    job(
        "parent of another job", REJECTED, "invalid_job", parent={"task_id": "h-victim/say/0", "attempt": 1, "depth": 1}
    ),
    job("parent that is no task", REJECTED, "invalid_job", parent={"task_id": "../../x", "attempt": 1, "depth": 1}),
    job(
        "parent with a depth below one",
        REJECTED,
        "invalid_job",
        parent={"task_id": "h-victim/say/0", "attempt": 1, "depth": 0},
    ),
    job(
        "parent with a billion attempts",
        REJECTED,
        "invalid_job",
        parent={"task_id": "h-victim/say/0", "attempt": 10**9, "depth": 1},
    ),
    job("key and value name two jobs", REJECTED, key=b"h-somebody-else"),
    job("key is not utf-8", LETTER, "invalid_job_id", key=b"\xff\xfe", job_id=KEEP),
    job("key of a megabyte", LETTER, "invalid_job_id", key=b"k" * MEGABYTE, job_id=KEEP),
    job("key of half a megabyte beside an id", REJECTED, key=b"k" * 500_000),
    job("key is empty and nothing else names it", TAKEN, key=b"", job_id=KEEP),
]

ORDERS = [
    job("cancel without an id", LETTER, "missing_job_id", raw=b'{"type":"cancel"}', key=None),
    job("cancel with an empty key", LETTER, "missing_job_id", raw=b'{"type":"cancel"}', key=b""),
    job("cancel with a bad id", LETTER, "invalid_job_id", raw=b'{"type":"cancel","job_id":"a/b"}', key=None),
    job("cancel of a job that never was", LETTER, "unknown_job", raw=b'{"type":"cancel"}'),
    job("cancel with two ids", LETTER, "job_id_mismatch", raw=b'{"type":"cancel","job_id":"h-x"}', job_id="h-x"),
    job("cancel with a typo", LETTER, "unknown_field", raw=b'{"type":"cancel","jobid":"h-x"}'),
    job("signal without an id", LETTER, "missing_job_id", raw=b'{"type":"signal","name":"go"}', key=None),
    job("signal of a job that never was", LETTER, "unknown_job", raw=b'{"type":"signal","name":"go"}'),
    job(
        "signal with a name of a megabyte", LETTER, "invalid_shape", raw=js({"type": "signal", "name": "n" * MEGABYTE})
    ),
    job("redrive of a job that never was", LETTER, "job_over", raw=b'{"type":"redrive","name":"h-x/a/0"}'),
    job("redrive without a task", LETTER, raw=b'{"type":"redrive"}'),
    job("redrive with a payload that is a list", LETTER, raw=b'{"type":"redrive","name":"h-x/a/0","payload":[1]}'),
    job("redrive to a pool that is a number", LETTER, raw=b'{"type":"redrive","name":"x","payload":{"pool":7}}'),
    job("redrive with a payload of nan", LETTER, raw=b'{"type":"redrive","name":"x","payload":{"pool":NaN}}'),
    job("a type that there is not", REJECTED, type="explode"),
    job("a type that is a number", REJECTED, type=7),
]

FIELDS = [
    job("unknown field", REJECTED, workflw="one"),
    job("a field called __class__", REJECTED, __class__="x"),
    job("tenant is empty", REJECTED, tenant=""),
    job("tenant has a space", REJECTED, tenant="a b"),
    job("tenant of a megabyte", REJECTED, tenant="t" * MEGABYTE),
    job("lane that there is not", REJECTED, lane="fast"),
    job("priority out of range", REJECTED, priority=101),
    job("priority is half", REJECTED, priority=0.5),
    job("priority of five thousand digits", REJECTED, raw=b'{"workflow":"one","priority":' + b"9" * 5_000 + b"}"),
    job("deadline without a zone", REJECTED, deadline="2030-01-01T00:00:00"),
    job("deadline is a word", REJECTED, deadline="tomorrow"),
    job("deadline is a huge number", REJECTED, deadline=1e300),
    job("deadline before all time", Ends.IGNORED, deadline="0001-01-01T00:00:00+14:00"),
    job("deadline at the end of all time", TAKEN, deadline="9999-12-31T23:59:59-14:00"),
    job("budget is negative", REJECTED, budget={"microusd": -1}),
    job("budget is a text", REJECTED, budget="much"),
    job("budget above all money", REJECTED, budget={"microusd": 10**30}),
    job("budget of five thousand digits", REJECTED, raw=b'{"budget":{"tokens":' + b"9" * 5_000 + b"}}"),
    job("budget with an unknown field", REJECTED, budget={"euro": 1}),
    job("budget without a bound on the answer", REJECTED, "invalid_job", budget={"microusd": 1}),
    job("sensitivity that there is not", REJECTED, sensitivity="secret"),
    job("33 labels", REJECTED, labels={f"l{number}": "x" for number in range(33)}),
    job("a hundred thousand labels", REJECTED, labels={f"l{number}": 1 for number in range(60_000)}),
    job("a label that is a number", REJECTED, labels={"a": 1}),
    job("a label without a name", REJECTED, labels={"": "x"}),
    job("a label of half a megabyte of quotes", REJECTED, labels={"a": '"' * 450_000}),
    job("input is a list", REJECTED, input=[1]),
    job("input is a text", REJECTED, input="text"),
    job("input is null", REJECTED, input=None),
    job("input reference of another shape", REJECTED, input_ref={"key": 1}),
    job("items without parts", REJECTED, items={"parts": []}),
    job("a name of a megabyte", REJECTED, name="n" * MEGABYTE),
    job("a value above the limit", REJECTED, "too_large", input={"who": "x" * 1_000_000}),
    job("a cancel above the limit", LETTER, "too_large", raw=js({"type": "cancel", "name": "x" * 1_000_000})),
]

WORKFLOWS = [
    job("no workflow", REJECTED, "invalid_job", workflow=KEEP),
    job("workflow is a number", REJECTED, workflow=1),
    job("workflow is a list", REJECTED, workflow=["one"]),
    job("workflow is empty", REJECTED, "unknown_workflow", workflow=""),
    job("workflow that there is not", REJECTED, "unknown_workflow", workflow="nothing@9"),
    job("workflow version of thirty digits", REJECTED, "unknown_workflow", workflow="one@" + "9" * 30),
    job("workflow goes up", REJECTED, "unknown_workflow", workflow="../../etc/passwd"),
    job("workflow name of a megabyte", REJECTED, workflow="w" * MEGABYTE),
    job("workflow is an empty object", REJECTED, "invalid_workflow", workflow={}),
    inline("workflow without steps", steps={}),
    inline("workflow with an unknown key", exec="rm -rf /"),
    inline("workflow with a pool that there is not", steps=llm(pool="nowhere")),
    inline("workflow with a cycle", steps={
        "a": {"llm": {"pool": "noop", "prompt": "{{ b }}"}}, "b": {"llm": {"pool": "noop", "prompt": "{{ a }}"}},
    }),
    inline("workflow with a step called __class__", steps={"__class__": {"llm": {"pool": "noop", "prompt": "x"}}}),
    inline("workflow of 1000 steps", steps={f"s{n}": {"llm": {"pool": "noop", "prompt": "x"}} for n in range(1_000)}),
    inline("workflow of 400 kilobytes", description="d" * 9_000, steps=llm(prompt="p" * 400_000)),
    inline("a template that looks into python", steps=llm(prompt="{{ ''.__class__.__mro__[1].__subclasses__() }}")),
    inline("a template that imports", steps=llm(prompt="{% import 'os' as os %}")),
    inline("a template without an end", steps=llm(prompt="{% for x in input %}")),
    inline("a template of 1000 brackets", steps=llm(prompt="{{ " + "(" * 1_000 + "1" + ")" * 1_000 + " }}")),
    inline("a schema that looks into the network", input={"$ref": "http://127.0.0.1:9/x.json"}),
    inline("a schema that is none", input={"type": "bananas"}),
    inline("an answer schema that is none", steps=llm(output={"type": 7})),
    inline("a temperature of nan", REJECTED, "invalid_job", steps=llm(temperature=float("nan"))),
    inline("a seed of a hundred digits", steps=llm(seed=10**100)),
    inline("a fan-in of one", steps={
        "a": {"reduce": "{{ input.x }}", "llm": {"pool": "noop", "prompt": "x"}, "fan_in": 1},
    }),
    inline("a schema that doubles sixty times", REJECTED, "invalid_input", input={"$ref": "#/$defs/d0", "$defs": {
        **{f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}, "d60": {"type": "string"},
    }}),
    inline("a schema with a look-ahead", input={"properties": {"who": {"pattern": "^(?=x*)(?:(x)(?=x*))+y$"}}}),
    inline("an output of a thousand templates", steps={
        "a": {"split": {"from": "x", "by": "lines", "size": 1}},
    }, output=["{{ a }}"] * 1_000),
    inline("an output of 400 templates that spin", Ends.IGNORED, "", steps={
        "a": {"split": {"from": "x", "by": "lines", "size": 1}},
    }, output=["{% for a in range(9999) %}{% for b in range(24) %}{% endfor %}{% endfor %}"] * 400),
    inline("a template that spins", Ends.IGNORED, "", steps=llm(
        prompt="{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}"
    )),
    inline("a template that swells", Ends.IGNORED, "", steps=llm(prompt="{{ 'x' * 99999999 }}")),
    inline("a power of powers", Ends.IGNORED, "", steps=llm(prompt="{{ 9 ** 9 ** 9 }}")),
    inline("an output that is not there", TAKEN, "", output="{{ a }}"),
]  # fmt: skip

HEADERS = [
    job("schema of another message", REJECTED, headers=[(b"x-schema", b"result")]),
    job("schema version 0", REJECTED, headers=[(b"x-schema-version", b"0")]),
    job("schema version is a superscript", REJECTED, headers=[(b"x-schema-version", "²".encode())]),
    job("schema version of five thousand digits", REJECTED, headers=[(b"x-schema-version", b"9" * 5_000)]),
    job("schema version of the future", LETTER, "unknown_version", headers=[(b"x-schema-version", b"99")]),
    job("schema version that is not utf-8", TAKEN, headers=[(b"x-schema-version", b"\xff")]),
    job("redrives of five thousand digits", LETTER, raw=b"{", key=None, headers=[(b"x-redrives", b"9" * 5_000)]),
    job("redrives is a superscript", LETTER, raw=b"{", key=None, headers=[(b"x-redrives", "²".encode())]),
    job("forwarded from nowhere", TAKEN, headers=[(b"x-forwarded-from", b"\x00")]),
    job("forwarded at a superscript", TAKEN, headers=[
        (b"x-forwarded-from", b"1:1"), (b"x-submitted-at-ms", "²".encode()),
    ]),
    job("forwarded in five thousand digits", TAKEN, headers=[
        (b"x-forwarded-from", b"1:1"), (b"x-submitted-at-ms", b"9" * 5_000),
    ]),
    job("forwarded from the future", TAKEN, headers=[
        (b"x-forwarded-from", b"1:1"), (b"x-submitted-at-ms", b"9" * 17),
    ]),
    job("a forged refusal", LETTER, "invalid_stub", raw=b"{}", headers=[
        (b"x-forwarded-from", b"1:1"), (b"x-refused", b"because"),
    ]),
    job("a forged refusal with a hash of a megabyte", LETTER, "invalid_stub", raw=b"{}", headers=[
        (b"x-forwarded-from", b"1:1"), (b"x-refused", b"r"), (b"x-content-sha256", b"a" * MEGABYTE),
    ]),
    job("a trace that is none", TAKEN, headers=[(b"traceparent", b"00-zz"), (b"tracestate", b"\xff")]),
    job("a trace state of half a megabyte", TAKEN, headers=[
        (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), (b"tracestate", b"x" * 500_000),
    ]),
    job("a header name that is not utf-8", REJECTED, headers=[(b"\xff\xfe", b"x"), (b"b", b"y")]),
    job("a header name of a megabyte", TAKEN, headers=[(b"n" * 700_000, b"x")]),
    job("a header without a name", TAKEN, headers=[(b"", b"x"), (b"none", None)]),
    job("a header value that is not utf-8", TAKEN, headers=[(b"a", b"\xff\x00")]),
    job("fifty thousand headers", TAKEN, headers=[(b"h%d" % number, b"") for number in range(50_000)]),
    job("fifty thousand headers and no json", LETTER, raw=b"{", key=None, headers=[(b"h", b"")] * 50_000),
    job("unreadable headers, forged", REJECTED, headers=[(b"x-unreadable-headers", b"true")]),
]  # fmt: skip

JOBS = [*NOT_JSON, *IDS, *ORDERS, *FIELDS, *WORKFLOWS, *HEADERS]
