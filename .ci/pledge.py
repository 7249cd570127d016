#!/usr/bin/env python3
"""A model of OpenBSD's pledge(2) and unveil(2) and of FreeBSD's Capsicum, held against what the child does on Linux.

usage: pledge.py PFLOW TESTDATA-DIRECTORY     (as root, with iproute2, strace and useradd; pflowctl beside PFLOW)
       pledge.py --self-check

The daemon goes through all it does in its life under strace: captures, clients, tap, flow files, keep file, reload, soliciting over
both IP versions, an interface that goes and comes back, flush, statistics, the end. From the call that enters the cage
(seccomp) on, each call of a caged process is looked up by its name on OpenBSD and must be covered by the promises that
src/io/privileges.rs makes. Files are not named at all after unveil(2) of nothing. Sources: OpenBSD's kern_pledge.c
(pledge_syscalls, pledge_sockopt, pledge_ioctl, pledge_fcntl, pledge_kill), FreeBSD's capabilities.conf and rights(4).
Calls that only the BSDs' own code makes are not seen here; they are in src/io/sys/ and few.
"""
import collections, gzip, os, re, signal, subprocess, sys, tempfile, time

from common import make_user

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = open(os.path.join(HERE, '..', 'src', 'io', 'privileges.rs')).read()
PROMISES = set(re.search(r'let promises = c"([a-z ]+)"', SOURCE)[1].split())

# Linux's call: OpenBSD's and the promise that it takes. None: Linux alone has it, and nothing stands for it there.
PLAIN = {
    'read': 'stdio', 'write': 'stdio', 'readv': 'stdio', 'writev': 'stdio', 'pread64': 'stdio', 'pwrite64': 'stdio',
    'recvfrom': 'stdio', 'close': 'stdio', 'dup': 'stdio', 'dup2': 'stdio', 'dup3': 'stdio', 'fstat': 'stdio',
    'lseek': 'stdio', 'ftruncate': 'stdio', 'fsync': 'stdio', 'fdatasync': 'stdio', 'poll': 'stdio', 'ppoll': 'stdio',
    'shutdown': 'stdio', 'socketpair': 'stdio', 'pipe2': 'stdio', 'recvmmsg': 'stdio',
    'munmap': 'stdio', 'mremap': 'stdio', 'madvise': 'stdio', 'brk': 'stdio', 'getrandom': 'stdio',
    'sigaltstack': 'stdio', 'rt_sigaction': 'stdio', 'rt_sigprocmask': 'stdio', 'rt_sigreturn': 'stdio',
    'clock_gettime': 'stdio', 'clock_nanosleep': 'stdio', 'nanosleep': 'stdio', 'gettimeofday': 'stdio', 'time': 'stdio',
    'getpid': 'stdio', 'getuid': 'stdio', 'geteuid': 'stdio', 'gettid': 'stdio', 'sched_yield': 'stdio',
    'futex': None, 'exit': None, 'exit_group': None, 'restart_syscall': None, 'set_robust_list': None, 'rseq': None,
    'sched_getaffinity': 'stdio',  # hw.ncpuonline by sysctl(2)
    'accept': 'inet', 'accept4': 'inet', 'getsockname': 'inet', 'getpeername': 'inet', 'listen': 'inet',
    'umask': 'stdio', 'wait4': 'stdio', 'getrusage': 'stdio',
}
# Options by level: (promise to set, to get); what is not here is refused. SOL_SOCKET is open to "inet" but for SO_RTABLE.
MULTICAST = 'IP_MULTICAST_IF IP_MULTICAST_TTL IP_MULTICAST_LOOP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP'.split()
MULTICAST_6 = 'IPV6_MULTICAST_IF IPV6_MULTICAST_HOPS IPV6_MULTICAST_LOOP IPV6_ADD_MEMBERSHIP IPV6_DROP_MEMBERSHIP'.split()
INET = 'IP_TOS IP_TTL IP_MINTTL'.split()
INET_6 = 'IPV6_TCLASS IPV6_UNICAST_HOPS IPV6_MINHOPCOUNT'.split()
# Linux's own, for what the child does otherwise on OpenBSD, or not at all: the call that stands for it.
LINUX_OPTIONS = {
    ('SOL_PACKET', 'PACKET_STATISTICS'): 'bpf',  # ioctl(2), BIOCGSTATS
    ('SOL_UDP', 'UDP_SEGMENT'): None,  # sys::can_cut: Linux only
    ('SOL_PACKET', 'PACKET_RX_RING'): None,  # pcap_close(3) gives back a ring, which bpf has not
}
# libpcap on Linux asks a packet socket whether its interface is up when a read fails; pcap-bpf.c asks nothing.
# What of a connection is not acknowledged is asked where the system tells it: sys::unacknowledged makes no call on OpenBSD.
LINUX_IOCTL = re.compile(r'\d+<(PACKET|socket:).*?>, SIOCGIFFLAGS,|\d+<(TCP|TCPv6|socket:).*?>, [ST]IOCOUTQ *,')
# What only Linux's libraries do: libpcap reads an interface's drops, and asks what became of it; glibc counts processors,
# and asks how memory that a thread gives back is reckoned.
LINUX_FILES = re.compile(r'AT_FDCWD(<.*?>)?, "/(sys/class/net/[^/]+/statistics/\w+|sys/devices/system/cpu/online|proc/stat|proc/sys/vm/overcommit_memory)", O_RDONLY')


