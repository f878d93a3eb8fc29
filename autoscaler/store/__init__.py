"""The metrics store.

`metrics.py` is its face. Raw series: `rawseries.py` takes them in, `ring.py` keeps them, `selection.py` finds them.
Pool signals: `aggregate.py` and `poolsignals.py` make them, `poolhistory.py` keeps them, `daystore.py` writes them.
"""

from autoscaler.store.metrics import SeriesInfo, Store, StoreStats

__all__ = ["SeriesInfo", "Store", "StoreStats"]
