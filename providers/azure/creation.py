"""The first order from a scale set that does not exist yet: it is made once, empty, and then grows like any other."""

from __future__ import annotations

import contextlib

from autoscaler.errors import BusyError, InputError, ProviderError, ThrottledError
from autoscaler.types import Launch
from providers import bootstrap
from providers.azure.client import Client
from providers.azure.failures import StaleError, of_code
from providers.azure.machines import SetSeen
from providers.azure.making import MADE, resource
from providers.azure.orders import ORDERS, Terms, write
from providers.azure.records import Records
from providers.azure.settings import Order, SetRef

ASK_AGAIN_S = 5.0


class BeingMadeError(BusyError):
    """The scale set is being made; the same order again carries on."""

    def __init__(self, ref: SetRef) -> None:
        super().__init__(f"scale set {ref} is being made", ASK_AGAIN_S)


def absent(ref: SetRef) -> str:
    """What to do about a scale set that is not there."""
    return (
        f"scale set {ref} does not exist; make it (see docs/azure.md), correct scale_set or resource_group, or write "
        "create: true with an image and a subnet"
    )


def create(client: Client, records: Records, launch: Launch, order: Order, terms: Terms) -> None:
    """Begins to make the scale set of an order. Raises BeingMadeError, or ProviderError when it cannot be made.

    Written only if there is none of that name: of two that try, or of one that tries again, one makes it.
    """
    if order.made is None:
        raise ProviderError(absent(order.ref))
    try:
        document = bootstrap.user_data(
            launch.pool, order.offer, port=order.port, ready=order.ready if order.ready.startswith("/") else "/health"
        )
    except InputError as error:
        raise ProviderError(f"scale set {order.ref}: {'; '.join(f.text for f in error.faults)}") from None
    # Without a tag of orders: the first one that is there tells that it was finished once.
    tags = {name: text for name, text in write({}, terms, ()).items() if not name.startswith(ORDERS)}
    body = resource(order.made, order.offer, order.size, tags, document)
    records.know(order.ref, terms)
    with contextlib.suppress(StaleError):
        records.began(order.ref, client.create_set(order.ref, body))
    raise BeingMadeError(order.ref)


def check_made(client: Client, records: Records, seen: SetSeen) -> None:
    """Raises BeingMadeError for a scale set of ours that is not finished, and why it never will be if it failed."""
    if MADE not in seen.tags or any(name.startswith(ORDERS) for name in seen.tags):
        return
    if seen.state in ("Creating", "Updating"):
        raise BeingMadeError(seen.ref)
    if seen.state == "Failed":
        token = records.token(seen.ref)
        progress = client.look(seen.ref, token) if token is not None else None
        code, text = (progress.code, progress.text) if progress is not None else client.failure(seen.ref)
        why = of_code(code or "Failed", text or "Azure does not say why")
        if isinstance(why, ThrottledError):
            raise BeingMadeError(seen.ref)
        raise type(why)(f"scale set {seen.ref} could not be made: {why}; correct the offer and delete the scale set")
