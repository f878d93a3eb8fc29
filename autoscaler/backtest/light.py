"""A back-test of a peer without the loop around it: the same pool and ticks, only what a law needs in between.

For sweeps: ten days take less than a second. What a service adds (journal, plans, our own limits) is not here; a policy
in the ordinary loop gets the same timeline, which a test holds.
"""

from __future__ import annotations

from array import array

import numpy as np

from autoscaler.backtest.fluid import Demand, FluidPool
from autoscaler.backtest.run import Setting, Timeline
from autoscaler.baselines.asked import Asked
from autoscaler.baselines.seen import Policy


def play(policy: Policy, demand: Demand, setting: Setting) -> tuple[FluidPool, Timeline]:
    """The pool at the end of its demand, and its timeline; a tick every `tick_s` from the first edge on."""
    start_s, end_s, tick_s = demand.edges_s[0], demand.edges_s[-1], setting.tick_s
    pool = FluidPool(demand, setting.capacity, setting.boot_s, setting.start, start_s + setting.warmup_s)
    want, low, high = Asked(policy, setting.capacity, setting.boot_s, tick_s).want, setting.low, setting.high
    wants, readies, pendings, queues = array("q"), array("q"), array("q"), array("d")
    came = served = offered = busy = 0.0
    tick, now = 0, start_s
    while now < end_s - 1e-6:
        pool.advance(now)
        wanted = size = pool.ready + pool.pending
        if tick:
            if pool.offered > offered:
                busy = min(1.0, (pool.served - served) / (pool.offered - offered))
            elif not pool.ready:
                busy = 0.0
            # A law has its first say when something was measured; before, the pool stays as it was found.
            wanted = want(now, (pool.came - came) / tick_s, busy, pool.queue, pool.ready, pool.pending)
            wanted = low if wanted < low else min(wanted, high)
        came, served, offered = pool.came, pool.served, pool.offered
        if wanted != size:
            pool.resize(wanted)
        wants.append(wanted)
        readies.append(pool.ready)
        pendings.append(pool.pending)
        queues.append(pool.queue)
        tick += 1
        now = start_s + tick * tick_s
    pool.advance(end_s)
    at_s = start_s + tick_s * np.arange(tick, dtype=np.float64)
    rates = np.array(demand.rate)[np.searchsorted(np.array(demand.edges_s), at_s, side="right") - 1]
    return pool, Timeline(at_s, rates, np.array(wants), np.array(readies), np.array(pendings), np.array(queues))
