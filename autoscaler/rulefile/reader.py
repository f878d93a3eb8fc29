"""Rule files: text in, `RuleSet` out, and every fault at once with its file, line and column."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from autoscaler.errors import Fault, InputError
from autoscaler.rulefile.agreement import check
from autoscaler.rulefile.beside import locate
from autoscaler.rulefile.build import build
from autoscaler.rulefile.dialects import in_long_form, is_short
from autoscaler.rulefile.lint import lint
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.offered import Defaults
from autoscaler.rulefile.offerfaults import offer_faults
from autoscaler.rulefile.section import faults_of
from autoscaler.rulefile.soundpart import sound_part
from autoscaler.ruleset import RuleSet
from autoscaler.types import Offer
from autoscaler.yamltree import Tree, parse, read_bytes

__all__ = ["Checked", "Defaults", "check_file", "check_folder", "check_text", "read_folder", "read_rules", "rule_files"]

REPAIRS = 4
TEST_SUFFIX = ".test.yaml"
CANDIDATES = "candidates"
"""A folder of this name, inside one that is read, holds rules that are in force nowhere; rule files name them."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A rule file after every check: `rules` is None exactly when `errors` is not empty."""

    file: str
    rules: RuleSet | None
    errors: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Errors and warnings in the order of the file."""
        return tuple(sorted((*self.errors, *self.warnings), key=lambda f: (f.file, f.line, f.column)))


def read_rules(source: Path | str | bytes, *, file: str | None = None, defaults: Defaults | None = None) -> RuleSet:
    """The rules of one pool from a path, or from text. Raises InputError with every error of the file."""
    if isinstance(source, Path):
        return _value(check_file(source, file=file, defaults=defaults))
    return _value(check_text(source, file=file or "rules", defaults=defaults))


def read_folder(folder: Path, defaults: Defaults | None = None) -> dict[str, RuleSet]:
    """The rules of every pool of a folder by pool name. Raises InputError with every error of every file."""
    checked = check_folder(folder, defaults)
    errors = [fault for c in checked for fault in c.errors]
    if errors:
        raise InputError(*errors)
    return {c.rules.pool: c.rules for c in checked if c.rules is not None}


def check_folder(folder: Path, defaults: Defaults | None = None) -> tuple[Checked, ...]:
    """Every rule file of a folder, or the one file that is named, after every check."""
    return without_rivals(tuple(check_file(path, defaults=defaults) for path in rule_files(folder)))


def rule_files(folder: Path) -> tuple[Path, ...]:
    """The rule files below a folder in the order of their names, tests, candidates and hidden files left out."""
    if folder.is_file():
        return (folder,)
    if not folder.is_dir():
        raise InputError(Fault(str(folder), 0, 0, "", "is neither a file nor a folder; check the path"))
    kept = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != CANDIDATES]
        kept += [Path(where, name) for name in names if _is_rules(name)]
    if not kept:
        raise InputError(Fault(str(folder), 0, 0, "", "holds no rule file; add one that starts with 'pool: NAME'"))
    return tuple(sorted(kept))


def _is_rules(name: str) -> bool:
    yaml = name.endswith((".yaml", ".yml")) and not name.startswith(".")
    return yaml and not name.endswith((TEST_SUFFIX, ".test.yml"))


def without_rivals(checked: tuple[Checked, ...]) -> tuple[Checked, ...]:
    """The same files; where two own one pool both have an error that names the other."""
    owners: dict[str, list[str]] = {}
    for c in checked:
        if c.rules is not None:
            owners.setdefault(c.rules.pool, []).append(c.file)
    return tuple(_rival(c, owners) for c in checked)


def _rival(checked: Checked, owners: Mapping[str, list[str]]) -> Checked:
    rules = checked.rules
    others = [f for f in owners[rules.pool] if f != checked.file] if rules is not None else []
    if rules is None or not others:
        return checked
    text = f"pool {rules.pool!r} is also owned by {', '.join(others)}; one file owns a pool, remove or rename one"
    return Checked(checked.file, None, (Fault(checked.file, 1, 1, "pool", text),), checked.warnings)


def check_file(path: Path, *, file: str | None = None, defaults: Defaults | None = None) -> Checked:
    """One file after every check; one that cannot be read has an error that says so."""
    name = file or str(path)
    try:
        data = read_bytes(path, name)
    except InputError as error:
        return Checked(name, None, error.faults)
    return check_text(data, file=name, defaults=defaults)


def check_text(data: str | bytes, *, file: str, defaults: Defaults | None = None) -> Checked:
    """The text of one file after every check. The checks of each stage all run; a broken stage ends the reading."""
    defaults = defaults or Defaults()
    try:
        tree = parse(data, file)
        short = is_short(tree)
        if short:
            tree = in_long_form(tree)
        locate(tree.root, file)
        model = _model(tree, defaults, short=short)
        of_offers = offer_faults(model, tree, defaults, short=short)
        errors = [*check(model, tree, defaults, short=short), *(f for f in of_offers if f.severity == "error")]
        if errors:
            raise InputError(*errors)
        rules = build(model, defaults, file=file)
        rules = replace(rules, hash=digest_of(data, defaults, rules.offers))
    except InputError as error:
        return Checked(file, None, _in_order(error.faults, file))
    unwise = [f for f in of_offers if f.severity == "warning"]
    return Checked(file, rules, (), _in_order((*unwise, *lint(model, tree, defaults)), file))


def digest_of(data: str | bytes, defaults: Defaults, offers: Sequence[Offer] = ()) -> str:
    """Names the rules in force: a hash of the file's bytes and of the defaults that filled it, prices among them."""
    raw = data.encode() if isinstance(data, str) else data
    filled = "".join(f" {o.key}={o.usd_per_hour:g}" for o in offers if o.priced or o.unfit)
    return hashlib.sha256(raw + b"\0" + f"{defaults.max} {defaults.region}{filled}".encode()).hexdigest()[:16]


def _model(tree: Tree, defaults: Defaults, *, short: bool) -> PoolFile:
    """The model of the whole file. What is sound of a broken one is checked too, so that every error comes at once."""
    faults: list[Fault] = []
    root = tree.root
    # A check of a whole section runs only once its parts are sound, so replacing those may bring up another error.
    for _ in range(REPAIRS):
        try:
            model = PoolFile.model_validate(root)
        except ValidationError as error:
            faults += faults_of(error, tree)
            root = sound_part(root, [e["loc"] for e in error.errors(include_url=False)])
            continue
        if not faults:
            return model
        of_offers = [f for f in offer_faults(model, tree, defaults, short=short) if f.severity == "error"]
        raise InputError(*faults, *check(model, tree, defaults, short=short), *of_offers)
    raise InputError(*faults)


def _value(checked: Checked) -> RuleSet:
    if checked.rules is None:
        raise InputError(*checked.errors)
    return checked.rules


def _in_order(faults: tuple[Fault, ...], file: str) -> tuple[Fault, ...]:
    named = (f if f.file else Fault(file, 1, 1, f.where, f.text, f.severity) for f in faults)
    return tuple(sorted(dict.fromkeys(named), key=lambda f: (f.line, f.column)))
