/* What the files of the stand-in share: NVML's types as the bindings lay them out, and how a call begins. */
#ifndef STANDIN_H
#define STANDIN_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15,
    RESET_REQUIRED = 16, IN_USE = 19, OUT_OF_MEMORY = 20, VERSION_MISMATCH = 25,
};

#define CALL(name) CALL_##name,
enum {
#include "calls.h"
    CALL_COUNT
};
#undef CALL
_Static_assert(CALL_COUNT <= CALLS, "more functions than the scenario has counters for");

/* What a handle points at: a GPU or one of its MIG devices, as it was when the handle was given out. */
struct handle {
    struct scenario *scenario;
    struct gpu *gpu;
    struct mig *mig; /* NULL: the GPU itself */
    uint32_t generation, serial;
};
typedef struct handle *device_t;

enum { VALUE_DOUBLE, VALUE_UNSIGNED, VALUE_UNSIGNED_LONG, VALUE_UNSIGNED_LONG_LONG, VALUE_SIGNED_LONG_LONG, VALUE_SIGNED };
union value {
    double number;
    unsigned word;
    uint64_t bits;
};

/* Counts the call, lets it block, and tells the code with which it is to be refused. `gpu` may be NULL. */
int begin(struct scenario *scenario, int call, struct gpu *gpu);
/* `begin` for a call about a device: also refuses when the library is not initialised or the device is gone. */
int begin_device(int call, device_t device);
/* `begin` for a call without a device; gives the scenario. */
int begin_system(int call, struct scenario **scenario);
/* `begin` for a call that looks for a GPU (NULL: in vain); the library is initialised. */
int begin_search(int call, struct gpu *gpu);
/* The code of one field or metric of a call alone. */
int refused_metric(struct scenario *scenario, int call, struct gpu *gpu, unsigned metric);

struct scenario *current(void);       /* NULL: not initialised */
int open_scenario(void);              /* at the first Init */
int stale(void);                      /* the driver was loaded anew since then */
void close_scenario(void);            /* at the last Shutdown */
int handle_of(struct scenario *scenario, struct gpu *gpu, struct mig *mig, device_t *handle);
int number_of(const struct scenario *scenario, const struct gpu *gpu);

int64_t now_us(const struct scenario *scenario);
int64_t machine_us(void);
void nap_us(int64_t microseconds);
uint64_t count_of(const struct scenario *scenario, const struct counter *counter);
int put_text(char *target, unsigned size, const char *text);
void record_act(int call, device_t device, int64_t first, int64_t second);

#define BEGIN(call) \
    do { int refusal = begin_device(CALL_##call, device); if (refusal) return refusal; } while (0)
#define REQUIRE(condition, code) do { if (!(condition)) return (code); } while (0)
/* Most calls know the board only; a handle of a MIG device is none. */
#define BOARD REQUIRE(!device->mig, NOT_SUPPORTED)
#define HAS(feature) REQUIRE(device->gpu->has & (feature), NOT_SUPPORTED)
#define EXPORT __attribute__((visibility("default")))

#endif
