/* FieldValues: many numbers in one call, each with a code, a time and a latency of its own. */
#include "nvml_types.h"

#define ALL_LINKS 0xFFFFFFFFu
#define LAST_FIELD 299

/* What a field answers: a code, or a value of this type. */
struct answer { int code; unsigned type; uint64_t bits; };

static struct answer whole(uint64_t bits) { return (struct answer){SUCCESS, VALUE_UNSIGNED_LONG_LONG, bits}; }
static struct answer word(uint64_t bits) { return (struct answer){SUCCESS, VALUE_UNSIGNED, bits}; }
static struct answer refuse(int code) { return (struct answer){code, VALUE_UNSIGNED, 0}; }

/* Bytes that went over one link or all of them, in KiB. */
static struct answer traffic(const struct scenario *scenario, const struct gpu *gpu, unsigned scope, int sent)
{
    uint64_t total = 0;
    if (!gpu->links_count)
        return refuse(NOT_SUPPORTED);
    if (scope != ALL_LINKS && scope >= gpu->links_count)
        return refuse(INVALID_ARGUMENT);
    for (unsigned link = 0; link < gpu->links_count; link++)
        if (scope == ALL_LINKS || scope == link)
            total += count_of(scenario, sent ? &gpu->links[link].tx_kib : &gpu->links[link].rx_kib);
    return whole(total);
}

/* 32-59: four kinds of errors, each for lanes 0 to 5 and then in total. */
static struct answer lane_errors(const struct gpu *gpu, unsigned id)
{
    static const unsigned kinds[] = {2, 3, 0, 1}; /* flit CRC, data CRC, replay, recovery */
    unsigned lane = (id - 32) % 7;
    if (!gpu->links_count)
        return refuse(NOT_SUPPORTED);
    return whole(link_errors(gpu, kinds[(id - 32) / 7], lane == 6 ? ALL_LINKS : lane));
}

static struct answer throttle(const struct scenario *scenario, const struct gpu *gpu, unsigned id)
{
    return whole(count_of(scenario, &gpu->throttle_ns[id < 82 ? id - 74 : id - 269 + 8]));
}

static struct answer memory_field(const struct gpu *gpu, unsigned id)
{
    int remap = gpu->has & HAS_REMAP;
    switch (id) {
    case 1: case 2: return gpu->has & HAS_ECC ? word(1) : refuse(NOT_SUPPORTED);
    case 3: case 4: case 5: case 6: /* corrected, uncorrected; volatile, then aggregate */
        return gpu->has & HAS_ECC ? whole(ecc_total(gpu, (id - 3) / 2, (id - 3) % 2)) : refuse(NOT_SUPPORTED);
    case 29: case 30: case 31: return gpu->has & HAS_RETIRED ? word(0) : refuse(NOT_SUPPORTED);
    case 82: return gpu->memory_temperature_c ? word((unsigned)gpu->memory_temperature_c) : refuse(NOT_SUPPORTED);
    case 142: return remap ? word(gpu->rows_corrected) : refuse(NOT_SUPPORTED);
    case 143: return remap ? word(gpu->rows_uncorrected) : refuse(NOT_SUPPORTED);
    case 144: return remap ? word(gpu->rows_pending) : refuse(NOT_SUPPORTED);
    case 145: return remap ? word(gpu->rows_failed) : refuse(NOT_SUPPORTED);
    case 230: return gpu->has & HAS_RECOVERY ? word(gpu->recovery_action) : refuse(NOT_SUPPORTED);
    default: return refuse(NOT_SUPPORTED);
    }
}

static struct answer power_field(const struct scenario *scenario, const struct gpu *gpu, unsigned id)
{
    if (id == 83 || id == 191)
        return gpu->has & HAS_ENERGY ? whole(count_of(scenario, &gpu->energy_mj)) : refuse(NOT_SUPPORTED);
    if (!(gpu->has & HAS_POWER_FIELDS))
        return refuse(NOT_SUPPORTED);
    switch (id) {
    case 185: return word(gpu->power_mw);
    case 186: return word(gpu->power_instant_mw);
    case 187: return word(gpu->power_limit_min_mw);
    case 188: return word(gpu->power_limit_max_mw);
    case 189: return word(gpu->power_limit_default_mw);
    case 190: return word(gpu->enforced_limit_mw ? gpu->enforced_limit_mw : gpu->power_limit_mw);
    default: return word(gpu->power_limit_mw);
    }
}

