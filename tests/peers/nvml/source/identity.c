/* Who a device is. */
#include <stdio.h>
#include <string.h>

#include "nvml_types.h"
#include "standin.h"

EXPORT int nvmlDeviceGetUUID(device_t device, char *text, unsigned size)
{
    BEGIN(nvmlDeviceGetUUID);
    return put_text(text, size, device->mig ? device->mig->uuid : device->gpu->uuid);
}

EXPORT int nvmlDeviceGetName(device_t device, char *text, unsigned size)
{
    char name[160];
    BEGIN(nvmlDeviceGetName);
    if (device->mig)
        snprintf(name, sizeof name, "%s MIG %s", device->gpu->name, device->mig->profile);
    else
        snprintf(name, sizeof name, "%s", device->gpu->name);
    return put_text(text, size, name);
}

EXPORT int nvmlDeviceGetSerial(device_t device, char *text, unsigned size)
{
    BEGIN(nvmlDeviceGetSerial);
    BOARD;
    REQUIRE(device->gpu->serial[0], NOT_SUPPORTED);
    return put_text(text, size, device->gpu->serial);
}

EXPORT int nvmlDeviceGetVbiosVersion(device_t device, char *text, unsigned size)
{
    BEGIN(nvmlDeviceGetVbiosVersion);
    BOARD;
    return put_text(text, size, device->gpu->vbios);
}

void pci_of(const struct gpu *gpu, struct pci_info *pci)
{
    *pci = (struct pci_info){.pci_device_id = gpu->pci_device_id, .pci_subsystem_id = gpu->pci_subsystem_id};
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", gpu->bus_id);
    /* The older spelling has four digits of the domain. */
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "%.15s", strlen(gpu->bus_id) > 4 ? gpu->bus_id + 4 : "");
    sscanf(gpu->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
}

EXPORT int nvmlDeviceGetPciInfo_v3(device_t device, struct pci_info *pci)
{
    BEGIN(nvmlDeviceGetPciInfo_v3);
    BOARD;
    REQUIRE(pci, INVALID_ARGUMENT);
    pci_of(device->gpu, pci);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetIndex(device_t device, unsigned *index)
{
    struct scenario *scenario;
    BEGIN(nvmlDeviceGetIndex);
    scenario = device->scenario;
    if (device->mig) {
        *index = (unsigned)(device->mig - device->gpu->mig);
        return SUCCESS;
    }
    for (*index = 0; *index < scenario->count; ++*index)
        if (scenario->order[*index] == number_of(scenario, device->gpu))
            return SUCCESS;
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor)
{
    BEGIN(nvmlDeviceGetCudaComputeCapability);
    *major = (int)device->gpu->compute_major;
    *minor = (int)device->gpu->compute_minor;
    return SUCCESS;
}

#define WORD(call, value) \
    EXPORT int call(device_t device, unsigned *answer) \
    { \
        BEGIN(call); \
        REQUIRE(answer, INVALID_ARGUMENT); \
        *answer = device->gpu->value; \
        return SUCCESS; \
    }

WORD(nvmlDeviceGetArchitecture, architecture)
WORD(nvmlDeviceGetBrand, brand)
WORD(nvmlDeviceGetNumGpuCores, cores)
WORD(nvmlDeviceGetMinorNumber, minor_number)
