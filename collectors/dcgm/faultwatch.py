"""Health checks and fault callbacks of a host engine, in the words of dcgm-exporter's own series."""

from __future__ import annotations

import contextlib
import ctypes
from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoscaler.types import Labels
from collectors.dcgm.entities import Entity
from collectors.dcgm.modules import Modules
from collectors.dcgm.names import HEALTH, XID_WINDOW
from collectors.dcgm.reading import Value

SYSTEMS = {
    1 << 0: "PCIE",
    1 << 1: "NVLINK",
    1 << 2: "PMU",
    1 << 3: "MCU",
    1 << 4: "MEM",
    1 << 5: "SM",
    1 << 6: "INFOROM",
    1 << 7: "THERMAL",
    1 << 8: "POWER",
    1 << 9: "DRIVER",
    0xFFFFFFFF: "ALL",
}
"""DCGM_HEALTH_WATCH_* of dcgm_structs.h. What concerns the whole GPU, such as XID 79, is reported as ALL."""
CODES_LIMIT = 1024


class FaultWatch:
    """Keeps the health of GPUs and, with `callbacks`, counts their faults by code, every repeat of one too.

    Callbacks need a violation policy, which all clients of a host engine share: they are off unless asked for.
    """

    def __init__(self, dcgm: Modules, handle: Any, group: Any, callbacks: bool) -> None:
        self._dcgm = dcgm
        self._handle = handle
        self._group = group
        self._wanted = callbacks
        self._healthy = self._called = False
        self._faults: Counter[tuple[int, int]] = Counter()
        # The library calls this for as long as it is registered, so it must not be collected before.
        self._callback: Any = None

    def begin(self) -> None:
        """Switch on what this DCGM and its GPUs have; what they do not have stays off."""
        agent, structs = self._dcgm.agent, self._dcgm.structs
        try:
            agent.dcgmHealthSet(self._handle, self._group, structs.DCGM_HEALTH_WATCH_ALL)
            self._healthy = True
        except (structs.DCGMError, AttributeError):
            self._healthy = False
        if not self._wanted:
            return
        try:
            agent.dcgmPolicySet(self._handle, self._group, self._policy(), None)
            self._callback = self._make_callback()
            agent.dcgmPolicyRegister_v2(self._handle, self._group, structs.DCGM_POLICY_COND_XID, self._callback, None)
            self._called = True
        except (structs.DCGMError, AttributeError):
            self._called = False

    def end(self) -> None:
        """Take the callback back."""
        if self._called:
            structs = self._dcgm.structs
            # When the host engine is gone, its callbacks are gone with it.
            with contextlib.suppress(structs.DCGMError):
                self._dcgm.agent.dcgmPolicyUnregister(self._handle, self._group, structs.DCGM_POLICY_COND_XID)
            self._called = False

    def health(self, entities: Mapping[Entity, Labels]) -> list[Value]:
        """The verdict on each system of each GPU: 0 passed, 10 warning, 20 failed. Raises DCGMError."""
        if not self._healthy:
            return []
        gpus = self._gpus(entities)
        worst = {(number, system): 0 for number in gpus for system in SYSTEMS.values()}
        answer = self._dcgm.agent.dcgmHealthCheck(self._handle, self._group)
        for place in range(int(answer.incidentCount)):
            incident = answer.incidents[place]
            found = (int(incident.entityInfo.entityId), SYSTEMS.get(int(incident.system), "ALL"))
            if int(incident.entityInfo.entityGroupId) == self._dcgm.fields.DCGM_FE_GPU and found in worst:
                worst[found] = max(worst[found], int(incident.health))
        return [
            Value(HEALTH, tuple(sorted((*gpus[number], ("health_watch", system)))), float(state))
            for (number, system), state in worst.items()
        ]

    def counted(self, entities: Mapping[Entity, Labels]) -> list[Value]:
        """How often each fault was called back; nothing where there are no callbacks."""
        if not self._called:
            return []
        gpus = self._gpus(entities)
        # A row without a code says that faults are counted here, before there is one.
        rows = [Value(XID_WINDOW, labels, 0.0) for labels in gpus.values()]
        for (gpu, xid), count in list(self._faults.items()):
            if gpu in gpus:
                rows.append(Value(XID_WINDOW, tuple(sorted((*gpus[gpu], ("xid", str(xid))))), float(count)))
        return rows

    def _gpus(self, entities: Mapping[Entity, Labels]) -> dict[int, Labels]:
        return {number: labels for (kind, number), labels in entities.items() if kind == self._dcgm.fields.DCGM_FE_GPU}

    def _policy(self) -> Any:
        structs = self._dcgm.structs
        policy = structs.c_dcgmPolicy_v1()
        policy.version = structs.dcgmPolicy_version1
        policy.condition = structs.DCGM_POLICY_COND_XID
        policy.parms[structs.DCGM_POLICY_COND_IDX_XID].tag = 0
        policy.parms[structs.DCGM_POLICY_COND_IDX_XID].val.boolean = True
        return policy

    def _make_callback(self) -> Any:
        """The function that DCGM calls on a thread of its own: (response, user data) -> nothing."""
        structs, faults = self._dcgm.structs, self._faults

        def note(response: Any, user: int) -> None:
            del user
            told = response.contents
            if told.condition & structs.DCGM_POLICY_COND_XID:
                fault = (int(told.gpuId), int(told.val.xid.errnum))
                if fault in faults or len(faults) < CODES_LIMIT:
                    faults[fault] += 1

        kind = ctypes.CFUNCTYPE(None, ctypes.POINTER(structs.c_dcgmPolicyCallbackResponse_v2), ctypes.c_uint64)
        return kind(note)
