/* MIG: a GPU cut into instances. */
#include <stdio.h>

#include "nvml_types.h"

#define MIB (1u << 20)

EXPORT int nvmlDeviceGetMigMode(device_t device, unsigned *now, unsigned *pending)
{
    BEGIN(nvmlDeviceGetMigMode);
    BOARD;
    HAS(HAS_MIG);
    *now = device->gpu->mig_mode;
    *pending = device->gpu->mig_pending;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count)
{
    BEGIN(nvmlDeviceGetMaxMigDeviceCount);
    BOARD;
    *count = device->gpu->has & HAS_MIG ? device->gpu->mig_max : 0;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *answer)
{
    BEGIN(nvmlDeviceGetMigDeviceHandleByIndex);
    BOARD;
    HAS(HAS_MIG);
    REQUIRE(index < device->gpu->mig_max && index < MIG_SLOTS, INVALID_ARGUMENT);
    REQUIRE(device->gpu->mig_mode && device->gpu->mig[index].present, NOT_FOUND);
    return handle_of(device->scenario, device->gpu, &device->gpu->mig[index], answer);
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t device, device_t *answer)
{
    BEGIN(nvmlDeviceGetDeviceHandleFromMigDeviceHandle);
    REQUIRE(device->mig, INVALID_ARGUMENT);
    return handle_of(device->scenario, device->gpu, NULL, answer);
}

EXPORT int nvmlDeviceIsMigDeviceHandle(device_t device, unsigned *answer)
{
    BEGIN(nvmlDeviceIsMigDeviceHandle);
    *answer = device->mig != NULL;
    return SUCCESS;
}

#define OF_INSTANCE(call, value) \
    EXPORT int call(device_t device, unsigned *answer) \
    { \
        BEGIN(call); \
        REQUIRE(device->mig, NOT_SUPPORTED); \
        *answer = device->mig->value; \
        return SUCCESS; \
    }

OF_INSTANCE(nvmlDeviceGetGpuInstanceId, gi)
OF_INSTANCE(nvmlDeviceGetComputeInstanceId, ci)

EXPORT int nvmlDeviceGetAttributes_v2(device_t device, struct attributes *answer)
{
    BEGIN(nvmlDeviceGetAttributes_v2);
    const struct mig *mig = device->mig;
    REQUIRE(mig, NOT_SUPPORTED);
    *answer = (struct attributes){
        mig->multiprocessors, mig->copy_engines, mig->decoders, mig->encoders, mig->jpegs, mig->ofas,
        mig->gpu_slices, mig->compute_slices, mig->memory_total / MIB};
    return SUCCESS;
}

/* Profiles 0 to 4: instances of 1, 2, 3, 4 and 7 slices; memory comes in eighths. */
static int profile_of(const struct gpu *gpu, unsigned profile, struct profile_info_v2 *answer)
{
    static const unsigned ids[] = {19, 14, 9, 5, 0}; /* nvidia-smi mig -lgip */
    static const unsigned slices[] = {1, 2, 3, 4, 7}, eighths[] = {1, 2, 4, 4, 8}, instances[] = {7, 3, 2, 1, 1};
    REQUIRE(gpu->has & HAS_MIG, NOT_SUPPORTED);
    REQUIRE(profile < 5, profile < 18 ? NOT_SUPPORTED : INVALID_ARGUMENT);
    *answer = (struct profile_info_v2){
        .version = answer->version, .id = ids[profile],
        .slices = slices[profile], .instances = instances[profile],
        .multiprocessors = slices[profile] * (gpu->architecture >= 9 ? 16 : 14), .copy_engines = slices[profile],
        .decoders = slices[profile] / 2, .jpegs = profile == 4, .ofas = profile == 4,
        .memory_mib = gpu->memory_total / MIB * eighths[profile] / 8 - 256};
    unsigned gigabytes = (unsigned)(gpu->memory_total / MIB * eighths[profile] / 8 / 1024);
    snprintf(answer->name, sizeof answer->name, "MIG %ug.%ugb", slices[profile], gigabytes);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetGpuInstanceProfileInfo(device_t device, unsigned profile, struct profile_info *answer)
{
    BEGIN(nvmlDeviceGetGpuInstanceProfileInfo);
    struct profile_info_v2 info = {0};
    int code = profile_of(device->gpu, profile, &info);
    REQUIRE(!code, code);
    *answer = (struct profile_info){
        info.id, info.peer_to_peer, info.slices, info.instances, info.multiprocessors, info.copy_engines,
        info.decoders, info.encoders, info.jpegs, info.ofas, info.memory_mib};
    return SUCCESS;
}

EXPORT int nvmlDeviceGetGpuInstanceProfileInfoV(device_t device, unsigned profile, struct profile_info_v2 *answer)
{
    BEGIN(nvmlDeviceGetGpuInstanceProfileInfoV);
    REQUIRE(answer->version == VERSION(struct profile_info_v2, 2), VERSION_MISMATCH);
    return profile_of(device->gpu, profile, answer);
}
