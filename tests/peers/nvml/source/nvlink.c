/* NVLinks: their state, where they lead, what went wrong on them. */
#include <stdio.h>

#include "nvml_types.h"

#define ALL_LINKS 0xFFFFFFFFu
#define LINK REQUIRE(device->gpu->links_count, NOT_SUPPORTED); REQUIRE(link < device->gpu->links_count, INVALID_ARGUMENT)

uint64_t link_errors(const struct gpu *gpu, unsigned kind, unsigned scope)
{
    uint64_t total = 0;
    for (unsigned link = 0; link < gpu->links_count; link++)
        if (scope == ALL_LINKS || scope == link)
            total += gpu->links[link].errors[kind];
    return total;
}

EXPORT int nvmlDeviceGetNvLinkState(device_t device, unsigned link, unsigned *active)
{
    BEGIN(nvmlDeviceGetNvLinkState);
    BOARD;
    LINK;
    *active = device->gpu->links[link].active;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkVersion(device_t device, unsigned link, unsigned *version)
{
    BEGIN(nvmlDeviceGetNvLinkVersion);
    BOARD;
    LINK;
    *version = device->gpu->links[link].version;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkRemotePciInfo_v2(device_t device, unsigned link, struct pci_info *pci)
{
    BEGIN(nvmlDeviceGetNvLinkRemotePciInfo_v2);
    BOARD;
    LINK;
    const struct link *here = &device->gpu->links[link];
    *pci = (struct pci_info){0};
    if (here->remote_gpu >= 0 && here->remote_gpu < GPUS) {
        pci_of(&device->scenario->gpus[here->remote_gpu], pci);
    } else { /* A switch shows no address of its own to a virtual machine. */
        snprintf(pci->bus_id, sizeof pci->bus_id, "FFFFFFFF:FF:FF.0");
        snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "FFFF:FF:FF.0");
        pci->domain = 0xFFFFFFFF, pci->bus = pci->device = 0xFF;
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkRemoteDeviceType(device_t device, unsigned link, unsigned *type)
{
    BEGIN(nvmlDeviceGetNvLinkRemoteDeviceType);
    BOARD;
    LINK;
    *type = device->gpu->links[link].remote_type;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetNvLinkErrorCounter(device_t device, unsigned link, unsigned kind, uint64_t *count)
{
    BEGIN(nvmlDeviceGetNvLinkErrorCounter);
    BOARD;
    LINK;
    REQUIRE(kind < 5 && count, INVALID_ARGUMENT);
    *count = device->gpu->links[link].errors[kind];
    return SUCCESS;
}
