"""The functions of DCGM that are used, over a world that a test describes. See README.md."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dcgm_structs
from dcgm_structs import DCGMError

dcgmFieldValueEntityEnumeration_f = ctypes.CFUNCTYPE(  # noqa: N816
    ctypes.c_int32,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.POINTER(dcgm_structs.c_dcgmFieldValue_v1),
    ctypes.c_int32,
    ctypes.c_void_p,
)


@dataclass
class World:
    """What the host engine has. samples: (kind, number, field, time in us, type, status, value), oldest first. The
    rest is what it was asked to do: watches by field group, and the names of the calls in order."""

    gpus: dict[int, SimpleNamespace] = field(default_factory=dict)
    instances: list[SimpleNamespace] = field(default_factory=list)
    profiles: dict[int, str] = field(default_factory=dict)
    offered: list[tuple[int, list[int]]] = field(default_factory=list)
    samples: list[tuple[int, int, int, int, str, int, float | int | str]] = field(default_factory=list)
    incidents: list[SimpleNamespace] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    refuse_fields: dict[int, int] = field(default_factory=dict)
    groups: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    field_groups: dict[int, list[int]] = field(default_factory=dict)
    watches: dict[int, tuple[int, float, int]] = field(default_factory=dict)
    callback: Any = None
    policy: Any = None
    calls: list[str] = field(default_factory=list)


WORLD = World()


def _asked(name: str) -> World:
    WORLD.calls.append(name)
    if name in WORLD.refuse:
        raise DCGMError(WORLD.refuse[name])
    return WORLD


def dcgmInit() -> None:
    _asked("dcgmInit")


def dcgmConnect_v3(connection_string: str, connect_params: Any) -> ctypes.c_void_p:
    assert connect_params.timeoutMs > 0
    assert connect_params.persistAfterDisconnect == 0
    _asked(f"dcgmConnect_v3 {connection_string}")
    _asked("dcgmConnect_v3")
    return ctypes.c_void_p(1)


def dcgmStartEmbedded(op_mode: int) -> ctypes.c_void_p:
    assert op_mode == dcgm_structs.DCGM_OPERATION_MODE_AUTO
    _asked("dcgmStartEmbedded")
    return ctypes.c_void_p(2)


def dcgmDisconnect(dcgm_handle: Any) -> None:
    _asked("dcgmDisconnect")


def dcgmStopEmbedded(dcgm_handle: Any) -> None:
    _asked("dcgmStopEmbedded")


def dcgmGetAllSupportedDevices(dcgm_handle: Any) -> list[int]:
    return list(_asked("dcgmGetAllSupportedDevices").gpus)


def dcgmGetDeviceAttributes(dcgm_handle: Any, gpu_id: int) -> SimpleNamespace:
    return SimpleNamespace(identifiers=_asked("dcgmGetDeviceAttributes").gpus[gpu_id])


def dcgmGetGpuInstanceHierarchy(dcgm_handle: Any) -> SimpleNamespace:
    world = _asked("dcgmGetGpuInstanceHierarchy")
    return SimpleNamespace(count=len(world.instances), entityList=world.instances)


def dcgmEntityGetLatestValues(dcgm_handle: Any, entity_group: int, entity_id: int, field_ids: list[int]) -> Any:
    assert (entity_group, field_ids) == (4, [50])
    found = (dcgm_structs.c_dcgmFieldValue_v1 * 1)()
    found[0].value.str = _asked("dcgmEntityGetLatestValues").profiles[entity_id].encode()
    return found


def dcgmGroupCreate(dcgm_handle: Any, kind: int, group_name: str) -> ctypes.c_void_p:
    world = _asked("dcgmGroupCreate")
    number = 10 + len(world.groups)
    world.groups[number] = []
    return ctypes.c_void_p(number)


def dcgmGroupAddEntity(dcgm_handle: Any, group_id: Any, entity_group_id: int, entity_id: int) -> None:
    _asked("dcgmGroupAddEntity").groups[group_id.value].append((entity_group_id, entity_id))


def dcgmGroupDestroy(dcgm_handle: Any, group_id: Any) -> None:
    del _asked("dcgmGroupDestroy").groups[group_id.value]


def dcgmFieldGroupCreate(dcgm_handle: Any, field_ids: list[int], field_group_name: str) -> ctypes.c_void_p:
    world = _asked("dcgmFieldGroupCreate")
    number = 100 + len(world.field_groups) + world.calls.count("dcgmFieldGroupDestroy")
    world.field_groups[number] = list(field_ids)
    return ctypes.c_void_p(number)


def dcgmFieldGroupDestroy(dcgm_handle: Any, field_group_id: Any) -> None:
    del _asked("dcgmFieldGroupDestroy").field_groups[field_group_id.value]


def dcgmWatchFields(
    dcgm_handle: Any,
    group_id: Any,
    field_group_id: Any,
    update_freq: int,
    max_keep_age: float,
    max_keep_samples: int,
) -> None:
    world = _asked("dcgmWatchFields")
    for number in world.field_groups[field_group_id.value]:
        if number in world.refuse_fields:
            raise DCGMError(world.refuse_fields[number])
    world.watches[field_group_id.value] = (update_freq, max_keep_age, max_keep_samples)


def dcgmUnwatchFields(dcgm_handle: Any, group_id: Any, field_group_id: Any) -> None:
    del _asked("dcgmUnwatchFields").watches[field_group_id.value]


def dcgmUpdateAllFields(dcgm_handle: Any, wait_for_update: int) -> None:
    _asked("dcgmUpdateAllFields")


def dcgmGetValuesSince_v2(
    dcgm_handle: Any,
    group_id: Any,
    field_group_id: Any,
    since_timestamp: int,
    enum_cb: Any,
    user_data: Any,
) -> int:
    world = _asked("dcgmGetValuesSince_v2")
    assert field_group_id.value in world.watches
    wanted = world.field_groups[field_group_id.value]
    following = since_timestamp
    for kind, number, identifier, ts, letter, status, value in world.samples:
        if identifier in wanted and ts >= since_timestamp and (kind, number) in world.groups[group_id.value]:
            one = (dcgm_structs.c_dcgmFieldValue_v1 * 1)()
            one[0].fieldId, one[0].fieldType, one[0].status, one[0].ts = identifier, ord(letter), status, ts
            if letter == "d":
                one[0].value.dbl = value
            elif letter == "s":
                one[0].value.str = str(value).encode()
            else:
                one[0].value.i64 = int(value)
            assert enum_cb(kind, number, one, 1, None) == 0
            following = max(following, ts + 1)
    return following


def dcgmProfGetSupportedMetricGroups(dcgm_handle: Any, gpu_id: int) -> SimpleNamespace:
    offered = _asked("dcgmProfGetSupportedMetricGroups").offered
    groups = [SimpleNamespace(majorId=major, numFieldIds=len(ids), fieldIds=ids) for major, ids in offered]
    return SimpleNamespace(numMetricGroups=len(groups), metricGroups=groups)


def dcgmHealthSet(dcgm_handle: Any, group_id: Any, systems: int) -> None:
    _asked("dcgmHealthSet")


def dcgmHealthCheck(dcgm_handle: Any, group_id: Any) -> SimpleNamespace:
    world = _asked("dcgmHealthCheck")
    return SimpleNamespace(incidentCount=len(world.incidents), incidents=world.incidents)


def dcgmPolicySet(dcgm_handle: Any, group_id: Any, policy: Any, status_handle: Any) -> None:
    _asked("dcgmPolicySet").policy = policy


def dcgmPolicyRegister_v2(dcgm_handle: Any, group_id: Any, condition: int, callback: Any, user_data: Any) -> None:
    _asked("dcgmPolicyRegister_v2").callback = callback


def dcgmPolicyUnregister(dcgm_handle: Any, group_id: Any, condition: int) -> None:
    _asked("dcgmPolicyUnregister").callback = None


def violate(gpu: int, xid: int) -> None:
    """Not DCGM's: call back as the library would, on a fault of a GPU."""
    response = dcgm_structs.c_dcgmPolicyCallbackResponse_v2()
    response.condition, response.gpuId = dcgm_structs.DCGM_POLICY_COND_XID, gpu
    response.val.xid.errnum = xid
    WORLD.callback(ctypes.pointer(response), 0)
