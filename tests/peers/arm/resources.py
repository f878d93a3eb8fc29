"""What the stand-in keeps: scale sets, machines, operations, and answers that are errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Priority = Literal["Regular", "Spot"]


class ApiError(Exception):
    """An answer that is an error: status, code, message, more headers."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


@dataclass
class Operation:
    """A long-running operation: ends at `ends_at` by `finish`, which may raise ApiError."""

    id: str
    region: str
    started_at: float
    ends_at: float
    finish: Callable[[], None]
    status: Literal["InProgress", "Succeeded", "Failed", "Canceled"] = "InProgress"
    error: tuple[str, str] | None = None


@dataclass
class Size:
    """A size as a region sells it. closed: why not at all. closed_zones: where it is not."""

    name: str
    location: str = "eastus"
    family: str = "standardNCADSA100v4Family"
    vcpus: int = 24
    gpus: int = 1
    zones: tuple[str, ...] = ("1", "2", "3")
    closed: str = ""
    closed_zones: tuple[str, ...] = ()


@dataclass
class Machine:
    id: str
    zone: str
    created_at: float
    state: str = "Creating"
    state_at: float = 0.0
    power: str = ""
    health: str = ""
    protected: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    version: int = 1
    error: tuple[str, str] | None = None


@dataclass
class ScaleSet:
    subscription: str
    group: str
    name: str
    size: str
    location: str
    zones: tuple[str, ...]
    priority: Priority
    eviction: Literal["Deallocate", "Delete"]
    capacity: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    version: int = 1
    state: str = "Succeeded"
    error: tuple[str, str] | None = None
    next_id: int = 0
    growth: Operation | None = None
    given: dict[str, object] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        return f'"{self.version}"'
