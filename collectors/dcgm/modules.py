"""DCGM's own Python bindings, where DCGM is installed: they come with it, and are not ours to ship."""

from __future__ import annotations

import importlib
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectors.dcgm.source import UnreachableError

FOLDERS = (
    "/usr/share/datacenter-gpu-manager-4/bindings/python3",
    "/usr/local/dcgm/bindings/python3",
    "/usr/local/dcgm/bindings",
)
"""Where the packages of DCGM 4 and of DCGM 2 and 3 put them."""
_importing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules that are used: functions, structures and codes, fields."""

    agent: Any
    structs: Any
    fields: Any

    def code(self, error: Exception) -> int:
        """The DCGM_ST_* code of a DCGMError."""
        return int(getattr(error, "value", 0))


def load(folder: str = "") -> Modules:
    """Import them from `folder`, or from where DCGM's packages put them. Raises UnreachableError.

    They import each other by bare names, so their folder becomes part of the module search path, at its end.
    """
    places = [folder] if folder else [place for place in FOLDERS if (Path(place) / "dcgm_agent.py").is_file()]
    if not places:
        raise UnreachableError(
            f"DCGM's Python bindings are in none of {', '.join(FOLDERS)}; install DCGM, or set `bindings`",
            missing=True,
        )
    with _importing:
        if places[0] not in sys.path:
            sys.path.append(places[0])
        try:
            structs, agent, fields = (
                importlib.import_module(f"dcgm_{name}") for name in ("structs", "agent", "fields")
            )
            structs._dcgmInit()
            agent.dcgmInit()
        except ModuleNotFoundError as error:
            raise UnreachableError(f"{places[0]} holds no bindings of DCGM ({error})", missing=True) from None
        except Exception as error:  # noqa: BLE001 - a plug-in's border: it is told, not raised
            raise UnreachableError(f"DCGM's library does not load ({type(error).__name__}: {error})") from None
    return Modules(agent, structs, fields)


def text(value: object) -> str:
    """A string of a structure, which some versions of the bindings leave as bytes; empty where DCGM has none."""
    found = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "" if found.startswith("<<<") else found
