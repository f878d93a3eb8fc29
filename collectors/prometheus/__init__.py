"""Pool signals from a Prometheus, VictoriaMetrics, Mimir or Thanos: PromQL, aggregated where the data lie."""

from collectors.prometheus.source import Prometheus

__all__ = ["Prometheus"]
