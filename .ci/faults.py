#!/usr/bin/env python3
"""The real binary while what is around it fails: collectors, routes, queues, disks, clients, its own reader.

usage: faults.py PFLOW     (as root, with iproute2, nfdump, cc; pflowctl and examples/pfsim beside PFLOW)

A simulated firewall sends over veth the whole time, to a table so small that records leave all the time. Whatever
fails, every record has its place in the sequence, and each datagram has arrived or is counted.
1. A collector goes and comes back: its host's ICMP messages stop nothing.
2. Routes to the collector are deleted, unreachable, black holes: counted, one line a cause, and the first datagram
   behind them goes.
3. The way out is so slow that the socket's buffer is full: counted, and nobody waits.
4. The disk of tap, keep file and pidfile is full, and has room again.
5. Five hundred clients of the control socket that write garbage, half lines or nothing, or read nothing.
6. Standard error is not read.
7. SIGTERM in a storm of other signals: the end takes less than 2 s, and totals are logged.
8. Parent or child is killed: the table is there again.
9. nfcapd is out of reach, ended, killed: it stores what pflow counts from its start on, and sees a gap if it was there.
10. ENOBUFS: a queue that drops, and a system that has no room half of the time.
11. The wall clock is set back and forth by an hour.
What is logged once a minute is told of in full: lines, and what the last of them count, are what happened.
"""
import errno, json, os, re, resource, signal, socket, struct, subprocess, sys, tempfile, threading, time

from common import Failed, in_namespace, ip, make_user

PFLOW = os.path.abspath(sys.argv[1])
BIN = os.path.dirname(PFLOW)
PFLOWCTL, PFSIM = os.path.join(BIN, 'pflowctl'), os.path.join(BIN, 'examples', 'pfsim')
A, B = 'pflow-f-a-%d' % os.getpid(), 'pflow-f-b-%d' % os.getpid()
passed = failed = 0
make_user()


