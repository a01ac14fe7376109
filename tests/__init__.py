"""Tests. Value objects refuse assignments here: see `headrace.schemas.values`."""

import os

os.environ.setdefault("HEADRACE_CHECKED", "1")