def plain(args):
    """The arguments without what strace tells of the first, a descriptor."""
    return re.sub(r'^(\d+)<.*?>(?=[,)])', r'\1', args)


def promise(name, args):
    """The promise that a call takes; '' if none is enough, None if it stands for nothing on OpenBSD."""
    if name == 'getsockname' and 'sa_family=AF_PACKET' in args or name == 'openat' and LINUX_FILES.match(args):
        return None
    if name == 'ioctl' and LINUX_IOCTL.match(args):
        return None
    if name in PLAIN:
        return PLAIN[name]
    if name in ('mmap', 'mprotect'):
        return 'prot_exec' if 'PROT_EXEC' in args else 'stdio'
    if name in ('clone', 'clone3'):
        return 'stdio' if 'CLONE_THREAD' in args else 'proc'
    if name in ('newfstatat', 'statx', 'fstatat64'):
        return 'stdio' if re.search(r', "", ', args) and 'AT_EMPTY_PATH' in args else ''
    if name == 'prctl':
        # The name of a thread: not a call of the kernel on OpenBSD.
        # The other is on the way into the cage, which takes two calls.
        return None if re.match('PR_SET_NAME|PR_SET_NO_NEW_PRIVS', args) else ''
    if name == 'socket':
        # Routes by netlink, to list addresses: sysctl(2) of NET_RT_IFLIST, which "inet" covers.
        family = args.split(',')[0]
        return 'inet' if family in ('AF_INET', 'AF_INET6', 'AF_NETLINK') else 'unix' if family == 'AF_UNIX' else ''
    if name in ('bind', 'connect'):
        return 'unix' if 'sa_family=AF_UNIX' in args else 'inet'
    if name in ('sendto', 'sendmsg', 'sendmmsg'):
        return 'sendfd' if 'SCM_RIGHTS' in args else 'unix' if 'sa_family=AF_UNIX' in args else 'inet' if 'sa_family=' in args else 'stdio'
    if name == 'recvmsg':
        return 'recvfd' if 'SCM_RIGHTS' in args else 'stdio'
    if name in ('setsockopt', 'getsockopt'):
        level, option = [word.strip() for word in plain(args).split(',')[1:3]]
        if (level, option) in LINUX_OPTIONS:
            return LINUX_OPTIONS[level, option]
        if level == 'SOL_SOCKET':
            return '' if option in ('SO_RTABLE', 'SO_BINDTODEVICE') else 'inet'
        if option in MULTICAST + MULTICAST_6:
            return 'mcast'
        return 'inet' if option in INET + INET_6 else ''
    if name == 'ioctl':
        return 'stdio' if plain(args).split(',')[1].strip() in ('FIONBIO', 'FIONREAD', 'FIOCLEX', 'FIONCLEX') else ''
    if name == 'fcntl':
        return 'proc' if 'F_SETOWN' in args else 'stdio'
    if name in ('kill', 'tgkill', 'tkill'):
        return 'proc'
    return ''


