#!/usr/bin/env python3
"""The real binary while what is around it fails: collectors, routes, queues, disks, clients, its own reader.

usage: faults.py PFLOW     (as root, with iproute2; pflowctl and examples/pfsim beside PFLOW)

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
"""
import ctypes, json, os, pwd, resource, signal, socket, struct, subprocess, sys, tempfile, threading, time

PFLOW = os.path.abspath(sys.argv[1])
BIN = os.path.dirname(PFLOW)
PFLOWCTL, PFSIM = os.path.join(BIN, 'pflowctl'), os.path.join(BIN, 'examples', 'pfsim')
A, B = 'pflow-f-a-%d' % os.getpid(), 'pflow-f-b-%d' % os.getpid()
passed = failed = 0
try:
    pwd.getpwnam('_pflow')
except KeyError:
    subprocess.run(['useradd', '--system', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', '_pflow'], check=True)


class Failed(Exception):
    pass


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


def ip(*words):
    subprocess.run(('ip',) + words, check=True)


def until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed('not in %d s: %s' % (seconds, what))
        time.sleep(0.02)


def socket_in(namespace, port):
    """A UDP socket that lives in another network namespace."""
    with open('/proc/self/ns/net') as old, open('/run/netns/' + namespace) as new:
        setns(new.fileno())
        try:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
            s.bind(('0.0.0.0', port))
        finally:
            setns(old.fileno())
    return s


def setns(fd):
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), 'setns')


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

    def missing(self):
        """Records between the first and the last datagram that are in none."""
        self.read()
        return self.seen[-1][0] + self.seen[-1][1] - self.seen[0][0] - sum(n for _, n in self.seen)


class Place:
    """A directory with a configuration, and a pflow in the foreground."""
    def __init__(self, directory):
        self.dir, self.processes, self.pid, self.sim = directory, [], None, None
        self.conf, self.sock, self.pidfile, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'pid', 'log'))

    def text(self):
        return open(self.log).read() if os.path.exists(self.log) else ''

    def start(self, *lines, stderr=None, states=1000, rate=3000):
        with open(self.conf, 'w') as f:
            f.write(''.join(l + '\n' for l in ('interface pfe1', 'socket "%s"' % self.sock, 'states %d' % states) + lines))
        out = stderr or open(self.log, 'a')
        before = self.text().count('capturing on')
        self.process = subprocess.Popen(['ip', 'netns', 'exec', B, PFLOW, '-d', '-a', '-p', self.pidfile, '-f', self.conf],
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
    assert 3 <= len(lines) == len(set(lines)) <= 4, lines
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
    assert here.text().count('pflow0: send: ') == 1, here.text()


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
        counted = here.counters()
        here.stop()
        b, p, n = open(tap, 'rb').read(), 24, 0
        while p < len(b):
            p += 16 + int.from_bytes(b[p + 8:p + 12], 'little')
            n += 1
        assert p == len(b), 'half a record'
        assert collector.missing() == 0
        text = here.text()
        assert text.count('the old one stays') == 1 and 'No space left' in text and tap + ':' in text, text
        assert counted['tap_dropped'] > 0 and n > 0, counted
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
finally:
    for name in (A, B):
        subprocess.run(['ip', 'netns', 'del', name], stderr=subprocess.DEVNULL)
print('faults: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
