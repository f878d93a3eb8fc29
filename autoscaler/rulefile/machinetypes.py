"""How many GPUs well-known machine types have, from the vendors' pages of instance types (2026)."""

from __future__ import annotations

from autoscaler.types.prices import plain_type

_BY_COUNT = {
    8: """g5.48xlarge g6.48xlarge g6e.48xlarge p3.16xlarge p3dn.24xlarge p4d.24xlarge p4de.24xlarge p5.48xlarge
    p5e.48xlarge p5en.48xlarge p6-b200.48xlarge p6-b300.48xlarge Standard_ND40rs_v2 Standard_ND96asr_v4
    Standard_ND96amsr_A100_v4 Standard_ND96isr_H100_v5 Standard_ND96isr_H200_v5""",
    4: """g4dn.12xlarge g5.12xlarge g5.24xlarge g6.12xlarge g6.24xlarge g6e.12xlarge g6e.24xlarge p3.8xlarge
    Standard_NC24rs_v3 Standard_NC24s_v3 Standard_NC64as_T4_v3 Standard_NC96ads_A100_v4""",
    2: "Standard_NC12s_v3 Standard_NC48ads_A100_v4 Standard_NC80adis_H100_v5 Standard_NV72ads_A10_v5",
    1: """g4dn.xlarge g4dn.2xlarge g4dn.4xlarge g4dn.8xlarge g4dn.16xlarge g5.xlarge g5.2xlarge g5.4xlarge g5.8xlarge
    g5.16xlarge g6.xlarge g6.2xlarge g6.4xlarge g6.8xlarge g6.16xlarge g6e.xlarge g6e.2xlarge g6e.4xlarge g6e.8xlarge
    g6e.16xlarge gr6.4xlarge gr6.8xlarge p3.2xlarge p5.4xlarge Standard_NC6s_v3 Standard_NC4as_T4_v3
    Standard_NC8as_T4_v3 Standard_NC16as_T4_v3 Standard_NC24ads_A100_v4 Standard_NC40ads_H100_v5
    Standard_NV36ads_A10_v5""",
}
_GPUS = {plain_type(name): count for count, names in _BY_COUNT.items() for name in names.split()}


def gpus_of(machine_type: str) -> int | None:
    """GPUs of one machine of this type, None for a type that is not listed. Azure's may be without their prefix."""
    return _GPUS.get(plain_type(machine_type))
