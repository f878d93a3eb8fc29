/* Samples: the driver's buffers of what a GPU read between two calls. */
#include "nvml_types.h"

static uint64_t gauge(const struct gpu *gpu, unsigned kind)
{
    switch (kind) {
    case 1: return gpu->busy_percent;
    case 2: return gpu->memory_percent;
    case 3: return gpu->encoder_percent;
    case 4: return gpu->decoder_percent;
    case 5: return gpu->clocks_mhz[1];
    case 6: return gpu->clocks_mhz[2];
    case 8: return gpu->jpeg_percent;
    case 9: return gpu->ofa_percent;
    default: return gpu->power_instant_mw; /* 0 the GPU, 7 its module */
    }
}

/* A sample at each multiple of the period; copies into `into` (NULL: counts only) at most `room` after `last`. */
static unsigned invented(const struct scenario *scenario, const struct gpu *gpu, unsigned kind, int64_t last,
                         unsigned room, struct nvml_sample *into)
{
    const struct samples *samples = &gpu->samples[kind];
    int64_t newest = now_us(scenario) / samples->period_us, first = last / samples->period_us + 1;
    unsigned copied = 0;
    if (first < newest - samples->depth + 1)
        first = newest - samples->depth + 1;
    for (int64_t tick = first; tick <= newest && copied < room; tick++, copied++) {
        uint64_t value = gauge(gpu, kind) + (uint64_t)(tick % 3) * samples->swing;
        value = value > samples->swing ? value - samples->swing : 0;
        if (into)
            into[copied] = (struct nvml_sample){(uint64_t)(tick * samples->period_us), {.bits = value}};
    }
    return copied;
}

static unsigned pushed(const struct samples *samples, int64_t last, unsigned room, struct nvml_sample *into)
{
    uint64_t end = samples->pushed, depth = samples->depth && samples->depth < SAMPLE_RING ? samples->depth : SAMPLE_RING;
    unsigned copied = 0;
    for (uint64_t n = end > depth ? end - depth : 0; n < end && copied < room; n++) {
        const struct sample *sample = &samples->ring[n % SAMPLE_RING];
        if (sample->at_us <= last)
            continue;
        if (into)
            into[copied] = (struct nvml_sample){(uint64_t)sample->at_us, {.bits = sample->value}};
        copied++;
    }
    return copied;
}

EXPORT int nvmlDeviceGetSamples(device_t device, unsigned kind, uint64_t last, unsigned *type, unsigned *count,
                                struct nvml_sample *into)
{
    BEGIN(nvmlDeviceGetSamples);
    BOARD;
    struct gpu *gpu = device->gpu;
    REQUIRE(type && count && kind < SAMPLE_TYPES, INVALID_ARGUMENT);
    REQUIRE(!gpu->mig_mode || kind < 1 || kind > 4, NOT_SUPPORTED);
    /* The bindings ask with the count that sizing gave them, even if that was none. */
    REQUIRE(!into || *count, INVALID_ARGUMENT);
    unsigned room = into ? *count : SAMPLE_RING;
    *type = VALUE_UNSIGNED;
    *count = gpu->samples[kind].period_us > 0 ? invented(device->scenario, gpu, kind, (int64_t)last, room, into)
                                              : pushed(&gpu->samples[kind], (int64_t)last, room, into);
    if (*count)
        return SUCCESS;
    return into ? NOT_FOUND : gpu->no_samples_code;
}
