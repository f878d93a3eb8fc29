"""How to make a source give a metric, in words: for people whose rules ask for what nothing gives."""

from __future__ import annotations

from autoscaler.signals import metric
from collectors.dcgm.counters import COUNTERS
from collectors.engines import ENGINES, Engine

ALWAYS_ON = "it is "
"""How the switch of an engine begins that needs none."""


def how_to_get(name: str) -> str:
    """What gives a canonical metric and what has to be switched on for it; empty where nothing is known."""
    known = metric(name)
    if known is None:
        return ""
    hints = []
    line = next((c.line("old") for c in COUNTERS if c.metric == known.name and c.kind != "label"), "")
    if line:
        hints.append(f"dcgm-exporter gives it with the line `{line}` in its counters CSV")
    if known.name.startswith("gpu_"):
        hints.append("the agent on the GPU's node gives what its driver has")
    engines = [engine for engine in ENGINES if known.name in engine.aliases or known.name in _combined(engine)]
    if engines:
        switches = [f"{engine.name}: {engine.switch}" for engine in engines if not engine.switch.startswith(ALWAYS_ON)]
        names = ", ".join(engine.name for engine in engines)
        hints.append(f"given by {names}" + (f" ({'; '.join(switches)})" if switches else ""))
    if known.name.startswith("host_"):
        hints.append("the agent or the collector `host` gives it")
    return "; ".join(hints)


def _combined(engine: Engine) -> list[str]:
    return [rule.metric for rule in engine.combinations]
