#!/usr/bin/env python3
"""Captures that are lost and come back, under load, with the real binary.

usage: capture.py PFLOW TESTDATA-DIRECTORY     (as root, with iproute2, setpriv and useradd; pflowctl beside PFLOW)

Interface down and up, removed and made again, made again with another link type, one of two lost; as root with a
process without rights, and as another user. Then nothing ends, what comes afterwards is counted to the last packet,
and SIGTERM while a capture is lost ends within 2 s. A buffer that runs over: sent = captured + dropped. A child that
stands still for 5 s loses nothing, at 200 and 2000 packets a second; a lone packet is not kept back for more than 50 ms.
"""
import fcntl, json, os, select, signal, struct, subprocess, sys, tempfile, time

from common import make_user

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE = DATA + '/mix200.openbsd-v6.pcap'
NS = 'pflow-c-%d' % os.getpid()
NOBODY = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=+net_raw', '--ambient-caps=+net_raw',
          '--bounding-set=-all,+net_raw')
make_user()

SENDER = '''
import socket, struct, sys, time
name, path, times, pause, tag = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), bytes.fromhex(sys.argv[5])
b, p, frames = open(path, 'rb').read(), 24, []
while p < len(b):
    n = struct.unpack_from('<I', b, p + 8)[0]
    frames.append(b[p + 16:p + 28] + tag + b[p + 28:p + 16 + n])
    p += 16 + n
sent, s = 0, None
for turn in range(times):
    for f in frames:
        try:
            if s is None:
                s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                s.bind((name, 0))
            s.send(f)
            sent += 1
        except OSError:
            s = None
            time.sleep(0.01)
        if pause:
            time.sleep(pause)
print(sent)
'''

STEADY = '''
import socket, struct, sys, time
name, path, rate, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
b = open(path, 'rb').read()
frame = b[40:40 + struct.unpack_from('<I', b, 32)[0]]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((name, 0))
begin, count = time.monotonic(), int(rate * seconds)
for n in range(count):
    wait = begin + n / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    # As long as Ethernet has them: what is behind the IP packet is not looked at.
    last = time.monotonic()
    s.send(frame.ljust(1514, bytes(1)))
time.sleep(max(0, begin + seconds - time.monotonic()))
print(count, last)
'''


def ip(words):
    subprocess.run(['ip', '-n', NS, *words.split()], check=True)


def pair(n):
    """The firewall's end pfsN, and pfcN that is captured."""
    ip('link add pfs%d type veth peer name pfc%d' % (n, n))
    ip('link set pfs%d up' % n)
    ip('link set pfc%d up' % n)


def inside(*words, **how):
    return subprocess.Popen(['ip', 'netns', 'exec', NS, *words], text=True, **how)


def send(n=0, times=1, pause=0.0002, tag=''):
    p = inside(sys.executable, '-c', SENDER, 'pfs%d' % n, CAPTURE, str(times), str(pause), tag, stdout=subprocess.PIPE)
    return int(p.communicate(timeout=60)[0])


def steady(rate, seconds):
    """As many packets, of full length; when the last was sent."""
    p = inside(sys.executable, '-c', STEADY, 'pfs0', CAPTURE, str(rate), str(seconds), stdout=subprocess.PIPE)
    sent, ended = p.communicate(timeout=60)[0].split()
    return int(sent), float(ended)


def until(what, condition, seconds=12):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
        time.sleep(0.05)


