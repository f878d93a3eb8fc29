"""What the service's configuration says where rule files are silent, prices among it, and what is wrong with those."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from autoscaler.config import Config
from autoscaler.rulefile.pricing import price_warnings
from autoscaler.rulefile.reader import Defaults
from autoscaler.rulefile.watch import RuleBook
from autoscaler.types.prices import PriceList


def filled(config: Config, prices: PriceList, now: float) -> Defaults:
    """The defaults of a service that starts now."""
    today = datetime.fromtimestamp(now, UTC).date()
    return Defaults(config.max_replicas, config.region or None, True, prices, today)


def unsure_prices(book: RuleBook) -> Iterator[tuple[str, str]]:
    """(pool, what is wrong with a price of its offers) of the rules in force, as of the start."""
    for pool, rules in sorted(book.current().items()):
        for text in dict.fromkeys(price_warnings(rules.offers, book.defaults.prices, book.defaults.today)):
            yield pool, text
