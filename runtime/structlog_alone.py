"""Imports structlog without rich, which it takes along wherever it is installed: a sixth of a second of each start, for
tracebacks in colour that a service does not draw. The first import of our own in a service's entry point.
"""

from __future__ import annotations

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # "It is not there", to an import.
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
