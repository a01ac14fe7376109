"""How files of workflows are called."""

from __future__ import annotations

WORKFLOW_SUFFIXES = (".yaml", ".yml")
TESTS_SUFFIXES = (".tests.yaml", ".tests.yml")
"""The tests of ``NAME.yaml`` stand beside it in ``NAME.tests.yaml``; nobody takes them for a workflow."""


def is_workflow_name(name: str) -> bool:
    """Return whether a file in a folder of workflows is one, by its name."""
    return name.endswith(WORKFLOW_SUFFIXES) and not name.endswith(TESTS_SUFFIXES)
