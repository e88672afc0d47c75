"""How long the loops of random edits and kills go on: shortly in `make test`, long in `make nightly`."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("FITCARD_NIGHTLY") == "1"
SEQUENCES = int(os.environ.get("FITCARD_EDIT_SEQUENCES", "200" if NIGHTLY else "3"))
"""Sequences of edits; `make edits` runs all of them."""
KILLS = 20 if NIGHTLY else 3
