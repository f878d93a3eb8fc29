"""The four-number model of one replica: what a continuous-batching engine serves at its latency goal.

An engine step takes t(n) = alpha + (beta + gamma*c) * n seconds with n running sequences of c tokens of context each;
the prefill of a prompt token takes g1. With I tokens in, O out and lam requests/s:

    c = I + O/2        b = beta + gamma*c        A = g1 * I * (1 - prefix hit ratio)        D = A + O*b
    ITL(lam) = alpha / (1 - lam*D)               n(lam) = lam * O * ITL(lam)
    lam_ITL = (1 - alpha/ITL_slo) / D            lam_n = n_max / (O*alpha + n_max*D)
    lambda* = min(lam_ITL, lam_n)                n_max = min(max_num_seqs, KV_tokens / c)

ITL(lam) follows from n = lam*O*ITL (Little) and from a step carrying its share of prefills, lam*A*ITL. Against event
simulations with chunked prefill, Poisson arrivals and exponential outputs the mean ITL is within 7 % for a 70B chat
model, 18 % for an 8B one and 26 % where prefill is most of the work, up to 0.9 lambda* (own measurement).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoscaler.types import FloatArray

UTILISATION_TARGET = 0.80
"""Share of lambda* to plan with: TTFT p95 has its knee at 0.85 to 0.90 of lambda* (own event simulation)."""

P95_CHAT, P95_PREFILL = 2.8, 3.6
"""p95 over mean of the time between tokens, upper end for chat, and where prefill is most of the work (as above)."""

MAX_SEQUENCES = 256
"""Sequences that an engine runs at once where nothing else is configured (vLLM's long-standing `max_num_seqs`)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What a mean request is: tokens in, tokens out, share of the prompt that the prefix cache already has."""

    input_tokens: float
    output_tokens: float
    prefix_hit_ratio: float = 0.0

    @property
    def context_tokens(self) -> float:
        """Tokens that a running sequence holds in the KV cache on average: I + O/2."""
        return self.input_tokens + self.output_tokens / 2

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens that have to be computed."""
        return self.input_tokens * (1 - self.prefix_hit_ratio)


@dataclass(frozen=True, slots=True)
class Objective:
    """What users are promised; None = nothing.

    itl_s: mean time between tokens, or with `percentile` "p95" its 95th percentile. ttft_s: time to the first token.
    latency_s: p95 of a whole answer, for engines that do not generate tokens.
    """

    itl_s: float | None = 0.05
    ttft_s: float | None = None
    latency_s: float | None = None
    percentile: str = "mean"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one replica can hold: sequences at once, and tokens in its KV cache."""

    kv_tokens: float
    max_sequences: int = MAX_SEQUENCES

    def batch(self, workload: Workload) -> float:
        """n_max: sequences that run at once; 0 when not even one fits."""
        return min(float(self.max_sequences), max(0.0, self.kv_tokens) // max(1.0, workload.context_tokens))


@dataclass(frozen=True, slots=True)
class Replica:
    """The numbers of one replica, seconds each: a step, per sequence, per sequence and token, per prompt token.

    stages: of a pipeline. They work on different requests at once, so beta, gamma and prefill are already divided by
    them, but a lone prompt passes one after the other.
    """

    alpha_s: float
    beta_s: float
    gamma_s: float
    prefill_s: float
    stages: int = 1

    @property
    def numbers(self) -> FloatArray:
        """(1, 4): alpha, beta, gamma, g1."""
        return np.array([[self.alpha_s, self.beta_s, self.gamma_s, self.prefill_s]])

    def per_sequence_s(self, workload: Workload) -> float:
        """b: what one more running sequence adds to a step."""
        return self.beta_s + self.gamma_s * workload.context_tokens

    def prefill_of(self, workload: Workload) -> float:
        """A: seconds of prefill a request."""
        return self.prefill_s * workload.prefill_tokens

    def work_s(self, workload: Workload) -> float:
        """D: seconds of the engine that a request takes beyond the steps' own cost."""
        return self.prefill_of(workload) + workload.output_tokens * self.per_sequence_s(workload)

    def itl_s(self, rate: float, workload: Workload) -> float:
        """Mean time between tokens at `rate` requests/s; infinite from 1/D on."""
        left = 1 - rate * self.work_s(workload)
        return self.alpha_s / left if left > 0 else float("inf")

    def running(self, rate: float, workload: Workload) -> float:
        """Mean number of running sequences at `rate` requests/s."""
        return rate * workload.output_tokens * self.itl_s(rate, workload)

    def rate_by_latency(self, workload: Workload, itl_s: float) -> float:
        """lam_ITL, requests/s: where the mean time between tokens reaches `itl_s`; 0 if a lone step takes longer."""
        return max(0.0, 1 - self.alpha_s / itl_s) / self.work_s(workload)

    def rate_by_batch(self, workload: Workload, batch: float) -> float:
        """lam_n, requests/s: where the batch is full."""
        return batch / (workload.output_tokens * self.alpha_s + batch * self.work_s(workload))

    def highest_rate(self, workload: Workload, batch: float, objective: Objective) -> float:
        """lambda*, requests/s that meet the objective; 0 when a lone request already misses it."""
        return float(highest_rates(self.numbers, workload, batch, objective, self.stages)[0])

    def first_token_s(self, workload: Workload) -> float:
        """Time to the first token of a request that is alone: its prefill and one step."""
        return self.stages * self.prefill_of(workload) + self.alpha_s + self.per_sequence_s(workload)


def tail_factor(numbers: FloatArray, workload: Workload, objective: Objective) -> FloatArray:
    """(draws,) objective over mean of the time between tokens: 1 for a mean, for a p95 by what the work is."""
    if objective.percentile != "p95":
        return np.ones(len(numbers))
    prefill = numbers[:, 3] * workload.prefill_tokens
    decode = workload.output_tokens * (numbers[:, 1] + numbers[:, 2] * workload.context_tokens)
    # Measured at 1.2 times as much prefill as decoding (chat) and at 6 times; the middle of the logarithms is 2.7.
    return np.where(prefill > 2.7 * decode, P95_PREFILL, P95_CHAT)


def highest_rates(
    numbers: FloatArray, workload: Workload, batch: float, objective: Objective, stages: int = 1
) -> FloatArray:
    """(draws,) lambda* of each row of `numbers` (draws, 4), never negative."""
    alpha, beta, gamma, prefill = numbers.T
    request_s = prefill * workload.prefill_tokens
    per_sequence = beta + gamma * workload.context_tokens
    work = np.maximum(request_s + workload.output_tokens * per_sequence, 1e-12)
    rates = batch / (workload.output_tokens * alpha + batch * work)
    if objective.itl_s is not None:
        mean_itl = objective.itl_s / tail_factor(numbers, workload, objective)
        rates = np.minimum(rates, np.maximum(0.0, 1 - alpha / mean_itl) / work)
    if objective.ttft_s is not None:
        # A lone request that misses its goal is missed by every one: no rate is low enough.
        rates = np.where(stages * request_s + alpha + per_sequence <= objective.ttft_s, rates, 0.0)
    return np.asarray(rates, dtype=np.float64)