# What a capture's descriptor may be used for on FreeBSD (sys::limit_capture), and the rights that Linux's calls take.
RIGHTS = {'CAP_READ', 'CAP_EVENT', 'CAP_IOCTL'}
RIGHT_OF = {'read': 'CAP_READ', 'recvfrom': 'CAP_READ', 'recvmsg': 'CAP_READ', 'poll': 'CAP_EVENT', 'ppoll': 'CAP_EVENT',
            'getsockopt': 'CAP_IOCTL', 'fcntl': 'CAP_FCNTL', 'ioctl': 'CAP_IOCTL', 'setsockopt': 'CAP_SETSOCKOPT',
            'mmap': 'CAP_MMAP', 'bind': 'CAP_BIND'}


def right(name, args):
    """The right that a call needs on the capture's descriptor which it begins with; None: it needs none."""
    # strace does not name the kind of a packet socket of another namespace.
    if not re.match(r'\d+<(PACKET|socket:)', args) or name == 'close' or promise(name, args) is None:
        return None
    # libpcap asks for SO_ERROR on Linux alone; elsewhere there is no socket.
    if name == 'getsockopt' and 'SO_ERROR' in args:
        return None
    if name == 'getsockopt' and 'PACKET_STATISTICS' not in args:
        return 'CAP_GETSOCKOPT'
    return RIGHT_OF.get(name, name)


# FreeBSD's capability mode is not entered. Calls that it would refuse, and why the child makes them: nothing else may
# come to stand in its way.
OUTSIDE_CAPABILITY_MODE = {
    'sendto': 'to an address: collectors change while the program runs',
    'sendmsg': 'likewise',
    'sendmmsg': 'likewise',
    'connect': 'to learn the source address for a tap',
}


def capability(name, args):
    """What a call would be refused for in capability mode, or None."""
    if name == 'socket' and args.startswith('AF_NETLINK'):
        return 'getifaddrs'
    if 'AF_NETLINK' in args or '<NETLINK' in args or promise(name, args) is None:
        return None
    if name in ('sendto', 'sendmsg', 'sendmmsg'):
        return name if 'sa_family=' in args else None
    if name in ('bind', 'connect'):
        return name
    return name if promise(name, args) == '' or name in ('kill', 'tgkill', 'execve', 'openat', 'open', 'unlink') else None


# The process that holds /dev/pf (run/parent/pf.rs). On FreeBSD it is in capability mode with one right on that descriptor; on
# OpenBSD it is not under pledge(2), because pledge_ioctl() lets no promise have DIOCGETSTATE. It does not run on Linux, so its
# source is read: what it leaves itself, and what it calls.
PF_CALLS = {'read', 'write_all', 'wait_readable', 'set_write_timeout'}


def pf_process():
    """What is wrong with what the process of /dev/pf leaves itself, and with what it calls."""
    source = lambda name: open(os.path.join(HERE, '..', 'src', name)).read()
    wrong, limits = [], source('io/sys/pf.rs')
    limit = limits[limits.index('fn limit_pf'):]
    if set(re.findall(r'libc::(CAP_[A-Z]+),', limit)) != {'CAP_IOCTL'} or '[DIOCGETSTATESV2]' not in limit:
        wrong.append('limit_pf leaves more, or less, than DIOCGETSTATESV2')
    device = source('io/pf/device.rs')
    confine = device[device.index('limit_pf'):]
    if not re.match(r'limit_pf\(&self\.0\)\?;\s*crate::io::sys::enter_capability_mode\(\)\?;', confine):
        wrong.append('confine does not limit the descriptor and then enter capability mode')
    used = set(re.findall(r'sys::(\w+)\(&self\.0', device)) - {'limit_pf'}
    if used != {'pf_state', 'pf_states'}:
        wrong.append('/dev/pf is used by %s' % sorted(used))
    asked = set(re.findall(r'libc::ioctl\(pf\.as_raw_fd\(\), (\w+)', limits))
    if asked != {'DIOCGETSTATE', 'DIOCGETSTATESV2'} or 'File::open(PATH)' not in device or 'OpenOptions' in device:
        wrong.append('/dev/pf is opened to be written, or asked %s' % sorted(asked))
    process = source('io/pf/process.rs')
    called = set(re.findall(r'(?:stream|sys)(?:\.|::)(\w+)\(', process))
    if called - PF_CALLS:
        wrong.append('the process calls %s' % sorted(called - PF_CALLS))
    parent = source('run/parent/pf.rs')
    steps = [parent.index(step) for step in ('check_pf(&self.config)?', 'Device::open()?', 'fork_apart()', 'self.life = None', 'self.confine(&device)', 'pf::run(')]
    if steps != sorted(steps) or parent.index('become_user') > parent.index('.confine()'):
        wrong.append('the process does not check, open, fork and give up in this order')
    return wrong


