"""Grafana dashboards and Prometheus rules as code: `python -m autoscaler.dashboards dashboards/` writes them.

A development tool. Only `drawing.py` needs grafana-foundation-sdk, and imports it where it is used.
"""
