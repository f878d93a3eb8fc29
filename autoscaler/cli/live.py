"""`sigmascale check --live`: what the clouds themselves say of the offers of rule files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from autoscaler.clock import SystemClock, monotonic
from autoscaler.errors import Fault, InputError, ProviderError
from autoscaler.ports import Surveying

if TYPE_CHECKING:
    from autoscaler.plugged import PlugIns
    from autoscaler.rulefile.reader import Checked
    from autoscaler.ruleset import RuleSet
    from autoscaler.types import Standing

LIMIT_S = 60.0
"""How long one cloud is asked at most."""


def asked(checked: Sequence[Checked], config: Path | None) -> tuple[Checked, ...]:
    """The files with what their providers' clouds say of their offers: an error for what cannot be had, a warning for
    what could not be asked. Raises InputError for a configuration that is wrong."""
    from autoscaler.configfile import read_config
    from autoscaler.plugged import PlugIns

    rules = {c.rules.pool: c.rules for c in checked if c.rules is not None}
    given = read_config(config, os.environ)
    plug_ins = PlugIns(given, SystemClock(), Event(), lambda: rules)
    errors: list[Fault] = []
    warnings: list[Fault] = []
    for name in sorted({o.provider for r in rules.values() for o in r.offers}):
        try:
            told = _standings(name, plug_ins, given)
        except (ProviderError, InputError) as error:
            errors.append(Fault("", 0, 0, name, str(error)))
            continue
        for one in told:
            fault = Fault(rules[one.pool].file, 0, 0, f"offer {one.offer}", one.problem or one.quota)
            if one.problem:
                errors.append(fault)
            elif one.units == 0:
                warnings.append(replace(fault, severity="warning"))
            warnings += [Fault(fault.file, 0, 0, fault.where, f"not known: {u}", "warning") for u in one.unknown]
    return tuple(_with(c, errors, warnings, rules) for c in checked)


def _standings(name: str, plug_ins: PlugIns, config: object) -> Sequence[Standing]:
    from autoscaler.config import Config
    from autoscaler.configparts import PlugInConfig

    assert isinstance(config, Config)
    configured = {p.name: p for p in config.providers}
    provider = (
        plug_ins.configured("providers", configured[name])
        if name in configured
        else plug_ins.plugged("providers", PlugInConfig(name))
    )
    try:
        if not isinstance(provider, Surveying):
            return ()
        look = getattr(provider, "look", None)
        if look is None:
            return ()  # its reports may act, and a check must not
        look()
        ends = monotonic() + LIMIT_S
        while not provider.survey() and monotonic() < ends:
            pass
        return tuple(look().standings)
    finally:
        if hasattr(provider, "close"):
            provider.close()


def _with(c: Checked, errors: Sequence[Fault], warnings: Sequence[Fault], rules: dict[str, RuleSet]) -> Checked:
    """Faults of a file go to it; those of a whole provider to every file that names it."""
    if c.rules is None:
        return c
    names = {o.provider for o in rules[c.rules.pool].offers}
    mine = tuple(
        replace(f, file=c.file)
        for f in errors
        if f.file == rules[c.rules.pool].file or (not f.file and f.where in names)
    )
    unwise = tuple(replace(f, file=c.file) for f in warnings if f.file == rules[c.rules.pool].file)
    return replace(c, errors=(*c.errors, *mine), warnings=(*c.warnings, *unwise), rules=None if mine else c.rules)
