/* SPDX-License-Identifier: MIT
 * The least that a Gearman server of one thread must do: take the bytes of clients and workers, and pass them along. It has no
 * job ids, no functions, no priorities, no tables, no timers, and checks nothing: whoever grabs gets the oldest job, of whatever
 * function, and a handle is the number of the client's connection. What a real server takes above this is what its features cost.
 * Never to be used for anything but measuring.
 *
 *   roofline PORT|unix:PATH
 *
 * A turn is as fastgear's: wait; one recv for each ready connection; one send for each that has output. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CAN_DO = 1, PRE_SLEEP = 4, NOOP = 6, SUBMIT_JOB = 7, JOB_CREATED = 8, GRAB_JOB = 9, NO_JOB = 10, JOB_ASSIGN = 11,
       WORK_COMPLETE = 13, ECHO_REQ = 16, ECHO_RES = 17, SUBMIT_JOB_BG = 18 };
enum { MAX_FDS = 65536, SCRATCH = 1 << 18, EVENTS = 256, HEADER = 12, HANDLE = 27 };

typedef struct {
    uint8_t *bytes;
    size_t start, end, room;
} bytes_t;

typedef struct {
    bytes_t kept, out;          /* the beginning of a packet; what waits to be sent */
    int open, dirty, blocked;
} peer_t;

static peer_t peers[MAX_FDS];
static int dirty[MAX_FDS], dirty_count, sleepers[MAX_FDS], sleeper_count, epoll_fd;
static bytes_t jobs;            /* JOB_ASSIGN packets, as they will be sent */
static uint8_t scratch[SCRATCH];

static void fail(const char *what) {
    fprintf(stderr, "roofline: %s: %s\n", what, strerror(errno));
    exit(1);
}

static inline uint32_t get_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static inline void put_u32(uint8_t *to, uint32_t value) {
    value = htonl(value);
    memcpy(to, &value, 4);
}

/* Room for so many bytes at the end. */
static inline uint8_t *extend(bytes_t *bytes, size_t length) {
    if (bytes->start == bytes->end)
        bytes->start = bytes->end = 0;
    if (bytes->end + length > bytes->room && bytes->start > bytes->room / 2) {
        memmove(bytes->bytes, bytes->bytes + bytes->start, bytes->end - bytes->start);
        bytes->end -= bytes->start, bytes->start = 0;
    }
    if (bytes->end + length > bytes->room) {
        bytes->room = 2 * (bytes->end + length) + 512;
        if ((bytes->bytes = realloc(bytes->bytes, bytes->room)) == NULL)
            fail("memory");
    }
    bytes->end += length;
    return bytes->bytes + bytes->end - length;
}

static inline uint8_t *header(bytes_t *to, uint32_t type, size_t length) {
    uint8_t *at = extend(to, HEADER + length);
    memcpy(at, "\0RES", 4);
    put_u32(at + 4, type);
    put_u32(at + 8, length);
    return at + HEADER;
}

static inline bytes_t *out_of(int fd) {
    if (!peers[fd].dirty)
        peers[fd].dirty = 1, dirty[dirty_count++] = fd;
    return &peers[fd].out;
}

/* As long as fastgear's; its last five digits are the descriptor. */
static inline void put_handle(uint8_t *to, int fd) {
    memcpy(to, "H:roofline:0000000000000000", HANDLE);
    for (uint8_t *at = to + HANDLE; fd > 0; fd /= 10)
        *--at = '0' + fd % 10;
}

static inline int get_handle(const uint8_t *handle) {
    int fd = 0;
    for (int i = HANDLE - 5; i < HANDLE; i++)
        fd = fd * 10 + handle[i] - '0';
    return fd;
}

static inline void wake(void) {
    if (sleeper_count > 0)
        header(out_of(sleepers[--sleeper_count]), NOOP, 0);
}

static void on_submit(int fd, int for_whom, const uint8_t *body, size_t length) {
    const uint8_t *unique = (const uint8_t *)memchr(body, 0, length) + 1, *data = (const uint8_t *)memchr(unique, 0, body + length - unique) + 1;
    size_t function_length = unique - body, data_length = body + length - data;
    put_handle(header(out_of(fd), JOB_CREATED, HANDLE), for_whom);
    uint8_t *to = header(&jobs, JOB_ASSIGN, HANDLE + 1 + function_length + data_length);
    put_handle(to, for_whom);
    to[HANDLE] = 0;
    memcpy(to + HANDLE + 1, body, function_length);
    memcpy(to + HANDLE + 1 + function_length, data, data_length);
    wake();
}

