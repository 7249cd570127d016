/*
 * Between a program and libc (LD_PRELOAD), for .ci/inject.py: counts the calls of each system call that a process makes,
 * and fails one of them. INJECT names a file of struct shared, which is mapped before the program enters its sandbox;
 * all its processes share it. Process 0 is the one that was started, those it forks are 1, 2, ... in turn.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define CALLS 48
/* What the kernel does when there is no number for a descriptor that comes: it is lost, the octets are not. */
#define LOST 1000

enum call { ACCEPT4, BIND, CHDIR, CHMOD, CHROOT, CONNECT, DUP, DUP2, FCNTL, FDOPENDIR, FLOCK, FORK, FSTAT, FSYNC, FTRUNCATE, GETIFADDRS, GETSOCKNAME,
	GETSOCKOPT, IOCTL, LISTEN, LSEEK, LSTAT, OPEN, POLL, PTHREAD_CREATE, PWRITE, READ, READDIR, READV, RECV, RECVMSG, RENAME, SEND,
	SENDMMSG, SENDMSG, SENDTO, SETGROUPS, SETRESGID, SETRESUID, SETSOCKOPT, SIGACTION, SOCKET, SOCKETPAIR, STAT, UNLINK,
	WAITPID, WRITE, WRITEV };

struct shared {
	int32_t process, call, nth, error, hits, processes;
	int32_t counts[PROCESSES][CALLS];
};
static struct shared nowhere = { .process = -1 }, *shared = &nowhere;
static int process;

static int fails(enum call call)
{
	if (process >= PROCESSES)
		return 0;
	int n = __atomic_add_fetch(&shared->counts[process][call], 1, __ATOMIC_SEQ_CST);
	if (shared->process != process || shared->call != (int)call || shared->nth != n)
		return 0;
	__atomic_add_fetch(&shared->hits, 1, __ATOMIC_SEQ_CST);
	return shared->error;
}

static void *find(void **at, const char *name)
{
	if (*at == NULL)
		*at = dlsym(RTLD_NEXT, name);
	return *at;
}

#define REAL(name) ((__typeof__(&name))find(&real_##name, #name))
#define WRAP(result, call, name, parameters, arguments) \
	static void *real_##name; \
	result name parameters \
	{ \
		int e = fails(call); \
		if (e) \
			return errno = e, (result)-1; \
		return REAL(name) arguments; \
	}
