"""Prices: the catalogue's, and before them what people state in a file of their own."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from autoscaler.errors import Fault, InputError
from autoscaler.types.prices import SHARE_OF_ON_DEMAND, PriceList, PriceRow
from providers.catalog import HOME, read_catalog

NEEDED = ("provider", "type", "usd_per_hour")
ALSO = {"instance_type": "type", "on_demand_usd_per_hour": "usd_per_hour"}
"""The catalogue's names of columns, so that a part of it can be copied and corrected."""
MAX_ROWS = 100_000


def read_prices(file: Path | None = None) -> PriceList:
    """The catalogue's prices under those of a CSV file. Raises InputError with file and line of every fault.

    Columns of the file: provider, type, usd_per_hour, and if wanted region (empty = all), purchase (on_demand) and
    price_as_of (YYYY-MM-DD); or the catalogue's own columns.
    """
    listed = [
        PriceRow(
            m.provider, m.type, m.region, m.usd_per_hour, as_of=m.price_as_of,
            gpu=m.gpu, gpus=m.gpus, gpu_gib=m.gpu_gib, link=m.link,
        )
        for m in read_catalog()
    ]  # fmt: skip
    return PriceList((*listed, *(_own(file) if file is not None else ())), HOME)


def _own(file: Path) -> tuple[PriceRow, ...]:
    rows: list[PriceRow] = []
    faults: list[Fault] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream, strict=True)
            names = [ALSO.get(name.strip(), name.strip()) for name in table.fieldnames or ()]
            missing = [name for name in NEEDED if name not in names]
            if missing:
                text = f"the columns {', '.join(missing)} are missing; write {','.join(NEEDED)},region,purchase"
                raise InputError(Fault(str(file), 1, 1, "", text))
            table.fieldnames = names
            for row in table:
                if table.line_num > MAX_ROWS:
                    raise InputError(
                        Fault(str(file), MAX_ROWS, 1, "", f"more than {MAX_ROWS} lines; keep what is used")
                    )
                try:
                    rows.append(_row(row, file))
                except ValueError as error:
                    faults.append(Fault(str(file), table.line_num, 1, (row["type"] or "").strip(), str(error)))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: is not a CSV file in UTF-8 ({error}); save it as one") from error
    if faults:
        raise InputError(*faults)
    return tuple(rows)


def _row(row: Mapping[str, str | None], file: Path) -> PriceRow:
    def cell(name: str) -> str:
        return (row.get(name) or "").strip()

    if not cell("provider") or not cell("type"):
        raise ValueError("names no provider or no type; write both, such as aws,p4d.24xlarge")
    purchase = cell("purchase") or "on_demand"
    if purchase not in SHARE_OF_ON_DEMAND:
        raise ValueError(f"purchase is {purchase!r}; write on_demand, spot or reserved")
    return PriceRow(
        provider=cell("provider"),
        type=cell("type"),
        region=cell("region"),
        usd_per_hour=_price(cell("usd_per_hour")),
        purchase=purchase,  # type: ignore[arg-type]
        as_of=_date(cell("price_as_of")),
        own=True,
        source=file.name,
    )


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        raise ValueError(f"usd_per_hour is {text!r}, not a number; write one such as 21.96") from None
    if not (math.isfinite(price) and 0 <= price < 1e6):
        raise ValueError(f"usd_per_hour is {text}, which is no price; write one between 0 and 1000000")
    return price


def _date(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"price_as_of is {text!r}; write a date such as 2026-07-20") from None
