"""SIGMASCALE_* variables as settings: words, lists with commas, and JSON for what has a structure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence

from autoscaler.configmodel import CLIENT_VARIABLES, ENVIRONMENT_PREFIX, STRUCTURED, Settings
from autoscaler.errors import Fault, InputError
from autoscaler.yamltree import MAX_DEPTH, Value

# Kubernetes gives every container such variables for a Service called `sigmascale`, and the agent has its own; they
# are nobody's typo.
_FROM_OTHERS = re.compile(r"SIGMASCALE_(AGENT_\w+|SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """What is said of a name that nobody knows, with the closest one or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"is not a {kind}; did you mean {close[0]}?" if close else f"is not a {kind}; known are {', '.join(known)}"


def from_environment(environ: Mapping[str, str], faults: list[Fault]) -> Iterator[tuple[str, Value]]:
    """Name and words of every setting that a variable gives, in the order of their names; what is wrong in `faults`."""
    for variable in sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX)):
        name, text = variable.removeprefix(ENVIRONMENT_PREFIX).lower(), environ[variable].strip()
        field = Settings.model_fields.get(name)
        if field is None:
            if variable not in CLIENT_VARIABLES and not _FROM_OTHERS.fullmatch(variable):
                known = [ENVIRONMENT_PREFIX + field.upper() for field in Settings.model_fields]
                faults.append(Fault(variable, 0, 0, "", unknown("setting", variable, known)))
        elif name in STRUCTURED:
            try:
                yield name, _structure(variable, text)
            except InputError as error:
                faults += error.faults
        elif isinstance(field.default, list):
            yield name, [word.strip() for word in text.split(",") if word.strip()]
        else:
            yield name, text


def _structure(variable: str, text: str) -> Value:
    """JSON as the words that a file would hold. InputError names the variable, and never repeats its text."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(Fault(variable, 0, 0, "", f"holds {twice!r} twice in one object; keep one of the two"))
        return dict(pairs)

    try:
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        rule = f"is not JSON: {error.msg}; write a list or an object, as in the configuration file"
        raise InputError(Fault(variable, error.lineno, error.colno, "", rule)) from None
    except RecursionError:
        raise InputError(_too_deep(variable)) from None
    return _words(variable, value, 0)


def _words(variable: str, value: object, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise InputError(_too_deep(variable))
    if isinstance(value, dict):
        return {name: _words(variable, inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_words(variable, inner, depth + 1) for inner in value]
    if value is None:
        raise InputError(Fault(variable, 0, 0, "", "holds null, which is no value; leave the name out"))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _too_deep(variable: str) -> Fault:
    return Fault(variable, 0, 0, "", f"is nested more than {MAX_DEPTH} deep; no setting is")
