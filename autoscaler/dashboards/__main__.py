"""`python -m autoscaler.dashboards dashboards/` writes the dashboards and the recording rules anew."""

from __future__ import annotations

import sys
from pathlib import Path

from autoscaler.dashboards.written import files


def main(folder: Path) -> None:
    """Write every generated file below the folder; dashboards that are no longer made are removed."""
    made = files()
    for old in (folder / "grafana").glob("*.json"):
        if f"grafana/{old.name}" not in made:
            old.unlink()
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
