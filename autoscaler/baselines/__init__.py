"""Peers' scaling laws, for the league table: each a small state machine over demand, queue and utilisation.

They are our own code after the peers' published behaviour. `BY_NAME` has every one of them with the settings that a
sweep tries; `NOT_RUN` says why the others are missing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from autoscaler.baselines.aibrix import AibrixApa, AibrixKpa
from autoscaler.baselines.aws import AwsPredictive, AwsTracking
from autoscaler.baselines.crane import Crane
from autoscaler.baselines.dynamo import Dynamo
from autoscaler.baselines.growth import Growth
from autoscaler.baselines.hpa import Hpa
from autoscaler.baselines.keda import Keda
from autoscaler.baselines.kpa import Kpa
from autoscaler.baselines.llmd import WvaQueueing
from autoscaler.baselines.phpa import PhpaHoltWinters, PhpaLinear
from autoscaler.baselines.ray_serve import RayServe
from autoscaler.baselines.sageserve import Chiron, Reactive
from autoscaler.baselines.seed import Seed
from autoscaler.baselines.seen import Past, Policy, Seen
from autoscaler.baselines.skyserve import SkyServe

__all__ = ["BY_NAME", "NOT_RUN", "Card", "Past", "Policy", "Seen"]

SHARES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
"""Target shares of capacity that every policy with a target is tried at."""


@dataclass(frozen=True, slots=True)
class Card:
    """One policy of the league: its default form, and the values of the one setting that a sweep tries.

    peer: a policy of somebody else, as opposed to our own yardsticks. alike: the policy whose results it shares in a
    pool that is never empty, so that a league need not run it.
    """

    name: str
    policy: Any
    field: str
    values: tuple[float, ...] = SHARES
    peer: bool = True
    alike: str = ""

    def fresh(self, value: float | None = None) -> Policy:
        """A policy that remembers nothing, with the default or another value of the swept setting."""
        made: Policy = dataclasses.replace(self.policy, **({} if value is None else {self.field: value}))
        return made

    @property
    def default(self) -> float:
        """The peer's own value of the swept setting."""
        return float(getattr(self.policy, self.field))


_CARDS = (
    Card("hpa", Hpa(), "target"),
    Card("hpa-demand", Hpa(on="demand"), "target", alike="keda"),
    Card("keda", Keda(), "target"),
    Card("keda-queue", Keda(5.0, "waiting", cooldown_s=360.0), "target", (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 500.0)),
    Card("kpa", Kpa(), "target"),
    Card("kpa-concurrency", Kpa(on="concurrency"), "target"),
    Card("aws-tracking", AwsTracking(), "target"),
    Card("aws-tracking-demand", AwsTracking(on="demand"), "target"),
    Card("aws-predictive", AwsPredictive(), "target"),
    Card("aws-predictive-buffer", AwsPredictive(on="demand", buffer_s=None), "target"),
    Card("crane", Crane(), "target"),
    Card("crane-hpa", Crane(with_hpa=True), "target"),
    Card("phpa-linear", PhpaLinear(), "target"),
    Card("phpa-holt-winters", PhpaHoltWinters(), "target"),
    Card("aibrix-kpa-as-coded", AibrixKpa(), "target", (0.3, 0.5, 0.7)),
    Card("aibrix-kpa-fixed", AibrixKpa(fixed=True), "target"),
    Card("aibrix-apa-as-coded", AibrixApa(), "target", (0.3, 0.5, 0.7)),
    Card("aibrix-apa-fixed", AibrixApa(fixed=True, on="demand"), "target"),
    Card("ray-serve", RayServe(), "target"),
    Card("skyserve", SkyServe(), "target"),
    Card("sageserve-reactive", Reactive(), "target"),
    Card("sageserve-chiron", Chiron(), "target"),
    Card("wva-queueing", WvaQueueing(), "target"),
    Card("dynamo-throughput", Dynamo(), "target", (*SHARES, 1.0)),
    Card("dynamo-sla-2025", Dynamo(predictor="arima", max_out=None), "target", (*SHARES, 1.0)),
    Card("seed", Seed(), "target", (0.85,)),
    Card("seed-hpa-in", Seed(with_hpa_in=True), "target", (0.5, 0.6, 0.7, 0.85), peer=True),
    Card("growth", Growth(), "quantile", (0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999), peer=False),
)

BY_NAME = {card.name: card for card in _CARDS}

NOT_RUN = {
    "aibrix-optimizer": "needs the lengths of prompts and answers of each request",
    "aibrix-apa on KV": "needs the use of the KV cache; it runs on utilisation and, fixed, on demand",
    "dynamo-sla-load, dynamo-easy-load": "need step times, and KV tokens of each worker",
    "wva-saturation-v1, -v2": "need the use of the KV cache and tokens in use",
    "sageserve-lt-ua": "needs token rates and the use of the KV cache",
    "chiron batch": "needs deadlines of requests",
    "skyserve spot mix": "decides what to buy, not how many",
    "karpenter-like, cluster-autoscaler-like": "provision what another law asks for",
}
"""Cards that demand, queue and utilisation do not suffice for."""
