/* What a GPU reads at this moment: load, memory, power, heat, clocks. */
#include "nvml_types.h"

/* Where the GPU is cut into instances, the driver tells no load of the whole. */
#define WHOLE BOARD; REQUIRE(!device->gpu->mig_mode, NOT_SUPPORTED)
#define NEED(answer) REQUIRE(answer, INVALID_ARGUMENT)

EXPORT int nvmlDeviceGetUtilizationRates(device_t device, struct utilization *rates)
{
    BEGIN(nvmlDeviceGetUtilizationRates);
    WHOLE;
    NEED(rates);
    *rates = (struct utilization){device->gpu->busy_percent, device->gpu->memory_percent};
    return SUCCESS;
}

#define ENGINE(call, value) \
    EXPORT int call(device_t device, unsigned *percent, unsigned *period_us) \
    { \
        BEGIN(call); \
        WHOLE; \
        NEED(percent && period_us); \
        *percent = device->gpu->value; \
        *period_us = 166667; \
        return SUCCESS; \
    }

ENGINE(nvmlDeviceGetEncoderUtilization, encoder_percent)
ENGINE(nvmlDeviceGetDecoderUtilization, decoder_percent)
ENGINE(nvmlDeviceGetJpgUtilization, jpeg_percent)
ENGINE(nvmlDeviceGetOfaUtilization, ofa_percent)

static struct memory_info_v2 memory_of(device_t device)
{
    const struct gpu *gpu = device->gpu;
    const struct mig *mig = device->mig;
    struct memory_info_v2 memory = {0, gpu->memory_total, gpu->memory_reserved, 0, gpu->memory_used};
    if (mig)
        memory = (struct memory_info_v2){0, mig->memory_total, mig->memory_reserved, 0, mig->memory_used};
    memory.free = memory.total - memory.reserved - memory.used;
    return memory;
}

EXPORT int nvmlDeviceGetMemoryInfo(device_t device, struct memory_info *memory)
{
    BEGIN(nvmlDeviceGetMemoryInfo);
    NEED(memory);
    struct memory_info_v2 now = memory_of(device);
    /* The older call counts what the driver reserves as used. */
    *memory = (struct memory_info){now.total, now.free, now.used + now.reserved};
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_info_v2 *memory)
{
    BEGIN(nvmlDeviceGetMemoryInfo_v2);
    NEED(memory);
    REQUIRE(memory->version == VERSION(struct memory_info_v2, 2), VERSION_MISMATCH);
    *memory = memory_of(device);
    memory->version = VERSION(struct memory_info_v2, 2);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetBAR1MemoryInfo(device_t device, struct bar1_info *memory)
{
    BEGIN(nvmlDeviceGetBAR1MemoryInfo);
    BOARD;
    NEED(memory);
    const struct gpu *gpu = device->gpu;
    *memory = (struct bar1_info){gpu->bar1_total, gpu->bar1_total - gpu->bar1_used, gpu->bar1_used};
    return SUCCESS;
}

#define GAUGE(call, type, value) \
    EXPORT int call(device_t device, type *answer) \
    { \
        BEGIN(call); \
        BOARD; \
        NEED(answer); \
        *answer = device->gpu->value; \
        return SUCCESS; \
    }

GAUGE(nvmlDeviceGetPowerUsage, unsigned, power_mw)
GAUGE(nvmlDeviceGetPowerManagementLimit, unsigned, power_limit_mw)
GAUGE(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, power_limit_default_mw)
GAUGE(nvmlDeviceGetPerformanceState, unsigned, performance_state)
GAUGE(nvmlDeviceGetPowerState, unsigned, performance_state)
GAUGE(nvmlDeviceGetComputeMode, unsigned, compute_mode)
GAUGE(nvmlDeviceGetPersistenceMode, unsigned, persistence_mode)
GAUGE(nvmlDeviceGetCurrentClocksEventReasons, uint64_t, clock_reasons)
GAUGE(nvmlDeviceGetCurrentClocksThrottleReasons, uint64_t, clock_reasons)

EXPORT int nvmlDeviceGetSupportedClocksEventReasons(device_t device, uint64_t *reasons)
{
    BEGIN(nvmlDeviceGetSupportedClocksEventReasons);
    BOARD;
    NEED(reasons);
    *reasons = 0x1ff;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(device_t device, unsigned *limit)
{
    BEGIN(nvmlDeviceGetEnforcedPowerLimit);
    BOARD;
    NEED(limit);
    *limit = device->gpu->enforced_limit_mw ? device->gpu->enforced_limit_mw : device->gpu->power_limit_mw;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *least, unsigned *most)
{
    BEGIN(nvmlDeviceGetPowerManagementLimitConstraints);
    BOARD;
    NEED(least && most);
    *least = device->gpu->power_limit_min_mw;
    *most = device->gpu->power_limit_max_mw;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(device_t device, uint64_t *millijoules)
{
    BEGIN(nvmlDeviceGetTotalEnergyConsumption);
    BOARD;
    HAS(HAS_ENERGY);
    NEED(millijoules);
    *millijoules = count_of(device->scenario, &device->gpu->energy_mj);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTemperatureV(device_t device, struct temperature_v1 *temperature)
{
    BEGIN(nvmlDeviceGetTemperatureV);
    BOARD;
    NEED(temperature);
    REQUIRE(temperature->version == VERSION(struct temperature_v1, 1), VERSION_MISMATCH);
    REQUIRE(temperature->sensor == 0, INVALID_ARGUMENT);
    temperature->celsius = device->gpu->temperature_c;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTemperature(device_t device, unsigned sensor, unsigned *celsius)
{
    BEGIN(nvmlDeviceGetTemperature);
    BOARD;
    NEED(celsius && sensor == 0);
    *celsius = (unsigned)device->gpu->temperature_c;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTemperatureThreshold(device_t device, unsigned threshold, unsigned *celsius)
{
    BEGIN(nvmlDeviceGetTemperatureThreshold);
    BOARD;
    NEED(celsius);
    REQUIRE(threshold <= 1, NOT_SUPPORTED);
    *celsius = (unsigned)(threshold ? device->gpu->slowdown_c : device->gpu->shutdown_c);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMarginTemperature(device_t device, struct margin_v1 *margin)
{
    BEGIN(nvmlDeviceGetMarginTemperature);
    BOARD;
    HAS(HAS_MARGIN);
    NEED(margin);
    REQUIRE(margin->version == VERSION(struct margin_v1, 1), VERSION_MISMATCH);
    margin->celsius = device->gpu->margin_c;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetClockInfo(device_t device, unsigned kind, unsigned *megahertz)
{
    BEGIN(nvmlDeviceGetClockInfo);
    BOARD;
    NEED(megahertz && kind < 4);
    *megahertz = device->gpu->clocks_mhz[kind];
    /* Locked clocks bind the graphics and SM domains. */
    if (kind <= 1 && device->gpu->locked_max_mhz && *megahertz > device->gpu->locked_max_mhz)
        *megahertz = device->gpu->locked_max_mhz;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMaxClockInfo(device_t device, unsigned kind, unsigned *megahertz)
{
    BEGIN(nvmlDeviceGetMaxClockInfo);
    BOARD;
    NEED(megahertz && kind < 4);
    *megahertz = device->gpu->clocks_max_mhz[kind];
    return SUCCESS;
}
