/* Starting and ending, versions, and how a GPU is found. */
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "standin.h"

static unsigned initialised;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    int code = initialised && !stale() ? SUCCESS : open_scenario();
    if (!code)
        code = begin(current(), CALL_nvmlInitWithFlags, NULL);
    if (code && !initialised)
        close_scenario();
    initialised += !code;
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT int nvmlShutdown(void)
{
    struct scenario *scenario = current();
    pthread_mutex_lock(&lock);
    int code = initialised ? begin(scenario, CALL_nvmlShutdown, NULL) : UNINITIALIZED;
    if (initialised && !--initialised)
        close_scenario();
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT const char *nvmlErrorString(int code)
{
    static const char *const names[] = {
        [0] = "Success", [8] = "Insufficient External Power", [11] = "Interrupt Request Issue",
        [19] = "In use", [21] = "No data", [22] = "ECC on vGPU not supported", [23] = "Insufficient resources",
        [24] = "Frequency not supported", [25] = "Argument version mismatch", [26] = "Deprecated",
        [27] = "Not ready", [28] = "GPU not found", [29] = "Invalid state", [30] = "Reset type not supported",
    };
    struct scenario *scenario = current();
    if (scenario)
        begin(scenario, CALL_nvmlErrorString, NULL);
    if (code >= 0 && code < (int)(sizeof names / sizeof *names) && names[code])
        return names[code];
    return "Unknown Error";
}

#define SYSTEM(call) \
    struct scenario *scenario; \
    do { int refusal = begin_system(CALL_##call, &scenario); if (refusal) return refusal; } while (0)

EXPORT int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    SYSTEM(nvmlSystemGetDriverVersion);
    return put_text(text, size, scenario->driver_version);
}

EXPORT int nvmlSystemGetNVMLVersion(char *text, unsigned size)
{
    SYSTEM(nvmlSystemGetNVMLVersion);
    return put_text(text, size, scenario->nvml_version);
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version)
{
    SYSTEM(nvmlSystemGetCudaDriverVersion);
    *version = (int)scenario->cuda_version;
    return SUCCESS;
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    SYSTEM(nvmlSystemGetCudaDriverVersion_v2);
    *version = (int)scenario->cuda_version;
    return SUCCESS;
}

EXPORT int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size)
{
    SYSTEM(nvmlSystemGetProcessName);
    for (struct gpu *gpu = scenario->gpus; gpu < scenario->gpus + GPUS; gpu++)
        for (struct process *process = gpu->processes; process < gpu->processes + PROCESSES; process++)
            if (process->present && process->pid == pid)
                return put_text(name, size, process->name);
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    SYSTEM(nvmlDeviceGetCount_v2);
    *count = scenario->count;
    return SUCCESS;
}

/* The GPU at an index of the driver's list, NULL behind its end. */
static struct gpu *listed(struct scenario *scenario, unsigned index)
{
    return index < scenario->count && index < GPUS ? &scenario->gpus[scenario->order[index]] : NULL;
}

static int find(struct scenario *scenario, struct gpu *gpu, struct mig *mig, device_t *device)
{
    REQUIRE(gpu->state != STATE_LOST, GPU_IS_LOST);
    return handle_of(scenario, gpu, mig, device);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device)
{
    struct scenario *scenario = current();
    REQUIRE(scenario, UNINITIALIZED);
    struct gpu *gpu = listed(scenario, index);
    int code = begin_search(CALL_nvmlDeviceGetHandleByIndex_v2, gpu);
    REQUIRE(!code, code);
    REQUIRE(gpu, INVALID_ARGUMENT);
    return find(scenario, gpu, NULL, device);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, device_t *device)
{
    struct scenario *scenario = current();
    REQUIRE(scenario && uuid, scenario ? INVALID_ARGUMENT : UNINITIALIZED);
    struct gpu *found = NULL;
    struct mig *instance = NULL;
    for (unsigned index = 0; index < scenario->count; index++) {
        struct gpu *gpu = listed(scenario, index);
        if (!strcmp(gpu->uuid, uuid))
            found = gpu;
        for (struct mig *mig = gpu->mig; mig < gpu->mig + MIG_SLOTS; mig++)
            if (mig->present && !strcmp(mig->uuid, uuid))
                found = gpu, instance = mig;
    }
    int code = begin_search(CALL_nvmlDeviceGetHandleByUUID, found);
    REQUIRE(!code, code);
    REQUIRE(found, NOT_FOUND);
    return find(scenario, found, instance, device);
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, device_t *device)
{
    struct scenario *scenario = current();
    REQUIRE(scenario && bus_id, scenario ? INVALID_ARGUMENT : UNINITIALIZED);
    struct gpu *found = NULL;
    for (unsigned index = 0; index < scenario->count; index++) {
        struct gpu *gpu = listed(scenario, index);
        /* The domain may have four digits, as in sysfs, or eight. */
        size_t skip = strlen(bus_id) == strlen(gpu->bus_id) ? 0 : 4;
        if (strlen(gpu->bus_id) > skip && !strcasecmp(gpu->bus_id + skip, bus_id))
            found = gpu;
    }
    int code = begin_search(CALL_nvmlDeviceGetHandleByPciBusId_v2, found);
    REQUIRE(!code, code);
    REQUIRE(found, NOT_FOUND);
    return find(scenario, found, NULL, device);
}
