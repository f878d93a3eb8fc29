"""What to do about a driver's fault codes, in words for the person who is on call."""

from __future__ import annotations

from autoscaler.types.advice import FaultAdvice, FaultKind, Weight
from collectors.nvml.health import RECOVERY
from collectors.nvml.xid import XidClass, meaning

_NOTE = "nothing to do, unless it comes again on the same GPU"
_OF_CLASS: dict[XidClass, str] = {
    "application": "look at the process on the GPU: the fault is most likely in what it runs, not in the board",
    "note": _NOTE,
    "reset": "drain the machine and replace it, or reset the GPU before it gets work again",
    "restart": "replace the machine; nothing on this GPU can be waited for",
    "workflow": "give the GPU no new work, look at its links and memory counters, and replace the machine if they rise",
    "unknown": "the code is in no table of ours; look it up in the driver's documentation",
}
_OF_CODE = {
    63: "reset the GPU at the next drain, so that the replaced row is used",
    92: "watch it: a board with many corrected errors will have uncorrected ones",
    94: "the process was ended and the error contained; reset the GPU when a row waits to be replaced",
    45: "follows another fault; look for the one before it",
    54: "have the power cables of the board checked",
    154: "do what the driver asks for, see the recovery action",
}


def advise(kind: FaultKind, code: int) -> FaultAdvice:
    """A code in words. What a code means is in `xid`, what a recovery action means in `health`."""
    if kind == "recovery":
        asks = RECOVERY.get(code, f"take action {code}")
        advice = f"the driver asks to {asks}; drain the machine first" if code != 3 else f"the driver asks to {asks}"
        return FaultAdvice(f"the driver asks to {asks}", "warn" if code == 3 else "bad", advice)
    xid = meaning(code)
    weight: Weight = "bad" if xid.fatal else "warn" if "warn" in xid.acts or xid.score < 1.0 else "note"
    return FaultAdvice(xid.name, weight, _OF_CODE.get(code, _OF_CLASS[xid.kind]))
