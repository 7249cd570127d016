#!/usr/bin/env python3
"""Spools: collectors and pflow itself killed, a full disk, a restart with other settings.

usage: spool.py PFLOW [KILLS [TOOLS-DIRECTORY]]     (as root, with iproute2; pflowctl beside PFLOW)

Every state has an address of its own and ends at once, so that each record is known when it arrives.
1. A collector goes away twenty times under load, mostly with octets that its system has and that it never read, which
   are looked at before it goes: every record arrives, and none twice, since what its system acknowledged is known.
2. pflow is killed (SIGKILL, both processes) KILLS (25) times at random moments, with a collector that reads, one that
   does not, and none: of each life everything arrives that the encoder had handed over, without a hole; twice arrives
   only what the connection before had sent last. A collector that goes reads first what pflow's system had for it.
3. The disk of the spool is full, and has room again: counted, told once each, nobody waits, and what is in it arrives.
4. A restart with another template: both are told. A segment is an IPFIX file of its own. ipfixcheck.py of
   TOOLS-DIRECTORY reads segment and stream, and finds nothing.
5. A directory of others' and one that another process uses are refused in words; a damaged segment is set aside.
"""
import fcntl, json, os, random, signal, socket, struct, subprocess, sys, tempfile, termios, threading, time

from common import expect, in_namespace, make_user, problems, until
from states import frame, packet, section, tcp

PFLOW = os.path.abspath(sys.argv[1])
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 25
TOOLS = sys.argv[3] if len(sys.argv) > 3 else None
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
NS, FAR = 'pflow-s-%d' % os.getpid(), 'pflow-sf-%d' % os.getpid()
PORT, AWAY = 4739, 20
make_user()


def listener(buffer):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.bind(('127.0.0.1', PORT))
    s.listen(8)
    return s


def born_and_dead(numbers):
    """A frame in which states begin and end."""
    states = [tcp(n, b'\xc0\0\2\1', struct.pack('>I', 0x0a000000 + n)) for n in numbers]
    return frame(packet(section(13, states) + section(6, states)))


class Sender:
    """Packets of two states each, at a rate, from the number where it was."""
    def __init__(self):
        self.number, self.over, self.thread = 0, None, None
        self.socket = in_namespace(FAR, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        self.socket.bind(('pss', 0))

    def send(self, packets):
        for _ in range(packets):
            self.socket.send(born_and_dead((self.number, self.number + 1)))
            self.number += 2

    def start(self, rate):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(rate,), daemon=True)
        self.thread.start()

    def run(self, rate):
        begun, sent = time.monotonic(), 0
        while not self.over.wait(0.002):
            due = int((time.monotonic() - begun) * rate)
            self.send(due - sent)
            sent = due

    def stop(self):
        self.over.set()
        self.thread.join()


class Session:
    """What came by one connection."""
    def __init__(self):
        self.octets, self.at, self.lens, self.records, self.gaps, self.sequence = b'', 0, {}, [], 0, None

    def take(self, octets):
        self.octets = self.octets[self.at:] + octets
        self.at = 0
        while len(self.octets) - self.at >= 20:
            version, size, _, sequence, _ = struct.unpack_from('>HHIII', self.octets, self.at)
            assert version == 10
            if len(self.octets) - self.at < size:
                break
            self.message(self.octets[self.at:self.at + size], sequence)
            self.at += size

    def message(self, m, sequence):
        if self.sequence is None:
            assert sequence == 0, 'a session begins with %d' % sequence
        elif sequence != self.sequence:
            self.gaps += sequence - self.sequence & 0xffffffff
        self.sequence = sequence
        p = 16
        while p < len(m):
            kind, length = struct.unpack_from('>HH', m, p)
            if kind == 2:
                q = p + 4
                while q < p + length:
                    number, fields = struct.unpack_from('>HH', m, q)
                    self.lens[number] = sum(struct.unpack_from('>H', m, q + 6 + 4 * n)[0] for n in range(fields))
                    q += 4 + 4 * fields
            else:
                size = self.lens[kind]
                assert (length - 4) % size == 0
                for q in range(p + 4, p + length, size):
                    self.records.append(m[q:q + 8])
                    self.sequence += 1
            p += length


