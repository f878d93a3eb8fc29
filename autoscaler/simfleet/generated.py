"""Rule files for fleets of any size, to try how the service and its page do with hundreds of pools."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoscaler.errors import InputError

MOST_POOLS, MOST_GPUS = 500, 10_000
GPUS_OF_POOL = 20
"""Where only one of the two numbers is given."""
TASKS = ("chat", "code", "embed", "rank", "speech", "vision", "search", "agents")
_BY_SIZE = (
    (8, "p5.48xlarge", "Standard_ND96isr_H100_v5"),
    (4, "g6.12xlarge", "Standard_NC96ads_A100_v4"),
    (1, "g6.xlarge", "Standard_NC24ads_A100_v4"),
)
"""GPUs of a machine, and who sells such a one."""

_RULES = """\
pool: {pool}
tick: 15s
replica: {{gpus: {gpus}, capacity: 8 requests/s}}
limits: {{min: {least}, max: {most}}}
offers:
  choose: listed
  from:
    - aws: {{region: us-east-1, zones: [us-east-1a, us-east-1b], type: {aws}, purchase: [spot, on_demand],
            launch_template: {pool}, lead_time: 30s}}
    - azure: {{region: eastus, type: {azure}, scale_set: {pool}, lead_time: 30s}}
signals:
  load:  {{metric: requests_arrived_total, rate: 1m, aggregate: sum}}
  queue: {{metric: requests_waiting, aggregate: sum}}
  gpu:   {{metric: gpu_sm_active_ratio, aggregate: mean}}
rules:
  - name: enough for the demand
    target: {{signal: load, per_replica: auto, backlog: queue, clear: 60s}}
  - name: unusual load
    when: {{load: {{outside: 4 sigma, lookback: 5m, min_points: 15, min_width: 25%}}, for: 30s}}
    alert: info
alerts:
  - {{name: GPU too hot, each: gpu_temperature_celsius, above: 85, for: 15s, severity: critical}}
  - {{name: GPU fault, each: gpu_recovery_action, above: 0, severity: critical}}
scale_in: {{stabilization: 90s, cool_off: 60s, drain: 30s}}
launch: {{limit: 60s, register: 120s, shortage: 30s, shortage_max: 2m, shortage_reset: 10m}}
flap: {{moves: 240, per: 1h}}
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a generated fleet is: so many pools, with so many GPUs together at night, and more at the
    day's peak."""

    pools: int
    gpus: int

    @classmethod
    def of(cls, pools: int | None, gpus: int | None) -> Size | None:
        """The size that the two numbers of a person mean; None when neither is given. Raises InputError."""
        if pools is None and gpus is None:
            return None
        faults = []
        if pools is not None and not 1 <= pools <= MOST_POOLS:
            faults.append(f"--pools: {pools} is not between 1 and {MOST_POOLS}; write another")
        if gpus is not None and not 1 <= gpus <= MOST_GPUS:
            faults.append(f"--gpus: {gpus} is not between 1 and {MOST_GPUS}; write another")
        if faults:
            raise InputError(*faults)
        if gpus is None:
            assert pools is not None
            gpus = min(MOST_GPUS, pools * GPUS_OF_POOL)
        pools = min(MOST_POOLS, max(1, gpus // GPUS_OF_POOL)) if pools is None else pools
        if gpus < pools:
            raise InputError(f"--gpus: {gpus} are fewer than {pools} pools, and each needs one; raise it to {pools}")
        return cls(pools, gpus)


def write_rules(folder: Path, size: Size) -> tuple[Path, ...]:
    """One rule file a pool, written into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_written(folder / f"{pool}.yaml", text) for pool, text in rules(size))


def rules(size: Size) -> Iterator[tuple[str, str]]:
    """Name and rule file of each pool; GPUs are shared as evenly as whole replicas allow."""
    for number in range(size.pools):
        gpus = size.gpus / size.pools
        # Two machines or more, so that one may go and the pool serves.
        per, aws, azure = next((row for row in _BY_SIZE if 2 * row[0] <= gpus), _BY_SIZE[-1])
        # Shared by the running sum, so that what is rounded away in one pool is in the next.
        mean = max(1, math.ceil((number + 1) * gpus / per) - math.ceil(number * gpus / per))
        pool = f"{TASKS[number % len(TASKS)]}-{number + 1:03d}"
        yield pool, _RULES.format(pool=pool, gpus=per, least=mean, most=max(2, round(1.4 * mean)), aws=aws, azure=azure)


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
