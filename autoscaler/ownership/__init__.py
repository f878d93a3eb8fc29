"""Whose the instances of a pool are, and what is made of changes that nobody here ordered. Pure."""

from autoscaler.ownership.changes import AUTHOR, OVERRIDE, Sight
from autoscaler.ownership.following import Followed, follow
from autoscaler.ownership.notes import Note, named

__all__ = ["AUTHOR", "OVERRIDE", "Followed", "Note", "Sight", "follow", "named"]