static void on_grab(int fd) {
    bytes_t *out = out_of(fd);
    if (jobs.start == jobs.end) {
        header(out, NO_JOB, 0);
        return;
    }
    size_t length = HEADER + get_u32(jobs.bytes + jobs.start + 8);
    memcpy(extend(out, length), jobs.bytes + jobs.start, length);
    jobs.start += length;
}

static void on_packet(int fd, const uint8_t *packet, size_t length) {
    const uint8_t *body = packet + HEADER;
    int client;
    length -= HEADER;
    switch (get_u32(packet + 4)) {
    case SUBMIT_JOB:
        on_submit(fd, fd, body, length);
        break;
    case SUBMIT_JOB_BG:
        on_submit(fd, 0, body, length);
        break;
    case GRAB_JOB:
        on_grab(fd);
        break;
    case WORK_COMPLETE:
        if ((client = get_handle(body)) > 0)
            memcpy(header(out_of(client), WORK_COMPLETE, length), body, length);
        break;
    case PRE_SLEEP:
        sleepers[sleeper_count++] = fd;
        if (jobs.start != jobs.end)
            wake();
        break;
    case ECHO_REQ:
        memcpy(header(out_of(fd), ECHO_RES, length), body, length);
        break;
    }
}

static void hang_up(int fd) {
    for (int i = 0; i < sleeper_count; i++)
        if (sleepers[i] == fd)
            sleepers[i--] = sleepers[--sleeper_count];
    peers[fd].open = peers[fd].blocked = 0;
    peers[fd].kept.start = peers[fd].kept.end = peers[fd].out.start = peers[fd].out.end = 0;
    close(fd);
}

static void on_bytes(int fd, const uint8_t *at, size_t length) {
    bytes_t *kept = &peers[fd].kept;
    while (length >= HEADER && length >= HEADER + (size_t)get_u32(at + 8)) {
        size_t step = HEADER + get_u32(at + 8);
        on_packet(fd, at, step);
        at += step, length -= step;
    }
    kept->start = kept->end = 0;
    if (length > 0)
        memmove(extend(kept, length), at, length);
}

static void on_readable(int fd) {
    peer_t *peer = &peers[fd];
    size_t kept = peer->kept.end;
    ssize_t got = recv(fd, scratch + (kept < SCRATCH / 2 ? kept : 0), SCRATCH / 2, 0);
    if (got <= 0 && (got == 0 || errno != EAGAIN)) {
        hang_up(fd);
    } else if (got > 0 && kept == 0 && scratch[0] != 0) {
        memcpy(extend(out_of(fd), 12), "OK roofline\n", 12);  /* a text command, by which to see that it is up */
    } else if (got > 0 && kept < SCRATCH / 2) {
        memcpy(scratch, peer->kept.bytes, kept);
        on_bytes(fd, scratch, kept + got);
    } else if (got > 0) {
        memcpy(extend(&peer->kept, got), scratch, got);
        if (peer->kept.end >= HEADER + (size_t)get_u32(peer->kept.bytes + 8))
            on_bytes(fd, peer->kept.bytes, peer->kept.end);
    }
}

static void on_writable(int fd) {
    bytes_t *out = &peers[fd].out;
    struct epoll_event event = {.data.fd = fd};
    if (!peers[fd].open || out->start == out->end)
        return;
    ssize_t sent = send(fd, out->bytes + out->start, out->end - out->start, MSG_NOSIGNAL);
    if (sent > 0)
        out->start += sent;
    if (peers[fd].blocked != (out->start != out->end)) {
        peers[fd].blocked = !peers[fd].blocked;
        event.events = EPOLLIN | (peers[fd].blocked ? EPOLLOUT : 0);
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
}

static int listen_on(const char *where) {
    int one = 1, fd;
    if (strncmp(where, "unix:", 5) == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, where + 5, sizeof address.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail(where);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(where)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail(where);
    }
    if (listen(fd, 1024) != 0)
        fail("listen");
    return fd;
}

static void take_in(int listener) {
    struct epoll_event event = {.events = EPOLLIN};
    int one = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event.data.fd = fd;
        if (fd >= MAX_FDS || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
            fail("too many connections");
        peers[fd].open = 1;
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    if (argc != 2) {
        fprintf(stderr, "usage: roofline PORT|unix:PATH\n");
        return 2;
    }
    int listener = event.data.fd = listen_on(argv[1]);
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                take_in(listener);
            else if (events[i].events & EPOLLOUT)
                on_writable(events[i].data.fd);
            if (events[i].data.fd != listener && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(events[i].data.fd);
        }
        for (int i = 0; i < dirty_count; i++) {
            peers[dirty[i]].dirty = 0;
            on_writable(dirty[i]);
        }
        dirty_count = 0;
    }
}
