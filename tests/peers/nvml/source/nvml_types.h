/* NVML's structures, as the bindings lay them out; the layout test compares their sizes. */
#ifndef NVML_TYPES_H
#define NVML_TYPES_H

#include "standin.h"

#define VERSION(type, number) ((unsigned)sizeof(type) | (unsigned)(number) << 24)

struct pci_info {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};
struct utilization { unsigned gpu, memory; };
struct memory_info { uint64_t total, free, used; };
struct memory_info_v2 { unsigned version; uint64_t total, reserved, free, used; };
struct bar1_info { uint64_t total, free, used; };
struct temperature_v1 { unsigned version, sensor; int celsius; };
struct margin_v1 { unsigned version; int celsius; };
struct field_value {
    unsigned id, scope;
    int64_t timestamp, latency_us;
    unsigned type;
    int code;
    union value value;
};
struct nvml_sample { uint64_t at_us; union value value; };
struct process_info { unsigned pid; uint64_t memory_bytes; unsigned gi, ci; };
struct process_utilization { unsigned pid; uint64_t at_us; unsigned sm, memory, encoder, decoder; };
struct attributes {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    uint64_t memory_mib;
};
struct profile_info {
    unsigned id, peer_to_peer, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint64_t memory_mib;
};
struct profile_info_v2 {
    unsigned version, id, peer_to_peer, slices, instances, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint64_t memory_mib;
    char name[96];
};
struct event_data { device_t device; uint64_t type, data; unsigned gi, ci; };
struct gpm_support { unsigned version, supported; };
struct gpm_metric {
    unsigned id;
    int code;
    double value;
    const char *short_name, *long_name, *unit;
};
struct gpm_request {
    unsigned version, count;
    struct gpm_sample *first, *second;
    struct gpm_metric metrics[]; /* as many as the header that the caller was built with has */
};

void pci_of(const struct gpu *gpu, struct pci_info *pci);
uint64_t ecc_total(const struct gpu *gpu, unsigned lifetime, unsigned type);
uint64_t link_errors(const struct gpu *gpu, unsigned kind, unsigned scope);

#endif
