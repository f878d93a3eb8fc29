"""Prices of offers: stated, of people's own file, of the catalogue, taken as a share, or unknown and then never 0."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from autoscaler.listprices import filled, unsure_prices
from autoscaler.rulefile.reader import Checked, Defaults, check_text
from autoscaler.rulefile.watch import RuleBook
from autoscaler.types import Offer, Purchase
from autoscaler.types.prices import SHARE_OF_ON_DEMAND, UNKNOWN_USD_PER_GPU_HOUR, PriceList, PriceRow
from providers.catalog import read_catalog
from providers.prices import read_prices

TODAY = date(2026, 8, 1)
CATALOG = read_prices()
HEAD = "pool: chat\nlimits: {min: 1, max: 9}\n"


def checked(offers: str, prices: PriceList = CATALOG, today: date | None = TODAY, more: str = "") -> Checked:
    text = f"{HEAD}{more or 'replica: {gpus: 1}'}\noffers:\n  from:\n    - {offers}\n"
    found = check_text(text, file="chat.yaml", defaults=Defaults(prices=prices, today=today))
    assert found.errors == ()
    return found


def offers(text: str, prices: PriceList = CATALOG, more: str = "") -> tuple[Offer, ...]:
    rules = checked(text, prices, more=more).rules
    assert rules is not None
    return rules.offers


def told(found: Checked) -> list[str]:
    ours = ("price", "bf16", "launched")
    return [w.text for w in found.warnings if any(word in w.text for word in ours)]


AWS = "aws: {type: p4d.24xlarge, region: us-east-1, image: ami-0123456789abcdef0"


@pytest.mark.parametrize(
    ("text", "usd", "priced"),
    [
        pytest.param(AWS + "}", 21.957642, "list price of 2026-07-20", id="the catalogue's price of type and region"),
        pytest.param(AWS + ", price: 9 USD/h}", 9.0, "", id="a stated price"),
        pytest.param(
            AWS + ", purchase: spot}", 0.5 * 21.957642, "taken as 0.5 of the list price of 2026-07-20", id="spot"
        ),
        pytest.param(
            AWS + ", purchase: reserved, reservation: cr-0123456789abcdef0}",
            0.4 * 21.957642,
            "taken as 0.4 of the list price of 2026-07-20",
            id="reserved",
        ),
        pytest.param("local: {command: serve}", 0.0, "", id="a machine at hand costs nothing"),
        pytest.param(
            "azure: {type: NC24ads_A100_v4, region: westeurope, scale_set: s}",
            4.775,
            "list price of 2026-06-18",
            id="Azure's names need no prefix",
        ),
    ],
)
def test_an_offer_costs(text: str, usd: float, priced: str) -> None:
    (offer,) = offers(text)
    assert offer.usd_per_hour == pytest.approx(usd, abs=1e-6)
    assert (offer.priced, offer.price_known) == (priced, True)


def test_without_a_region_the_price_is_that_of_the_providers_home() -> None:
    here = CATALOG.price("azure", "Standard_NC24ads_A100_v4", "", "on_demand")
    assert here is not None
    assert here.usd_per_hour == pytest.approx(3.673)
    assert CATALOG.price("azure", "standard_nc24ads_a100_v4", "brazilsouth", "on_demand") is not None
    assert CATALOG.price("aws", "p4d.24xlarge", "mars-1", "on_demand") is None


def test_a_price_that_nobody_knows_is_more_than_every_known_one_and_said() -> None:
    found = checked("aws: {types: [p4d.24xlarge, x9.large], gpus: 8, region: us-east-1, image: ami-0123456789abcdef0}")
    assert found.rules is not None
    known, unknown = found.rules.offers
    assert (unknown.price_known, unknown.usd_per_hour) == (False, 8 * UNKNOWN_USD_PER_GPU_HOUR)
    assert unknown.priced == "price unknown, counted as 200.00 USD/h"
    assert unknown.usd_per_hour / unknown.replicas > known.usd_per_hour / known.replicas
    assert told(found) == [
        "no on_demand price of x9.large in us-east-1 is known, so it counts as dearer than every other, 200.00 USD/h; "
        "add 'price: 12 USD/h' or a row of the prices file"
    ]
    dear = offers(
        "aws: {type: x9.large, gpus: 1, region: us-east-1, image: ami-0123456789abcdef0}\n"
        "    - local: {command: serve, price: 400 USD/h}"
    )
    assert dear[0].usd_per_hour == pytest.approx(440.0)
    assert all(m.usd_per_hour / m.gpus < UNKNOWN_USD_PER_GPU_HOUR for m in read_catalog() if m.usd_per_hour is not None)


def test_without_any_list_no_price_is_known_and_none_is_0() -> None:
    (offer,) = offers(AWS + "}", PriceList())
    assert (offer.price_known, offer.usd_per_hour) == (False, 200.0)
    assert told(checked(AWS + "}", PriceList())) == [], "who has no list is told nothing about it"


@pytest.mark.parametrize(
    ("today", "warned"),
    [
        pytest.param(date(2026, 10, 18), False, id="90 days are not old"),
        pytest.param(date(2026, 10, 19), True, id="91 are"),
        pytest.param(None, False, id="without a date nobody can tell"),
    ],
)
def test_a_price_of_more_than_90_days_is_warned_of_when_it_is_read(today: date | None, warned: bool) -> None:
    texts = told(checked(AWS + "}", today=today))
    expected = (
        "the price of p4d.24xlarge in us-east-1, 21.96 USD/h, is 91 days old; check it, and state 'price' or a row of "
        "the prices file"
    )
    assert texts == ([expected] if warned else [])
    assert told(checked(AWS + ", price: 20 USD/h}", today=today)) == []


def test_many_old_prices_of_an_entry_are_one_warning() -> None:
    some = "aws: {types: [p4d.24xlarge, p4de.24xlarge], region: us-east-1, image: ami-0123456789abcdef0}"
    (text,) = told(checked(some, today=date(2027, 7, 20)))
    assert "is 365 days old, and 1 more are old; check it" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "aws: {type: p3.8xlarge, region: us-east-1, image: ami-0123456789abcdef0}",
            "p3.8xlarge has 4 V100, which have no bf16 and cost 3.06 USD per GPU-hour; p4d.24xlarge of aws has A100 "
            "for 2.74",
            id="p3 costs more a GPU than p4d",
        ),
        pytest.param(
            "azure: {type: NC6s_v3, region: eastus, scale_set: s, price: 1 USD/h}",
            "NC6s_v3 has 1 V100, which have no bf16; models in bf16 have to run in fp16",
            id="a V100 that is cheap still has no bf16",
        ),
    ],
)
def test_machines_with_v100_are_warned_of_from_the_catalogues_own_numbers(text: str, expected: str) -> None:
    assert told(checked(text)) == [expected]


def test_a_model_that_leaves_no_room_on_a_gpu_is_never_launched_there() -> None:
    model = "replica: {gpus: 4, model: llama-3.1-70b, gpu: A100-80}"
    both = "aws: {types: [p4de.24xlarge, g5.12xlarge], region: us-east-1, image: ami-0123456789abcdef0}"
    fits, not_ = offers(both, more=model)
    assert (fits.unfit, fits.gpus, fits.replicas) == ("", 8, 2)
    assert "GiB of weights on each of 4 GPUs, which leaves no room for requests on A10G with 22.35 GiB" in not_.unfit
    assert told(checked(both, more=model)) == [f"g5.12xlarge in us-east-1 is never launched: {not_.unfit}"]


def test_the_hash_names_the_prices_that_were_filled_in() -> None:
    def hash_of(text: str, prices: PriceList) -> str:
        rules = checked(text, prices).rules
        assert rules is not None
        return rules.hash

    other = PriceList((*CATALOG.rows, PriceRow("aws", "p4d.24xlarge", "", 20.0, own=True)), CATALOG.homes)
    assert hash_of(AWS + "}", CATALOG) != hash_of(AWS + "}", other)
    assert hash_of(AWS + ", price: 9 USD/h}", CATALOG) == hash_of(AWS + ", price: 9 USD/h}", other)


# --- people's own prices ----------------------------------------------------------------------------------------


MISSING = "the columns provider, type, usd_per_hour are missing; write provider,type,usd_per_hour,region,purchase"


def own(tmp_path: Path, text: str) -> PriceList:
    file = tmp_path / "prices.csv"
    file.write_text(text, encoding="utf-8")
    return read_prices(file)


@pytest.mark.parametrize(
    ("rows", "region", "purchase", "usd", "words"),
    [
        pytest.param(
            "aws,p4d.24xlarge,12,us-east-1,", "us-east-1", "on_demand", 12.0, "price of prices.csv", id="its own"
        ),
        pytest.param("aws,p4d.24xlarge,12,,", "us-east-1", "on_demand", 12.0, "price of prices.csv", id="all regions"),
        pytest.param(
            "aws,p4d.24xlarge,12,eu-1,",
            "us-east-1",
            "on_demand",
            21.957642,
            "list price of 2026-07-20",
            id="another region",
        ),
        pytest.param("aws,p4d.24xlarge,8,,spot", "us-east-1", "spot", 8.0, "price of prices.csv", id="spot"),
        pytest.param(
            "aws,p4d.24xlarge,12,,",
            "us-east-1",
            "spot",
            6.0,
            "taken as 0.5 of the price of prices.csv",
            id="a share of it",
        ),
        pytest.param(
            "aws,p4d.24xlarge,9,,\naws,p4d.24xlarge,8,,",
            "us-east-1",
            "on_demand",
            8.0,
            "price of prices.csv",
            id="the last row",
        ),
        pytest.param(
            "azure,NC24ads_A100_v4,2,eastus,",
            "eastus",
            "on_demand",
            2.0,
            "price of prices.csv",
            id="without the prefix",
        ),
    ],
)
def test_ones_own_prices_come_before_the_lists(
    tmp_path: Path, rows: str, region: str, purchase: Purchase, usd: float, words: str
) -> None:
    found = own(tmp_path, "provider,type,usd_per_hour,region,purchase\n" + rows + "\n")
    provider, kind = ("azure", "Standard_NC24ads_A100_v4") if rows.startswith("azure") else ("aws", "p4d.24xlarge")
    price = found.price(provider, kind, region, purchase)
    assert price is not None
    assert price.usd_per_hour == pytest.approx(usd, abs=1e-6)
    assert price.text == words


def test_a_part_of_the_catalogue_can_be_copied_and_corrected(tmp_path: Path) -> None:
    head = "provider,instance_type,region,gpu_model,on_demand_usd_per_hour,price_as_of\n"
    found = own(tmp_path, head + "aws,p4d.24xlarge,us-east-1,A100,19.5,2026-01-02\n")
    price = found.price("aws", "p4d.24xlarge", "us-east-1", "on_demand")
    assert price is not None
    assert (price.usd_per_hour, price.as_of) == (19.5, date(2026, 1, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a,b\n1,2\n", MISSING, id="other columns"),
        pytest.param(
            "provider,type,usd_per_hour\naws,x,\n",
            "usd_per_hour is '', not a number; write one such as 21.96",
            id="no price",
        ),
        pytest.param(
            "provider,type,usd_per_hour\naws,x,-1\n",
            "usd_per_hour is -1, which is no price; write one between 0 and 1000000",
            id="below 0",
        ),
        pytest.param(
            "provider,type,usd_per_hour\naws,x,nan\n",
            "usd_per_hour is nan, which is no price; write one between 0 and 1000000",
            id="not finite",
        ),
        pytest.param(
            "provider,type,usd_per_hour\n,x,1\n",
            "names no provider or no type; write both, such as aws,p4d.24xlarge",
            id="no provider",
        ),
        pytest.param(
            "provider,type,usd_per_hour,purchase\naws,x,1,sot\n",
            "purchase is 'sot'; write on_demand, spot or reserved",
            id="no such purchase option",
        ),
        pytest.param(
            "provider,type,usd_per_hour,price_as_of\naws,x,1,soon\n",
            "price_as_of is 'soon'; write a date such as 2026-07-20",
            id="no date",
        ),
        pytest.param("", MISSING, id="an empty file"),
    ],
)
def test_a_broken_file_is_answered_with_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        own(tmp_path, text)
    (fault,) = caught.value.faults
    assert fault.text == expected
    assert (fault.file, fault.line) == (str(tmp_path / "prices.csv"), 1 if expected == MISSING else 2)


def test_every_fault_of_a_file_comes_at_once_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        own(tmp_path, "provider,type,usd_per_hour\naws,x,a\naws,y,1\naws,z,b\n")
    assert [f.line for f in caught.value.faults] == [2, 4]
    with pytest.raises(InputError, match=r"none\.csv: cannot be read \(No such file"):
        read_prices(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"provider,type,usd_per_hour\n\xff\xfe")
    with pytest.raises(InputError, match=r"is not a CSV file in UTF-8"):
        read_prices(tmp_path / "binary.csv")


def test_shares_of_the_price_on_demand_are_below_it() -> None:
    assert SHARE_OF_ON_DEMAND["on_demand"] == 1.0
    assert 0 < SHARE_OF_ON_DEMAND["reserved"] < SHARE_OF_ON_DEMAND["spot"] < 1.0, "reserved first, then spot"


# --- a service ----------------------------------------------------------------------------------------------------


def test_a_service_reads_the_file_of_its_configuration_and_tells_at_its_start_what_is_unsure(tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(HEAD + f"replica: {{gpus: 8}}\noffers: {{from: [{{{AWS}}}}}]}}\n", "utf-8")
    (tmp_path / "prices.csv").write_text("provider,type,usd_per_hour\naws,p4d.24xlarge,9\n", "utf-8")
    (tmp_path / "with.yaml").write_text("rules: chat.yaml\nprices: prices.csv\n", "utf-8")
    (tmp_path / "without.yaml").write_text("rules: chat.yaml\n", "utf-8")
    told, prices = {}, {}
    for name in ("with", "without"):
        config = read_config(tmp_path / f"{name}.yaml", {})
        book = RuleBook(config.rules, filled(config, read_prices(config.prices), 1_800_000_000.0))
        told[name] = [text for pool, text in unsure_prices(book) if pool == "chat"]
        prices[name] = book.current()["chat"].offers[0].usd_per_hour
    assert prices == {"with": 9.0, "without": pytest.approx(21.957642)}
    assert told["with"] == [], "a price of one's own without a date is taken as it stands"
    (old,) = told["without"]
    assert old.startswith("the price of p4d.24xlarge in us-east-1, 21.96 USD/h, is 179 days old")


def test_a_configuration_names_a_file_of_prices_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("prices: none.csv\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_config(tmp_path / "config.yaml", {})
    (fault,) = caught.value.faults
    assert str(fault) == (
        f"{tmp_path}/config.yaml:1:9: prices: {tmp_path}/none.csv is not a readable file; name a CSV file that this "
        "user may read"
    )
