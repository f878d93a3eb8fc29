"""The catalogue of GPU instance types that ships with sigmascale: what they hold and what they cost."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path

from autoscaler.errors import Fault, InputError

FILE = Path(__file__).parent / "catalog.csv"
OLD_DAYS = 90
HOME = {"aws": "us-east-1", "azure": "eastus"}
"""The region whose price stands for a type where none is asked for."""

_COLUMNS = (
    "provider", "instance_type", "region", "gpu_model", "gpu_count", "gpu_mem_gib_each", "vcpus", "memory_gib",
    "rdma", "gpu_link_from_memory", "on_demand_usd_per_hour", "price_as_of",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """One instance type in one region; None = unknown. rdma: what joins several of them, empty = nothing known."""

    provider: str
    type: str
    region: str
    gpu: str
    gpus: int
    gpu_gib: float | None
    vcpus: int | None
    memory_gib: float | None
    rdma: str
    link: str
    usd_per_hour: float | None
    price_as_of: date | None


@lru_cache(maxsize=4)
def read_catalog(file: Path = FILE) -> tuple[Machine, ...]:
    """Every row. Raises InputError with file and line for each that cannot be read."""
    machines: list[Machine] = []
    faults: list[Fault] = []
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                text = f"the columns {', '.join(missing)} are missing; compare with {FILE}"
                raise InputError(Fault(str(file), 1, 1, "", text))
            for row in rows:
                try:
                    machines.append(_machine(row))
                except ValueError as error:
                    faults.append(Fault(str(file), rows.line_num, 1, row["instance_type"] or "", str(error)))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    if faults:
        raise InputError(*faults)
    return tuple(machines)


def in_region(machines: tuple[Machine, ...], provider: str | None, region: str | None) -> tuple[Machine, ...]:
    """One row a type: of the region asked for, else of its provider's home, else the cheapest with a price.

    Raises InputError for a provider or region that has no row.
    """
    known = sorted({m.provider for m in machines})
    if provider is not None and provider not in known:
        raise InputError(f"--provider {provider}: is not in the catalogue; known are {', '.join(known)}")
    mine = [m for m in machines if provider in (None, m.provider)]
    if region is not None:
        here = tuple(m for m in mine if m.region == region)
        if not here:
            regions = ", ".join(sorted({m.region for m in mine})[:60])
            raise InputError(f"--region {region}: has no GPU instance in the catalogue; known are {regions}")
        return here
    best: dict[tuple[str, str], Machine] = {}
    for machine in mine:
        key = (machine.provider, machine.type)
        if key not in best or _preference(machine) < _preference(best[key]):
            best[key] = machine
    return tuple(best.values())


def age_warning(machines: tuple[Machine, ...], now: float) -> str:
    """A sentence when the oldest price is more than 90 days old; empty otherwise. now: Unix seconds."""
    dates = [m.price_as_of for m in machines if m.price_as_of is not None]
    if not dates:
        return ""
    age = (datetime.fromtimestamp(now, UTC).date() - min(dates)).days
    if age <= OLD_DAYS:
        return ""
    return f"prices are list prices of {min(dates)} and later, up to {age} days old; check them before you buy"


def _preference(machine: Machine) -> tuple[bool, bool, float]:
    at_home = machine.region == HOME.get(machine.provider)
    return (machine.usd_per_hour is None, not at_home, machine.usd_per_hour or 0.0)


def _machine(row: dict[str, str]) -> Machine:
    return Machine(
        provider=row["provider"],
        type=row["instance_type"],
        region=row["region"],
        gpu=row["gpu_model"],
        gpus=int(_number(row, "gpu_count", least=1) or 0),
        gpu_gib=_number(row, "gpu_mem_gib_each"),
        vcpus=None if (vcpus := _number(row, "vcpus")) is None else int(vcpus),
        memory_gib=_number(row, "memory_gib"),
        rdma=row["rdma"],
        link=row["gpu_link_from_memory"],
        usd_per_hour=_number(row, "on_demand_usd_per_hour"),
        price_as_of=date.fromisoformat(row["price_as_of"]) if row["price_as_of"] else None,
    )


def _number(row: dict[str, str], column: str, least: float = 0.0) -> float | None:
    text = row[column]
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{column} is {text!r}, not a number; leave it empty if it is unknown") from None
    if not least <= value < 1e9:
        raise ValueError(f"{column} is {text}, which cannot be; leave it empty if it is unknown")
    return value
