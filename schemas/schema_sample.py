"""A value that a JSON Schema asks for: what a scripted model answers where its script says nothing. Pure."""

from __future__ import annotations

from random import Random
from typing import Any


def json_for(schema: Any, random: Random, depth: int = 0) -> Any:
    """Return a value that holds a JSON Schema of the usual kind: enough for tests, no general solver."""
    if not isinstance(schema, dict) or depth > 8:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return random.choice(schema["enum"])
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return json_for(schema[union][0], random, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: json_for(part, random, depth + 1) for name, part in schema.get("properties", {}).items()}
        case "array":
            count = max(int(schema.get("minItems", 1)), 1)
            return [json_for(schema.get("items", {}), random, depth + 1) for _ in range(count)]
        case "integer" | "number":
            low = schema.get("minimum", 0)
            return min(low + random.randint(0, 9), schema.get("maximum", low + 9))
        case "boolean":
            return random.random() < 0.5
        case "null":
            return None
        case _:
            return "scripted".ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", 1_000))]
