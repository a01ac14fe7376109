"""Compares the labels of an outcome with the true ones: ``python examples/classify/score.py OUTCOME.json``.

The outcome is what ``headrace outcome JOB --json`` prints; its output lists one ``{"label": …}`` a message, in order.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def true_labels(folder: Path = HERE) -> list[str]:
    """Return the coarse label of each message, mapped from its fine-grained intent by ``labels.json``."""
    mapping = json.loads((folder / "labels.json").read_text("utf-8"))
    by_intent = {intent: label for label, intents in mapping.items() for intent in intents}
    messages = json.loads((folder / "input" / "messages.json").read_text("utf-8"))["messages"]
    return [by_intent[message["intent"]] for message in messages]


def score(output: list[Any], truth: list[str]) -> dict[str, float | int]:
    """Count the right labels; an item that failed is null in the output and counts as wrong.

    Returns:
        The number of items, of failed ones, the accuracy, and the accuracy of always saying the commonest label.
    """
    given = [item.get("label") if isinstance(item, dict) else None for item in output]
    right = sum(label == true for label, true in zip(given, truth, strict=True))
    commonest = Counter(truth).most_common(1)[0][1]
    count = len(truth)
    return {
        "messages": count,
        "failed": given.count(None),
        "accuracy": round(right / count, 3),
        "majority_baseline": round(commonest / count, 3),
    }


def main() -> int:
    """Print the score of an outcome as one line of JSON."""
    if len(sys.argv) != 2:
        print("usage: python examples/classify/score.py OUTCOME.json", file=sys.stderr)
        return 2
    try:
        found = json.loads(Path(sys.argv[1]).read_text("utf-8"))
        output = found["output"] if isinstance(found, dict) else found
        print(json.dumps(score(output, true_labels())))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot score {sys.argv[1]}: {error!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
