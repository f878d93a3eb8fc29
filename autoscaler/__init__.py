"""sigmascale: explained autoscaling of GPU inference fleets."""

__version__ = "0.1.0"
