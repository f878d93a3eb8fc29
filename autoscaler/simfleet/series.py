"""Pages as templates: what never changes on a page is written once, so that a page costs one formatting in C."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from autoscaler.agent.canonical import describe
from autoscaler.agent.families import head, prefix
from autoscaler.signals import all_metrics, is_counter, metric
from autoscaler.types import Labels

_RANKS: Mapping[str, int] = {known.name: rank for rank, known in enumerate(all_metrics())}
_LAST = len(_RANKS)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a page. family: the metric that it belongs to, which differs from its name in histograms only.

    text: what the metric says, for those that are not canonical.
    """

    name: str
    labels: Labels = ()
    family: str = ""
    text: str = ""

    @property
    def of(self) -> str:
        """The name of its family."""
        return self.family or self.name

    @property
    def kind(self) -> str:
        """As TYPE says."""
        if self.family:
            return "histogram"
        return "counter" if is_counter(self.name) or self.name.endswith("_total") else "gauge"

    @property
    def rank(self) -> int:
        """Its place on a page: the order of the table of canonical metrics."""
        return _RANKS.get(self.of, _LAST)


def histogram(name: str, edges: Sequence[float], labels: Labels = ()) -> tuple[Series, ...]:
    """The lines of a histogram: its buckets, which end with infinity, its sum and its count."""
    return (
        *(Series(f"{name}_bucket", tuple(sorted((*labels, ("le", _edge(e))))), name) for e in edges),
        Series(f"{name}_sum", labels, name),
        Series(f"{name}_count", labels, name),
    )


def _edge(edge: float) -> str:
    return "+Inf" if edge == float("inf") else f"{edge:g}"


@dataclass(frozen=True, slots=True)
class Block:
    """All lines of one family: a template, and which of the page's values fill it."""

    family: str
    head: str
    lines: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A page without its values, which come in the order of `order`: where each of them stands in what a caller has."""

    blocks: tuple[Block, ...]
    order: tuple[int, ...]
    whole: str = field(repr=False)

    @classmethod
    def of(cls, series: Sequence[Series], labels: Labels = ()) -> Layout:
        """The page of these series; `labels` stand on every line besides its own."""
        order = sorted(range(len(series)), key=lambda place: (series[place].rank, series[place].of, place))
        blocks: list[Block] = []
        for family, places in groupby(order, key=lambda place: series[place].of):
            some = [series[place] for place in places]
            first = blocks[-1].end if blocks else 0
            kind = some[0].kind
            text = some[0].text or describe(family)
            lines = "".join(_template(one, labels) for one in some)
            blocks.append(Block(family, head(family, kind, text), lines, first, first + len(some)))
        whole = "".join(block.head.replace("%", "%%") + block.lines for block in blocks)
        return cls(tuple(blocks), tuple(order), whole)

    def arranged(self, values: Sequence[float]) -> tuple[float, ...]:
        """The values in the order of the page."""
        return tuple([values[place] for place in self.order])

    def page(self, values: Sequence[float]) -> str:
        """The page with these values, given in the order of the series."""
        return self.whole % self.arranged(values)


def together(pages: Iterable[tuple[Layout, Sequence[float]]]) -> str:
    """One page of many: all lines of a family stand together, as the format wants it."""
    heads: dict[str, str] = {}
    lines: dict[str, list[str]] = {}
    for layout, values in pages:
        arranged = layout.arranged(values)
        for block in layout.blocks:
            heads.setdefault(block.family, block.head)
            lines.setdefault(block.family, []).append(block.lines % arranged[block.first : block.end])
    names = sorted(lines, key=lambda name: (_RANKS.get(name, _LAST), name))
    return "".join("".join((heads[name], *lines[name])) for name in names)


def _template(series: Series, labels: Labels) -> str:
    own = prefix(series.name, tuple(sorted({**dict(labels), **dict(series.labels)}.items())))
    return own.replace("%", "%%") + ("%.15g\n" if _long(series) else "%.6g\n")


def _long(series: Series) -> bool:
    """Whether six digits would cut off what matters."""
    known = metric(series.of)
    return (
        series.kind != "gauge" or "bytes" in series.name or (known is not None and known.unit in ("seconds", "hertz"))
    )
