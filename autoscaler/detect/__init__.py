"""Finds anomalies in one series, row after row, with one configuration for all; see docs/detect.md. No I/O."""
