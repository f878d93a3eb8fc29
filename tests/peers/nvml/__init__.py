"""A stand-in for NVIDIA's libnvidia-ml.so.1 in C, which the real bindings load, and the fleet that it shows.

    from tests.peers.nvml import models

    with models.dgx_a100() as fleet, fleet.loaded() as pynvml:          # the bindings of this process
        pynvml.nvmlInit()
        ...

    with models.h100_mig() as fleet:                                    # a child process
        child = subprocess.Popen([...], env=fleet.environment())
        fleet.gpus[0].lose()                                            # seen by its next call

A fleet (`Scenario`) is a file that both sides map: it can be changed while a collector runs, in a thread of this
process or in another process. GPUs are counted as they were added (`fleet.gpus[2]`), whatever index the driver lists
them under.

What a GPU reads is set by attributes in the driver's units, see gpu.py:

    gpu.busy_percent = 90; gpu.memory_used = 70 * 2**30; gpu.clocks_mhz[1] = 1200; gpu.clock_reasons = 0x4
    gpu.draw(350.0)                                   # watts; energy grows with it
    gpu.pcie_replays.add(3); gpu.energy_mj.wrap_at(2**32); gpu.throttle_ns[74].grow(5e8)
    gpu.count_ecc(uncorrected=1); gpu.links[3].active = 0; gpu.gpm({2: 85.0, 10: 60.0})
    gpu.push_samples(0, [(t_us, milliwatts), ...])    # the driver's buffer; without this it invents samples itself
    gpu.field(186, code=4)                            # one field of FieldValues, outright
    gpu.processes.start(4711, 2**30); gpu.processes.use(4711, sm_percent=60)
    gpu.xid(79); gpu.event(RECOVERY_EVENT, 3)          # kinds of events stand in gpu.py

    device = gpu.mig.create("1g.5gb"); device.memory_used = 2**30; gpu.mig.destroy(device)

What goes wrong (codes are NVML's; each call returns a Fault with `.clear()` and `.seen`):

    gpu.fail("nvmlDeviceGetPowerUsage", 4)                         # from now on, for this GPU
    gpu.fail("nvmlDeviceGetPowerUsage", 10, from_call=20, until_call=22)
    fleet.fail("nvmlInitWithFlags", 9)                             # no driver; 12 no library
    fleet.fail("*", 18)                                            # library and driver differ
    gpu.fail("nvmlDeviceGetFieldValues", 3, metric=186)            # one field, or one metric of nvmlGpmMetricsGet
    gpu.block("nvmlDeviceGetMemoryInfo_v2", seconds=5)
    gpu.lose(from_call=20); gpu.unlist(); gpu.come_back(index=0)
    fleet.list_gpus([...]); fleet.reload_driver(code=1); fleet.root = 0        # setters answer 4
    gpu.no_utilization_code = 0                                    # zero-process success
    fleet.loaded(without=["nvmlDeviceGetMemoryInfo_v2"])           # an older driver: error 13

What was asked: `fleet.calls("nvmlDeviceGetPowerUsage", gpu=2)`, `fleet.acts()` for setters.
Time: the machine's, or `fleet.at(1_700_000_000.0)` and `fleet.step(0.5)`.

A test that needs no GPU library at all does not load this one: `fleet.fail("nvmlInitWithFlags", 12)` looks the same.
"""

from __future__ import annotations

from tests.peers.nvml import models
from tests.peers.nvml.faults import EVERY, Fault
from tests.peers.nvml.gpu import Gpu
from tests.peers.nvml.loading import VARIABLE, library, load, unload
from tests.peers.nvml.mig import MigDevice
from tests.peers.nvml.scenario import Act, Scenario

__all__ = ["EVERY", "VARIABLE", "Act", "Fault", "Gpu", "MigDevice", "Scenario", "library", "load", "models", "unload"]
