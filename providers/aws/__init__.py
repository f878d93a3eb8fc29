"""Amazon EC2 as a provider: `provider` is the plug-in, everything else is one of its steps."""

from __future__ import annotations

from providers.aws.provider import AwsProvider

__all__ = ["AwsProvider"]
