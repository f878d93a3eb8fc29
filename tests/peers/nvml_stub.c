/* A stand-in for libnvidia-ml.so.1 that the real bindings load. What it answers is in the file that the environment
 * variable NVML_STUB names, read anew at each call so that a test can change the fleet meanwhile:
 *
 *   count N                 how many GPUs there are (2 without this line)
 *   swap 1                  GPUs change places
 *   CALL GPU CODE           a call about this GPU (-1: any) returns this error code
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS 16
typedef struct { int number; } gpu_t;
static gpu_t gpus[GPUS] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}, {10}, {11}, {12}, {13}, {14}, {15}};

/* The last word of the last line that begins with `name` and, where it has three words, names this GPU or -1. */
static int said(const char *name, int gpu, int otherwise)
{
    char word[64], line[128];
    int first, second, words, found = otherwise;
    FILE *file = fopen(getenv("NVML_STUB"), "r");
    while (file && fgets(line, sizeof line, file)) {
        words = sscanf(line, "%63s %d %d", word, &first, &second);
        if (words >= 2 && !strcmp(word, name) && (words == 2 || first < 0 || first == gpu))
            found = words == 2 ? first : second;
    }
    if (file)
        fclose(file);
    return found;
}

#define REFUSE(call, gpu) int refusal = said(call, gpu, 0); if (refusal) return refusal

int nvmlInitWithFlags(unsigned flags) { (void)flags; return said("Init", -1, 0); }
int nvmlShutdown(void) { return said("Shutdown", -1, 0); }
const char *nvmlErrorString(int error) { (void)error; return "as the test wants it"; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    REFUSE("Count", -1);
    *count = (unsigned)said("count", -1, 2);
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu)
{
    int count = said("count", -1, 2);
    REFUSE("HandleByIndex", (int)index);
    *gpu = &gpus[said("swap", -1, 0) ? count - 1 - (int)index : (int)index];
    return 0;
}

int nvmlDeviceGetUUID(gpu_t *gpu, char *text, unsigned size)
{
    REFUSE("UUID", gpu->number);
    snprintf(text, size, "GPU-%d", gpu->number);
    return 0;
}

int nvmlDeviceGetName(gpu_t *gpu, char *text, unsigned size)
{
    REFUSE("Name", gpu->number);
    snprintf(text, size, "Stand-in 80GB");
    return 0;
}

typedef struct { unsigned gpu, memory; } rates_t;
int nvmlDeviceGetUtilizationRates(gpu_t *gpu, rates_t *rates)
{
    REFUSE("UtilizationRates", gpu->number);
    *rates = (rates_t){50 + (unsigned)gpu->number, 10};
    return 0;
}

typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *memory)
{
    REFUSE("MemoryInfo", gpu->number);
    *memory = (memory_t){80ULL << 30, 39ULL << 30, 41ULL << 30};
    return 0;
}

#ifndef OLD_DRIVER
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
int nvmlDeviceGetMemoryInfo_v2(gpu_t *gpu, memory_v2_t *memory)
{
    REFUSE("MemoryInfo_v2", gpu->number);
    if (memory->version != (sizeof *memory | 2U << 24))
        return 25;
    *memory = (memory_v2_t){memory->version, 80ULL << 30, 1ULL << 30, 39ULL << 30, 40ULL << 30};
    return 0;
}

typedef struct { unsigned version; unsigned sensor; int celsius; } temperature_t;
int nvmlDeviceGetTemperatureV(gpu_t *gpu, temperature_t *temperature)
{
    REFUSE("TemperatureV", gpu->number);
    temperature->celsius = 60 + gpu->number;
    return 0;
}
#endif

#define GAUGE(function, call, before_value, value)                 \
    int function(gpu_t *gpu, before_value unsigned *answer)        \
    {                                                              \
        REFUSE(call, gpu->number);                                 \
        *answer = (value);                                         \
        return 0;                                                  \
    }
#define COMMA ,
GAUGE(nvmlDeviceGetTemperature, "Temperature", int sensor COMMA, 70u + sensor + gpu->number)
GAUGE(nvmlDeviceGetPowerUsage, "PowerUsage", , 400500u + gpu->number * 1000u)
GAUGE(nvmlDeviceGetClockInfo, "ClockInfo", int type COMMA, type == 1 ? 1980u : 1u) /* 1 = SM */
