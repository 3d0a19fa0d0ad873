/* SPDX-License-Identifier: MIT
 * A load for a Gearman server: so many clients and workers in one thread, with little work of its own, so that the server is
 * what is measured. Uses none of fastgear's code.
 *
 *   load HOST PORT|unix:PATH JOBS CLIENTS WORKERS WINDOW GRABS BYTES SECONDS
 *
 * Each client keeps WINDOW foreground jobs of BYTES bytes under way, each worker GRABS requests for jobs. Prints
 * "seconds p50_us p99_us" once JOBS are done; gives up with exit code 1 after SECONDS. Every result is counted once, and
 * checked for its length. */
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
#include <time.h>
#include <unistd.h>

enum { CAN_DO = 1, PRE_SLEEP = 4, NOOP = 6, SUBMIT_JOB = 7, JOB_CREATED = 8, GRAB_JOB = 9, NO_JOB = 10, JOB_ASSIGN = 11,
       WORK_COMPLETE = 13 };
enum { MAX_PEERS = 1024, MAX_SAMPLES = 1 << 20 };

typedef struct {
    int fd, is_worker;
    uint8_t *in, *out;
    size_t in_length, out_length, out_sent;
    int asked;                  /* worker: grabs without an answer; client: jobs without a result */
    double *submitted;          /* client: when each job of the window was, in order; results come nearly in order too */
    unsigned oldest, newest;
} peer_t;

static peer_t peers[MAX_PEERS];
static long jobs, submitted, completed;
static int window, grabs;
static size_t bytes, room;
static double *samples;
static int epoll_fd;

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void put_u32(uint8_t *to, uint32_t value) {
    to[0] = value >> 24, to[1] = value >> 16, to[2] = value >> 8, to[3] = value;
}

static uint32_t get_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* A request of an argument part and a data part, which may both be empty. */
static void say(peer_t *peer, int type, const void *args, size_t args_length, size_t data_length) {
    size_t length = args_length + data_length;
    uint8_t *to = peer->out + peer->out_length;
    if (peer->out_length + 12 + length > room) {
        errno = ENOBUFS;
        fail("the server does not read");
    }
    memcpy(to, "\0REQ", 4);
    put_u32(to + 4, type);
    put_u32(to + 8, length);
    memcpy(to + 12, args, args_length);
    memset(to + 12 + args_length, 'x', data_length);
    peer->out_length += 12 + length;
}

static void submit(peer_t *peer) {
    while (peer->asked < window && submitted < jobs) {
        say(peer, SUBMIT_JOB, "load\0", 6, bytes);
        peer->submitted[peer->newest++ % window] = now();
        peer->asked++;
        submitted++;
    }
}

static void grab(peer_t *peer) {
    for (; peer->asked < grabs; peer->asked++)
        say(peer, GRAB_JOB, "", 0, 0);
}

static void on_client_packet(peer_t *peer, int type, const uint8_t *body, size_t length) {
    const uint8_t *end = memchr(body, 0, length);
    if (type == JOB_CREATED)
        return;
    if (type != WORK_COMPLETE || end == NULL || length - (end + 1 - body) != bytes) {
        fprintf(stderr, "load: a client got a packet of type %d and %zu bytes\n", type, length);
        exit(1);
    }
    if (completed < MAX_SAMPLES)
        samples[completed] = now() - peer->submitted[peer->oldest++ % window];
    completed++;
    peer->asked--;
    submit(peer);
}

static void on_worker_packet(peer_t *peer, int type, const uint8_t *body, size_t length) {
    const uint8_t *end;
    if (type == JOB_ASSIGN && (end = memchr(body, 0, length)) != NULL) {
        peer->asked--;
        say(peer, WORK_COMPLETE, body, end + 1 - body, bytes);
        grab(peer);
    } else if (type == NO_JOB) {
        if (--peer->asked == 0)
            say(peer, PRE_SLEEP, "", 0, 0);
    } else if (type == NOOP) {
        grab(peer);
    } else {
        fprintf(stderr, "load: a worker got a packet of type %d\n", type);
        exit(1);
    }
}

