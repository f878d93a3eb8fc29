"""Settings of an offer, which come as text: read one by one, every fault noted with the name of its setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoscaler.types import OfferFault


def read_setting(
    given: Mapping[str, str], name: str, reader: Callable[[str], Any], otherwise: Any, faults: list[OfferFault]
) -> Any:
    """What `reader` makes of a setting; `otherwise` where it is not given, or cannot be read and is a fault."""
    text = given.get(name)
    if text is None:
        return otherwise
    try:
        return reader(text)
    except ValueError as error:
        faults.append(OfferFault(name, f"{name}: {error}"))
        return otherwise
