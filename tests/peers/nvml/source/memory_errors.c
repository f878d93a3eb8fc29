/* Errors of the memory, and rows that were replaced because of them. */
#include "nvml_types.h"

uint64_t ecc_total(const struct gpu *gpu, unsigned lifetime, unsigned type)
{
    uint64_t total = 0;
    for (int location = 0; location < 8; location++)
        total += gpu->ecc[lifetime][type][location];
    return total;
}

EXPORT int nvmlDeviceGetEccMode(device_t device, unsigned *now, unsigned *pending)
{
    BEGIN(nvmlDeviceGetEccMode);
    BOARD;
    HAS(HAS_ECC);
    *now = *pending = 1;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTotalEccErrors(device_t device, unsigned type, unsigned lifetime, uint64_t *count)
{
    BEGIN(nvmlDeviceGetTotalEccErrors);
    BOARD;
    HAS(HAS_ECC);
    REQUIRE(count && type < 2 && lifetime < 2, INVALID_ARGUMENT);
    *count = ecc_total(device->gpu, lifetime, type);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryErrorCounter(device_t device, unsigned type, unsigned lifetime, unsigned location,
                                           uint64_t *count)
{
    BEGIN(nvmlDeviceGetMemoryErrorCounter);
    BOARD;
    HAS(HAS_ECC);
    REQUIRE(count && type < 2 && lifetime < 2 && location < 8, INVALID_ARGUMENT);
    *count = device->gpu->ecc[lifetime][type][location];
    return SUCCESS;
}

EXPORT int nvmlDeviceGetRemappedRows(device_t device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failed)
{
    BEGIN(nvmlDeviceGetRemappedRows);
    BOARD;
    HAS(HAS_REMAP);
    REQUIRE(corrected && uncorrected && pending && failed, INVALID_ARGUMENT);
    *corrected = device->gpu->rows_corrected;
    *uncorrected = device->gpu->rows_uncorrected;
    *pending = device->gpu->rows_pending;
    *failed = device->gpu->rows_failed;
    return SUCCESS;
}
