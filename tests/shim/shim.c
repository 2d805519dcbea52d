/*
 * Preloaded into a server under test: makes the disk slow to promise, or fail, and notes each promise.
 *
 * DYAD_SHIM_CONTROL  a file whose first letter says what a call does; it may change at any time:
 *                    o (or empty, or no file)  pass it on
 *                    b                         wait until the letter changes, then pass it on
 *                    e                         fail with EIO
 *                    n                         fail with ENOSPC, and so do writes at an offset
 * DYAD_SHIM_LOG      a file to which each call that succeeded appends three 64-bit numbers: what it was, and
 *                    CLOCK_MONOTONIC nanoseconds at its begin and at its end.
 * DYAD_SHIM_PATH     only files whose path contains this are touched.
 *
 * sync_file_range is noted but always passed on: it promises nothing, and a server that relies on it must be found out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const long POLL_NS = 5000000;

/* What a line of the log is about. */
enum { PROMISE = 1, RANGE = 2 };

/* The setting, or the empty string. */
static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* True if the file behind the descriptor is one of those that are meant. */
static int meant(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, setting("DYAD_SHIM_PATH")) != NULL;
}

static char letter(void) {
    char letter = 'o';
    int fd = open(setting("DYAD_SHIM_CONTROL"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return letter;
    if (read(fd, &letter, 1) != 1) letter = 'o';
    close(fd);
    return letter;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void note(uint64_t what, uint64_t begin) {
    uint64_t line[3] = {what, begin, now()};
    int saved = errno;
    int fd = open(setting("DYAD_SHIM_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, line, sizeof line) != (ssize_t)sizeof line) abort();
        close(fd);
    }
    errno = saved;
}

/* Waits while the letter says so; -1 if the call shall fail. */
static int obey(void) {
    for (;;) {
        char what = letter();
        if (what == 'e' || what == 'n') {
            errno = what == 'e' ? EIO : ENOSPC;
            return -1;
        }
        if (what != 'b') return 0;
        struct timespec pause = {0, POLL_NS};
        nanosleep(&pause, NULL);
    }
}

static int promise(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!meant(fd)) return real(fd);
    if (obey() < 0) return -1;
    uint64_t begin = now();
    int result = real(fd);
    if (result == 0) note(PROMISE, begin);
    return result;
}

/* Only a full disk fails here: a broken one is found out when it shall promise. */
static ssize_t put(const char *name, int fd, const void *bytes, size_t count, off64_t offset) {
    ssize_t (*real)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, name);
    if (letter() == 'n' && meant(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return put("pwrite", fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return put("pwrite64", fd, bytes, count, offset);
}

int fsync(int fd) { return promise("fsync", fd); }

int fdatasync(int fd) { return promise("fdatasync", fd); }

int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    int (*real)(int, off64_t, off64_t, unsigned) =
        (int (*)(int, off64_t, off64_t, unsigned))dlsym(RTLD_NEXT, "sync_file_range");
    uint64_t begin = now();
    int result = real(fd, offset, count, flags);
    if (result == 0 && meant(fd)) note(RANGE, begin);
    return result;
}
