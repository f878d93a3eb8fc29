"""`sigmascale bootstrap`: what would a machine be told at its first boot?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autoscaler.configparts import PlugInConfig
    from autoscaler.types import Offer


def bootstrap(
    rules: Annotated[Path, typer.Argument(help="The rule file of the pool.")],
    offer: Annotated[
        str | None, typer.Option("--offer", help="Key of the offer; default: the first that has a bootstrap.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The service's configuration, for what its providers say.")
    ] = None,
) -> None:
    """Print the cloud-init document that a machine of an offer would get. Nothing is launched.

    How large it is, and which other offers there are, is told on the error output.

    Examples:

      sigmascale bootstrap rules/chat.yaml --config sigmascale.yaml

      sigmascale bootstrap rules/chat.yaml --offer aws/p5.48xlarge/us-east-1/spot | cloud-init schema --config-file -
    """
    from autoscaler.configfile import read_config
    from autoscaler.errors import InputError
    from autoscaler.rulefile.reader import Defaults, read_rules
    from providers.bootstrap import port_of, user_data
    from providers.bootstrap.render import LIMITS

    given = read_config(config, {}) if config is not None else None
    most, region = (given.max_replicas, given.region) if given is not None else (None, "")
    found = read_rules(rules, defaults=Defaults(most, region or None))
    by_name = {one.plug_in: one for one in given.providers} if given is not None else {}
    offers = {o.key: _filled(o, by_name.get(o.provider)) for o in found.offers}
    if offer is not None and offer not in offers:
        raise InputError(f"--offer: {rules} has no offer {offer!r}; it has {', '.join(offers) or 'none'}")
    for one in [offers[offer]] if offer is not None else offers.values():
        settings = dict(one.settings)
        try:
            text = user_data(found.pool, one, port=int(port_of(settings)), ready=settings.get("ready", "/health"))
        except ValueError as error:
            raise InputError(f"{one.key}: port: {error}") from None
        if text is not None:
            typer.echo(text, nl=False)
            limit = f" of at most {LIMITS[one.provider]}" if one.provider in LIMITS else ""
            others = [key for key in offers if key != one.key]
            more = f"; other offers: {', '.join(others)}" if others and offer is None else ""
            sys.stderr.write(f"{one.key}: {len(text.encode())} bytes{limit}{more}\n")
            return
    raise InputError(
        f"{rules}: no offer says bootstrap, serve or agent; write one of them, or name the --config whose provider does"
    )


def _filled(offer: Offer, provider: PlugInConfig | None) -> Offer:
    """The offer with what the configuration of its provider says for all."""
    from providers.bootstrap import Defaults

    if provider is None:
        return offer
    said = provider.settings
    file, sections = said.get("bootstrap"), [said.get(name) for name in ("serve", "agent")]
    path = provider.folder / Path(file).expanduser() if isinstance(file, str) else None
    serve, agent = (one if isinstance(one, dict) else {} for one in sections)
    return Defaults(path, serve, agent).filled(offer)
