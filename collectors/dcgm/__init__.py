"""DCGM: its fields, the pages of dcgm-exporter, the counters that it should print, and its host engine."""

from collectors.dcgm.fields import CLOCK_EVENTS, FIELDS, PREFIX, Field
from collectors.dcgm.names import identities

__all__ = ["CLOCK_EVENTS", "FIELDS", "PREFIX", "Field", "identities"]
