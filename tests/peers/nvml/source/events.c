/* Events: faults that the driver reports when they happen. */
#include <stdlib.h>

#include "nvml_types.h"

#define NAP_US 100000 /* how soon a wait notices an event; each nap costs the process that is measured, a driver needs none */

struct event_set {
    struct scenario *scenario;
    uint64_t next, kinds[GPUS];
};

EXPORT int nvmlEventSetCreate(struct event_set **set)
{
    struct scenario *scenario;
    int code = begin_system(CALL_nvmlEventSetCreate, &scenario);
    REQUIRE(!code, code);
    REQUIRE(set, INVALID_ARGUMENT);
    *set = calloc(1, sizeof **set);
    REQUIRE(*set, OUT_OF_MEMORY);
    (*set)->scenario = scenario;
    (*set)->next = scenario->events_posted;
    return SUCCESS;
}

EXPORT int nvmlEventSetFree(struct event_set *set)
{
    REQUIRE(set, INVALID_ARGUMENT);
    struct scenario *scenario;
    int code = begin_system(CALL_nvmlEventSetFree, &scenario);
    free(set);
    return code;
}

EXPORT int nvmlDeviceGetSupportedEventTypes(device_t device, uint64_t *kinds)
{
    BEGIN(nvmlDeviceGetSupportedEventTypes);
    BOARD;
    *kinds = device->gpu->event_types;
    return SUCCESS;
}

EXPORT int nvmlDeviceRegisterEvents(device_t device, uint64_t kinds, struct event_set *set)
{
    BEGIN(nvmlDeviceRegisterEvents);
    BOARD;
    REQUIRE(set && set->scenario == device->scenario, INVALID_ARGUMENT);
    REQUIRE(!(kinds & ~device->gpu->event_types), NOT_SUPPORTED);
    set->kinds[number_of(device->scenario, device->gpu)] |= kinds;
    return SUCCESS;
}

/* The next event that the set is registered for, NULL when there is none yet. */
static const struct event *next_event(struct event_set *set)
{
    struct scenario *scenario = set->scenario;
    uint64_t posted = __atomic_load_n(&scenario->events_posted, __ATOMIC_ACQUIRE);
    if (posted > EVENTS && set->next < posted - EVENTS)
        set->next = posted - EVENTS;
    while (set->next < posted) {
        const struct event *event = &scenario->events[set->next++ % EVENTS];
        if (event->gpu >= 0 && event->gpu < GPUS && set->kinds[event->gpu] & event->type)
            return event;
    }
    return NULL;
}

EXPORT int nvmlEventSetWait_v2(struct event_set *set, struct event_data *data, unsigned timeout_ms)
{
    struct scenario *scenario;
    int code = begin_system(CALL_nvmlEventSetWait_v2, &scenario);
    REQUIRE(!code, code);
    REQUIRE(set && data && set->scenario == scenario, INVALID_ARGUMENT);
    for (int64_t waited_us = 0;; waited_us += NAP_US) {
        const struct event *event = next_event(set);
        if (event) {
            *data = (struct event_data){NULL, event->type, event->data, event->gi, event->ci};
            return handle_of(scenario, &scenario->gpus[event->gpu], NULL, &data->device);
        }
        REQUIRE(current() == scenario, UNINITIALIZED); /* shut down by another thread */
        REQUIRE(waited_us < timeout_ms * 1000LL, TIMEOUT);
        nap_us(NAP_US);
    }
}
