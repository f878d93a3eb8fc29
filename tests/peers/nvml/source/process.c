/* What one process has of the stand-in: the scenario that it was initialised with, and the handles it was given. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "standin.h"

#define HANDLES 4096

static struct scenario *scenario_now;
static uint32_t generation_now;
static struct scenario *mapped_last;
static dev_t device_last;
static ino_t file_last;
static struct handle handles[HANDLES];
static unsigned handles_given;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct scenario *current(void) { return __atomic_load_n(&scenario_now, __ATOMIC_ACQUIRE); }

/* Maps the file unless it is mapped already: a handle from before a restart stays good. */
static struct scenario *map_scenario(int file)
{
    struct stat status;
    if (fstat(file, &status) || status.st_size != sizeof(struct scenario))
        return NULL;
    if (mapped_last && status.st_dev == device_last && status.st_ino == file_last)
        return mapped_last;
    /* Nothing is ever unmapped: another thread may hang in a call, or hold a handle that points into it. */
    void *mapped = mmap(NULL, sizeof(struct scenario), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    device_last = status.st_dev;
    file_last = status.st_ino;
    return mapped_last = mapped;
}

int open_scenario(void)
{
    const char *path = getenv("SIGMASCALE_NVML_SCENARIO");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    REQUIRE(file >= 0, DRIVER_NOT_LOADED);
    struct scenario *opened = map_scenario(file);
    close(file);
    REQUIRE(opened && opened->magic == MAGIC && opened->size == sizeof *opened, DRIVER_NOT_LOADED);
    generation_now = opened->generation;
    __atomic_store_n(&scenario_now, opened, __ATOMIC_RELEASE);
    return SUCCESS;
}

void close_scenario(void) { __atomic_store_n(&scenario_now, NULL, __ATOMIC_RELEASE); }

int handle_of(struct scenario *scenario, struct gpu *gpu, struct mig *mig, device_t *handle)
{
    uint32_t serial = mig ? mig->serial : 0;
    int code = SUCCESS;
    pthread_mutex_lock(&lock);
    struct handle *found = handles;
    while (found < handles + handles_given
           && !(found->gpu == gpu && found->mig == mig && found->generation == gpu->generation && found->serial == serial))
        found++;
    if (found == handles + HANDLES)
        code = OUT_OF_MEMORY;
    else if (found == handles + handles_given)
        handles[handles_given++] = (struct handle){scenario, gpu, mig, gpu->generation, serial};
    pthread_mutex_unlock(&lock);
    if (!code)
        *handle = found;
    return code;
}

int stale(void) { return current() && current()->generation != generation_now; }

int begin_search(int call, struct gpu *gpu)
{
    int code = begin(current(), call, gpu);
    return !code && stale() ? current()->stale_code : code;
}

int begin_system(int call, struct scenario **scenario)
{
    *scenario = current();
    REQUIRE(*scenario, UNINITIALIZED);
    return begin_search(call, NULL);
}

int begin_device(int call, device_t device)
{
    struct scenario *scenario = current();
    REQUIRE(scenario, UNINITIALIZED);
    REQUIRE(device >= handles && device < handles + handles_given, INVALID_ARGUMENT);
    REQUIRE(device->scenario == scenario, UNINITIALIZED);
    int code = begin_search(call, device->gpu);
    REQUIRE(!code, code);
    REQUIRE(device->gpu->state != STATE_LOST && device->generation == device->gpu->generation, GPU_IS_LOST);
    REQUIRE(device->gpu->state != STATE_RESET_REQUIRED, RESET_REQUIRED);
    REQUIRE(!device->mig || (device->mig->present && device->serial == device->mig->serial), INVALID_ARGUMENT);
    return SUCCESS;
}
