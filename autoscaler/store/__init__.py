"""The metrics store.

`metrics.py` is its face. Raw series: `rawseries.py` takes them in, `admission.py` refuses some, `succession.py` knows
which took the place of which, `source.py` and `ring.py` keep them, `selection.py` finds them, `rawframe.py` reads them,
`moments.py` keeps their means and spreads from tick to tick, `devices.py` (with `gpuseries.py`) shows every GPU to
people. Pool signals: `origin.py` says what they are read from, `aggregate.py` and `poolsignals.py` make them,
`poolhistory.py` keeps them, `steps.py` the sizes beside them, `daystore.py` writes them.
"""

from autoscaler.store.admission import Limits
from autoscaler.store.described import SeriesInfo, StoreStats
from autoscaler.store.devices import Gpu, Gpus, Told
from autoscaler.store.metrics import Store

__all__ = ["Gpu", "Gpus", "Limits", "SeriesInfo", "Store", "StoreStats", "Told"]
