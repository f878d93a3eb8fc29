"""Azure Resource Manager, the part for virtual machine scale sets: a stand-in on loopback that Azure's SDK talks to.

Written from the public REST reference (learn.microsoft.com/rest/api/compute, resource-manager asynchronous operations);
nothing was recorded from Azure. Where the reference is silent it takes the behaviour that is harder for a client.
"""

from tests.peers.arm.cloud import Cloud
from tests.peers.arm.resources import ApiError, Machine, ScaleSet, Size
from tests.peers.arm.server import ArmServer, Fault

__all__ = ["ApiError", "ArmServer", "Cloud", "Fault", "Machine", "ScaleSet", "Size"]