CALL = re.compile(r'(\d+) +(\w+)\((.*)$')


def calls(path):
    """(process, call, arguments and result) of a trace, calls that were interrupted put together."""
    begun = {}
    for line in open(path, errors='replace'):
        line = line.rstrip('\n')
        resumed = re.match(r'(\d+) +<\.\.\. (\w+) resumed>(.*)$', line)
        if resumed:
            pid, name, rest = resumed.groups()
            yield int(pid), name, begun.pop(pid, '') + rest
            continue
        call = CALL.match(line)
        if not call:
            continue
        pid, name, rest = call.groups()
        if rest.endswith('<unfinished ...>'):
            begun[pid] = rest[:-len('<unfinished ...>')]
            # What never comes back is a call, too.
            if name in ('exit', 'exit_group'):
                yield int(pid), name, rest
            continue
        yield int(pid), name, rest


def judge(path):
    """Calls after the cage, how many processes and threads were caged, and what is wrong."""
    caged, seen, wrong, before = set(), collections.Counter(), collections.Counter(), collections.Counter()
    for pid, name, args in calls(path):
        if name == 'seccomp' and re.search(r'SECCOMP_SET_MODE_FILTER.*= 0$', args) or name == 'prctl' and re.match(r'PR_SET_SECCOMP.*= 0$', args):
            caged.add(pid)
            continue
        if pid not in caged:
            before[name] += 1
            continue
        if name in ('clone', 'clone3'):
            thread = re.search(r'= (\d+)', args)
            if thread:
                caged.add(int(thread[1]))
        seen[name] += 1
        # A call that the sandbox refused did nothing, but on OpenBSD it would have ended the process.
        needs = promise(name, args)
        if needs == '' or needs and needs not in PROMISES:
            wrong['pledge: %s(%s): %s' % (name, args[:160], 'no promise of ours covers it' if needs == '' else '"%s" is not promised' % needs)] += 1
        needs = right(name, args)
        if needs and needs not in RIGHTS:
            wrong['Capsicum: %s(%s): the capture has no %s' % (name, args[:160], needs)] += 1
        needs = capability(name, args)
        if needs and needs not in OUTSIDE_CAPABILITY_MODE:
            wrong['capability mode: %s(%s)' % (name, args[:160])] += 1
    return seen, caged, wrong


