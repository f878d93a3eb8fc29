"""Which machine a series speaks of: what its labels call it, as the instance that a provider reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.board import Board, PoolView
from autoscaler.types import Instance, Offer

LABELS = ("instance_id", "instance", "host", "pool", "zone", "region", "offer", "gpu_model")
NOBODYS = "no pool"


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. name: in addresses of pages, its instance's id where a provider knows it.

    names: what labels of its series may call it. type, zone: empty = not known. state: of the instance, empty when no
    provider lists it.
    """

    name: str
    host: str
    pool: str
    zone: str
    type: str
    state: str
    names: frozenset[str]
    instance: Instance | None = field(default=None, compare=False)


class Machines:
    """The instances of all pools, by every name that labels may have for them."""

    def __init__(self, board: Board) -> None:
        self._known: dict[str, tuple[Instance, PoolView]] = {}
        hosts: dict[str, list[tuple[Instance, PoolView]]] = {}
        for view in board.pools().values():
            if view.rules.shadow_of or view.fleet is None:
                continue
            for i in view.fleet.instances:
                # Azure's metadata call machine 3 of scale set `gpu` gpu_3; ours are called GROUP/gpu/3.
                for name in {i.id, "_".join(i.id.split("/")[-2:]), *((i.address,) if i.address else ())}:
                    self._known.setdefault(name, (i, view))
                if i.address:
                    hosts.setdefault(i.address.rpartition(":")[0], []).append((i, view))
        # Several processes on one host share its name, which then is nobody's.
        for host, some in hosts.items():
            if len(some) == 1:
                self._known.setdefault(host, some[0])

    @staticmethod
    def called(labels: Mapping[str, str]) -> tuple[str, ...]:
        """What labels of a GPU's series say of where it is, in the order of LABELS."""
        return tuple(labels.get(name, "") for name in LABELS)

    def instance(self, name: str) -> tuple[Instance, PoolView] | None:
        """The instance of that id, address or host, with its pool."""
        return self._known.get(name)

    def named(self, called: tuple[str, ...]) -> Machine:
        """The machine that these labels speak of."""
        own = dict(zip(LABELS, called, strict=True))
        names = [name for name in (own["instance_id"], own["instance"], own["host"]) if name]
        found = next((self._known[n] for n in (*names, *map(_host, names)) if n in self._known), None)
        if found is None:
            # Of a machine that no provider lists, all sources know the host; each has an address of its own.
            name = own["instance_id"] or own["host"] or own["instance"] or "unknown"
            zone, type_ = own["zone"] or own["region"], own["offer"].split("/")[1] if "/" in own["offer"] else ""
            return Machine(
                name=name,
                host=own["host"] or name,
                pool=own["pool"] or NOBODYS,
                zone=zone or "unknown zone",
                type=type_ or own["gpu_model"] or "unknown type",
                state="",
                names=frozenset(names),
            )
        instance, view = found
        offer = next((o for o in view.rules.offers if o.key == instance.offer), None)
        return machine_of(instance, offer, own["host"], own["zone"], names)


def machine_of(
    instance: Instance, offer: Offer | None, host: str = "", zone: str = "", names: Sequence[str] = ()
) -> Machine:
    """An instance as pages show it."""
    parts = instance.offer.split("/")
    place = zone or (f"{offer.zone or offer.region}" if offer is not None else "") or parts[0]
    address = (instance.address,) if instance.address else ()
    return Machine(
        name=instance.id,
        host=host or instance.id,
        pool=instance.pool,
        zone=place,
        type=offer.type if offer is not None else parts[1] if len(parts) > 1 else parts[0],
        state=instance.state,
        names=frozenset((*names, instance.id, *address)),
        instance=instance,
    )


def _host(name: str) -> str:
    host, colon, port = name.rpartition(":")
    return host if colon and port.isdigit() else name
