"""Every engine's names put together: of several present at one target the first counts, two are never added."""

from __future__ import annotations

from collectors.engines.alias import Alias, Engine
from collectors.engines.dynamo import DYNAMO
from collectors.engines.nim import NIM as NIM_ENGINE
from collectors.engines.ray import RAY
from collectors.engines.sglang import SGLANG
from collectors.engines.tgi import TGI
from collectors.engines.triton import TRITON, TRTLLM
from collectors.engines.vllm import VLLM
from collectors.pages.layout import Combination

ENGINES: tuple[Engine, ...] = (VLLM, SGLANG, TRTLLM, TRITON, TGI, DYNAMO, RAY, NIM_ENGINE)
"""In the order in which they compete: what is nearer to the model before what stands in front of it."""

PREFIXES = tuple(prefix for engine in ENGINES for prefix in engine.prefixes)


def _together() -> dict[str, tuple[Alias, ...]]:
    found: dict[str, tuple[Alias, ...]] = {}
    for engine in ENGINES:
        if engine is not NIM_ENGINE:
            for name, aliases in engine.aliases.items():
                found[name] = (*found.get(name, ()), *aliases)
    return found


ALIASES: dict[str, tuple[Alias, ...]] = _together()
NIM: dict[str, tuple[Alias, ...]] = dict(NIM_ENGINE.aliases)
"""Names without a prefix, looked for only at targets that are said to be NIM."""

COMBINATIONS: tuple[Combination, ...] = tuple(rule for engine in ENGINES for rule in engine.combinations)
COUNTERS = frozenset(name for engine in ENGINES for name in engine.counters)
EVENTS = frozenset(name for engine in ENGINES for name in engine.events)