static struct answer link_field(const struct scenario *scenario, const struct gpu *gpu, unsigned id, unsigned scope)
{
    if (!gpu->links_count)
        return refuse(NOT_SUPPORTED);
    const struct link *link = scope < gpu->links_count ? &gpu->links[scope] : &gpu->links[0];
    unsigned switches = 0;
    for (unsigned n = 0; n < gpu->links_count; n++)
        switches += gpu->links[n].active && gpu->links[n].remote_type == 2;
    switch (id) {
    case 90: return word(gpu->links[0].speed_mbps);
    case 91: return word(gpu->links_count);
    case 138: case 140: return traffic(scenario, gpu, scope, 1);
    case 139: case 141: return traffic(scenario, gpu, scope, 0);
    case 147: return word(switches);
    case 160: return whole(link_errors(gpu, 4, ALL_LINKS));
    case 161: return whole(link_errors(gpu, 0, scope));
    case 162: return whole(link_errors(gpu, 1, scope));
    case 163: return whole(link_errors(gpu, 2, scope));
    case 164: return word(link->speed_mbps);
    case 165: return word(link->active);
    default: return word(link->version); /* 166 */
    }
}

static struct answer pcie_field(const struct scenario *scenario, const struct gpu *gpu, unsigned id)
{
    switch (id) {
    case 94: return word(count_of(scenario, &gpu->pcie_replays));
    case 95: return word(0);
    case 197: case 198:
        if (!(gpu->has & HAS_PCIE_BYTES))
            return refuse(NOT_SUPPORTED);
        return whole(count_of(scenario, id == 197 ? &gpu->pcie_tx_bytes : &gpu->pcie_rx_bytes));
    default: return refuse(NOT_SUPPORTED);
    }
}

static struct answer answer_of(const struct scenario *scenario, const struct gpu *gpu, unsigned id, unsigned scope)
{
    if (!id || id > LAST_FIELD)
        return refuse(INVALID_ARGUMENT);
    if (id >= 32 && id <= 59)
        return lane_errors(gpu, id);
    if ((id >= 74 && id <= 81) || (id >= 269 && id <= 271))
        return throttle(scenario, gpu, id);
    if (id == 83 || id == 191 || (id >= 185 && id <= 192))
        return power_field(scenario, gpu, id);
    if (id == 90 || id == 91 || (id >= 138 && id <= 141) || id == 147 || (id >= 160 && id <= 166))
        return link_field(scenario, gpu, id, scope);
    if (id == 94 || id == 95 || id == 197 || id == 198)
        return pcie_field(scenario, gpu, id);
    return memory_field(gpu, id);
}

/* The answer that the test wrote down for a field, NULL without one. */
static const struct field *written(const struct gpu *gpu, unsigned id, unsigned scope)
{
    for (const struct field *field = gpu->fields; field < gpu->fields + FIELDS; field++)
        if (field->present && field->id == id && (field->scope == (unsigned)ANY || field->scope == scope))
            return field;
    return NULL;
}

EXPORT int nvmlDeviceGetFieldValues(device_t device, int count, struct field_value *values)
{
    BEGIN(nvmlDeviceGetFieldValues);
    BOARD;
    REQUIRE(count > 0 && values, INVALID_ARGUMENT);
    struct scenario *scenario = device->scenario;
    for (struct field_value *value = values; value < values + count; value++) {
        const struct field *given = written(device->gpu, value->id, value->scope);
        struct answer answer = answer_of(scenario, device->gpu, value->id, value->scope);
        value->latency_us = device->gpu->field_latency_us;
        if (given) {
            answer = (struct answer){given->code, given->type, given->bits};
            value->latency_us = given->latency_us;
        }
        int refusal = refused_metric(scenario, CALL_nvmlDeviceGetFieldValues, device->gpu, value->id);
        value->timestamp = now_us(scenario);
        value->code = refusal ? refusal : answer.code;
        value->type = answer.type;
        value->value.bits = value->code ? 0 : answer.bits;
    }
    return SUCCESS;
}
