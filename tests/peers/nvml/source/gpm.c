/* GPM: profiling as the difference of two samples that are far enough apart. */
#include <stdlib.h>
#include <string.h>

#include "nvml_types.h"

enum { NO_INSTANCE = -1, FRESH = 0x5350, FREED = 0xdead };
#define PERCENT_END 60 /* metrics below are percentages, except PCIe */

struct gpm_sample {
    unsigned state;
    struct scenario *scenario; /* NULL: nothing sampled yet */
    struct gpu *gpu;
    int instance;
    unsigned serial, generation;
    int64_t at_us;
    double values[GPM_METRICS];
};

EXPORT int nvmlGpmQueryDeviceSupport(device_t device, struct gpm_support *support)
{
    BEGIN(nvmlGpmQueryDeviceSupport);
    REQUIRE(support->version == 1, VERSION_MISMATCH);
    support->supported = (device->gpu->has & HAS_GPM) != 0;
    return SUCCESS;
}

EXPORT int nvmlGpmSampleAlloc(struct gpm_sample **sample)
{
    struct scenario *scenario;
    int code = begin_system(CALL_nvmlGpmSampleAlloc, &scenario);
    REQUIRE(!code, code);
    REQUIRE(sample, INVALID_ARGUMENT);
    *sample = calloc(1, sizeof **sample);
    REQUIRE(*sample, OUT_OF_MEMORY);
    (*sample)->state = FRESH;
    return SUCCESS;
}

EXPORT int nvmlGpmSampleFree(struct gpm_sample *sample)
{
    struct scenario *scenario;
    int code = begin_system(CALL_nvmlGpmSampleFree, &scenario);
    REQUIRE(sample && sample->state == FRESH, INVALID_ARGUMENT);
    sample->state = FREED;
    free(sample);
    return code;
}

static int take(device_t device, int instance, const struct mig *mig, struct gpm_sample *sample)
{
    sample->scenario = device->scenario;
    sample->gpu = device->gpu;
    sample->instance = instance;
    sample->serial = mig ? mig->serial : 0;
    sample->generation = device->scenario->generation;
    sample->at_us = now_us(device->scenario);
    memcpy(sample->values, mig ? mig->gpm : device->gpu->gpm, sizeof sample->values);
    return SUCCESS;
}

EXPORT int nvmlGpmSampleGet(device_t device, struct gpm_sample *sample)
{
    BEGIN(nvmlGpmSampleGet);
    BOARD;
    HAS(HAS_GPM);
    REQUIRE(sample && sample->state == FRESH, INVALID_ARGUMENT);
    return take(device, NO_INSTANCE, NULL, sample);
}

EXPORT int nvmlGpmMigSampleGet(device_t device, unsigned instance, struct gpm_sample *sample)
{
    BEGIN(nvmlGpmMigSampleGet);
    BOARD;
    HAS(HAS_GPM);
    REQUIRE(sample && sample->state == FRESH, INVALID_ARGUMENT);
    REQUIRE(device->gpu->mig_mode, NOT_SUPPORTED);
    for (const struct mig *mig = device->gpu->mig; mig < device->gpu->mig + MIG_SLOTS; mig++)
        if (mig->present && mig->gi == instance)
            return take(device, (int)instance, mig, sample);
    return INVALID_ARGUMENT;
}

/* Whether both samples are of one thing, and far enough apart. */
static int comparable(const struct gpm_sample *first, const struct gpm_sample *second)
{
    REQUIRE(first && second && first->state == FRESH && second->state == FRESH, INVALID_ARGUMENT);
    REQUIRE(first->scenario && first->scenario == second->scenario && first->gpu == second->gpu, INVALID_ARGUMENT);
    REQUIRE(first->instance == second->instance && first->serial == second->serial, INVALID_ARGUMENT);
    REQUIRE(first->generation == second->generation && first->at_us <= second->at_us, INVALID_ARGUMENT);
    REQUIRE(second->at_us - first->at_us >= first->scenario->gpm_least_us, first->scenario->gpm_refusal_code);
    return SUCCESS;
}

EXPORT int nvmlGpmMetricsGet(struct gpm_request *request)
{
    struct scenario *scenario = current();
    REQUIRE(scenario, UNINITIALIZED);
    REQUIRE(request, INVALID_ARGUMENT);
    struct gpm_sample *second = request->second;
    int known = second && second->state == FRESH && second->scenario == scenario;
    int code = begin_search(CALL_nvmlGpmMetricsGet, known ? second->gpu : NULL);
    REQUIRE(!code, code);
    REQUIRE(request->version == 1, VERSION_MISMATCH);
    code = comparable(request->first, second);
    REQUIRE(!code, code);
    for (struct gpm_metric *metric = request->metrics; metric < request->metrics + request->count; metric++) {
        int there = metric->id && metric->id < GPM_METRICS;
        int refusal = refused_metric(scenario, CALL_nvmlGpmMetricsGet, second->gpu, metric->id);
        metric->code = refusal ? refusal : there ? SUCCESS : NOT_SUPPORTED;
        metric->value = metric->code ? 0.0 : second->values[metric->id];
        metric->short_name = metric->long_name = "";
        metric->unit = metric->id >= PERCENT_END || metric->id == 20 || metric->id == 21 ? "MiB/s" : "%";
    }
    return SUCCESS;
}
