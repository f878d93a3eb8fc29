"""The inference engines' names for the canonical signals, an engine a module."""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine
from collectors.engines.detect import EngineFact, detect
from collectors.engines.meaning import RANKS, identities, left_out
from collectors.engines.table import ALIASES, COMBINATIONS, COUNTERS, ENGINES, EVENTS, NIM

__all__ = [
    "ALIASES",
    "COMBINATIONS",
    "COUNTERS",
    "ENGINES",
    "EVENTS",
    "NIM",
    "RANKS",
    "Alias",
    "Engine",
    "EngineFact",
    "detect",
    "identities",
    "left_out",
]
