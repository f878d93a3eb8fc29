"""What the cloud tells a machine about itself: that it will be taken away, restarted, or had better be left."""

from collectors.cloud.collector import BASE_URL, CLOUDS, Cloud, CloudStatus

__all__ = ["BASE_URL", "CLOUDS", "Cloud", "CloudStatus"]
