/* SPDX-License-Identifier: MIT */
/* Preloaded under SQLite in tests: lets calls on some files fail, and loses what was not synced when the power goes.

   Does nothing until faults_begin is called, by ctypes. Of each file that is open for writing a copy of what was last synced is
   kept in memory. Names are taken to be on the disk at once; the shared index (-shm) lives in memory and goes with it. Nothing is
   synced really: what would be there is known without, and the disk of the tests has other work. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 64
#define SECTOR 512

typedef struct {
    char path[512];
    char *synced;
    off_t length;
} file_t;

static file_t files[FILES];
static char of_fd[1024][512]; /* the path of each descriptor that counts; empty for others */
static char prefix[512], names[64];
static long nth, power, calls;
static int error_number, stays;
static unsigned torn;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t), (*real_close)(int);
static int (*real_open)(const char *, int, ...);

__attribute__((constructor)) static void start(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_open = dlsym(RTLD_NEXT, "open64");
}

/* From now on, of the calls in `counted` ("write,sync,truncate,open,read,") on files whose path begins with `path`, the n-th fails with
   `error`, and with `and_later` so do all after it; n = 0: none. At call `power_at` the power goes: the process ends with code 99,
   and of what was not synced nothing is there, or with a `seed` a random half of its sectors. */
void faults_begin(const char *path, const char *counted, long n, int error, int and_later, long power_at, unsigned seed) {
    snprintf(prefix, sizeof prefix, "%s", path);
    snprintf(names, sizeof names, "%s", counted);
    nth = n, error_number = error, stays = and_later, power = power_at, torn = seed;
}

long faults_calls(void) { return calls; }

/* -- what is on the disk */

static file_t *file_of(const char *path) {
    for (int i = 0; i < FILES; i++) {
        if (!files[i].path[0]) strcpy(files[i].path, path);
        if (!strcmp(files[i].path, path)) return &files[i];
    }
    abort();
}

/* What the file holds now is on the disk. Reads by the descriptor there is: closing another one would take SQLite's locks. */
static void keep(int fd) {
    size_t end = strlen(of_fd[fd]);
    struct stat status;
    if (!power || (end > 4 && !strcmp(of_fd[fd] + end - 4, "-shm"))) return;
    file_t *file = file_of(of_fd[fd]);
    if (fstat(fd, &status)) abort();
    file->synced = realloc(file->synced, (size_t)status.st_size + 1);
    file->length = real_pread(fd, file->synced, (size_t)status.st_size, 0);
    if (file->length != status.st_size) abort();
}

static void lose(const file_t *file) {
    struct stat status;
    int fd = real_open(file->path, O_RDWR);
    if (fd < 0) return; /* deleted */
    if (fstat(fd, &status)) abort();
    off_t longest = status.st_size > file->length ? status.st_size : file->length;
    off_t length = torn && rand_r(&torn) & 1 ? status.st_size : file->length;
    char *now = calloc(1, (size_t)longest + SECTOR), *was = calloc(1, (size_t)longest + SECTOR);
    if (real_pread(fd, now, (size_t)status.st_size, 0) != status.st_size) abort();
    memcpy(was, file->synced, (size_t)file->length);
    for (off_t at = 0; torn && at < longest; at += SECTOR)
        if (rand_r(&torn) & 1) memcpy(was + at, now + at, SECTOR);
    if (real_ftruncate(fd, length) || real_pwrite(fd, was, (size_t)length, 0) != length) abort();
}

static void power_goes(void) {
    for (int i = 0; i < FILES && files[i].path[0]; i++) lose(&files[i]);
    _exit(99);
}

/* -- calls */

static int is_ours(int fd) { return fd >= 0 && fd < 1024 && of_fd[fd][0]; }

static int fails(const char *name) {
    char word[32];
    snprintf(word, sizeof word, "%s,", name);
    if (!strstr(names, word)) return 0;
    calls++;
    if (power && calls == power) power_goes();
    if (nth && (calls == nth || (stays && calls > nth))) {
        errno = error_number;
        return 1;
    }
    return 0;
}

static int opened(const char *path, int flags, mode_t mode) {
    int ours = prefix[0] && (flags & O_ACCMODE) != O_RDONLY && !strncmp(path, prefix, strlen(prefix));
    if (ours && fails("open")) return -1;
    int existed = access(path, F_OK) == 0, saved = errno, fd = real_open(path, flags, mode);
    if (fd < 0 || fd >= 1024) return fd;
    strcpy(of_fd[fd], ours ? path : "");
    if (ours && power && (!existed || !file_of(path)->synced)) keep(fd);
    errno = saved;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened(path, flags, mode);
}

int close(int fd) {
    if (is_ours(fd)) of_fd[fd][0] = 0;
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    if (is_ours(fd) && fails("write")) return -1;
    return real_pwrite(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

ssize_t pread64(int fd, void *data, size_t length, off_t offset) {
    if (is_ours(fd) && fails("read")) return -1;
    return real_pread(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length) {
    if (is_ours(fd) && fails("write")) return -1;
    return real_write(fd, data, length);
}

int ftruncate64(int fd, off_t length) {
    if (is_ours(fd) && fails("truncate")) return -1;
    return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*call)(int)) {
    if (!is_ours(fd)) return call(fd);
    if (fails("sync")) return -1;
    keep(fd);
    return 0;
}

int fsync(int fd) { return synced(fd, real_fsync); }

int fdatasync(int fd) { return synced(fd, real_fdatasync); }
