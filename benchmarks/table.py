"""One row for each claim that a benchmark checks, and how rows are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A measured number. `target` is what we promise and `peer` what the named alternative reached in the same run,
    both in `unit`; None = there is none. `lower_is_better` says on which side of the target the number should be."""

    what: str
    measured: float
    unit: str
    target: float | None = None
    peer: float | None = None
    lower_is_better: bool = False

    @property
    def held(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.measured <= self.target if self.lower_is_better else self.measured >= self.target

    @property
    def times_peer(self) -> float | None:
        """How many times better than the peer."""
        if not self.peer or not self.measured:
            return None
        return self.peer / self.measured if self.lower_is_better else self.measured / self.peer


def show(rows: Iterable[Row], title: str = "") -> None:
    """Print rows as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table("what", title=title or None)
    for name in ("measured", "target", "peer", "times peer"):
        table.add_column(name, justify="right")
    table.add_column("held")
    for row in rows:
        ratio = row.times_peer
        table.add_row(
            row.what,
            f"{row.measured:,.4g} {row.unit}" if row.measured < 1000 else f"{row.measured:,.0f} {row.unit}",
            "" if row.target is None else f"{'<=' if row.lower_is_better else '>='} {row.target:,.10g}",
            "" if row.peer is None else f"{row.peer:,.4g}" if row.peer < 1000 else f"{row.peer:,.0f}",
            "" if ratio is None else f"{ratio:.1f}x",
            {None: "", True: "yes", False: "NO"}[row.held],
        )
    Console(width=120).print(table)
