/* Where everything lies, for the test that compares it with the Python side and with the bindings. */
#include <stddef.h>

#include "nvml_types.h"

struct place { const char *name; size_t value; };

#define OFFSET(type, field) {#type "." #field, offsetof(struct type, field)}
#define SIZE(type) {#type, sizeof(struct type)}

static const struct place places[] = {
    SIZE(counter), SIZE(sample), SIZE(samples), SIZE(link), SIZE(process), SIZE(mig), SIZE(field), SIZE(gpu), SIZE(fault),
    SIZE(event), SIZE(act), SIZE(scenario),
    OFFSET(counter, wraps_at), OFFSET(samples, ring), OFFSET(link, active), OFFSET(link, reserved),
    OFFSET(process, present), OFFSET(process, sm_percent), OFFSET(process, name), OFFSET(mig, present), OFFSET(mig, ofas),
    OFFSET(mig, uuid), OFFSET(mig, gpm), OFFSET(field, type), OFFSET(field, code), OFFSET(field, bits),
    OFFSET(gpu, clock_reasons), OFFSET(gpu, cpu_affinity), OFFSET(gpu, ecc), OFFSET(gpu, energy_mj),
    OFFSET(gpu, throttle_ns), OFFSET(gpu, present), OFFSET(gpu, busy_percent), OFFSET(gpu, power_mw),
    OFFSET(gpu, enforced_limit_mw), OFFSET(gpu, temperature_c), OFFSET(gpu, clocks_mhz), OFFSET(gpu, locked_min_mhz),
    OFFSET(gpu, compute_mode), OFFSET(gpu, pcie_generation), OFFSET(gpu, pcie_rx_kbps), OFFSET(gpu, rows_corrected),
    OFFSET(gpu, recovery_action), OFFSET(gpu, numa_node), OFFSET(gpu, mig_mode), OFFSET(gpu, links_count),
    OFFSET(gpu, no_samples_code), OFFSET(gpu, field_latency_us), OFFSET(gpu, uuid), OFFSET(gpu, vbios),
    OFFSET(gpu, samples), OFFSET(gpu, links), OFFSET(gpu, processes), OFFSET(gpu, mig), OFFSET(gpu, fields),
    OFFSET(gpu, gpm), OFFSET(fault, active), OFFSET(fault, code), OFFSET(fault, from_call), OFFSET(fault, metric),
    OFFSET(event, gpu), OFFSET(event, ci), OFFSET(act, pid), OFFSET(act, second), OFFSET(scenario, time_us),
    OFFSET(scenario, count), OFFSET(scenario, order), OFFSET(scenario, stale_code), OFFSET(scenario, gpm_least_us),
    OFFSET(scenario, driver_version), OFFSET(scenario, calls), OFFSET(scenario, events_posted), OFFSET(scenario, events),
    OFFSET(scenario, acts), OFFSET(scenario, faults), OFFSET(scenario, topology), OFFSET(scenario, gpus),
    SIZE(pci_info), SIZE(utilization), SIZE(memory_info), SIZE(memory_info_v2), SIZE(bar1_info), SIZE(temperature_v1),
    SIZE(margin_v1), SIZE(field_value), SIZE(nvml_sample), SIZE(process_info), SIZE(process_utilization), SIZE(attributes),
    SIZE(profile_info), SIZE(profile_info_v2), SIZE(event_data), SIZE(gpm_support), SIZE(gpm_metric),
    OFFSET(gpm_request, metrics), {NULL, 0},
};

EXPORT const struct place *standin_layout(void) { return places; }