WRAP(int, ACCEPT4, accept4, (int s, struct sockaddr *restrict a, socklen_t *restrict l, int f), (s, a, l, f))
WRAP(int, BIND, bind, (int s, const struct sockaddr *a, socklen_t l), (s, a, l))
WRAP(int, CHDIR, chdir, (const char *p), (p))
WRAP(int, CHMOD, chmod, (const char *p, mode_t m), (p, m))
WRAP(int, CHMOD, fchmod, (int fd, mode_t m), (fd, m))
WRAP(int, CHMOD, fchmodat, (int fd, const char *p, mode_t m, int f), (fd, p, m, f))
WRAP(int, CHROOT, chroot, (const char *p), (p))
WRAP(int, CONNECT, connect, (int s, const struct sockaddr *a, socklen_t l), (s, a, l))
WRAP(int, DUP, dup, (int fd), (fd))
WRAP(int, DUP2, dup2, (int a, int b), (a, b))
WRAP(int, FLOCK, flock, (int fd, int o), (fd, o))
WRAP(int, FSTAT, fstat64, (int fd, struct stat64 *s), (fd, s))
WRAP(int, FSYNC, fsync, (int fd), (fd))
WRAP(int, FTRUNCATE, ftruncate64, (int fd, off64_t n), (fd, n))
WRAP(int, GETIFADDRS, getifaddrs, (struct ifaddrs **a), (a))
WRAP(int, GETSOCKNAME, getsockname, (int s, struct sockaddr *restrict a, socklen_t *restrict l), (s, a, l))
WRAP(int, GETSOCKOPT, getsockopt, (int s, int v, int o, void *restrict b, socklen_t *restrict l), (s, v, o, b, l))
WRAP(int, LISTEN, listen, (int s, int n), (s, n))
WRAP(off64_t, LSEEK, lseek64, (int fd, off64_t n, int w), (fd, n, w))
WRAP(int, LSTAT, lstat64, (const char *restrict p, struct stat64 *restrict s), (p, s))
WRAP(int, STAT, stat64, (const char *restrict p, struct stat64 *restrict s), (p, s))
WRAP(int, STAT, fstatat64, (int fd, const char *restrict p, struct stat64 *restrict s, int f), (fd, p, s, f))
WRAP(int, STAT, fstatat, (int fd, const char *restrict p, struct stat *restrict s, int f), (fd, p, s, f))
WRAP(int, POLL, poll, (struct pollfd *p, nfds_t n, int t), (p, n, t))
WRAP(ssize_t, PWRITE, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
WRAP(ssize_t, READ, read, (int fd, void *b, size_t n), (fd, b, n))
WRAP(ssize_t, READV, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP(ssize_t, RECV, recv, (int s, void *b, size_t n, int f), (s, b, n, f))
WRAP(int, RENAME, rename, (const char *a, const char *b), (a, b))
WRAP(int, RENAME, renameat, (int x, const char *a, int y, const char *b), (x, a, y, b))
WRAP(ssize_t, SEND, send, (int s, const void *b, size_t n, int f), (s, b, n, f))
WRAP(int, SENDMMSG, sendmmsg, (int s, struct mmsghdr *m, unsigned n, int f), (s, m, n, f))
WRAP(ssize_t, SENDMSG, sendmsg, (int s, const struct msghdr *m, int f), (s, m, f))
WRAP(ssize_t, SENDTO, sendto, (int s, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l), (s, b, n, f, a, l))
WRAP(int, SETGROUPS, setgroups, (size_t n, const gid_t *g), (n, g))
WRAP(int, SETRESGID, setresgid, (gid_t r, gid_t e_, gid_t s), (r, e_, s))
WRAP(int, SETRESUID, setresuid, (uid_t r, uid_t e_, uid_t s), (r, e_, s))
WRAP(int, SETSOCKOPT, setsockopt, (int s, int v, int o, const void *b, socklen_t l), (s, v, o, b, l))
WRAP(int, SIGACTION, sigaction, (int g, const struct sigaction *restrict a, struct sigaction *restrict o), (g, a, o))
WRAP(int, SOCKET, socket, (int d, int t, int p), (d, t, p))
WRAP(int, SOCKETPAIR, socketpair, (int d, int t, int p, int v[2]), (d, t, p, v))
WRAP(int, UNLINK, unlink, (const char *p), (p))
WRAP(int, UNLINK, unlinkat, (int fd, const char *p, int f), (fd, p, f))
WRAP(pid_t, WAITPID, waitpid, (pid_t p, int *s, int o), (p, s, o))
WRAP(ssize_t, WRITE, write, (int fd, const void *b, size_t n), (fd, b, n))
WRAP(ssize_t, WRITEV, writev, (int fd, const struct iovec *v, int n), (fd, v, n))

static void *real_fdopendir, *real_readdir;

DIR *fdopendir(int fd)
{
	int e = fails(FDOPENDIR);
	return e ? (errno = e, (DIR *)NULL) : REAL(fdopendir)(fd);
}

struct dirent *readdir(DIR *d)
{
	int e = fails(READDIR);
	return e ? (errno = e, (struct dirent *)NULL) : REAL(readdir)(d);
}

static void *real_fork, *real_open64, *real_openat64, *real_openat, *real_fcntl, *real_ioctl, *real_recvmsg, *real_pthread_create;

pid_t fork(void)
{
	int e = fails(FORK);
	if (e)
		return errno = e, -1;
	int next = __atomic_add_fetch(&shared->processes, 1, __ATOMIC_SEQ_CST);
	pid_t pid = REAL(fork)();
	if (pid == 0)
		process = next;
	return pid;
}

int open64(const char *path, int flags, ...)
{
	va_list v;
	va_start(v, flags);
	mode_t mode = va_arg(v, mode_t);
	va_end(v);
	int e = fails(OPEN);
	if (e)
		return errno = e, -1;
	return REAL(open64)(path, flags, mode);
}

int openat64(int fd, const char *path, int flags, ...)
{
	va_list v;
	va_start(v, flags);
	mode_t mode = va_arg(v, mode_t);
	va_end(v);
	int e = fails(OPEN);
	if (e)
		return errno = e, -1;
	return REAL(openat64)(fd, path, flags, mode);
}

int openat(int fd, const char *path, int flags, ...)
{
	va_list v;
	va_start(v, flags);
	mode_t mode = va_arg(v, mode_t);
	va_end(v);
	int e = fails(OPEN);
	if (e)
		return errno = e, -1;
	return REAL(openat)(fd, path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
	va_list v;
	va_start(v, command);
	long argument = va_arg(v, long);
	va_end(v);
	int e = fails(FCNTL);
	if (e)
		return errno = e, -1;
	return REAL(fcntl)(fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list v;
	va_start(v, request);
	void *argument = va_arg(v, void *);
	va_end(v);
	int e = fails(IOCTL);
	if (e)
		return errno = e, -1;
	return REAL(ioctl)(fd, request, argument);
}

int pthread_create(pthread_t *restrict t, const pthread_attr_t *restrict a, void *(*f)(void *), void *restrict x)
{
	int e = fails(PTHREAD_CREATE);
	return e ? e : REAL(pthread_create)(t, a, f, x);
}

ssize_t recvmsg(int s, struct msghdr *m, int flags)
{
	int e = fails(RECVMSG);
	if (e && e != LOST)
		return errno = e, -1;
	ssize_t n = REAL(recvmsg)(s, m, flags);
	if (e == LOST && n > 0) {
		for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
			if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
				for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
					close(((int *)CMSG_DATA(c))[i]);
		m->msg_controllen = 0;
		m->msg_flags |= MSG_CTRUNC;
	}
	return n;
}

__attribute__((constructor)) static void begin(void)
{
	const char *name = getenv("INJECT");
	int fd = name ? ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(name, O_RDWR) : -1;
	if (fd < 0)
		return;
	void *at = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		shared = at;
	close(fd);
	/* Found now, because the dynamic linker may need what the sandbox refuses. */
	(void)REAL(fork), (void)REAL(open64), (void)REAL(openat64), (void)REAL(openat), (void)REAL(fcntl), (void)REAL(ioctl), (void)REAL(recvmsg);
	(void)REAL(pthread_create), (void)REAL(poll), (void)REAL(read), (void)REAL(write), (void)REAL(send), (void)REAL(sendmsg);
	memset(shared->counts, 0, sizeof shared->counts);
}
