"""What an offer may say to the Azure provider, and what docs/azure.md says of it."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler.clock import SimClock
from autoscaler.errors import InputError, ProviderError
from autoscaler.rulefile.reader import Defaults, check_text
from autoscaler.types import Offer
from providers.azure import AzureProvider
from providers.azure.settings import SETTINGS, order, same_size, size_of
from tests.azureworld import AzureWorld

DOCS = (Path(__file__).parent.parent / "docs" / "azure.md").read_text(encoding="utf-8")
OFFER = Offer("azure", "NC24ads_A100_v4", settings=(("scale_set", "chat"),))


@pytest.mark.parametrize(
    ("name", "azures"),
    [
        ("NC6s_v3", "Standard_NC6s_v3"),
        ("Standard_NC6s_v3", "Standard_NC6s_v3"),
        ("standard_NC24ads_A100_v4", "Standard_NC24ads_A100_v4"),
        ("NC40ads_H100_v5", "Standard_NC40ads_H100_v5"),
        ("ND96isr_H100_v5", "Standard_ND96isr_H100_v5"),
    ],
)
def test_sizes_are_understood_with_and_without_their_prefix(name: str, azures: str) -> None:
    assert size_of(name) == azures
    assert same_size(name.upper(), azures)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({"scale_sets": "chat"}, "'scale_sets' is no setting of an azure offer; did you mean scale_set?"),
        pytest.param({"shape": "x"}, "'shape' is no setting of an azure offer; known are scale_set"),
        pytest.param({}, "scale_set is missing; add 'scale_set: NAME' to the offer"),
        pytest.param({"scale_set": "a/b"}, "scale_set 'a/b' is no name of Azure's"),
        pytest.param({"scale_set": "a", "port": "0"}, "port '0' is no port"),
        pytest.param({"scale_set": "a", "port": "many"}, "port 'many' is no port"),
        pytest.param({"scale_set": "a", "ready": "yes"}, "ready 'yes' is neither a path nor health nor running"),
        pytest.param({"scale_set": "a", "dns_suffix": "a b"}, "dns_suffix 'a b' is no domain"),
        pytest.param({"scale_set": "a", "resource_group": ""}, "resource_group is missing"),
    ],
)
def test_an_offer_that_cannot_be_meant_is_refused_in_words(settings: dict[str, str], text: str) -> None:
    with pytest.raises(ProviderError) as refused:
        order(replace(OFFER, settings=tuple(settings.items())), "sub-1", "gpus")
    assert text in str(refused.value)
    assert str(refused.value).startswith(OFFER.key)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ProviderError) as refused:
        order(replace(OFFER, purchase="reserved", settings=(("port", "x"), ("redy", "/"))), "", "gpus")
    for text in ("subscription is missing", "scale_set is missing", "port", "did you mean ready?", "reservations"):
        assert text in str(refused.value)


def test_an_offer_overrides_the_providers_defaults() -> None:
    settings = (("resource_group", "other"), ("scale_set", "chat"), ("subscription", "sub-2"))
    ref = order(replace(OFFER, settings=settings), "sub-1", "gpus").ref
    assert (ref.subscription, ref.group, ref.name) == ("sub-2", "other", "chat")


def test_the_offers_of_the_documentation_load_and_are_understood() -> None:
    text = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
    rules = next(block for block in text if "offers:" in block)
    checked = check_text(rules, file="azure.md", defaults=Defaults(None, None, True))
    assert not [f for f in checked.faults if f.severity == "error"], checked.faults
    assert checked.rules is not None
    understood = [order(o, "sub-1", "gpus") for o in checked.rules.offers if o.provider == "azure"]
    assert {o.ref.name for o in understood} == {"chat-a100", "chat-a100-spot", "chat-h100"}


def documented(heading: str) -> set[str]:
    part = DOCS.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", part, re.MULTILINE))


def test_the_documentation_lists_the_settings_that_there_are() -> None:
    assert documented("Settings of an offer") == SETTINGS.keys()
    ours = {f.name for f in fields(AzureProvider) if f.init} - {"clock", "directory", "credential", "offers"}
    assert documented("Settings of the provider") == ours


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        pytest.param({}, "resource_group is missing; write providers", id="no resource group"),
        pytest.param({"endpoint": "http://management.azure.com"}, "would send a token in the open", id="no TLS"),
        pytest.param({"timeout_s": "0s"}, "timeout_s is 0", id="no time"),
        pytest.param({"identty": "cli"}, "did you mean identity?", id="a slip"),
        pytest.param({"identity": "password"}, "'password' is not one of default", id="an identity that is none"),
        pytest.param({"credential": "hunter2"}, "only a program can give it", id="a secret in a file"),
    ],
)
def test_settings_of_the_provider_that_cannot_be_meant_are_refused(
    settings: dict[str, str], text: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        plugins.build(
            "providers", "azure", {"directory": tmp_path, "clock": SimClock(0.0), "subscription": "s", **settings}
        )
    assert text in str(refused.value)


def test_without_azures_sdk_the_provider_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(InputError, match=r"azure\.identity is missing; pip install 'sigmascale"):
        AzureProvider(tmp_path, SimClock(0.0), "sub-1", "gpus")


@pytest.mark.parametrize(
    ("more", "offer", "refused"),
    [
        pytest.param((), {}, "", id="the provider's own group"),
        pytest.param((), {"resource_group": "GPUS"}, "", id="names do not tell capitals apart"),
        pytest.param(
            (), {"resource_group": "other"}, "sub-1/other is not watched; add it to", id="a group nobody watches"
        ),
        pytest.param(("other",), {"resource_group": "other"}, "", id="one more group"),
        pytest.param(("sub-2/other",), {"resource_group": "other"}, "sub-1/other is not watched", id="elsewhere"),
    ],
)
def test_nothing_is_bought_where_nobody_would_see_it(
    more: tuple[str, ...], offer: dict[str, str], refused: str, tmp_path: Path
) -> None:
    world = AzureWorld(tmp_path)
    try:
        for group in ("gpus", "other"):
            world.cloud.add_set("llm", group=group)
        provider = replace(world.provider, more_groups=more)
        told = provider.apply(world.launch(offer=world.offer(settings={"scale_set": "LLM", **offer})))
        assert (told.status, refused in told.text) == ("failed" if refused else "accepted", True)
        assert len(world.cloud.bought) == (0 if refused else 1)
        if not refused:
            assert [i.id for i in provider.observe().instances] == [
                f"{offer.get('resource_group', 'gpus').lower()}/llm/0"
            ]
        provider.close()
    finally:
        world.close()


def test_two_groups_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two groups of one name"):
        AzureProvider(tmp_path, SimClock(0.0), "sub-1", "gpus", more_groups=("sub-2/gpus",))
