"""Judges of what is normal: one class per file, each a `Threshold`."""
