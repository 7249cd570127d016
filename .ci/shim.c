/*
 * Between a program and libc (LD_PRELOAD), for .ci/faults.py: the clock that somebody sets, the queue that is full.
 * STEPS="4:-3600,8:3600": what CLOCK_REALTIME is ahead, in seconds, from so many seconds after the start on.
 * FULL="2-5": between these seconds sendmmsg(2) and send(2) fail half of the time, as on a BSD whose queue is full.
 * All is known before the program enters its sandbox; no call is made that it does not make itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_mmsg)(int, struct mmsghdr *, unsigned, int);
static ssize_t (*real_send)(int, const void *, size_t, int);
static double begun, from = -1, to = -1, at[8];
static long by[8];
static int steps;
static double since(void)
{
	struct timespec t;
	real_clock(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9 - begun;
}
__attribute__((constructor)) static void begin(void)
{
	char *s = getenv("STEPS");
	real_clock = dlsym(RTLD_NEXT, "clock_gettime");
	real_mmsg = dlsym(RTLD_NEXT, "sendmmsg");
	real_send = dlsym(RTLD_NEXT, "send");
	begun = since();
	for (; s && *s && steps < 8; steps++) {
		at[steps] = strtod(s, &s);
		by[steps] = strtol(s + 1, &s, 10);
		if (*s)
			s++;
	}
	if ((s = getenv("FULL")) != NULL) {
		from = strtod(s, &s);
		to = strtod(s + 1, NULL);
	}
}
int clock_gettime(clockid_t clock, struct timespec *t)
{
	int i, r = real_clock(clock, t);
	double now = clock == CLOCK_REALTIME ? since() : -1;
	for (i = steps; i-- > 0;)
		if (now >= at[i]) {
			t->tv_sec += by[i];
			break;
		}
	return r;
}
static int full(void)
{
	double now = since();
	return now >= from && now < to && (int)(now * 20) % 2;
}
int sendmmsg(int s, struct mmsghdr *m, unsigned n, int flags)
{
	if (full())
		return errno = ENOBUFS, -1;
	return real_mmsg(s, m, n, flags);
}
ssize_t send(int s, const void *b, size_t n, int flags)
{
	int type = 0;
	socklen_t len = sizeof type;
	/* The pipe-like sockets inside the program have no queue that could be full. */
	if (full() && getsockopt(s, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_DGRAM)
		return errno = ENOBUFS, -1;
	return real_send(s, b, n, flags);
}
