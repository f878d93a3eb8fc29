"""How the network learns: pinball loss of growth in usual growths, and an early stop on rows that it does not learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autoscaler.forecasters.grid import ANCHOR_S, Grid, Indices, Values, window_mean
from autoscaler.forecasters.lstm_inputs import TARGETS, windows
from autoscaler.forecasters.lstm_network import QUANTILES, Weights, forward, network_of, one_thread, weights_of
from autoscaler.forecasters.target import outcomes

WIDEST_GROWTH = 10.0
"""Outcomes are cut at so many usual growths: one outage must not teach more than a week."""

HEAVIEST = 3.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What is learned from: steps (row, time, channel), context (row, feature), came (row, target) in usual growths,
    NaN where unknown, weight (row,): the level against the usual one, since errors are paid in amounts."""

    steps: Values
    context: Values
    came: Values
    weight: Values

    def __len__(self) -> int:
        return len(self.weight)

    def at(self, places: Indices) -> Rows:
        """Some of the rows."""
        return Rows(self.steps[places], self.context[places], self.came[places], self.weight[places])


@dataclass(frozen=True, slots=True)
class Lesson:
    """At most `passes` gradient steps on `batch` rows each; every `look` steps the other rows are looked at, and after
    `patience` looks that found nothing better it ends. rate: the highest step size; it falls to nothing."""

    passes: int
    batch: int
    rate: float
    look: int
    patience: int
    seed: int


def rows_of(grid: Grid, origins: Indices, floor: float) -> Rows:
    """Rows of those origins that have a level and at least one outcome."""
    level = window_mean(grid, origins, ANCHOR_S)
    amounts = np.stack([outcomes(grid, target, origins) for target in TARGETS], axis=1)
    usable = np.isfinite(level) & np.isfinite(amounts).any(axis=1)
    origins, level, amounts = origins[usable], level[usable], amounts[usable]
    shown = windows(grid, origins, floor)
    came = (np.log(amounts + floor) - shown.anchor[:, None]) / shown.usual[:, None]
    mean = float(level.mean()) if level.size else 1.0
    weight = np.clip((level + floor) / (mean + floor), 0.0, HEAVIEST)
    return Rows(
        shown.steps.astype(np.float32),
        shown.context.astype(np.float32),
        np.clip(came, -WIDEST_GROWTH, WIDEST_GROWTH).astype(np.float32),
        weight.astype(np.float32),
    )


def learned(start: Weights, taught: Rows, judged: Rows, lesson: Lesson) -> tuple[Weights, float, float]:
    """The weights with the least loss on `judged`, among them those of the start; that loss, and the start's."""
    import torch

    with one_thread():
        network = network_of(start)
        optimiser = torch.optim.AdamW(network.parameters(), lr=lesson.rate, weight_decay=0.01)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, lesson.passes)
        chance = np.random.default_rng(lesson.seed)
        first = least = loss_of(network, judged)
        best, since = start, 0
        for number in range(1, lesson.passes + 1):
            part = taught.at(np.sort(chance.choice(len(taught), min(lesson.batch, len(taught)), replace=False)))
            optimiser.zero_grad()
            loss = _loss(network, part)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            falling.step()
            if number % lesson.look and number != lesson.passes:
                continue
            now = loss_of(network, judged)
            since += 1
            if now < least:
                best, least, since = weights_of(network), now, 0
            elif since >= lesson.patience:
                break
    return best, least, first


def loss_of(network: Any, rows: Rows, batch: int = 4096) -> float:
    """Mean weighted pinball loss over all rows."""
    import torch

    with torch.no_grad():
        total = weight = 0.0
        for start in range(0, len(rows), batch):
            part = rows.at(np.arange(start, min(start + batch, len(rows))))
            share = float(part.weight.sum())
            total += float(_loss(network, part)) * share
            weight += share
    return total / max(weight, 1e-9)


def _loss(network: Any, rows: Rows) -> Any:
    import torch

    said = forward(network, torch.from_numpy(rows.steps), torch.from_numpy(rows.context))
    came = torch.from_numpy(rows.came)
    known = torch.isfinite(came)
    off = torch.nan_to_num(came)[..., None] - said
    level = torch.tensor(QUANTILES, dtype=torch.float32)
    paid = torch.maximum(level * off, (level - 1.0) * off).mean(dim=-1)
    weight = torch.from_numpy(rows.weight)[:, None] * known
    return (paid * weight).sum() / weight.sum().clamp(min=1e-9)
