"""The GPUs of this machine through the driver's library (NVML)."""

from collectors.nvml.codes import Availability
from collectors.nvml.device import MetricState
from collectors.nvml.history import Aggregate, aggregate
from collectors.nvml.identity import GpuInfo
from collectors.nvml.nvml import Nvml
from collectors.nvml.status import GpuStatus, NvmlStatus

__all__ = ["Aggregate", "Availability", "GpuInfo", "GpuStatus", "MetricState", "Nvml", "NvmlStatus", "aggregate"]
