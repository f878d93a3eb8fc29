"""What others push to us: Prometheus remote write, JSON, OTLP metrics and the webhooks of an Alertmanager."""

from collectors.push.collector import Push

__all__ = ["Push"]
