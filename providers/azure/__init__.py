"""Azure as a provider: virtual machine scale sets, grown by one conditional write that also says for whom."""

from providers.azure.provider import AzureProvider

__all__ = ["AzureProvider"]