static void take_packets(peer_t *peer) {
    size_t used = 0;
    while (peer->in_length - used >= 12) {
        uint8_t *packet = peer->in + used;
        size_t length = get_u32(packet + 8);
        if (peer->in_length - used < 12 + length)
            break;
        (peer->is_worker ? on_worker_packet : on_client_packet)(peer, get_u32(packet + 4), packet + 12, length);
        used += 12 + length;
    }
    memmove(peer->in, peer->in + used, peer->in_length -= used);
}

static void flush_out(peer_t *peer) {
    while (peer->out_sent < peer->out_length) {
        ssize_t sent = send(peer->fd, peer->out + peer->out_sent, peer->out_length - peer->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            fail("send");
        peer->out_sent += sent;
    }
    memmove(peer->out, peer->out + peer->out_sent, peer->out_length -= peer->out_sent);
    peer->out_sent = 0;
}

static void on_event(peer_t *peer, uint32_t events) {
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t got = recv(peer->fd, peer->in + peer->in_length, room - peer->in_length, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            fail("the server closed a connection");
        if (got > 0)
            peer->in_length += got;
        take_packets(peer);
    }
    flush_out(peer);
}

static int connect_to(const char *host, const char *port) {
    int one = 1, fd;
    if (strncmp(port, "unix:", 5) == 0) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, port + 5, sizeof address.sun_path - 1);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail(port);
    } else {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
        inet_pton(AF_INET, host, &address.sin_addr);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
            fail(port);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return fd;
}

static void open_peer(peer_t *peer, int is_worker, const char *host, const char *port) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = peer};
    peer->fd = connect_to(host, port);
    peer->is_worker = is_worker;
    peer->in = malloc(room), peer->out = malloc(room);
    peer->submitted = malloc(sizeof(double) * window);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) != 0)
        fail("epoll_ctl");
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: load HOST PORT|unix:PATH JOBS CLIENTS WORKERS WINDOW GRABS BYTES SECONDS\n");
        return 2;
    }
    int clients = atoi(argv[4]), workers = atoi(argv[5]);
    double limit = atof(argv[9]), begin;
    struct epoll_event events[64];
    jobs = atol(argv[3]), window = atoi(argv[6]), grabs = atoi(argv[7]), bytes = atol(argv[8]);
    if (jobs < 1 || clients < 1 || workers < 1 || clients + workers > MAX_PEERS || window < 1 || grabs < 1)
        return 2;
    room = 65536 + 2 * (bytes + 128) * (window > grabs ? window : grabs) * (clients > workers ? clients : workers);
    samples = malloc(sizeof(double) * MAX_SAMPLES);
    epoll_fd = epoll_create1(0);
    for (int i = 0; i < clients + workers; i++) {
        open_peer(&peers[i], i < workers, argv[1], argv[2]);
        if (i < workers) {
            say(&peers[i], CAN_DO, "load", 4, 0);
            grab(&peers[i]);
            on_event(&peers[i], 0);
        }
    }
    begin = now();
    for (int i = workers; i < clients + workers; i++) {
        submit(&peers[i]);
        on_event(&peers[i], 0);
    }
    while (completed < jobs) {
        int count = epoll_wait(epoll_fd, events, 64, 100);
        for (int i = 0; i < count; i++)
            on_event(events[i].data.ptr, events[i].events);
        if (now() - begin > limit) {
            fprintf(stderr, "load: %ld of %ld jobs after %.1f s\n", completed, jobs, limit);
            return 1;
        }
    }
    double seconds = now() - begin;
    long counted = completed < MAX_SAMPLES ? completed : MAX_SAMPLES;
    qsort(samples, counted, sizeof(double), by_size);
    printf("%.6f %.2f %.2f\n", seconds, samples[counted / 2] * 1e6, samples[counted * 99 / 100] * 1e6);
    return 0;
}