def self_check():
    """Each kind of trouble is seen, and what is right is not."""
    begin = '7 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=3}) = 0\n'
    bad = {
        'lstat in the child': '7 newfstatat(AT_FDCWD, "/var/run/pflow.sock", 0x7f, AT_SYMLINK_NOFOLLOW) = -1 EPERM',
        'statx of a path': '7 statx(AT_FDCWD, "/x", AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW, STATX_ALL, 0x7f) = -1 EPERM',
        'an option of multicast': '7 getsockopt(9<RAWv6:[1]>, SOL_IPV6, IPV6_MULTICAST_IF, [2], [4]) = 0',
        'another': '7 setsockopt(9<RAW:[1]>, SOL_IP, IP_MULTICAST_TTL, "\\377", 1) = 0',
        'a terminal': '7 ioctl(2<char 1:3>, TCGETS, 0x7f) = -1 ENOTTY',
        'unlink': '7 unlink("/var/run/pflow.sock") = -1 EPERM',
        'open': '7 openat(AT_FDCWD, "/etc/x", O_RDONLY|O_CLOEXEC) = -1 EPERM',
        'F_SETOWN': '7 fcntl(9<UDP:[1]>, F_SETOWN, 7) = 0',
        'a descriptor passed on': '7 sendmsg(9<UNIX-STREAM:[1]>, {msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[4]}]}, 0) = 4',
        'in a thread': '7 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 8\n8 unlink("/x") = -1 EPERM',
        'in two pieces': '7 openat(AT_FDCWD, "/etc/x", O_RDONLY <unfinished ...>\n7 <... openat resumed>) = -1 EPERM',
        'the filter of a capture': '7 setsockopt(5<PACKET:[3]>, SOL_SOCKET, SO_ATTACH_FILTER, {len=1}, 16) = 0',
        'to a socket of a name': '7 sendto(5<UNIX-DGRAM:[3]>, "x", 1, 0, {sa_family=AF_UNIX, sun_path="/dev/log"}, 110) = 1',
        'a packet socket': '7 socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) = -1 EPERM',
        'flags of an interface, by a socket of ours': '7 ioctl(9<UDP:[1]>, SIOCGIFFLAGS, {ifr_name="x"}) = -1 EPERM',
        'a signal for another': '7 kill(1, SIGTERM) = -1 EPERM',
    }
    good = ['7 read(5<UNIX-STREAM:[3]>, "x", 1) = 1', '7 newfstatat(5</x>, "", {st_mode=S_IFREG}, AT_EMPTY_PATH) = 0',
            '7 getsockopt(5<PACKET:[3]>, SOL_PACKET, PACKET_STATISTICS, {}, [12]) = 0',
            '7 sendto(9<UDP:[1]>, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(1)}, 16) = 1',
            '7 ioctl(5<PACKET:[3]>, SIOCGIFFLAGS, {ifr_name="x"}) = -1 EPERM',
            '7 ioctl(8<TCP:[127.0.0.1:4->127.0.0.1:5]>, TIOCOUTQ, [0]) = 0',
            '9 unlink("/not caged") = 0', '7 recvmsg(9<UNIX-STREAM:[1]>, {msg_control=[{cmsg_type=SCM_RIGHTS}]}, 0) = 4']
    with tempfile.TemporaryDirectory() as directory:
        path = directory + '/trace'
        for what, lines in bad.items():
            open(path, 'w').write(begin + lines + '\n')
            assert judge(path)[2], what + ' is not seen'
        open(path, 'w').write(begin + '\n'.join(good) + '\n')
        assert not judge(path)[2], judge(path)[2]
    return len(bad) + len(good)


for problem in pf_process():
    sys.exit('FAILED the process of /dev/pf: ' + problem)
if sys.argv[1:] == ['--self-check']:
    print('the model: %d cases' % self_check())
    sys.exit()

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
NS = 'pflow-p-%d' % os.getpid()
make_user()

SENDER = '''
import socket, struct, sys, time
b, p = open(sys.argv[2], 'rb').read(), 24
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
while p < len(b):
    n = struct.unpack_from('<I', b, p + 8)[0]
    s.send(b[p + 16:p + 16 + n])
    p += 16 + n
    time.sleep(0.002)
'''


def ip(words):
    subprocess.run(['ip', '-n', NS, *words.split()], check=True)


def pair():
    ip('link add pps type veth peer name ppc')
    ip('addr add 192.0.2.9/24 dev ppc')
    ip('addr add 192.0.2.1/24 dev pps')
    ip('link set pps up')
    ip('link set ppc up')


def inside(*words, **how):
    return subprocess.Popen(['ip', 'netns', 'exec', NS, *words], text=True, **how)


def send():
    assert inside(sys.executable, '-c', SENDER, 'pps', DATA + '/mix200.openbsd-v6.pcap').wait(60) == 0


# A collector of connections, once.
TCP = 4740
LISTENER = '''
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', %d))
s.listen()
c, _ = s.accept()
while c.recv(65536):
    pass
''' % TCP


def until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
        time.sleep(0.05)


