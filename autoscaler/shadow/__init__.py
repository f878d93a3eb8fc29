"""Candidates: rules that run live beside those in force, on the same signals, with a fleet that is only imagined.

`candidates.py` follows their files, `imagined.py` is their provider, `account.py` adds up what both sides cost and left
unserved, `kept.py` carries that over a restart, `shadows.py` plugs it together.
"""

from autoscaler.shadow.account import Account, Side
from autoscaler.shadow.shadows import Shadows, ShadowView

__all__ = ["Account", "ShadowView", "Shadows", "Side"]
