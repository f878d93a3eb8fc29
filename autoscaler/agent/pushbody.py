"""What is pushed: every series that has a new value since the last push, as JSON, written without building objects.

What is told each second and what is told each ten go separately, each with its own interval: the service takes a series
for stale after three intervals of its push.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np

from autoscaler.agent.current import Snapshot
from autoscaler.agent.families import number
from autoscaler.agent.push import Body
from autoscaler.types import Labels, SeriesKey

SAMPLES_LIMIT = 5000
"""Samples of one push, of about 200 bytes each."""


class Bodies:
    """Turns snapshots into pushes.

    labels: of the node; they stand once at the top of a push instead of at every sample. instance, started_at: which
    process this is and when it began, so that the service notices when two push under the name of one node.
    """

    def __init__(self, source: str, labels: Labels, instance: str, started_at: float) -> None:
        self._top = {"source": source, "instance": instance, "started_at": started_at, "labels": dict(labels)}
        self._common = frozenset(labels)
        self._keys: tuple[SeriesKey, ...] = ()
        self._prefixes: list[str] = []
        self._sent_at: dict[SeriesKey, float] = {}

    def bodies(self, snapshot: Snapshot) -> Iterator[Body]:
        """Nothing when nothing is new; several when there is much."""
        if snapshot.keys is not self._keys:
            self._keys = snapshot.keys
            self._prefixes = [self._prefix(key) for key in snapshot.keys]
            known = set(snapshot.keys)
            self._sent_at = {key: at for key, at in self._sent_at.items() if key in known}
        by_interval: dict[float, list[str]] = {}
        for place in np.flatnonzero(~np.isnan(snapshot.values)).tolist():
            key, at, every_s = snapshot.keys[place], float(snapshot.at[place]), float(snapshot.every_s[place])
            # Not `newer`: after a clock went back, times are smaller and yet new.
            if self._sent_at.get(key) != at and not math.isnan(every_s):
                self._sent_at[key] = at
                by_interval.setdefault(every_s, []).append(
                    f'{self._prefixes[place]}{number(float(snapshot.values[place]))}, "at": {at:.3f}}}'
                )
        for every_s, samples in sorted(by_interval.items()):
            top = json.dumps({**self._top, "interval_s": every_s}, ensure_ascii=False)[:-1] + ', "samples": ['
            for first in range(0, len(samples), SAMPLES_LIMIT):
                some = samples[first : first + SAMPLES_LIMIT]
                yield Body((top + ",".join(some) + "]}").encode(), len(some))

    def _prefix(self, key: SeriesKey) -> str:
        own = {name: value for name, value in key.labels if (name, value) not in self._common}
        return json.dumps({"metric": key.metric, "labels": own}, ensure_ascii=False)[:-1] + ', "value": '
