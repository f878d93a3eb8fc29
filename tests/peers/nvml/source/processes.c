/* Who uses a GPU, and how much. */
#include "nvml_types.h"

static int runs(device_t device, const struct process *process, unsigned kind)
{
    return process->present && process->kinds & kind && (!device->mig || device->mig->gi == process->gi);
}

/* Sizing answers "insufficient size" with the number of processes, or success where there is none. */
static int list(device_t device, unsigned kind, unsigned *count, struct process_info *into)
{
    REQUIRE(count, INVALID_ARGUMENT);
    unsigned room = into ? *count : 0, found = 0;
    for (const struct process *process = device->gpu->processes; process < device->gpu->processes + PROCESSES; process++) {
        if (!runs(device, process, kind))
            continue;
        if (found < room)
            into[found] = (struct process_info){process->pid, process->memory_bytes, process->gi, process->ci};
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define LIST(call, kind) \
    EXPORT int call(device_t device, unsigned *count, struct process_info *into) \
    { \
        BEGIN(call); \
        return list(device, kind, count, into); \
    }

LIST(nvmlDeviceGetComputeRunningProcesses_v2, COMPUTE)
LIST(nvmlDeviceGetComputeRunningProcesses_v3, COMPUTE)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, GRAPHICS)
LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, GRAPHICS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v2, MPS)
LIST(nvmlDeviceGetMPSComputeRunningProcesses_v3, MPS)

EXPORT int nvmlDeviceGetProcessUtilization(device_t device, struct process_utilization *into, unsigned *count,
                                           uint64_t last)
{
    BEGIN(nvmlDeviceGetProcessUtilization);
    BOARD;
    REQUIRE(!device->gpu->mig_mode, NOT_SUPPORTED);
    REQUIRE(count, INVALID_ARGUMENT);
    unsigned room = into ? *count : 0, found = 0;
    for (const struct process *process = device->gpu->processes; process < device->gpu->processes + PROCESSES; process++) {
        if (!process->present || !process->used_at_us || process->used_at_us <= (int64_t)last)
            continue;
        if (found < room)
            into[found] = (struct process_utilization){
                process->pid, (uint64_t)process->used_at_us, process->sm_percent, process->memory_percent,
                process->encoder_percent, process->decoder_percent};
        found++;
    }
    *count = found;
    if (!found)
        return device->gpu->no_utilization_code;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}