def life(directory):
    """All that the daemon does; its trace, its log."""
    conf, log, trace = directory + '/conf', directory + '/log', directory + '/trace'
    text = ('socket %(d)s/sock\nsocket ro %(d)s/ro\ninterface ppc\nsolicit on ppc\nkeep file %(d)s/keep\nkeep interval 1\n'
            'pflow0 flowsrc 127.0.0.1:0 flowdst 127.0.0.1:2055 tap %(d)s/tap active 1\n'
            'pflow1 flowdst [::1]:4739 pflowproto 10\n'
            'pflow4 flowdst 127.0.0.1:%(tcp)d pflowproto 10 transport tcp reconnect 1 hold 1 tap %(d)s/tap4\n'
            'pflow5 pflowproto 10 hold 1 file %(d)s/f.%%s rotate 1 compress gzip retain 2\n' % {'d': directory, 'tcp': TCP})
    # Left by a program that was killed.
    open(directory + '/f.1.gz.current', 'wb').write(gzip.compress(bytes(99)) + b'\x1f\x8b')
    open(conf, 'w').write(text)
    for name in ('', '/conf'):
        os.chmod(directory + name, 0o755)
    listener = inside(sys.executable, '-c', LISTENER)
    with open(log, 'w') as err, open(directory + '/out', 'w') as out:
        process = inside('strace', '-f', '-yy', '-s', '64', '-o', trace, PFLOW, '-d', '-v', '-a', '-f', conf, '-o', 'json',
                         stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    told = lambda words: words in open(log).read()
    ctl = lambda *words: subprocess.run([PFLOWCTL, '-s', directory + '/sock', *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    try:
        until('start', lambda: told('capturing on'))
        send()
        stream = inside(PFLOWCTL, '-s', directory + '/sock', 'tap', 'pflow0', stdout=open(directory + '/stream', 'w'))
        for words in ('show states', 'show statistics', 'show senders', 'show sources', 'show timeouts', 'show config', 'pflow0', 'pflow2 create',
                      'pflow2 flowdst 127.0.0.1:9', 'log verbose', 'flush', 'pflow0 mtu 1400'):
            answer = ctl(*words.split())
            assert answer.returncode == 0 or words in ('show config',), (words, answer.stdout)
        open(conf, 'w').write(text.replace(':2055', ':2056') + 'pflow3 flowsrc 127.0.0.1:3055 flowdst 127.0.0.1:1 tap %s/tap3\n' % directory)
        tracee = int(open('/proc/%d/task/%d/children' % (process.pid, process.pid)).read().split()[0])
        os.kill(tracee, signal.SIGHUP)
        until('reload', lambda: told('configuration read again'))
        os.kill(tracee, signal.SIGUSR1)
        until('statistics', lambda: told('packets'))
        ip('link del pps')
        until('loss', lambda: told('capture lost'))
        pair()
        until('return', lambda: told('capturing again'))
        send()
        until('connection', lambda: told('pflow4: connected to'))
        listener.kill()
        listener.wait()
        until('loss of the connection', lambda: told('pflow4: 127.0.0.1:%d: c' % TCP))
        listener = inside(sys.executable, '-c', LISTENER)
        until('another connection', lambda: told('pflow4: connected to 127.0.0.1:%d after' % TCP))
        send()
        until('flow files', lambda: any(re.fullmatch(r'f\.\d+\.gz', name) for name in os.listdir(directory)))
        until('keep file', lambda: os.path.exists(directory + '/keep'))
        time.sleep(1.5)
        stream.terminate()
        stream.wait()
        os.kill(tracee, signal.SIGTERM)
        assert process.wait(30) == 0, open(log).read()
        assert told('asked for') and not os.path.exists(directory + '/sock'), open(log).read()
    finally:
        for other in (process, listener):
            if other.poll() is None:
                other.kill()
                other.wait()
    return trace, open(log).read()


subprocess.run(['ip', 'netns', 'add', NS], check=True)
try:
    ip('link set lo up')
    pair()
    with tempfile.TemporaryDirectory() as directory:
        trace, log = life(directory)
        seen, caged, wrong = judge(trace)
        if os.environ.get('KEEP_TRACE'):
            os.rename(trace, os.environ['KEEP_TRACE'])
finally:
    subprocess.run(['ip', 'netns', 'del', NS])
self_check()
for line, times in wrong.most_common(40):
    print('FAILED %d x %s' % (times, line))
print('%d calls of %d kinds by %d caged processes and threads, held against pledge "%s": %s' %
      (sum(seen.values()), len(seen), len(caged), ' '.join(sorted(PROMISES)), ', '.join(sorted(seen))))
assert len(caged) >= 5 and sum(seen.values()) > 1000, 'the cage was not seen'
print('pledge: %d passed, %d failed' % (1 if not wrong else 0, len(wrong)))
sys.exit(bool(wrong))
