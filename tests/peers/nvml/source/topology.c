/* How near GPUs are to each other and to processors. */
#include "nvml_types.h"

static int pair(device_t first, device_t second, int call, int (*table)[GPUS], unsigned *answer)
{
    int code = begin_device(call, first);
    REQUIRE(!code, code);
    code = begin_device(call, second);
    REQUIRE(!code, code);
    REQUIRE(answer, INVALID_ARGUMENT);
    *answer = (unsigned)table[number_of(first->scenario, first->gpu)][number_of(second->scenario, second->gpu)];
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTopologyCommonAncestor(device_t first, device_t second, unsigned *level)
{
    REQUIRE(current(), UNINITIALIZED);
    return pair(first, second, CALL_nvmlDeviceGetTopologyCommonAncestor, current()->topology, level);
}

EXPORT int nvmlDeviceGetP2PStatus(device_t first, device_t second, unsigned kind, unsigned *status)
{
    REQUIRE(current(), UNINITIALIZED);
    REQUIRE(kind < 5, INVALID_ARGUMENT);
    return pair(first, second, CALL_nvmlDeviceGetP2PStatus, current()->p2p, status);
}

EXPORT int nvmlDeviceGetNumaNodeId(device_t device, int *node)
{
    BEGIN(nvmlDeviceGetNumaNodeId);
    BOARD;
    HAS(HAS_NUMA);
    *node = device->gpu->numa_node;
    return SUCCESS;
}

static int mask(const uint64_t *words, unsigned size, uint64_t *answer)
{
    REQUIRE(answer && size, INVALID_ARGUMENT);
    for (unsigned word = 0; word < size; word++)
        answer[word] = word < 4 ? words[word] : 0;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCpuAffinity(device_t device, unsigned size, uint64_t *answer)
{
    BEGIN(nvmlDeviceGetCpuAffinity);
    return mask(device->gpu->cpu_affinity, size, answer);
}

EXPORT int nvmlDeviceGetCpuAffinityWithinScope(device_t device, unsigned size, uint64_t *answer, unsigned scope)
{
    BEGIN(nvmlDeviceGetCpuAffinityWithinScope);
    REQUIRE(scope < 2, INVALID_ARGUMENT);
    return mask(device->gpu->cpu_affinity, size, answer);
}

EXPORT int nvmlDeviceGetMemoryAffinity(device_t device, unsigned size, uint64_t *answer, unsigned scope)
{
    BEGIN(nvmlDeviceGetMemoryAffinity);
    REQUIRE(scope < 2, INVALID_ARGUMENT);
    return mask(device->gpu->memory_affinity, size, answer);
}
