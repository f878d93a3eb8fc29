/* What the stand-in answers: one file, mapped by the library and by the test that writes it (layout.py is its mirror,
 * and a test compares the two). A writer fills an entry in first and publishes it by one word last (`active`,
 * `present`, a count), so that a reader in another thread or process never sees half an entry.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <stdint.h>

#define MAGIC 0x4c4d564e /* "NVML" */
#define GPUS 16
#define MIG_SLOTS 8
#define LINKS 18
#define PROCESSES 32
#define SAMPLE_TYPES 10
#define SAMPLE_RING 128
#define GPM_METRICS 256
#define FIELDS 48
#define FAULTS 64
#define EVENTS 256
#define ACTS 256
#define CALLS 160
#define THROTTLES 11
#define ANY (-1)

/* Grows by itself: base + per_second * time since since_us, modulo wraps_at unless that is 0. */
struct counter {
    uint64_t base;
    double per_second;
    int64_t since_us;
    uint64_t wraps_at;
};

struct sample {
    int64_t at_us;
    uint64_t value;
};

/* period_us > 0: the library invents a sample each period, around the gauge; 0: the ring holds what was pushed. */
struct samples {
    int64_t period_us;
    uint32_t depth; /* how many the buffer keeps */
    uint32_t swing; /* how far an invented sample strays from the gauge */
    uint64_t pushed;
    struct sample ring[SAMPLE_RING];
};

struct link {
    uint64_t errors[5]; /* by NVML_NVLINK_ERROR_* */
    struct counter tx_kib, rx_kib;
    uint32_t active, remote_type; /* 0 GPU, 2 switch */
    int32_t remote_gpu;
    uint32_t version, speed_mbps, reserved;
};

enum { COMPUTE = 1, GRAPHICS = 2, MPS = 4 };
struct process {
    uint64_t memory_bytes;
    int64_t used_at_us; /* of the newest utilization sample; 0: there is none */
    uint32_t present, pid, kinds, gi, ci;
    uint32_t sm_percent, memory_percent, encoder_percent, decoder_percent, reserved;
    char name[64];
};

/* One MIG device: a compute instance inside a GPU instance. */
struct mig {
    uint64_t memory_total, memory_reserved, memory_used;
    uint32_t present, serial, gi, ci;
    uint32_t multiprocessors, gpu_slices, compute_slices, copy_engines, decoders, encoders, jpegs, ofas;
    char uuid[96], profile[32];
    double gpm[GPM_METRICS];
};

/* An answer of FieldValues given outright. */
struct field {
    uint32_t present, id, scope, type; /* scope ANY: whatever is asked; type by NVML_VALUE_TYPE_* */
    int32_t code;
    uint32_t latency_us;
    uint64_t bits;
};

enum { HAS_GPM = 1, HAS_ECC = 2, HAS_REMAP = 4, HAS_MIG = 8, HAS_ENERGY = 16, HAS_POWER_FIELDS = 32, HAS_PCIE_BYTES = 64,
       HAS_MARGIN = 128, HAS_NUMA = 256, HAS_RETIRED = 512, HAS_RECOVERY = 1024 };
enum { STATE_OK, STATE_LOST, STATE_RESET_REQUIRED };

struct gpu {
    uint64_t memory_total, memory_reserved, memory_used, bar1_total, bar1_used;
    uint64_t clock_reasons, event_types, cpu_affinity[4], memory_affinity[4];
    uint64_t ecc[2][2][8]; /* volatile or aggregate, corrected or uncorrected, by memory location */
    struct counter energy_mj, pcie_tx_bytes, pcie_rx_bytes, pcie_replays, throttle_ns[THROTTLES];
    uint32_t present, state, generation, has, architecture, minor_number, brand;
    uint32_t compute_major, compute_minor, cores, pci_device_id, pci_subsystem_id;
    uint32_t busy_percent, memory_percent, encoder_percent, decoder_percent, jpeg_percent, ofa_percent;
    uint32_t power_mw, power_instant_mw, power_limit_mw, power_limit_min_mw, power_limit_max_mw, power_limit_default_mw;
    uint32_t enforced_limit_mw; /* 0: the power limit */
    int32_t temperature_c, memory_temperature_c, margin_c, slowdown_c, shutdown_c;
    uint32_t clocks_mhz[4], clocks_max_mhz[4], locked_min_mhz, locked_max_mhz, performance_state;
    uint32_t compute_mode, persistence_mode;
    uint32_t pcie_generation, pcie_width, pcie_generation_max, pcie_width_max, pcie_tx_kbps, pcie_rx_kbps;
    uint32_t rows_corrected, rows_uncorrected, rows_pending, rows_failed, recovery_action;
    int32_t numa_node;
    uint32_t mig_mode, mig_pending, mig_max, mig_needs_reset, links_count;
    int32_t no_samples_code, no_utilization_code; /* what sizing answers when there is nothing new */
    uint32_t field_latency_us;
    char uuid[96], name[96], serial[32], bus_id[32], vbios[32];
    struct samples samples[SAMPLE_TYPES];
    struct link links[LINKS];
    struct process processes[PROCESSES];
    struct mig mig[MIG_SLOTS];
    struct field fields[FIELDS];
    double gpm[GPM_METRICS];
};

/* From the from_call-th matching call on and before the until_call-th (0: for good) a call blocks, then fails. */
struct fault {
    uint64_t seen;
    int64_t block_us;
    uint32_t active;
    int32_t call, gpu, code; /* call, gpu: ANY matches all */
    uint32_t from_call, until_call, metric, reserved; /* metric: only this field of FieldValues or GPM metric */
};

struct event {
    uint64_t type, data;
    int32_t gpu;
    uint32_t gi, ci, reserved;
};

struct act {
    int32_t call, gpu;
    int64_t pid, first, second;
};

struct scenario {
    uint32_t magic, size;
    int64_t time_us; /* 0: the machine's clock */
    uint32_t count, generation, root;
    int32_t order[GPUS]; /* index as the driver lists it -> GPU */
    int32_t stale_code, gpm_refusal_code;
    uint32_t cuda_version, reserved;
    int64_t gpm_least_us;
    char driver_version[80], nvml_version[80];
    uint64_t calls[CALLS][GPUS + 1]; /* by GPU, the last one for calls without one */
    uint64_t events_posted, acts_done;
    struct event events[EVENTS];
    struct act acts[ACTS];
    struct fault faults[FAULTS];
    int32_t topology[GPUS][GPUS], p2p[GPUS][GPUS];
    struct gpu gpus[GPUS];
};

#endif