class Run:
    """A pflow that runs, and a load on pfs0 if asked for."""
    def __init__(self, directory, captures=1, prefix=(), output='none'):
        self.sock, self.log = directory + '/sock', directory + '/log'
        conf = directory + '/conf'
        with open(conf, 'w') as f:
            f.write('socket %s\npflow0 flowdst 127.0.0.1:2055\n' % self.sock)
            f.write(''.join('interface pfc%d\n' % n for n in range(captures)))
        os.chmod(conf, 0o644)
        os.chmod(directory, 0o777)
        with open(self.log, 'w') as log:
            self.process = inside(*prefix, PFLOW, '-d', '-a', '-o', output, '-f', conf, stdin=subprocess.DEVNULL, stderr=log,
                                  stdout=subprocess.PIPE if output != 'none' else None)
        self.loader = None
        until('control socket', lambda: os.path.exists(self.sock) and 'capturing on' in open(self.log).read())
        self.child = self.children()[0]

    def children(self):
        """The child, and readers of captures that were opened again."""
        return [int(pid) for pid in open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)).read().split()]

    def load(self):
        self.loader = inside(sys.executable, '-c', SENDER, 'pfs0', CAPTURE, '1000000', '0.0005', '', stdout=subprocess.DEVNULL)

    def unload(self):
        # "ip netns exec" became the sender.
        self.loader.kill()
        self.loader.wait()
        self.loader = None

    def sources(self):
        out = subprocess.run([PFLOWCTL, '-s', self.sock, '-j', 'show', 'sources'], stdout=subprocess.PIPE, text=True, check=True, timeout=10)
        return [json.loads(line) for line in out.stdout.splitlines()]

    def count(self, name, n=0):
        return self.sources()[n][name]

    def lost(self, n=0):
        return self.count('lost', n) - self.count('reopened', n) == 1

    def is_whole(self):
        return self.process.poll() is None and os.path.exists('/proc/%d' % self.child)

    def is_complete(self, n=0):
        """Every packet of a capture gets through, and no other."""
        time.sleep(0.3)
        before, dropped = self.count('packets', n), self.count('kernel_dropped', n)
        sent = send(n)
        until('%d packets' % sent, lambda: self.count('packets', n) - before >= sent, 5)
        assert self.count('packets', n) - before == sent and self.count('kernel_dropped', n) == dropped, self.sources()

    def end(self):
        """SIGTERM; seconds until the end."""
        begin = time.monotonic()
        os.kill(self.process.pid, signal.SIGTERM)
        status = self.process.wait(5)
        assert status == 0, status
        return time.monotonic() - begin

    def clean(self):
        for p in (self.loader, self.process):
            if p and p.poll() is None:
                p.kill()
                p.wait()


def flaps(run):
    """Down and up, twice: libpcap's handle first, then one of our own."""
    run.is_complete()
    run.load()
    for turn in (1, 2):
        ip('link set pfc0 down')
        until('loss', lambda: run.lost())
        time.sleep(0.5)
        assert run.is_whole()
        ip('link set pfc0 up')
        until('return', lambda: run.count('reopened') == turn)
    run.unload()
    run.is_complete()
    assert run.end() < 2
    log = open(run.log).read()
    # The second time is within a minute of the first: told at the end.
    again = [line for line in log.splitlines() if 'pfc0: capturing again' in line]
    assert len(again) == 2 and '(' not in again[0] and again[1].endswith('(1 times more since the last line)'), log
    assert log.count('pfc0: capture lost: the interface is down') >= 1, log
    assert log.count('pfc0: capture lost: ') >= 2, log


def removed(run):
    """Removed and made again, twice."""
    run.is_complete()
    for turn in (1, 2):
        run.load()
        time.sleep(0.3)
        ip('link del pfs0')
        until('loss', lambda: run.lost())
        assert run.is_whole()
        pair(0)
        until('return', lambda: run.count('reopened') == turn)
        run.unload()
        run.is_complete()
    groups = subprocess.run(['ip', '-n', NS, 'maddress', 'show', 'dev', 'pfc0'], stdout=subprocess.PIPE, text=True, check=True)
    assert '224.0.0.240' in groups.stdout, groups.stdout
    assert run.end() < 2


def the_same(run):
    """What is opened again hands over what libpcap did, VLAN tags included."""
    seen = []
    for turn in (1, 2):
        for tag in ('', '81000007', '88a80064'):
            time.sleep(0.3)
            before = run.sources()[0]
            sent = send(tag=tag)
            until('packets', lambda: run.count('packets') - before['packets'] >= sent, 5)
            time.sleep(0.2)
            after = run.sources()[0]
            seen.append([after[name] - before[name] for name in ('packets', 'octets')])
        if turn == 1:
            ip('link set pfc0 down')
            until('loss', lambda: run.lost())
            ip('link set pfc0 up')
            until('return', lambda: run.count('reopened') == 1)
    assert seen[:3] == seen[3:], seen
    assert seen[0][1] + 4 * seen[0][0] == seen[1][1] == seen[2][1], seen
    assert run.end() < 2


def one_of_two(run):
    ip('link del pfs0')
    until('loss', lambda: run.lost(0))
    assert 'pfc0: capture lost: the interface has gone' in open(run.log).read()
    run.is_complete(1)
    assert run.is_whole() and run.lost(0) and not run.lost(1)
    assert run.end() < 2
    pair(0)