def check(name, test):
    global passed, failed
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        here = Place(directory)
        try:
            test(here)
            passed += 1
            print('ok', name, flush=True)
        except (Failed, AssertionError, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
            failed += 1
            print('FAILED %s: %s: %s\n%s' % (name, type(e).__name__, e, here.text()[-2000:]), flush=True)
        finally:
            here.clean()


def until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed('not in %d s: %s' % (seconds, what))
        time.sleep(0.02)


def socket_in(namespace, port):
    """A UDP socket that lives in another network namespace."""
    s = in_namespace(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    s.bind(('0.0.0.0', port))
    return s


class Collector:
    """NetFlow v5 datagrams: how many, and (sequence, records) of each."""
    def __init__(self, namespace=None):
        self.namespace = namespace or B
        self.seen, self.socket = [], None
        self.open()

    def open(self):
        self.socket = socket_in(self.namespace, 2055)
        self.socket.setblocking(False)

    def close(self):
        self.read()
        self.socket.close()

    def read(self):
        try:
            while True:
                d = self.socket.recv(65536)
                self.seen.append((struct.unpack_from('>I', d, 16)[0], struct.unpack_from('>H', d, 2)[0]))
        except BlockingIOError:
            return len(self.seen)

    def gaps(self):
        """How often the sequence does not go on where it was."""
        self.read()
        return sum(a[0] + a[1] != b[0] for a, b in zip(self.seen, self.seen[1:]))

    def missing(self):
        """Records between the first and the last datagram that are in none."""
        self.read()
        return self.seen[-1][0] + self.seen[-1][1] - self.seen[0][0] - sum(n for _, n in self.seen)


class Nfcapd:
    """nfcapd in the namespace of the firewall."""
    def __init__(self, directory, port):
        self.log = tempfile.NamedTemporaryFile('w+', dir=directory, suffix='.log')
        self.port, out = port, tempfile.mkdtemp(dir=directory)
        self.process = subprocess.Popen(['ip', 'netns', 'exec', A, 'nfcapd', '-w', out, '-p', str(port), '-t', '300', '-B', '8000000'],
                                        stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        until('nfcapd', lambda: self.waiting() is not None)

    def waiting(self):
        """Octets in its socket that it has not read; None without a socket."""
        for line in open('/proc/%d/net/udp' % self.process.pid).read().splitlines()[1:]:
            words = line.split()
            if int(words[1].split(':')[1], 16) == self.port:
                return int(words[4].split(':')[1], 16)

    def end(self):
        """Flows stored, gaps in the sequence, bad packets."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        text = open(self.log.name).read()
        return tuple(sum(map(int, re.findall(what + r': (\d+)', text))) for what in ('Flows', 'Sequence Errors', 'Bad Packets'))


class Place:
    """A directory with a configuration, and a pflow in the foreground."""
    def __init__(self, directory):
        self.dir, self.processes, self.pid, self.sim = directory, [], None, None
        self.conf, self.sock, self.pidfile, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'pid', 'log'))

    def text(self):
        return open(self.log).read() if os.path.exists(self.log) else ''

    def start(self, *lines, stderr=None, states=1000, rate=3000, env=()):
        with open(self.conf, 'w') as f:
            f.write(''.join(l + '\n' for l in ('interface pfe1', 'socket "%s"' % self.sock, 'states %d' % states) + lines))
        out = stderr or open(self.log, 'a')
        before = self.text().count('capturing on')
        self.process = subprocess.Popen(['ip', 'netns', 'exec', B, 'env', *env, PFLOW, '-d', '-a', '-p', self.pidfile, '-f', self.conf],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out)
        self.processes.append(self.process)
        if stderr is None:
            until('start', lambda: self.text().count('capturing on') > before or self.process.poll() is not None)
            if self.process.poll() is not None:
                raise Failed('ended at once')
        else:
            until('start', lambda: self.ctl('-l')[0] == 0)
        if rate and self.sim is None:
            self.sim = subprocess.Popen(['ip', 'netns', 'exec', A, PFSIM, '-i', 'pfe0', '-n', str(60 * rate), '-T', '60', '-g', '0'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.processes.append(self.sim)

    def child(self):
        return int(open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)).read())

    def ctl(self, *words):
        r = subprocess.run([PFLOWCTL, '-s', self.sock, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return r.returncode, r.stdout.strip()

    def counters(self, part='interface', of='pflow0'):
        code, text = self.ctl('-j', 'show', 'statistics')
        assert code == 0, text
        return next(p for p in map(json.loads, text.splitlines()) if p['part'] == part and p.get('of') == of)

    def quiet(self):
        """Ends the load and waits until all is sent."""
        self.sim.kill()
        self.sim.wait()
        time.sleep(0.2)
        self.ctl('flush')
        time.sleep(0.3)

    def stop(self, within=2):
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=10)
        took = time.monotonic() - begun
        assert status == 0 and took < within, (status, took)

    def clean(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        time.sleep(0.3)


def told(text, cause):
    """How often the log says that something happened: its lines and what they count."""
    lines = [l for l in text.splitlines() if cause in l]
    more = [re.search(r'\((and )?(\d+) times more', l) for l in lines]
    return sum(1 if m is None else int(m.group(2)) + (m.group(1) is not None) for m in more)


def collector_gone(here):
    collector = Collector(A)
    here.start('pflow0 flowdst 192.0.2.1:2055 hold 1')
    until('datagrams', lambda: collector.read() > 20)
    for _ in range(3):
        collector.close()
        before = here.counters()['records']
        until('records while nobody listens', lambda: here.counters()['records'] > before + 1000)
        n = len(collector.seen)
        collector.open()
        until('datagrams again', lambda: collector.read() > n + 20)
    here.quiet()
    collector.read()
    counted = here.counters()
    last = collector.seen[-1]
    assert last[0] + last[1] == counted['records'], (last, counted)
    assert counted['send_errors'] == counted['no_memory'] == 0, counted
    assert collector.missing() > 2000
    here.stop()
    assert 'send:' not in here.text()
    assert 'datagrams sent' in here.text()


def routed_away(here):
    ip('-n', B, 'route', 'add', '198.51.100.0/24', 'via', '192.0.2.1')
    collector = Collector(A)
    here.start('pflow0 flowdst 198.51.100.1:2055 hold 1')
    until('datagrams', lambda: collector.read() > 20)
    for words in ('del 198.51.100.0/24', 'add unreachable 198.51.100.0/24', 'replace blackhole 198.51.100.0/24', 'replace prohibit 198.51.100.0/24'):
        ip('-n', B, 'route', *words.split())
        before = here.counters()['send_errors']
        until('errors counted', lambda: here.counters()['send_errors'] > before + 20)
    ip('-n', B, 'route', 'replace', '198.51.100.0/24', 'via', '192.0.2.1')
    n = collector.read()
    until('datagrams again', lambda: collector.read() > n + 20)
    here.quiet()
    counted = here.counters()
    assert collector.read() == counted['datagrams'], (collector.read(), counted)
    assert collector.seen[-1][0] + collector.seen[-1][1] == counted['records'] and collector.missing() > 0
    here.stop()
    lines = [l for l in here.text().splitlines() if 'pflow0: send: ' in l]
    first = [l for l in lines if 'more since' not in l]
    assert 3 <= len(first) == len(set(first)) <= 4 and len(lines) <= 2 * len(first), lines
    assert told(here.text(), 'pflow0: send: ') == counted['send_errors'] + counted['no_memory'], (lines, counted)
    assert here.text().rindex('pflow0: send: ') < here.text().index('datagrams sent'), here.text()
    ip('-n', B, 'route', 'del', '198.51.100.0/24')


def queue_full(here):
    collector = Collector(A)
    here.start('pflow0 flowdst 192.0.2.1:2055 hold 1 mtu 600', rate=6000)
    until('datagrams', lambda: collector.read() > 20)
    subprocess.run(['tc', '-n', B, 'qdisc', 'add', 'dev', 'pfe1', 'root', 'tbf', 'rate', '8kbit', 'burst', '2000', 'limit', '100000000'], check=True)
    until('want of memory', lambda: here.counters()['no_memory'] > 50, 20)
    begun = time.monotonic()
    assert here.ctl('show', 'config')[0] == 0 and time.monotonic() - begun < 1
    subprocess.run(['tc', '-n', B, 'qdisc', 'del', 'dev', 'pfe1', 'root'], check=True)
    n = collector.read()
    until('datagrams again', lambda: collector.read() > n + 20)
    here.quiet()
    counted = here.counters()
    assert collector.missing() > 0
    assert collector.seen[-1][0] + collector.seen[-1][1] == counted['records'] and counted['send_errors'] == 0, (collector.seen[-1], counted)
    assert here.counters('source', 'pfe1')['kernel_dropped'] == 0
    here.stop()
    assert here.text().count('pflow0: send: ') == 2 and told(here.text(), 'pflow0: send: ') == counted['no_memory'], (here.text(), counted)


def disk_full(here):
    disk = os.path.join(here.dir, 'disk')
    os.mkdir(disk)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m,mode=755', 'tmpfs', disk], check=True)
    try:
        tap, keep, filler = (os.path.join(disk, n) for n in ('tap', 'keep', 'filler'))
        collector = Collector()
        here.start('keep file "%s"' % keep, 'keep interval 1', 'pflow0 flowdst 127.0.0.1:2055 hold 1 tap "%s"' % tap)
        until('a keep file', lambda: here.counters('keep', None)['written'] > 0)

        def fill():
            with open(filler, 'ab', 0) as f:
                try:
                    while True:
                        f.write(bytes(4096))
                except OSError:
                    pass
        fill()
        until('losses', lambda: here.counters()['tap_dropped'] > 20 and here.counters('keep', None)['failed'] > 1)
        n = collector.read()
        until('datagrams go on', lambda: collector.read() > n + 20)
        pidfile = os.path.join(disk, 'pid')
        fill()
        r = subprocess.run(['ip', 'netns', 'exec', B, PFLOW, '-d', '-f', here.conf, '-p', pidfile], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=10)
        assert r.returncode == 1 and r.stdout.count('\n') == 1 and 'No space left' in r.stdout and pidfile in r.stdout, r
        assert not os.path.exists(pidfile)
        os.unlink(filler)
        written = here.counters('keep', None)['written']
        until('keep files again', lambda: here.counters('keep', None)['written'] > written + 1)
        here.quiet()
        counted, failed = here.counters(), here.counters('keep', None)['failed']
        here.stop()
        b, p, n = open(tap, 'rb').read(), 24, 0
        while p < len(b):
            p += 16 + int.from_bytes(b[p + 8:p + 12], 'little')
            n += 1
        assert p == len(b), 'half a record'
        assert collector.missing() == 0
        text = here.text()
        assert text.count('the old one stays') == 2 and told(text, 'the old one stays') == failed and 'No space left' in text and tap + ':' in text, text
        assert counted['tap_dropped'] > 0 and n > 0, counted
        assert counted['datagrams'] == counted['tapped'] + counted['tap_dropped'], counted
        # The last of them went after the counters were read.
        assert counted['tapped'] <= n <= counted['tapped'] + 2, (n, counted)
    finally:
        subprocess.run(['umount', '-l', disk])


def clients(here):
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 4096))
    collector = Collector()
    here.start('pflow0 flowdst 127.0.0.1:2055 hold 1')
    over = threading.Event()

    def bother(n):
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(1)
                try:
                    s.connect(here.sock)
                    s.sendall((b'', b'show sta', b'\xff\0;rm -rf /\n' * 30, b'json show states\n', b'x' * 9000)[n % 5])
                    over.wait(0.3)
                    if n % 10 == 3:
                        s.recv(1)
                except OSError:
                    over.wait(0.05)
    threads = [threading.Thread(target=bother, args=(n,), daemon=True) for n in range(500)]
    for t in threads:
        t.start()
    answered = 0
    end = time.monotonic() + 5
    while time.monotonic() < end:
        answered += here.ctl('show', 'config')[0] == 0
    over.set()
    for t in threads:
        t.join()
    time.sleep(0.2)
    here.quiet()
    control = here.counters('control', None)
    assert here.ctl('show', 'states')[0] == 0
    assert answered > 0 and control['made_room'] > 100 and control['too_long'] > 0 and control['refused'] > 0, (answered, control)
    assert collector.missing() == 0 and collector.seen[0][0] == 0, collector.missing()
    assert here.counters('source', 'pfe1')['kernel_dropped'] == 0
    fds = len(os.listdir('/proc/%d/fd' % here.child()))
    assert fds < 40, fds
    here.stop()


def blocked_reader(here):
    reader, writer = os.pipe()
    collector = Collector()
    here.start('pflow0 flowdst 127.0.0.1:2055 hold 1', stderr=writer)
    os.close(writer)
    for _ in range(40):
        for _ in range(50):
            here.process.send_signal(signal.SIGUSR1)
        time.sleep(0.02)
    for _ in range(3):
        n = collector.read()
        until('datagrams', lambda: collector.read() > n + 20, 5)
        assert here.ctl('flush')[0] == 0
    here.quiet()
    assert collector.missing() == 0
    here.stop()
    os.close(reader)


def end_in_a_storm(here):
    here.start('pflow0 flowdst 127.0.0.1:2055')
    time.sleep(1)
    over = threading.Event()

    def storm():
        n = 0
        while not over.is_set() and here.process.poll() is None:
            n += 1
            try:
                os.kill(here.process.pid, signal.SIGHUP if n % 2 else signal.SIGUSR1)
            except ProcessLookupError:
                return
            time.sleep(0.0005)
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        time.sleep(1)
        here.stop()
    finally:
        over.set()
        thread.join()
    assert 'pflow0: ' in here.text().splitlines()[-1] and 'datagrams sent' in here.text().splitlines()[-1], here.text()[-300:]


def killed(here):
    keep = os.path.join(here.dir, 'keep')
    collector = Collector()
    lines = ('keep file "%s"' % keep, 'keep interval 1', 'pflow0 flowdst 127.0.0.1:2055 hold 1')
    here.start(*lines, states=200000)
    for n in range(8):
        inode = os.stat(keep).st_ino if os.path.exists(keep) else 0
        until('a keep file', lambda: os.path.exists(keep) and os.stat(keep).st_ino != inode)
        assert os.stat(keep).st_uid == 0 and os.stat(keep).st_mode & 0o777 == 0o600, os.stat(keep)
        held = here.counters('table', None)['held']
        child = here.child()
        os.kill(child if n % 2 else here.process.pid, signal.SIGKILL)
        here.process.wait(timeout=5)
        here.start(*lines, states=200000)
        text = [l for l in here.text().splitlines() if 'keep file' in l and 'after a' in l]
        assert len(text) == n + 1, here.text()
        restored = int(text[-1].split(': ')[2].split()[0])
        assert restored > held / 3, (restored, held)
    here.quiet()
    here.stop()
    assert not os.path.exists(keep + '.new')


def nfcapd(here):
    ip('-n', B, 'route', 'add', '198.51.100.0/24', 'via', '192.0.2.1')
    beside = Collector()
    here.start('pflow0 flowdst 198.51.100.1:2065 hold 1', 'pflow1 flowdst 127.0.0.1:2055 hold 1', 'pflow2 flowdst 198.51.100.1:2066 pflowproto 10 hold 1 refresh 1')

    def sent(more=0):
        """What pflow counts by now, or when it is so much more; up to 30 records of it, a datagram, are held still."""
        before = here.counters()['records']
        until('records', lambda: here.counters()['records'] >= before + more)
        return here.counters()['records']

    def change(what):
        """Between which counts it was done."""
        before = sent()
        what()
        return before, sent()
    nfcapds = []

    def taught():
        """IPFIX is told what its records are once a second."""
        before = here.counters(of='pflow2')['templates']
        until('templates', lambda: here.counters(of='pflow2')['templates'] > before)

    def begin():
        nfcapds[:] = [Nfcapd(here.dir, port) for port in (2065, 2066)]
    # There, out of reach for a while, and ended under load.
    begun = change(begin)
    taught()
    sent(3000)
    away = change(lambda: ip('-n', A, 'addr', 'del', '198.51.100.1/32', 'dev', 'lo'))
    sent(1500)
    back = change(lambda: ip('-n', A, 'addr', 'add', '198.51.100.1/32', 'dev', 'lo'))
    sent(3000)
    results = []
    ended = change(lambda: results.extend(n.end() for n in nfcapds))
    (stored, gaps, bad), (_, gaps10, bad10) = results
    least, most = ended[0] - begun[1] - (back[1] - away[0]), ended[1] - begun[0] - (back[0] - away[1])
    # What is in its socket when it is told to end is lost with it.
    assert least - 300 <= stored <= most + 60, (least, stored, most)
    assert (gaps, bad, gaps10, bad10) == (1, 0, 1, 0), results
    # Nobody there; there again; killed; there again, to the end.
    sent(1500)
    begin()
    sent(1500)
    for n in nfcapds:
        n.process.kill()
        n.process.wait()
    sent(1500)
    begun = change(begin)
    taught()
    sent(3000)
    here.quiet()
    until('nfcapd reads', lambda: not any(n.waiting() for n in nfcapds))
    counted, counted10 = here.counters(), here.counters(of='pflow2')
    (stored, gaps, bad), (stored10, gaps10, bad10) = (n.end() for n in nfcapds)
    assert (gaps, bad, gaps10, bad10) == (0, 0, 0, 0)
    # pflow1's datagrams are pflow0's, and each that came after nfcapd did is stored: so much is left behind one of them.
    assert beside.missing() == 0 and beside.seen[-1][0] + beside.seen[-1][1] == counted['records'], counted
    first = counted['records'] - stored
    assert begun[0] - 30 <= first <= begun[1] and first in {sequence for sequence, _ in beside.seen}, (begun, first)
    assert stored > 3000 and stored10 > 3000, (stored, stored10)
    for c in (counted, counted10):
        assert c['send_errors'] == c['no_memory'] == 0, c
    assert here.counters('source', 'pfe1')['kernel_dropped'] == 0
    here.stop()
    ip('-n', B, 'route', 'del', '198.51.100.0/24')


def run_in_b(*words):
    return subprocess.run(['ip', 'netns', 'exec', B, *words], stdout=subprocess.PIPE, check=True, text=True).stdout


def queue_drops(here):
    """What Linux drops in the interface's queue UDP is told of if a socket has IP_RECVERR: udp_send_skb() makes ENOBUFS 0
    otherwise. pflow's have it: such datagrams are counted, and the sequence shows the collector that they are missing."""
    collector = Collector(A)
    here.start('pflow0 flowdst 192.0.2.1:2055 hold 1 mtu 600', rate=6000)
    until('datagrams', lambda: collector.read() > 20)
    swallowed = lambda: int(run_in_b('cat', '/proc/net/snmp').split('Udp: ')[2].split()[5])
    run_in_b('tc', 'qdisc', 'add', 'dev', 'pfe1', 'root', 'tbf', 'rate', '8kbit', 'burst', '2000', 'limit', '3000')
    try:
        before = swallowed()
        until('datagrams that the queue drops', lambda: swallowed() > before + 50, 20)
        for recverr, expected in ((0, set()), (1, {errno.ENOBUFS})):
            s, seen = socket_in(B, 0), set()
            s.setsockopt(socket.IPPROTO_IP, 11, recverr)  # IP_RECVERR
            for _ in range(50):
                try:
                    s.sendto(bytes(1000), ('192.0.2.1', 9))
                except OSError as e:
                    seen.add(e.errno)
            s.close()
            assert seen == expected, (recverr, seen)
        assert here.ctl('show', 'config')[0] == 0
    finally:
        run_in_b('tc', 'qdisc', 'del', 'dev', 'pfe1', 'root')
    n = collector.read()
    until('datagrams again', lambda: collector.read() > n + 20)
    here.quiet()
    counted = here.counters()
    assert counted['send_errors'] == 0 < counted['no_memory'], counted
    assert collector.missing() >= counted['records_refused'] > 0, (collector.missing(), counted)
    assert collector.seen[-1][0] + collector.seen[-1][1] == counted['records'], counted
    here.stop()
    assert told(here.text(), 'pflow0: send: ') == counted['no_memory'], (here.text(), counted)


def shim(here, **variables):
    """What puts shim.c between pflow and libc."""
    built = os.path.join(here.dir, 'shim.so')
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'shim.c')
    subprocess.run(['cc', '-O', '-Wall', '-shared', '-fPIC', '-o', built, source, '-ldl'], check=True)
    return ['LD_PRELOAD=' + built] + ['%s=%s' % v for v in variables.items()]


def no_buffers(here):
    collector = Collector()
    here.start('pflow0 flowdst 127.0.0.1:2055 hold 1 mtu 600', env=shim(here, FULL='2-5'))
    until('want of memory', lambda: here.counters()['no_memory'] > 50)
    assert here.ctl('show', 'config')[0] == 0
    time.sleep(3)
    n, lost = collector.read(), here.counters()['no_memory']
    until('datagrams again', lambda: collector.read() > n + 20)
    here.quiet()
    counted = here.counters()
    assert collector.read() == counted['datagrams'] and counted['no_memory'] == lost and counted['send_errors'] == 0, (collector.read(), lost, counted)
    # Some datagrams went between those that did not.
    assert collector.missing() > 0 and 5 < collector.gaps() <= lost, (collector.gaps(), lost)
    assert collector.seen[0][0] == 0 and collector.seen[-1][0] + collector.seen[-1][1] == counted['records'], counted
    here.stop()
    lines = [l for l in here.text().splitlines() if 'pflow0: send: ' in l]
    assert len(lines) == 2 and all('No buffer space available' in l for l in lines) and told(here.text(), 'pflow0: send: ') == lost, (lines, lost)


def ipfix_times(octets, templates):
    """Start and end of each record of a message, ms; the message's own time, s."""
    (exported,), p, times = struct.unpack_from('>I', octets, 4), 16, []
    while p < len(octets):
        number, length = struct.unpack_from('>HH', octets, p)
        q, end = p + 4, p + length
        while number == 2 and q < end:
            name, fields = struct.unpack_from('>HH', octets, q)
            templates[name] = [struct.unpack_from('>HH', octets, q + 4 + 4 * n) for n in range(fields)]
            q += 4 + 4 * fields
        size = sum(length for _, length in templates.get(number, ()))
        while size and q + size <= end:
            found = {}
            for element, length in templates[number]:
                found[element], q = int.from_bytes(octets[q:q + length], 'big'), q + length
            times.append((found[152], found[153]))
        p = end
    return times, exported


def clock_set(here):
    """The captures' stamps stay those of the clock as it was, like those of packets that waited when it was set."""
    steps = ((0, 0), (4, -3600), (8, 3600), (12, 0))
    readers, seen = [socket_in(B, port) for port in (2055, 2056)], ([], [])
    for s in readers:
        s.setblocking(False)

    def read():
        for s, messages in zip(readers, seen):
            try:
                while True:
                    messages.append((time.time(), s.recv(65536)))
            except BlockingIOError:
                pass
        return len(seen[0])
    begun = time.time()
    here.start('pflow0 flowdst 127.0.0.1:2055 hold 1', 'pflow1 flowdst 127.0.0.1:2056 pflowproto 10 hold 1 refresh 1',
               env=shim(here, STEPS=','.join('%d:%d' % s for s in steps)))
    started = time.time() - begun
    # A datagram at least every second, whatever the clock does.
    while time.time() - begun < 16:
        n = read()
        until('a datagram', lambda: read() > n, 1.5)
        time.sleep(0.1)
    assert here.ctl('show', 'states')[0] == 0
    here.quiet()
    read()
    counted = here.counters()
    assert here.counters('table', None)['expired'] == 0 and here.counters('source', 'pfe1')['kernel_dropped'] == 0
    here.stop()
    length = time.time() - begun
    # Where the clock may be: steps count from a moment between begun and begun + started.
    ahead = lambda at: {by for (since, by), (until, _) in zip(steps, steps[1:] + ((1e9, 0),)) if begun + since - 1 <= at < begun + started + until + 1}
    expected, uptime, phases = 0, None, set()
    for arrived, d in seen[0]:
        count, up, wall, _, sequence = struct.unpack_from('>HIIII', d, 2)
        assert sequence == expected, (sequence, expected)
        expected += count
        off = [by for by in ahead(arrived) if abs(wall - by - arrived) < 2]
        assert off, (wall, arrived, ahead(arrived))
        phases.update(off)
        # Uptime goes on evenly, and the flows with it: begun here, ended by now.
        assert uptime is None or abs(up - uptime[1] - 1000 * (arrived - uptime[0])) < 1500, (up, uptime)
        uptime = uptime or (arrived, up)
        for n in range(count):
            first, last = struct.unpack_from('>II', d, 24 + 48 * n + 24)
            assert first <= last <= up and up - first < 1000 * (length + 2), (first, last, up)
    assert expected == counted['records'] and phases == {-3600, 0, 3600}, (expected, counted, phases)
    templates, records = {}, 0
    for arrived, d in seen[1]:
        times, exported = ipfix_times(d, templates)
        records += len(times)
        assert any(abs(exported - by - arrived) < 2 for by in ahead(arrived)), (exported, arrived)
        # A flow's times are by the clock of the moment it ended; it is sent within a second or two.
        clocks = ahead(arrived) | ahead(arrived - 2)
        for start, end in times:
            assert start <= end and any(begun - 2 <= start / 1000 - by and end / 1000 - by <= arrived + 1 for by in clocks), (start, end, arrived, clocks)
    assert records > 1000, records


try:
    for name in (A, B):
        ip('netns', 'add', name)
    ip('link', 'add', 'pfe0', 'netns', A, 'type', 'veth', 'peer', 'name', 'pfe1', 'netns', B)
    for name, device, address in ((A, 'pfe0', '192.0.2.1/24'), (B, 'pfe1', '192.0.2.9/24')):
        ip('-n', name, 'addr', 'add', address, 'dev', device)
        ip('-n', name, 'link', 'set', device, 'up')
        ip('-n', name, 'link', 'set', 'lo', 'up')
    ip('-n', A, 'addr', 'add', '198.51.100.1/32', 'dev', 'lo')
    check('a collector goes and comes back', collector_gone)
    check('a collector is routed away', routed_away)
    check('a way out that is full', queue_full)
    check('a disk that is full', disk_full)
    check('five hundred clients', clients)
    check('standard error that nobody reads', blocked_reader)
    check('SIGTERM in a storm', end_in_a_storm)
    check('killed and started again', killed)
    check('nfcapd goes and comes back', nfcapd)
    check('a queue that drops', queue_drops)
    check('ENOBUFS', no_buffers)
    check('the clock set back and forth', clock_set)
finally:
    for name in (A, B):
        subprocess.run(['ip', 'netns', 'del', name], stderr=subprocess.DEVNULL)
print('faults: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
