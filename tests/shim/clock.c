/*
 * Preloaded into a server under test: gives it another wall clock.
 *
 * DYAD_SHIM_CLOCK_MS    milliseconds, negative ones too, by which CLOCK_REALTIME is ahead. Every other clock stays as it is.
 * DYAD_SHIM_CLOCK_FILE  a file with these milliseconds, which is read each time, so that the clock can jump while the server runs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long ahead_ms(void) {
    const char *path = getenv("DYAD_SHIM_CLOCK_FILE");
    if (path) {
        char text[32] = {0};
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        ssize_t size = read(file, text, sizeof text - 1);
        close(file);
        return size > 0 ? atol(text) : 0;
    }
    const char *value = getenv("DYAD_SHIM_CLOCK_MS");
    return value ? atol(value) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return result;
    long ms = ahead_ms();
    time->tv_sec += ms / 1000;
    time->tv_nsec += ms % 1000 * 1000000;
    if (time->tv_nsec >= 1000000000) {
        time->tv_nsec -= 1000000000;
        time->tv_sec += 1;
    } else if (time->tv_nsec < 0) {
        time->tv_nsec += 1000000000;
        time->tv_sec -= 1;
    }
    return result;
}
