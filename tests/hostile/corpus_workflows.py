"""Hostile workflow files: YAML that is a bomb, a lie, or none."""

from __future__ import annotations

import json

from tests.hostile.bad import Bad, Ends

REJECTED, TAKEN = Ends.REJECTED, Ends.TAKEN
TRACED_BYTES = 16_384
HEAD = "name: w\nversion: 1\n"
GOOD = HEAD + "steps: {a: {llm: {pool: noop, prompt: x}}}\n"


def file(title: str, text: str | bytes, ends: Ends = REJECTED) -> Bad:
    """Return a file; ``REJECTED`` is a problem that names a line, ``TAKEN`` a workflow.

    Large ones are measured for time alone: a scanner of YAML in Python takes half a minute while memory is traced.
    """
    value = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return Bad(title, "workflows", ends, None, value, works=len(value) > TRACED_BYTES)


def bomb(levels: int, width: int) -> str:
    """Return anchors of which each names the one before ``width`` times: width ** levels values."""
    lines = ["l0: &l0 [" + ", ".join(["x"] * width) + "]"]
    lines += [f"l{n}: &l{n} [" + ", ".join([f"*l{n - 1}"] * width) + "]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def prompt(text: str) -> str:
    return json.dumps({"name": "w", "version": 1, "steps": {"a": {"llm": {"pool": "noop", "prompt": text}}}})


def pattern(text: str) -> str:
    return f"{HEAD}steps: {{a: {{{text}}}}}\n"


FILES = [
    file("a good one", GOOD, TAKEN),
    file("empty", ""),
    file("white space", " \n\t\n"),
    file("a comment", "# nothing\n"),
    file("a text", "hello"),
    file("a number", "7"),
    file("a list", "- a\n- b\n"),
    file("binary", bytes(range(256))),
    file("nulls", b"\x00" * 1_000),
    file("invalid utf-8", b"name: \xff\xfe\n"),
    file("utf-16", GOOD.encode("utf-16")),
    file("a byte order mark", b"\xef\xbb\xbf" + GOOD.encode(), TAKEN),
    file("a lone surrogate", HEAD + "description: \ud800\n"),
    file("a lone surrogate that is escaped", HEAD + 'steps: {a: {llm: {pool: noop, prompt: "\\ud800"}}}\n'),
    file("two documents", GOOD + "---\n" + GOOD),
    file("a directive of the future", "%YAML 9.9\n---\n" + GOOD),
    file("tabs", "name:\tw\n\tversion: 1\n"),
    file("a quote that never ends", 'name: "w\nversion: 1\n'),
    file("a flow that never ends", "steps: {a: {b: [1, 2"),
    file("a block of a quarter of a megabyte", HEAD + "description: |\n" + "  d\n" * 66_000 + "  " + "e" * 140_000),
    file("a file above the limit", GOOD + "#" * 600_000),
    file("a file of five megabytes", GOOD + "#" * 5_000_000),
    file("anchors: a billion laughs", bomb(9, 10) + GOOD),
    file("anchors: two to the power of sixty", bomb(60, 2) + GOOD),
    file("anchors: a value within itself", HEAD + "steps: &s {a: *s}\n"),
    file("anchors: a list within itself", "&a [*a]\n"),
    file("anchors: one that there is not", HEAD + "steps: *nowhere\n"),
    file("anchors: the same twice", HEAD + "steps: {a: &x 1, b: &x 2, c: *x}\n"),
    file("anchors: of a few steps", HEAD + "steps: {a: &a {llm: {pool: noop, prompt: x}}, b: *a}\n", TAKEN),
    file("a merge key", HEAD + "steps: {a: {<<: {llm: {pool: noop, prompt: x}}}}\n"),
    file("a tag that makes python objects", '!!python/object/apply:os.system ["true"]\n'),
    file("a tag of python within", HEAD + "steps: !!python/name:os.system\n"),
    file("a tag of our own", HEAD + "steps: !thing {a: 1}\n"),
    file("binary by a tag", HEAD + "steps: !!binary aGk=\n"),
    file("a set by a tag", HEAD + "steps: !!set {a, b}\n"),
    file("a key that is a list", HEAD + "? [a, b]\n: 1\n"),
    file("a key that is a mapping", HEAD + "? {a: b}\n: 1\n"),
    file("a key twice", GOOD + "name: v\n"),
    file("a step twice", HEAD + "steps:\n  a: {llm: {pool: noop, prompt: x}}\n  a: {llm: {pool: noop, prompt: y}}\n"),
    file("a key of a hundred thousand characters", HEAD + "k" * 100_000 + ": 1\n"),
    file("brackets without end", "[" * 100_000),
    file("braces without end", "{a: " * 50_000),
    file("dashes without end", "- " * 50_000),
    file("question marks without end", "? " * 50_000),
    file("lines that step in without end", "\n".join(" " * n + f"a{n}:" for n in range(300))),
    file("quotes without end", "'" * 100_001),
    file("ampersands without end", "&" * 100_000),
    file("asterisks without end", "*" * 100_000),
    file("exclamation marks without end", "!" * 100_000),
    file("line breaks without end", "\n" * 50_000),
    file("commas without end", "[" + "," * 400_000 + "]"),
    file("json that nests 59 deep in the input", HEAD + "input: " + "[" * 59 + "]" * 59 + "\n"),
    file("infinity", HEAD + "steps: {a: {llm: {pool: noop, prompt: x, temperature: .inf}}}\n"),
    file("nan", HEAD + "steps: {a: {llm: {pool: noop, prompt: x, temperature: .nan}}}\n"),
    file("nan in a schema", GOOD + "input: {minimum: .nan}\n"),
    file("a number of five thousand digits", HEAD.replace("1", "9" * 5_000) + "steps: {}\n"),
    file("a float of five thousand digits", HEAD.replace("1", "1." + "9" * 5_000) + "steps: {}\n"),
    file("an exponent without end", HEAD.replace("1", "1e" + "9" * 5_000) + "steps: {}\n"),
    file("base sixty without end", HEAD.replace("1", "1" + ":59" * 50_000) + "steps: {}\n"),
    file("version below zero", HEAD.replace("1", "-1") + "steps: {a: {llm: {pool: noop, prompt: x}}}\n"),
    file("a date for a version", HEAD.replace("1", "2026-01-01") + "steps: {}\n"),
    file("a date that is none", HEAD.replace("1", "2026-99-99") + "steps: {}\n"),
    file("an unknown field", GOOD + "exec: rm -rf /\n"),
    file("an unknown field of a step", HEAD + "steps: {a: {llm: {pool: noop, prompt: x, shell: true}}}\n"),
    file("three thousand unknown fields", HEAD + "".join(f"f{n}: 1\n" for n in range(3_000))),
    file("a thousand steps", HEAD + "steps:\n" + "".join(
        f"  s{n}: {{llm: {{pool: noop, prompt: x}}}}\n" for n in range(1_000)
    )),
    file("a condition that is none", HEAD + "steps: {a: {when: yes, llm: {pool: noop, prompt: x}}}\n"),
    file("a route of a thousand branches", HEAD + "steps: {a: {route: {otherwise: b0, to: {" + ", ".join(
        f"b{n}: {{}}" for n in range(1_000)
    ) + "}}}}\n"),
    file("a route to nowhere", HEAD + "steps: {a: {route: {otherwise: __class__, to: {b: {}}}}}\n"),
    file("a cascade of lists in lists", pattern("cascade: {prompt: x, accept: {}, pools: [[[noop]], noop]}")),
    file("a cascade that accepts a number", pattern("cascade: {prompt: x, accept: 7, pools: [noop, noop]}")),
    file("a vote of ten million", pattern("vote: {prompt: x, voters: [{pool: noop, samples: 10000000}]}")),
    file("an agent of a thousand tools", pattern("agent: {pool: noop, prompt: x, tools: [" + "t, " * 1_000 + "]}")),
    file("an agent whose tools are a mapping", pattern("agent: {pool: noop, prompt: x, tools: {a: b}}")),
    file("an agent of a million turns", pattern("agent: {pool: noop, prompt: x, tools: [a], max_turns: 1000000}")),
    file("an agent whose tool is a path", pattern("agent: {pool: noop, prompt: x, tools: [../../etc/passwd]}")),
    file("a vote of nobody", pattern("vote: {prompt: x, voters: []}")),
    file("a refinement without end", HEAD + "steps: {a: {refine: {max_rounds: 1000000000, generate: &c "
         "{pool: noop, prompt: x}, evaluate: *c}}}\n"),
    file("a tool whose arguments are a list", HEAD + "steps: {a: {tool: {name: x, arguments: [1]}}}\n"),
    file("a step of another shape", HEAD + "steps: {a: 7, b: null, c: [1], d: text}\n"),
    file("a prompt of half a megabyte", prompt("p" * 500_000)),
    file("a prompt of a hundred thousand brackets", prompt("{{ " + "(" * 100_000 + " }}")),
    file("a prompt of twenty thousand templates", prompt("{{ x }}" * 20_000)),
    file("a prompt with loops that nest sixty deep", prompt(
        "{% for x in input %}" * 60 + "{% endfor %}" * 60)),
    file("a template that never ends", prompt("{% for x in input %}")),
    file("a comment that never ends", prompt("{# x")),
    file("a raw block that never ends", prompt("{% raw %}x")),
    file("a template of a thousand filters", prompt("{{ input" + "|trim" * 1_000 + " }}")),
    file("a template of three thousand sums", prompt("{{ 1" + "+1" * 3_000 + " }}")),
    file("a number of five thousand digits in a template", prompt("{{ " + "9" * 5_000 + " }}")),
    file("a schema that refers to itself", GOOD + "input: {$ref: '#'}\n", TAKEN),
    file("a schema that refers to a file", GOOD + "input: {$ref: 'file:///etc/passwd'}\n"),
    file("a schema with a pattern that explodes", GOOD + "input: {pattern: '^(a+)+$'}\n", TAKEN),
    file("a schema with a pattern that is none", GOOD + "input: {pattern: '(['}\n"),
    file("a schema with a repetition of a million", GOOD + "input: {pattern: '(a{1000}){1000}'}\n"),
    file("a schema that nests fifty deep", GOOD + "input: " + "{not: " * 50 + "{}" + "}" * 50 + "\n", TAKEN),
]  # fmt: skip
