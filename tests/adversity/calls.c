/* SPDX-License-Identifier: MIT */
/* Preloaded under a server, a client or a pool in tests: lets the n-th system call of a kind fail, or take few bytes.

   What is to fail is in a file that FASTGEAR_CALLS names, mapped here and by the test, which may change it at any time; without it
   nothing happens. Counted are the calls of threads that have waited with epoll, which of all of fastgear only the server's loop
   does, or of all threads. Forked processes count together. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* in the order of faults.py */
enum {
    NONE, RECV, SEND, ACCEPT, WAIT, CONTROL, EPOLL, EVENTFD, NULL_DEVICE, SOCKET, PAIR, BIND, LISTEN, PIPE, MEMORY, THREAD, FORK,
    WRITE, READ, SYNC, STORE_WRITE
};

typedef struct {
    int64_t kind;
    int64_t nth;      /* the first that fails */
    int64_t times;    /* how many in a row do */
    int64_t error;
    int64_t everyone; /* all threads count */
    int64_t most;     /* bytes that a recv or a send takes; 0: as many as it likes */
    int64_t calls;
    int64_t failed;
} page_t;

static page_t *page;
static _Thread_local int is_loop;

#define REAL(name) ((__typeof__(&name))found(&real_##name, #name))
#define WRAPS(name) static void *real_##name

static void *found(void **real, const char *name) {
    if (!*real) *real = dlsym(RTLD_NEXT, name);
    return *real;
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FASTGEAR_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof(page_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED) page = mapped;
}

static int counts(void) { return page && (is_loop || page->everyone); }

static int fails(int kind) {
    if (!counts() || page->kind != kind) return 0;
    int64_t call = __atomic_add_fetch(&page->calls, 1, __ATOMIC_RELAXED);
    if (call < page->nth || call >= page->nth + page->times) return 0;
    __atomic_add_fetch(&page->failed, 1, __ATOMIC_RELAXED);
    errno = (int)page->error;
    return 1;
}

static size_t few(size_t length) {
    return counts() && page->most && length > (size_t)page->most ? (size_t)page->most : length;
}

/* -- sockets */

WRAPS(recv);
ssize_t recv(int fd, void *to, size_t length, int flags) {
    return fails(RECV) ? -1 : REAL(recv)(fd, to, few(length), flags);
}

WRAPS(send);
ssize_t send(int fd, const void *from, size_t length, int flags) {
    return fails(SEND) ? -1 : REAL(send)(fd, from, few(length), flags);
}

WRAPS(sendmsg);
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (fails(SEND)) return -1;
    if (!counts() || !page->most || message->msg_control) return REAL(sendmsg)(fd, message, flags);
    size_t at = 0;
    while (at + 1 < message->msg_iovlen && message->msg_iov[at].iov_len == 0) at++;
    return REAL(send)(fd, message->msg_iov[at].iov_base, few(message->msg_iov[at].iov_len), flags);
}

WRAPS(accept4);
int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    return fails(ACCEPT) ? -1 : REAL(accept4)(fd, address, length, flags);
}

WRAPS(socket);
int socket(int domain, int type, int protocol) { return fails(SOCKET) ? -1 : REAL(socket)(domain, type, protocol); }

WRAPS(socketpair);
int socketpair(int domain, int type, int protocol, int made[2]) {
    return fails(PAIR) ? -1 : REAL(socketpair)(domain, type, protocol, made);
}

WRAPS(bind);
int bind(int fd, const struct sockaddr *address, socklen_t length) {
    return fails(BIND) ? -1 : REAL(bind)(fd, address, length);
}

WRAPS(listen);
int listen(int fd, int backlog) { return fails(LISTEN) ? -1 : REAL(listen)(fd, backlog); }

/* -- the loop */

WRAPS(epoll_wait);
int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout) {
    is_loop = 1;
    return fails(WAIT) ? -1 : REAL(epoll_wait)(epoll, events, most, timeout);
}

/* What is taken out of epoll needs no memory. */
WRAPS(epoll_ctl);
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    return operation != EPOLL_CTL_DEL && fails(CONTROL) ? -1 : REAL(epoll_ctl)(epoll, operation, fd, event);
}

WRAPS(epoll_create1);
int epoll_create1(int flags) { return fails(EPOLL) ? -1 : REAL(epoll_create1)(flags); }

WRAPS(eventfd);
int eventfd(unsigned int initial, int flags) { return fails(EVENTFD) ? -1 : REAL(eventfd)(initial, flags); }

/* Of eight bytes: what wakes a loop, and what it hears of that. Others are files, and pipes of Python's. */
WRAPS(write);
ssize_t write(int fd, const void *from, size_t length) {
    return length == 8 && fails(WRITE) ? -1 : REAL(write)(fd, from, length);
}

WRAPS(read);
ssize_t read(int fd, void *to, size_t length) { return length == 8 && fails(READ) ? -1 : REAL(read)(fd, to, length); }

WRAPS(pipe2);
int pipe2(int made[2], int flags) { return fails(PIPE) ? -1 : REAL(pipe2)(made, flags); }

WRAPS(memfd_create);
int memfd_create(const char *name, unsigned int flags) { return fails(MEMORY) ? -1 : REAL(memfd_create)(name, flags); }

static int opened(void *real, const char *path, int flags, mode_t mode) {
    if (!strcmp(path, "/dev/null") && fails(NULL_DEVICE)) return -1;
    return ((int (*)(const char *, int, ...))real)(path, flags, mode);
}

WRAPS(open);
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened((void *)REAL(open), path, flags, mode);
}

WRAPS(open64);
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return opened((void *)REAL(open64), path, flags, mode);
}

/* -- processes and threads */

WRAPS(pthread_create);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *argument) {
    return fails(THREAD) ? (int)page->error : REAL(pthread_create)(thread, attributes, main, argument);
}

WRAPS(fork);
pid_t fork(void) { return fails(FORK) ? -1 : REAL(fork)(); }

/* -- the disk */

WRAPS(fsync);
int fsync(int fd) { return fails(SYNC) ? -1 : REAL(fsync)(fd); }

WRAPS(fdatasync);
int fdatasync(int fd) { return fails(SYNC) ? -1 : REAL(fdatasync)(fd); }

WRAPS(pwrite64);
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    return fails(STORE_WRITE) ? -1 : REAL(pwrite64)(fd, data, length, offset);
}
