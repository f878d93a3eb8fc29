"""docker-compose.yml as plain values, and its paths as they lie in this checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = tuple(name for name, service in SERVICES.items() if service["image"].startswith("sigmascale"))


def bound(service: str) -> dict[str, Path]:
    """Path in the container -> file or folder of the checkout that is mounted there."""
    mounts = SERVICES[service].get("volumes", [])
    return {m["target"]: REPOSITORY / m["source"] for m in mounts if m["type"] == "bind"}


def located(service: str, text: str, secrets: Path) -> str:
    """The text of a configuration file with the container's paths as they are here."""
    for target, source in sorted(bound(service).items(), key=lambda pair: -len(pair[0])):
        text = text.replace(target, str(source))
    return text.replace("/run/secrets", str(secrets))
