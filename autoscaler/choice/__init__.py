"""Which offers to buy for a need: an integer programme over what can be had, and the words that explain it. Pure."""

from autoscaler.choice.candidates import Candidate, Chosen, Left, Limits, Wanted
from autoscaler.choice.choosing import choose, listed
from autoscaler.choice.programme import prepare

__all__ = ["Candidate", "Chosen", "Left", "Limits", "Wanted", "choose", "listed", "prepare"]
