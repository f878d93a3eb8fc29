"""What offers cost and hold where the rule file does not say: from the list of prices that the service has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from autoscaler.capacity.architecture import PRECISIONS
from autoscaler.capacity.gpus import GIB, gpu_in
from autoscaler.capacity.layout import Layout, memory
from autoscaler.capacity.models import model_named
from autoscaler.errors import InputError
from autoscaler.rulefile.offers import AT_HAND
from autoscaler.ruleset import Hosted
from autoscaler.types import Offer
from autoscaler.types.prices import DEARER, UNKNOWN_USD_PER_GPU_HOUR, PriceList, PriceRow

OLD_DAYS = 90
VOLTA = "V100"
NEWER = "A100"


def priced(
    stated: Sequence[tuple[Offer, bool]], prices: PriceList, gpus_each: int, hosted: Hosted
) -> tuple[Offer, ...]:
    """The offers with prices, GPUs and whether the model fits. stated: each with whether its file states a price.

    A price that nobody knows is more than every known one of the pool, never 0.
    """
    found = [_listed(offer, known, prices, hosted) for offer, known in stated]
    known = [o.usd_per_hour / o.replicas for o in found if o.price_known]
    dearest = max(known, default=0.0)
    return tuple(o if o.price_known else _unknown(o, dearest, gpus_each) for o in found)


def price_warnings(offers: Sequence[Offer], prices: PriceList, today: date | None) -> Iterator[str]:
    """What is unwise about what the offers of one entry cost; nothing without a list of prices."""
    if not prices:
        return
    for offer in offers:
        where = _where(offer)
        if not offer.price_known:
            text = f"no {offer.purchase} price of {where} is known, so it counts as dearer than every other,"
            yield f"{text} {offer.usd_per_hour:.2f} USD/h; add 'price: 12 USD/h' or a row of the prices file"
        if offer.unfit:
            yield f"{where} is never launched: {offer.unfit}"
        yield from _outdated(offer, prices)
    if today is not None:
        yield from _aged(offers, prices, today)


def _aged(offers: Sequence[Offer], prices: PriceList, today: date) -> Iterator[str]:
    """One warning for all prices that are too old, with the oldest of them."""
    old = []
    for offer in offers:
        found = prices.price(offer.provider, offer.type, offer.region, offer.purchase) if offer.priced else None
        if found is not None and found.as_of is not None and (today - found.as_of).days > OLD_DAYS:
            old.append((found.as_of, offer))
    if old:
        as_of, offer = min(old, key=lambda one: one[0])
        others = f", and {len(old) - 1} more are old" if len(old) > 1 else ""
        text = (
            f"the price of {_where(offer)}, {offer.usd_per_hour:.2f} USD/h, is {(today - as_of).days} days old{others}"
        )
        yield f"{text}; check it, and state 'price' or a row of the prices file"


def _where(offer: Offer) -> str:
    return f"{offer.type} in {offer.region}" if offer.region else offer.type


def _listed(offer: Offer, stated: bool, prices: PriceList, hosted: Hosted) -> Offer:
    row = prices.described(offer.provider, offer.type)
    if row is not None:
        offer = replace(offer, gpus=offer.gpus or row.gpus, unfit=unfit(hosted, row))
    if stated or offer.provider in AT_HAND:
        return offer
    found = prices.price(offer.provider, offer.type, offer.region, offer.purchase)
    if found is None:
        return replace(offer, price_known=False)
    return replace(offer, usd_per_hour=found.usd_per_hour, priced=found.text)


def _unknown(offer: Offer, dearest: float, gpus_each: int) -> Offer:
    gpus = offer.gpus or offer.replicas * max(1, gpus_each)
    usd = max(UNKNOWN_USD_PER_GPU_HOUR * gpus, DEARER * dearest * offer.replicas)
    text = f"price unknown, counted as {usd:.2f} USD/h"
    return replace(offer, usd_per_hour=round(usd, 6), priced=text)


def unfit(hosted: Hosted, row: PriceRow) -> str:
    """Why the model leaves no memory for requests on a machine's GPUs; empty if it does, or if too little is known."""
    gpu = gpu_in(row.gpu, row.gpu_gib, row.link)
    if not hosted.model or gpu is None:
        return ""
    try:
        model = model_named(hosted.model)
    except InputError:
        return ""
    precision = PRECISIONS.get(hosted.precision or model.native)
    if precision is None or memory(model, precision, "fp16", gpu, Layout(hosted.tensor_parallel)).left > 0:
        return ""
    weights = model.weight_bytes(precision) / hosted.tensor_parallel / GIB
    each = f"{hosted.model} takes {weights:.1f} GiB of weights on each of {hosted.tensor_parallel} GPUs"
    return f"{each}, which leaves no room for requests on {row.gpu} with {gpu.gib:g} GiB"


def _outdated(offer: Offer, prices: PriceList) -> Iterator[str]:
    """V100 machines: without bf16, and where a newer GPU costs less, not even cheap."""
    mine = prices.described(offer.provider, offer.type)
    if mine is None or mine.gpu != VOLTA or offer.purchase != "on_demand" or not offer.price_known:
        return
    each = offer.usd_per_hour / mine.gpus
    rows = [r for p in sorted(prices.homes) for r in prices.at_home(p, offer.region if p == offer.provider else "")]
    newer = [(r.usd_per_gpu_hour, r) for r in rows if r.gpu == NEWER and r.usd_per_gpu_hour is not None]
    best = min(newer, key=lambda one: (one[0], one[1].type), default=None)
    text = f"{offer.type} has {mine.gpus} {VOLTA}, which have no bf16"
    if best is not None and best[0] < each:
        price, row = best
        text += f" and cost {each:.2f} USD per GPU-hour; {row.type} of {row.provider} has {NEWER} for {price:.2f}"
    else:
        text += "; models in bf16 have to run in fp16"
    yield text
