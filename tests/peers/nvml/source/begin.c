/* How every call begins: it is counted, hangs, and is refused as the scenario says. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "standin.h"

#define NAP_US 10000 /* how soon a blocked call notices that its fault was cleared */

int64_t machine_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void nap_us(int64_t microseconds)
{
    struct timespec wait = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&wait, NULL);
}

int64_t now_us(const struct scenario *scenario)
{
    return scenario->time_us ? scenario->time_us : machine_us();
}

uint64_t count_of(const struct scenario *scenario, const struct counter *counter)
{
    int64_t since = now_us(scenario) - counter->since_us;
    uint64_t grown = counter->base + (uint64_t)(since > 0 ? counter->per_second * (double)since / 1e6 : 0.0);
    return counter->wraps_at ? grown % counter->wraps_at : grown;
}

int put_text(char *target, unsigned size, const char *text)
{
    REQUIRE(target, INVALID_ARGUMENT);
    REQUIRE(strlen(text) < size, INSUFFICIENT_SIZE);
    strcpy(target, text);
    return SUCCESS;
}

int number_of(const struct scenario *scenario, const struct gpu *gpu)
{
    return gpu ? (int)(gpu - scenario->gpus) : ANY;
}

static int matches(const struct fault *fault, int call, int gpu)
{
    /* Whoever refuses everything still lets go of what was taken. */
    int tidying = call == CALL_nvmlShutdown || call == CALL_nvmlErrorString || call == CALL_nvmlEventSetFree
                  || call == CALL_nvmlGpmSampleFree;
    return fault->active && (fault->call == ANY ? !tidying : fault->call == call)
           && (fault->gpu == ANY || fault->gpu == gpu);
}

static int due(struct fault *fault)
{
    uint64_t seen = __atomic_add_fetch(&fault->seen, 1, __ATOMIC_RELAXED);
    return seen >= fault->from_call && seen < fault->until_call;
}

static void block(const struct fault *fault)
{
    int64_t until = monotonic_us() + fault->block_us;
    for (int64_t left = fault->block_us; left > 0 && fault->active; left = until - monotonic_us())
        nap_us(left < NAP_US ? left : NAP_US);
}

int begin(struct scenario *scenario, int call, struct gpu *gpu)
{
    int number = number_of(scenario, gpu), code = SUCCESS;
    __atomic_add_fetch(&scenario->calls[call][number == ANY ? GPUS : number], 1, __ATOMIC_RELAXED);
    for (struct fault *fault = scenario->faults; fault < scenario->faults + FAULTS; fault++) {
        if (!fault->active || fault->metric || !matches(fault, call, number) || !due(fault))
            continue;
        block(fault);
        if (!code)
            code = fault->code;
    }
    return code;
}

int refused_metric(struct scenario *scenario, int call, struct gpu *gpu, unsigned metric)
{
    for (struct fault *fault = scenario->faults; fault < scenario->faults + FAULTS; fault++)
        if (fault->metric == metric && metric && matches(fault, call, number_of(scenario, gpu)) && due(fault))
            return fault->code;
    return SUCCESS;
}

void record_act(int call, device_t device, int64_t first, int64_t second)
{
    struct scenario *scenario = device->scenario;
    struct act *act = &scenario->acts[scenario->acts_done % ACTS];
    *act = (struct act){call, number_of(scenario, device->gpu), getpid(), first, second};
    __atomic_add_fetch(&scenario->acts_done, 1, __ATOMIC_RELEASE);
}