def number_of(record):
    """The state of a record, and which of its two it is."""
    a, b = struct.unpack('>II', record)
    return (a & 0xffffff, 0) if a >> 24 == 10 else (b & 0xffffff, 1)


class Collector:
    """Accepts one connection after the other; reads unless it is told not to."""
    def __init__(self, buffer=100000):
        self.buffer = buffer
        self.sessions, self.reads, self.listener, self.connection = [], True, None, None

    def start(self):
        self.listener = in_namespace(NS, lambda: listener(self.buffer))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.listener.settimeout(0.02)
        while not self.over.is_set():
            try:
                c, _ = self.listener.accept()
            except OSError:
                continue
            self.connection = c
            session = Session()
            self.sessions.append(session)
            c.settimeout(0.02)
            while not self.over.is_set():
                if not self.reads:
                    time.sleep(0.005)
                    continue
                try:
                    octets = c.recv(1 << 16)
                except socket.timeout:
                    continue
                except OSError:
                    break
                if not octets:
                    break
                session.take(octets)
            if not self.over.is_set():
                c.close()
                self.connection = None

    def stop(self):
        """Goes away; what its system has and it did not read counts as arrived, since it was acknowledged."""
        self.over.set()
        self.thread.join()
        self.listener.close()
        if self.connection is not None:
            waiting = lambda: struct.unpack('i', fcntl.ioctl(self.connection, termios.FIONREAD, b'\0' * 4))[0]
            before = None
            while waiting() != before:
                before = waiting()
                time.sleep(0.25)
            peeked = self.connection.recv(1 << 24, socket.MSG_PEEK | socket.MSG_DONTWAIT) if before else b''
            self.sessions[-1].take(peeked)
            self.connection.close()
            self.connection = None

    def records(self):
        return [r for s in self.sessions for r in s.records]


