"""Draw the examples and the requests: ``python -m headrace.examples.triage.prepare CLINC150.parquet`` (needs pyarrow).

The file has the columns text, intent, domain and orig_split of clinc/oos-eval. Examples come from its training rows,
requests from its test rows; its validation rows are what `benchmarks/routing.py` looks at. Nothing was chosen by its
result.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "# drawn: begin", "# drawn: end"
"""Of the examples in `workflow.yaml`."""
SEED = 5
EXAMPLES = 20
"""A domain; each of its fifteen intents has one at least, as one would write them."""
REQUESTS = 500
OUT_OF_SCOPE = 100

Row = Mapping[str, str]


def draw(rows: Sequence[Row], seed: int = SEED) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Return examples by domain, and requests in random order; those of no domain have None."""
    random = Random(seed)
    domains = sorted({row["domain"] for row in rows} - {"oos"})
    examples = {domain: _examples(_of(rows, domain, "train"), random) for domain in domains}
    taken = {text for texts in examples.values() for text in texts}
    requests: list[dict[str, Any]] = []
    for domain in domains:
        texts = sorted({row["text"] for row in _of(rows, domain, "test")} - taken)
        chosen = random.sample(texts, REQUESTS // len(domains))
        requests += [{"text": text, "domain": domain} for text in chosen]
    strangers = sorted({row["text"] for row in _of(rows, "oos", "oos_test")})
    requests += [{"text": text, "domain": None} for text in random.sample(strangers, OUT_OF_SCOPE)]
    random.shuffle(requests)
    return examples, [{"id": number, **each} for number, each in enumerate(requests, start=1)]


def _examples(rows: Iterable[Row], random: Random) -> list[str]:
    """Return utterances of every intent, and second ones of some."""
    by_intent: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        by_intent[row["intent"]].add(row["text"])
    pairs = [random.sample(sorted(by_intent[intent]), 2) for intent in sorted(by_intent)]
    seconds = random.sample([second for _, second in pairs], EXAMPLES - len(pairs))
    return [*(first for first, _ in pairs), *seconds]


def _of(rows: Sequence[Row], domain: str, split: str) -> list[Row]:
    return [row for row in rows if row["domain"] == domain and row["orig_split"] == split]


def read(path: Path) -> list[Row]:
    """Return the rows of a Parquet file."""
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def with_examples(workflow: str, examples: Mapping[str, Sequence[str]]) -> str:
    """Return the workflow's text with other examples between its marks."""
    before, _, rest = workflow.partition(BEGIN)
    lines = [
        line
        for domain, texts in examples.items()
        for line in (f"{domain}:", *(f"  - {json.dumps(text, ensure_ascii=False)}" for text in texts))
    ]
    indent = " " * (len(before) - before.rfind("\n") - 1)
    drawn = "".join(f"{indent}{line}\n" for line in lines)
    return f"{before}{BEGIN}\n{drawn}{indent}{END}{rest.partition(END)[2]}"


def main() -> None:
    examples, requests = draw(read(Path(sys.argv[1])))
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in requests)
    workflow = HERE / "workflow.yaml"
    workflow.write_text(with_examples(workflow.read_text(encoding="utf-8"), examples), encoding="utf-8")
    (HERE / "input" / "requests.json").write_text(f'{{"requests": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
