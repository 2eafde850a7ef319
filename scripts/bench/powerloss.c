/* Remembers what a program wrote to its labels and what of it was synced, so that a power failure can be
 * played: everything that no fsync covered is dropped. Loaded with LD_PRELOAD; the journal's path is in
 * POWERLOSS_JOURNAL. See labelling.py, which reads it.
 *
 * A record: kind (W write, T truncate, S sync, U unlink), length of the path, path, offset, length, bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 4096
static char *paths[MOST];
static int journal = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int watched(const char *path) {
    return path && strstr(path, "labels.sqlite") && !strstr(path, "-shm") && !strstr(path, "backups");
}

static void note(char kind, const char *path, uint64_t offset, const void *data, uint32_t length) {
    static ssize_t (*write_)(int, const void *, size_t);
    if (!write_) write_ = real("write");
    pthread_mutex_lock(&lock);
    if (journal < 0) {
        int (*open_)(const char *, int, ...) = real("open");
        journal = open_(getenv("POWERLOSS_JOURNAL"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
    uint16_t size = (uint16_t)strlen(path);
    uint32_t bytes = kind == 'W' ? length : 0;
    size_t total = 1 + 2 + size + 8 + 4 + bytes, at = 0;
    char *record = malloc(total);
    record[at++] = kind;
    memcpy(record + at, &size, 2); at += 2;
    memcpy(record + at, path, size); at += size;
    memcpy(record + at, &offset, 8); at += 8;
    memcpy(record + at, &bytes, 4); at += 4;
    if (bytes) memcpy(record + at, data, bytes);
    for (size_t done = 0; done < total;) {
        ssize_t n = write_(journal, record + done, total - done);
        if (n <= 0) abort();
        done += (size_t)n;
    }
    free(record);
    pthread_mutex_unlock(&lock);
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < MOST) {
        free(paths[fd]);
        paths[fd] = watched(path) ? strdup(strrchr(path, '/') ? strrchr(path, '/') + 1 : path) : NULL;
    }
    return fd;
}
static const char *of(int fd) { return fd >= 0 && fd < MOST ? paths[fd] : NULL; }

#define OPEN(name)                                                                                  \
    int name(const char *path, int flags, ...) {                                                    \
        va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list);       \
        int (*next)(const char *, int, ...) = real(#name);                                           \
        return opened(next(path, flags, mode), path);                                                \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                                \
    int name(int at, const char *path, int flags, ...) {                                            \
        va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list);       \
        int (*next)(int, const char *, int, ...) = real(#name);                                      \
        return opened(next(at, path, flags, mode), path);                                            \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    int (*next)(int) = real("close");
    if (of(fd)) { free(paths[fd]); paths[fd] = NULL; }
    return next(fd);
}
ssize_t write(int fd, const void *data, size_t length) {
    ssize_t (*next)(int, const void *, size_t) = real("write");
    const char *path = of(fd);
    off_t at = path ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = next(fd, data, length);
    if (path && n > 0) note('W', path, (uint64_t)at, data, (uint32_t)n);
    return n;
}
#define PWRITE(name, offset_type)                                                                   \
    ssize_t name(int fd, const void *data, size_t length, offset_type at) {                         \
        ssize_t (*next)(int, const void *, size_t, offset_type) = real(#name);                       \
        ssize_t n = next(fd, data, length, at);                                                      \
        if (of(fd) && n > 0) note('W', of(fd), (uint64_t)at, data, (uint32_t)n);                     \
        return n;                                                                                    \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
#define TRUNCATE(name, offset_type)                                                                 \
    int name(int fd, offset_type at) {                                                              \
        int (*next)(int, offset_type) = real(#name);                                                 \
        int result = next(fd, at);                                                                   \
        if (of(fd) && !result) note('T', of(fd), (uint64_t)at, NULL, 0);                             \
        return result;                                                                               \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)
#define SYNC(name)                                                                                  \
    int name(int fd) {                                                                              \
        int (*next)(int) = real(#name);                                                              \
        int result = next(fd);                                                                       \
        if (of(fd) && !result) note('S', of(fd), 0, NULL, 0);                                        \
        return result;                                                                               \
    }
SYNC(fsync)
SYNC(fdatasync)
int unlink(const char *path) {
    int (*next)(const char *) = real("unlink");
    int result = next(path);
    if (!result && watched(path)) note('U', strrchr(path, '/') ? strrchr(path, '/') + 1 : path, 0, NULL, 0);
    return result;
}
