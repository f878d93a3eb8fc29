/* Setters: they record who asked for what, and then do it. */
#include "nvml_types.h"

#define SET(call, first, second) \
    BEGIN(call); \
    record_act(CALL_##call, device, first, second); \
    BOARD; \
    REQUIRE(device->scenario->root, NO_PERMISSION); \
    struct gpu *gpu = device->gpu

EXPORT int nvmlDeviceSetPowerManagementLimit(device_t device, unsigned limit)
{
    SET(nvmlDeviceSetPowerManagementLimit, limit, 0);
    REQUIRE(limit >= gpu->power_limit_min_mw && limit <= gpu->power_limit_max_mw, INVALID_ARGUMENT);
    gpu->power_limit_mw = limit;
    return SUCCESS;
}

EXPORT int nvmlDeviceSetGpuLockedClocks(device_t device, unsigned least, unsigned most)
{
    SET(nvmlDeviceSetGpuLockedClocks, least, most);
    REQUIRE(least <= most && most, INVALID_ARGUMENT);
    gpu->locked_min_mhz = least;
    gpu->locked_max_mhz = most;
    return SUCCESS;
}

EXPORT int nvmlDeviceResetGpuLockedClocks(device_t device)
{
    SET(nvmlDeviceResetGpuLockedClocks, 0, 0);
    gpu->locked_min_mhz = gpu->locked_max_mhz = 0;
    return SUCCESS;
}

EXPORT int nvmlDeviceSetComputeMode(device_t device, unsigned mode)
{
    SET(nvmlDeviceSetComputeMode, mode, 0);
    REQUIRE(mode < 4, INVALID_ARGUMENT);
    gpu->compute_mode = mode;
    return SUCCESS;
}

EXPORT int nvmlDeviceSetPersistenceMode(device_t device, unsigned mode)
{
    SET(nvmlDeviceSetPersistenceMode, mode, 0);
    REQUIRE(mode < 2, INVALID_ARGUMENT);
    gpu->persistence_mode = mode;
    return SUCCESS;
}

EXPORT int nvmlDeviceSetMigMode(device_t device, unsigned mode, int *activation)
{
    SET(nvmlDeviceSetMigMode, mode, 0);
    HAS(HAS_MIG);
    REQUIRE(mode < 2 && activation, INVALID_ARGUMENT);
    int busy = 0;
    for (const struct process *process = gpu->processes; process < gpu->processes + PROCESSES; process++)
        busy |= process->present != 0;
    gpu->mig_pending = mode;
    *activation = busy ? IN_USE : gpu->mig_needs_reset ? RESET_REQUIRED : SUCCESS;
    if (!*activation)
        gpu->mig_mode = mode;
    return SUCCESS;
}