class Daemon:
    def __init__(self, directory, *more, template='openbsd', size='64M', spool=None):
        self.dir, self.spool = directory, spool or os.path.join(directory, 'spool')
        self.conf, self.sock, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'log'))
        os.makedirs(self.spool, mode=0o700, exist_ok=True)
        self.write(*more, template=template, size=size)
        self.process = None

    def write(self, *more, template='openbsd', size='64M'):
        with open(self.conf, 'w') as f:
            f.write('interface psp\nsocket %s\npflow0 flowdst 127.0.0.1:%d pflowproto 10 transport tcp reconnect 1 hold 1 template %s spool %s %s %s\n'
                    % (self.sock, PORT, template, self.spool, size, ' '.join(more)))

    def text(self):
        return open(self.log).read() if os.path.exists(self.log) else ''

    def launch(self):
        out = open(self.log, 'a')
        return subprocess.Popen(['ip', 'netns', 'exec', NS, PFLOW, '-d', '-a', '-v', '-f', self.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out)

    def start(self):
        before = self.text().count('capturing on')
        self.process = self.launch()
        until('start: ' + self.text()[-300:], lambda: self.text().count('capturing on') > before and os.path.exists(self.sock), pause=0.005)

    def ctl(self, *words):
        return subprocess.run((PFLOWCTL, '-s', self.sock) + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30).stdout

    def counters(self):
        parts = [json.loads(line) for line in self.ctl('-j', 'show', 'statistics').splitlines()]
        return next(p for p in parts if p.get('of') == 'pflow0')

    def kill(self):
        child = int(open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)).read())
        for pid in (child, self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        until('the end of the child', lambda: not os.path.exists('/proc/%d' % child) or open('/proc/%d/stat' % child).read().split()[2] == 'Z', pause=0.002)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def drained(self):
        self.ctl('flush')
        return until('all is sent', lambda: self.is_drained(), 60, 0.1)

    def is_drained(self):
        c = self.counters()
        return c['held'] == 0 and c['spool_behind'] == 0 and c['octets_waiting'] == 0 and c

    def segments(self):
        return sorted(n for n in os.listdir(self.spool) if n.endswith('.ipfix') and os.path.getsize(os.path.join(self.spool, n)))


def doubles(records):
    return len(records) - len(set(records))


def collectors(directory):
    daemon, collector, sender = Daemon(directory), Collector(), Sender()
    collector.start()
    daemon.start()
    sender.start(1000)
    for turn in range(AWAY):
        until('connection', lambda: len(collector.sessions) > turn)
        time.sleep(0.15)
        # Its system goes on taking until its buffer is full; every fourth time it has read everything.
        if turn % 4:
            collector.reads = False
            time.sleep(random.random() * 0.6)
        collector.stop()
        if turn % 5 == 4:
            time.sleep(0.8)
        collector.reads = True
        collector.start()
    sender.stop()
    time.sleep(0.3)
    c = daemon.drained()
    code = daemon.stop()
    collector.over.set()
    collector.thread.join()
    collector.listener.close()
    records = collector.records()
    expect('%d collectors gone: every record arrived' % AWAY, len(set(records)) == c['records'] == 2 * sender.number and c['records_refused'] == 0,
           '%d of %d; %d spooled, %d sent from the spool' % (len(set(records)), c['records'], c['spooled'], c['unspooled']))
    expect('and none twice', doubles(records) == 0, doubles(records))
    expect('sequences have no gap', sum(s.gaps for s in collector.sessions) == 0)
    expect('in order', all(a <= b for s in collector.sessions for a, b in zip(map(number_of, s.records), map(number_of, s.records[2:]))))
    expect('sums hold', c['records'] + c['spool_found'] == c['records_sent'] + c['records_refused'] + c['held'] + c['spool_left'],
           '%d + %d = %d + %d + %d' % (c['records'], c['spool_found'], c['records_sent'], c['records_refused'], c['held']))
    expect('a stop in good order leaves nothing', code == 0 and daemon.segments() == [], os.listdir(daemon.spool))


def killed(directory):
    random.seed(19)
    daemon, collector, sender = Daemon(directory), Collector(4000), Sender()
    lives, is_there = [], False
    begun = time.monotonic()
    for turn in range(KILLS):
        # With a collector that reads, one that does not, and none.
        how = ('reads', 'reads', 'waits', 'none')[turn % 4]
        if how == 'none' and is_there:
            # What the system of the one that was killed still has is read first.
            collector.reads = True
            until('the end of the connection', lambda: collector.connection is None)
            collector.stop()
            is_there = False
        collector.reads = how != 'waits'
        if how != 'none' and not is_there:
            collector.start()
            is_there = True
        daemon.start()
        first = sender.number
        sender.start(random.choice((300, 1500, 3000)))
        time.sleep(random.random() * 0.5)
        c = daemon.counters()
        handed = c['records'] - c['held']
        time.sleep(random.random() * 0.05)
        daemon.kill()
        sender.stop()
        lives.append((first, sender.number, handed))
        sender.number += 100000 - sender.number % 100000 if sender.number % 100000 > 90000 else 0
    collector.reads = True
    if not is_there:
        collector.start()
    daemon.start()
    found = daemon.drained()
    code = daemon.stop()
    collector.stop()
    records = collector.records()
    have = set(map(number_of, records))
    missing, holes, tails = 0, 0, []
    for first, last, handed in lives:
        arrived = [(n, d) for n in range(first, last) for d in (0, 1)]
        there = [r in have for r in arrived]
        end = max((i for i, is_so in enumerate(there) if is_so), default=-1) + 1
        holes += there[:end].count(False)
        missing += max(0, handed - sum(there))
        tails.append(len(there) - end)
    expect('%d kills: all that the encoder had handed over arrived' % KILLS, missing == 0 and holes == 0,
           '%d missing, %d holes; %d records of %d lives; %.0f s' % (missing, holes, len(have), len(lives), time.monotonic() - begun))
    # What was doubled is a run near the end of one connection and the beginning of a later one.
    seen, odd, most = {}, 0, 0
    for n, s in enumerate(collector.sessions):
        numbers = list(map(number_of, s.records))
        again = [r for r in numbers if r in seen]
        if again != numbers[:len(again)]:
            odd += 1
        for of in set(seen[r] for r in again):
            # One run: what follows it there was in memory only, and the system of the killed one sent it.
            mine = [r for r in again if seen[r] == of]
            there = list(map(number_of, collector.sessions[of].records))
            begin = there.index(mine[0])
            odd += there[begin:begin + len(mine)] != mine
        most = max(most, len(again))
        seen.update((r, n) for r in numbers)
    expect('twice arrived only what was in doubt', odd == 0 and code == 0, '%d records in %d connections, most at a time %d' % (doubles(records), len(collector.sessions), most))
    expect('sequences have no gap', sum(s.gaps for s in collector.sessions) == 0)


def full(directory):
    disk = os.path.join(directory, 'disk')
    os.mkdir(disk)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=400k,mode=700', 'pflow-spool', disk], check=True)
    collector, sender = Collector(), Sender()
    try:
        daemon = Daemon(directory, spool=disk)
        daemon.start()
        took = []
        sender.start(2000)
        until('the disk is full', lambda: daemon.counters()['spool_dropped'] > 2000)
        s = socket.socket(socket.AF_UNIX)
        s.connect(daemon.sock)
        for _ in range(300):
            begun = time.monotonic()
            s.sendall(b'show timeouts\n')
            b = b''
            while not b.endswith(b'ok\n'):
                b += s.recv(65536)
            took.append(time.monotonic() - begun)
            time.sleep(0.003)
        s.close()
        sender.stop()
        took.sort()
        expect('a full disk keeps nobody waiting', took[len(took) * 9 // 10] < 0.01, 'half in %.2f ms, nine of ten in %.2f ms' % (took[150] * 1e3, took[270] * 1e3))
        collector.start()
        daemon.drained()
        collector.stop()
        until('written again', lambda: sender.send(1) or 'written again' in daemon.text(), 10, 0.1)
        collector.start()
        c = daemon.drained()
        daemon.stop()
        collector.stop()
        records = collector.records()
        expect('what the disk took arrived, the rest is counted', len(set(records)) == c['records'] - c['records_refused'] and c['records'] == 2 * sender.number
               and doubles(records) == 0, '%d arrived, %d dropped of %d' % (len(records), c['spool_dropped'], c['records']))
        lines = [l for l in daemon.text().splitlines() if 'No space left' in l or 'written again' in l]
        expect('told once when it began and once when it was over', len(lines) == 2, lines)
        expect('the collector sees the gap', sum(s.gaps for s in collector.sessions) == c['records_refused'])
    finally:
        subprocess.run(['umount', '-l', disk], check=True)


def other_settings(directory):
    daemon, collector, sender = Daemon(directory, 'domain', '7'), Collector(), Sender()
    for template in ('openbsd', 'freebsd'):
        daemon.write('domain', '7' if template == 'openbsd' else '8', template=template)
        daemon.start()
        sender.send(200)
        time.sleep(0.2)
        daemon.ctl('flush')
        until('spooled', lambda: daemon.counters()['spooled'] == 800, 5, 0.05)
        text = daemon.ctl('pflow0')
        expect('pflowctl shows it', 'spool: ' in text and ' s behind' in text, next(l.strip() for l in text.splitlines() if 'spool:' in l))
        daemon.stop()
    names = daemon.segments()
    for name in names:
        session = Session()
        with open(os.path.join(daemon.spool, name), 'rb') as f:
            session.take(f.read())
        expect('%s is an IPFIX file of its own' % name, len(session.records) == 800 and session.gaps == 0 and session.at == len(session.octets))
        if TOOLS:
            r = subprocess.run([sys.executable, TOOLS + '/ipfixcheck.py', 'file:' + os.path.join(daemon.spool, name), '--json', '--skew', '1000000000'],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            expect('ipfixcheck.py reads it and finds nothing', r.returncode == 0 and '800 records, 0 findings' in r.stdout, r.stdout.splitlines()[-1])
    if TOOLS:
        checking = subprocess.Popen(['ip', 'netns', 'exec', NS, sys.executable, TOOLS + '/ipfixcheck.py', 'tcp:127.0.0.1:%d' % PORT, '--seconds', '8', '--json', '--skew', '1000000000'],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(1)
        daemon.start()
        daemon.drained()
        daemon.stop()
        out = checking.communicate(timeout=60)[0]
        expect('ipfixcheck.py reads both by one connection and finds nothing', checking.returncode == 0 and '1600 records, 0 findings' in out, out.splitlines()[-1])
    else:
        collector.start()
        daemon.start()
        daemon.drained()
        daemon.stop()
        collector.stop()
        expect('both arrive by one connection', len(set(collector.records())) == 1600 and len(collector.sessions) == 1)


def refused(directory):
    daemon, sender = Daemon(directory), Sender()
    os.chmod(daemon.spool, 0o755)
    r = daemon.launch()
    expect('a directory in which others have rights is refused', r.wait(10) == 1 and 'has mode 755: others have rights in it, not 700' in daemon.text(), daemon.text().strip().splitlines()[-1])
    os.chmod(daemon.spool, 0o700)
    daemon.start()
    second = subprocess.run(['ip', 'netns', 'exec', NS, PFLOW, '-d', '-p', os.path.join(directory, 'pid'), '-s', os.path.join(directory, 'sock2'), '-f', daemon.conf],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    expect('and one that is in use', second.returncode == 1 and 'another process uses this spool' in second.stdout, second.stdout.strip().splitlines()[-1])
    said = daemon.ctl('pflow0', 'spool', directory, '2M').strip()
    expect('and one that only pflowctl names', "only a spool that the configuration's files name" in said, said)
    sender.send(100)
    time.sleep(0.2)
    daemon.ctl('flush')
    until('spooled', lambda: daemon.counters()['spooled'] == 400, 5, 0.05)
    gone = daemon.ctl('pflow0', 'destroy')
    expect('a spool whose interface goes stays, and is named', 'octets stay in %s' % daemon.spool in daemon.text() and gone == '' and len(daemon.segments()) == 1, gone)
    daemon.stop()
    name = os.path.join(daemon.spool, daemon.segments()[0])
    with open(name, 'r+b') as f:
        f.seek(200 + 2 * 1300)
        f.write(b'\xff' * 1500)
    collector = Collector()
    collector.start()
    daemon.start()
    sender.send(50)
    time.sleep(0.2)
    daemon.drained()
    time.sleep(1.2)
    daemon.stop()
    collector.stop()
    new = set((n, d) for n in range(200, 300) for d in (0, 1))
    have = set(map(number_of, collector.records()))
    aside = [n for n in os.listdir(daemon.spool) if n.endswith('.damaged')]
    lines = [l for l in daemon.text().splitlines() if 'damaged' in l or 'is not sent' in l]
    expect('a damaged segment is sent up to there, told, set aside, and new records go', new <= have and 0 < len(have) - len(new) < 400 and len(aside) == 1 and len(lines) == 2, lines)


def main():
    for namespace in (NS, FAR):
        subprocess.run(['ip', 'netns', 'add', namespace], check=True)
    try:
        ip = lambda *words: subprocess.run(('ip', '-n') + words, check=True)
        ip(NS, 'link', 'set', 'lo', 'up')
        subprocess.run(['ip', '-n', NS, 'link', 'add', 'psp', 'type', 'veth', 'peer', 'name', 'pss', 'netns', FAR], check=True)
        ip(NS, 'link', 'set', 'psp', 'up')
        ip(FAR, 'link', 'set', 'pss', 'up')
        time.sleep(0.1)
        for test in (collectors, killed, full, other_settings, refused):
            if len(sys.argv) > 4 and test.__name__ not in sys.argv[4:]:
                continue
            print('-- %s' % test.__name__, flush=True)
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o755)
                try:
                    test(directory)
                except Exception as error:
                    expect('%s: %s: %s' % (test.__name__, type(error).__name__, error), False)
                    log = os.path.join(directory, 'log')
                    if os.path.exists(log):
                        print(open(log).read()[-3000:])
                finally:
                    for namespace in (NS,):
                        for pid in subprocess.run(['ip', 'netns', 'pids', namespace], stdout=subprocess.PIPE, text=True).stdout.split():
                            os.kill(int(pid), signal.SIGKILL)
    finally:
        for namespace in (NS, FAR):
            subprocess.run(['ip', 'netns', 'del', namespace])
    print('%d problems' % len(problems))
    sys.exit(bool(problems))


main()
