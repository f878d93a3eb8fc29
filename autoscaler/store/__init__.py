"""The metrics store.

`metrics.py` is its face. Raw series: `rawseries.py` takes them in, `ring.py` keeps them, `selection.py` finds them,
`rawframe.py` reads them, `moments.py` keeps their means and spreads from tick to tick.
Pool signals: `aggregate.py` and `poolsignals.py` make them, `poolhistory.py` keeps them, `daystore.py` writes them.
"""

from autoscaler.store.metrics import SeriesInfo, Store, StoreStats
from autoscaler.store.rawseries import Limits

__all__ = ["Limits", "SeriesInfo", "Store", "StoreStats"]