def other_link_type(run):
    """Ethernet goes, a tun device of the same name comes: raw IP."""
    run.is_complete()
    ip('link del pfs0')
    until('loss', lambda: run.lost())
    code = '''
import fcntl, os, struct, subprocess, sys, time
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', b'pfc0', 0x1001))
subprocess.run(['ip', 'link', 'set', 'pfc0', 'up'], check=True)
b = open(sys.argv[1], 'rb').read()
sys.stdin.readline()
p = 24
n = 0
while p < len(b):
    size = struct.unpack_from('<I', b, p + 8)[0]
    os.write(tun, b[p + 30:p + 16 + size])
    p += 16 + size
    n += 1
    time.sleep(0.0005)
print(n, flush=True)
sys.stdin.readline()
'''
    tun = inside(sys.executable, '-c', code, CAPTURE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        until('return', lambda: run.count('reopened') == 1)
        before = run.count('packets')
        tun.stdin.write('\n')
        tun.stdin.flush()
        sent = int(tun.stdout.readline())
        until('raw packets', lambda: run.count('packets') - before >= sent, 5)
        assert run.count('packets') - before == sent
        run.is_whole()
    finally:
        tun.communicate('\n', timeout=10)
    assert run.end() < 2
    pair(0)


def overruns(run):
    """The buffer of libpcap's handle, then of one that was opened again."""
    for turn in (0, 1):
        before = run.count('packets') + run.count('kernel_dropped')
        dropped = run.count('kernel_dropped')
        os.kill(run.child, signal.SIGSTOP)
        try:
            sent = send(times=FLOOD, pause=0)
        finally:
            os.kill(run.child, signal.SIGCONT)
        time.sleep(0.5)
        sent += send()
        until('all', lambda: run.count('packets') + run.count('kernel_dropped') - before >= sent, 5)
        assert run.count('packets') + run.count('kernel_dropped') - before == sent, run.sources()
        assert run.count('kernel_dropped') > dropped, run.sources()
        if turn == 0:
            ip('link set pfc0 down')
            until('loss', lambda: run.lost())
            ip('link set pfc0 up')
            until('return', lambda: run.count('reopened') == 1)
    assert run.end() < 2


def stands_still(run):
    """The buffer of libpcap's handle, then of one that was opened again."""
    for turn in (0, 1):
        for rate, seconds in ((200, 1), (2000, 1), (200, 5), (2000, 5)):
            before, dropped = run.count('packets'), run.count('kernel_dropped')
            stopped = run.children()
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            try:
                sent, _ = steady(rate, seconds)
            finally:
                for pid in stopped:
                    os.kill(pid, signal.SIGCONT)
            arrived = lambda: run.count('packets') - before + run.count('kernel_dropped') - dropped
            until('%d packets' % sent, lambda: arrived() >= sent, 5)
            lost = run.count('kernel_dropped') - dropped
            assert sent == rate * seconds and lost == 0, '%d of %d lost at %d a second' % (lost, sent, rate)
        if turn == 0:
            ip('link set pfc0 down')
            until('loss', lambda: run.lost())
            ip('link set pfc0 up')
            until('return', lambda: run.count('reopened') == 1)
    assert run.end() < 2


def in_time(run):
    """Packets that come alone, until they are printed."""
    late = []
    for _ in range(21):
        _, sent = steady(100, 0.01)
        assert select.select([run.process.stdout], [], [], 2)[0], 'nothing was printed'
        late.append(time.monotonic() - sent)
        while select.select([run.process.stdout], [], [], 0.1)[0]:
            os.read(run.process.stdout.fileno(), 65536)
    late.sort()
    print('   %.0f ms, at most %.0f ms' % (late[10] * 1000, late[-1] * 1000))
    # The machine may be busy.
    assert late[10] < 0.05, late
    assert run.end() < 2


# Times the capture that fill 36 MiB of buffer and more.
FLOOD = 600
passed = failed = 0


def check(name, test, **how):
    global passed, failed
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        run = None
        try:
            run = Run(directory, **how)
            test(run)
            passed += 1
            print('ok %s (%.1f s)' % (name, time.monotonic() - begin), flush=True)
        except (AssertionError, OSError, ValueError, KeyError, IndexError, subprocess.SubprocessError) as e:
            failed += 1
            log = open(directory + '/log').read() if os.path.exists(directory + '/log') else ''
            print('FAILED %s: %s: %s\n%s' % (name, type(e).__name__, e, log), flush=True)
        finally:
            if run:
                run.clean()


subprocess.run(['ip', 'netns', 'add', NS], check=True)
try:
    ip('link set lo up')
    # Without addresses nothing of the host's own is on the wire, so that packets can be counted.
    subprocess.run(['ip', 'netns', 'exec', NS, 'sysctl', '-q', '-w', 'net.ipv6.conf.default.disable_ipv6=1'], check=True)
    pair(0)
    pair(1)
    check('down and up', flaps)
    check('down and up, another user', flaps, prefix=NOBODY)
    check('removed and made again', removed)
    check('removed and made again, another user', removed, prefix=NOBODY)
    check('the same octets before and after', the_same)
    check('one of two lost', one_of_two, captures=2)
    check('another link type', other_link_type)
    check('buffers that run over', overruns)
    check('standing still', stands_still)
    check('in time', in_time, output='messages')
finally:
    subprocess.run(['ip', 'netns', 'del', NS])
print('capture: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
