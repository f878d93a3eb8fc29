/* The PCIe link. */
#include "nvml_types.h"

#define THROUGHPUT_US 20000 /* nvml.h: it samples for 20 ms */

#define LINK(call, value) \
    EXPORT int call(device_t device, unsigned *answer) \
    { \
        BEGIN(call); \
        BOARD; \
        REQUIRE(answer, INVALID_ARGUMENT); \
        *answer = device->gpu->value; \
        return SUCCESS; \
    }

LINK(nvmlDeviceGetCurrPcieLinkGeneration, pcie_generation)
LINK(nvmlDeviceGetCurrPcieLinkWidth, pcie_width)
LINK(nvmlDeviceGetMaxPcieLinkGeneration, pcie_generation_max)
LINK(nvmlDeviceGetMaxPcieLinkWidth, pcie_width_max)

EXPORT int nvmlDeviceGetPcieReplayCounter(device_t device, unsigned *replays)
{
    BEGIN(nvmlDeviceGetPcieReplayCounter);
    BOARD;
    REQUIRE(replays, INVALID_ARGUMENT);
    *replays = (unsigned)count_of(device->scenario, &device->gpu->pcie_replays);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetPcieThroughput(device_t device, unsigned direction, unsigned *kilobytes_per_second)
{
    BEGIN(nvmlDeviceGetPcieThroughput);
    BOARD;
    REQUIRE(kilobytes_per_second && direction < 2, INVALID_ARGUMENT);
    nap_us(THROUGHPUT_US);
    *kilobytes_per_second = direction ? device->gpu->pcie_rx_kbps : device->gpu->pcie_tx_kbps;
    return SUCCESS;
}
