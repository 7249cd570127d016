#!/usr/bin/env python3
"""TCP to collectors that go and come back, do not read, hang up, are black holes or not there.

usage: tcp.py PFLOW TESTDATA-DIRECTORY [TOOLS-DIRECTORY]     (as root, with iproute2, nftables, tcpdump; pflowctl beside PFLOW)

1. Replays to real receivers: socat and ipfixDump of libfixbuf, ipfix2csv, where they are installed, ipfixcheck.py of
   TOOLS-DIRECTORY: every record, no finding, no gap in the sequence.
2. A collector that is killed and started again twenty times under load: records that its system acknowledged, by a
   capture, + lost + in doubt = exported.
3. One daemon, six collectors: one reads, one reads an octet a second, one hangs up, one is a black hole, one is not
   there, one gets datagrams. The export loop answers a client all the time, each trouble is told in words and no more
   than once a minute, sums hold, and the two that can be exported to lose nothing.
4. A reload keeps a connection whose collector stays. Collectors that only pflowctl names are refused with the reason.
   rdomain sends another way than the routes.
"""
import json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

from common import end, expect, free_port, ip, make_user, problems, sender, until
from states import packets

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TOOLS = sys.argv[3] if len(sys.argv) > 3 else None
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE, RECORDS = DATA + '/mix200.openbsd-v6.pcap', 305
NS, FAR = 'pflow-t-%d' % os.getpid(), 'pflow-u-%d' % os.getpid()
KILLS, LOAD, AWAY = int(os.environ.get('KILLS', 20)), 0.3, 1.2
make_user()

# Reads what comes, at the pace and for as long as it is told.
COLLECTOR = '''
import socket, sys, time
port, how = int(sys.argv[1]), sys.argv[2]
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', port))
s.listen(8)
print('ready', flush=True)
while True:
    c, _ = s.accept()
    if how == 'closes':
        c.close()
        continue
    while c.recv(1 if how == 'slow' else 1 << 20):
        if how == 'slow':
            time.sleep(1)
'''


def inside(*words, namespace=NS, **how):
    return subprocess.Popen(('ip', 'netns', 'exec', namespace) + words, stdin=subprocess.DEVNULL, text=True, **how)


def collector(port, how='reads'):
    process = inside(sys.executable, '-c', COLLECTOR, str(port), how, stdout=subprocess.PIPE)
    assert process.stdout.readline() == 'ready\n'
    return process


class Daemon:
    """pflow in the namespace."""
    def __init__(self, directory, lines):
        self.conf, self.sock, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'log'))
        self.lines = lines
        self.write(lines)
        with open(self.log, 'w') as log:
            self.process = inside(PFLOW, '-d', '-a', '-f', self.conf, stdout=subprocess.DEVNULL, stderr=log)
        until('start', lambda: 'capturing on' in self.text() and os.path.exists(self.sock))

    def write(self, lines):
        with open(self.conf, 'w') as f:
            f.write('interface ptc\nsocket %s\n%s\n' % (self.sock, '\n'.join(lines)))

    def text(self):
        return open(self.log).read()

    def ctl(self, *words):
        return subprocess.run((PFLOWCTL, '-s', self.sock) + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)

    def interface(self, unit=0):
        parts = [json.loads(line) for line in self.ctl('-j', 'show', 'statistics').stdout.splitlines()]
        return next(p for p in parts if p.get('of') == 'pflow%d' % unit)

    def sums(self, unit):
        c = self.interface(unit)
        return c['records'] == c['records_sent'] + c['records_refused'] + c['held'], c

    def stop(self):
        code = end(self.process)
        expect('the daemon ends in good order', code == 0, '' if code == 0 else self.text()[-2000:])


class Client(threading.Thread):
    """Asks the daemon again and again; how long it took, seconds."""
    def __init__(self, path):
        super().__init__(daemon=True)
        self.over, self.took = threading.Event(), []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def run(self):
        while not self.over.wait(0.003):
            begun = time.monotonic()
            self.socket.sendall(b'show timeouts\n')
            b = b''
            while not b.endswith(b'ok\n'):
                b += self.socket.recv(65536)
            self.took.append(time.monotonic() - begun)

    def stop(self):
        self.over.set()
        self.join()
        return sorted(self.took)


def messages(stream):
    """Whole messages at the front of octets, and their records, by the templates in them."""
    at, found, lens = 0, [], {}
    while at + 20 <= len(stream):
        size, kind = struct.unpack_from('>H', stream, at + 2)[0], struct.unpack_from('>H', stream, at + 16)[0]
        if at + size > len(stream):
            break
        records, p = 0, at + 20
        if kind == 2:
            while p < at + size:
                number, fields = struct.unpack_from('>HH', stream, p)
                lens[number] = sum(struct.unpack_from('>H', stream, p + 6 + 4 * n)[0] for n in range(fields))
                p += 4 + 4 * fields
        else:
            records = (size - 20) // lens[kind]
        at += size
        found.append((at, records))
    return found


def acknowledged(path, port):
    """Records whose last octet the collector's system acknowledged, by a capture of lo; connections."""
    b, at, streams, all_streams = open(path, 'rb').read(), 24, {}, []
    while at + 16 <= len(b):
        size, whole = struct.unpack_from('<II', b, at + 8)
        frame, at = b[at + 16:at + 16 + size], at + 16 + size
        assert size == whole, 'a frame is cut'
        if frame[12:14] != b'\x08\0' or frame[23] != 6:
            continue
        tcp = 14 + (frame[14] & 15) * 4
        length = struct.unpack_from('>H', frame, 16)[0] - (tcp - 14) - (frame[tcp + 12] >> 4) * 4
        source, to, sequence, ack = struct.unpack_from('>HHII', frame, tcp)
        flags = frame[tcp + 13]
        if to == port:
            if flags & 2 and streams.get(source, {}).get('first') != sequence + 1 & 0xffffffff:
                # A port may be used again.
                streams[source] = {'first': sequence + 1 & 0xffffffff, 'parts': {}, 'acked': 0, 'is_made': False}
                all_streams.append(streams[source])
            elif length:
                s = streams[source]
                s['parts'][sequence - s['first'] & 0xffffffff] = frame[-length:]
        elif source == port and to in streams and flags & 16 and not flags & 4:
            streams[to]['is_made'] = True
            streams[to]['acked'] = max(streams[to]['acked'], (ack - streams[to]['first']) & 0xffffffff)
    records = 0
    for s in all_streams:
        stream = bytearray()
        for offset in sorted(s['parts']):
            part = s['parts'][offset]
            assert offset <= len(stream), 'the capture lacks octets'
            stream[offset:offset + len(part)] = part
        records += sum(n for last, n in messages(bytes(stream)) if last <= s['acked'])
    return records, sum(s['is_made'] for s in all_streams)


def replay(port, *more):
    words = [PFLOW, '-a', '-r', CAPTURE, '-o', 'none', *more, 'pflow0', 'flowdst', '127.0.0.1:%d' % port, 'pflowproto', '10', 'transport', 'tcp']
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def replay_when_ready(port):
    # A receiver of others tells nobody when it listens.
    for _ in range(100):
        r = replay(port)
        if 'connection refused' not in r.stdout:
            return r
        time.sleep(0.1)
    return r


def receivers():
    if shutil.which('socat') and shutil.which('ipfixDump'):
        port = free_port()
        with tempfile.TemporaryFile('w+') as out:
            feeding = subprocess.Popen(['socat', '-u', 'TCP4-LISTEN:%d,bind=127.0.0.1,reuseaddr' % port, 'STDOUT'], stdout=subprocess.PIPE)
            reading = subprocess.Popen(['ipfixDump', '-d'], stdin=feeding.stdout, stdout=out, stderr=subprocess.STDOUT)
            r = replay_when_ready(port)
            feeding.wait(20), reading.wait(20)
            out.seek(0)
            text = out.read()
        found = len(re.findall(r'^--- data record', text, re.M | re.I))
        expect('socat and ipfixDump read every record', r.returncode == 0 and found == RECORDS, '%d of %d' % (found, RECORDS))
    else:
        print('SKIPPED: socat or ipfixDump is not installed')
    if shutil.which('ipfix2csv'):
        port = free_port()
        with tempfile.TemporaryFile('w+') as out:
            words = ['ipfix2csv', '-c', 'tcp', '-b', '127.0.0.1', '-p', str(port), 'octetDeltaCount', 'packetDeltaCount']
            reading = subprocess.Popen(words, stdout=out, stderr=subprocess.PIPE, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
            r = replay_when_ready(port)
            found = lambda: out.seek(0) or [line.split(',') for line in out.read().splitlines()[1:]]
            try:
                until('all rows', lambda: len(found()) >= RECORDS)
            except AssertionError:
                print(found()[-1:])
            reading.kill()
            reading.wait()
            rows = found()
        expect('ipfix2csv reads every record', r.returncode == 0 and len(rows) == RECORDS and all(int(octets.strip('"')) > 0 for octets, _ in rows),
               '%d of %d' % (len(rows), RECORDS))
    else:
        print('SKIPPED: ipfix2csv is not installed')
    if TOOLS:
        port = free_port()
        words = [sys.executable, TOOLS + '/ipfixcheck.py', 'tcp:127.0.0.1:%d' % port, '--seconds', '8', '--json', '--skew', '1000000000']
        checking = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        r = replay_when_ready(port)
        out = checking.communicate(timeout=60)[0]
        expect('ipfixcheck.py reads every record and finds nothing', r.returncode == 0 and checking.returncode == 0 and
               '%d records, 0 findings' % RECORDS in out, out.splitlines()[-1] if out else r.stdout)


def killed(directory):
    port, path = 4739, directory + '/lo.pcap'
    dump = inside('tcpdump', '-i', 'lo', '-s', '0', '-B', '65536', '-w', path, '-U', 'tcp port %d' % port, stderr=subprocess.PIPE)
    until('tcpdump', lambda: 'listening on' in dump.stderr.readline())
    peer = collector(port)
    daemon = Daemon(directory, ['pflow0 flowdst 127.0.0.1:%d pflowproto 10 transport tcp reconnect 1 hold 1 queue 64k' % port])
    load = sender('pts', 1500, namespace=FAR)
    try:
        for turn in range(KILLS):
            until('connection', lambda: daemon.interface()['connected'] > turn, pause=0.05)
            time.sleep(LOAD)
            # Sometimes it stands still first, so that its system has what it did not read.
            if turn % 3 == 2:
                peer.send_signal(signal.SIGSTOP)
                time.sleep(LOAD)
            end(peer, signal.SIGKILL)
            if turn % 5 == 4:
                # Long enough that the queue is full.
                time.sleep(AWAY)
            peer = collector(port)
        end(load, signal.SIGKILL)
        time.sleep(2)
        daemon.ctl('flush')
        until('all is sent', lambda: daemon.interface()['held'] == 0)
        time.sleep(0.5)
        counted = daemon.interface()
        daemon.stop()
    finally:
        for process in (load, daemon.process, peer):
            end(process, signal.SIGKILL)
        end(dump, signal.SIGINT)
    acked, connections = acknowledged(path, port)
    lost, doubt, exported = counted['records_refused'], counted['in_doubt'], counted['records']
    expect('%d kills: acknowledged + lost + in doubt = exported' % KILLS, acked + lost + doubt == exported and connections > KILLS,
           '%d + %d + %d, %d; %d connections' % (acked, lost, doubt, exported, connections))
    expect('each session was told of', counted['connected'] == connections and counted['disconnected'] == KILLS,
           '%d made, %d lost, %d refused' % (counted['connected'], counted['disconnected'], counted['unconnected']))
    expect('something was lost and something in doubt', lost > 0 and doubt > 0)


def troubles(directory):
    subprocess.run(['ip', 'netns', 'exec', NS, 'nft', '-f', '-'], input='table ip t { chain c { type filter hook input priority 0; tcp dport 5003 drop; }; }', text=True, check=True)
    udp = inside(sys.executable, '-c', 'import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.setsockopt(1, 33, 1 << 22)\ns.bind(("127.0.0.1", 5005))\n'
                 'print("ready", flush=True)\nn = 0\nwhile True:\n d = s.recv(65536)\n if d == b"end": break\n n += 1\nprint(n)', stdout=subprocess.PIPE)
    assert udp.stdout.readline() == 'ready\n'
    peers = [collector(5000), collector(5001, 'slow'), collector(5002, 'closes')]
    tcp = 'pflowproto 10 transport tcp hold 1 queue 256k'
    daemon = Daemon(directory, ['pflow%d flowdst 127.0.0.1:%d %s' % (n, 5000 + n, tcp + (' reconnect 1' if n == 2 else '')) for n in range(5)] +
                    ['pflow5 flowdst 127.0.0.1:5005 hold 1'])
    load = sender('pts', 1000, namespace=FAR)
    client = Client(daemon.sock)
    client.start()
    try:
        time.sleep(16)
        took = client.stop()
        end(load, signal.SIGKILL)
        time.sleep(1.5)
        daemon.ctl('flush')
        until('all is sent', lambda: daemon.interface(0)['held'] == 0)
        late = sum(t > 0.01 for t in took)
        expect('the loop answers within 10 ms', late <= len(took) // 50, '%d answers: half in %.2f ms, 99 of 100 in %.2f ms, longest %.1f ms' %
               (len(took), took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3, took[-1] * 1e3))
        for unit in range(6):
            is_so, c = daemon.sums(unit)
            expect('sums of pflow%d hold' % unit, is_so, '' if is_so else str(c))
        for unit in (0, 5):
            c = daemon.interface(unit)
            expect('pflow%d loses nothing' % unit, c['records'] == c['records_sent'] > 10000 and c['in_doubt'] == 0, '%d records' % c['records'])
        for unit, words in ((1, 'queue is full'), (2, 'closed by the collector; tried again in 1 s'), (3, 'no answer in 10 s; tried again in 60 s'),
                            (4, 'connection refused; tried again in 60 s')):
            lines = [line for line in daemon.text().splitlines() if 'pflow%d: ' % unit in line]
            about = [line for line in lines if words in line]
            expect('pflow%d tells its trouble in words, not often' % unit, 1 <= len(about) <= 1 and len(lines) <= 3, '; '.join(lines))
        shown = daemon.ctl('pflow4').stdout
        expect('pflowctl tells it, too', 'collector: 127.0.0.1:5004: connection refused; tried again in 60 s' in shown, shown.split('collector')[-1].strip())
        begun = time.monotonic()
        sent = daemon.interface(5)['datagrams']
        daemon.stop()
        expect('SIGTERM waits 2 s at most', time.monotonic() - begun < 3.5, '%.2f s' % (time.monotonic() - begun))
        inside(sys.executable, '-c', 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"end", ("127.0.0.1", 5005))').wait()
        arrived = int(udp.communicate(timeout=20)[0])
        expect('every datagram arrived beside it', arrived == sent, '%d of %d' % (arrived, sent))
    finally:
        for process in (load, daemon.process, udp, *peers):
            end(process, signal.SIGKILL)


def configured(directory):
    peers = [collector(5000), collector(5001)]
    tcp = 'pflowproto 10 transport tcp reconnect 1 hold 1'
    lines = ['pflow0 flowdst 127.0.0.1:5000 %s' % tcp]
    daemon = Daemon(directory, lines)

    def reload(lines):
        times = daemon.text().count('configuration read again')
        daemon.write(lines)
        daemon.process.send_signal(signal.SIGHUP)
        until('reload', lambda: daemon.text().count('configuration read again') > times)

    try:
        until('connection', lambda: daemon.interface()['connected'] == 1)
        reload([lines[0] + ' hold 5 domain 7'])
        time.sleep(0.3)
        expect('a reload keeps the connection to the same collector', daemon.interface()['connected'] == 1)
        r = daemon.ctl('pflow0', 'flowdst', '127.0.0.1:5001')
        expect('a collector that only pflowctl names is refused', r.returncode == 1 and "only a collector that the configuration's files name" in r.stdout, r.stdout.strip())
        r = daemon.ctl('pflow0', 'backup', '127.0.0.1:5001')
        expect('and so is a backup', r.returncode == 1 and '127.0.0.1:5001' in r.stdout, r.stdout.strip())
        r = daemon.ctl('pflow0', 'rdomain', 'ptc')
        expect('and so is an rdomain', r.returncode == 1, r.stdout.strip())
        expect('nothing changed', daemon.interface()['connected'] == 1 and 'connected to 127.0.0.1:5000' in daemon.ctl('pflow0').stdout)
        reload([lines[0].replace('5000', '5001')])
        until('the other collector', lambda: 'connected to 127.0.0.1:5001' in daemon.ctl('pflow0').stdout)
        expect('a reload connects to another collector', daemon.interface()['connected'] == 2)
        daemon.ctl('pflow0', 'down')
        expect('down ends the connection', ':5001' not in subprocess.run(['ip', 'netns', 'exec', NS, 'ss', '-Htn', 'state', 'established'], stdout=subprocess.PIPE, text=True).stdout)
        # There are two ways to 203.0.113.1: the first is to nobody.
        ip('-n', NS, 'route', 'add', '203.0.113.1/32', 'dev', 'lo', 'metric', '1')
        ip('-n', NS, 'route', 'add', '203.0.113.1/32', 'via', '192.0.2.1', 'dev', 'ptc', 'metric', '2')
        far = inside(sys.executable, '-c', COLLECTOR.replace('127.0.0.1', '203.0.113.1'), '5000', 'reads', namespace=FAR, stdout=subprocess.PIPE)
        peers.append(far)
        assert far.stdout.readline() == 'ready\n'
        both = ['pflow0 flowdst 203.0.113.1:5000 %s' % tcp, 'pflow1 flowdst 203.0.113.1:5005']
        reload([line + ' rdomain ptc' for line in both])
        until('rdomain', lambda: 'connected to 203.0.113.1:5000' in daemon.ctl('pflow0').stdout)
        sockets = subprocess.run(['ip', 'netns', 'exec', NS, 'ss', '-Htun'], stdout=subprocess.PIPE, text=True).stdout
        bound = [line for line in sockets.splitlines() if '203.0.113.1' in line]
        expect('rdomain sends by its device over TCP and UDP', len(bound) == 2 and all('192.0.2.9%ptc' in line for line in bound), sockets)
        daemon.stop()
    finally:
        for process in (daemon.process, *peers):
            end(process, signal.SIGKILL)


begun = time.monotonic()
receivers()
for namespace in (NS, FAR):
    ip('netns', 'add', namespace)
try:
    ip('link', 'add', 'ptc', 'netns', NS, 'type', 'veth', 'peer', 'name', 'pts', 'netns', FAR)
    for namespace, name, address in ((NS, 'ptc', '192.0.2.9'), (FAR, 'pts', '192.0.2.1')):
        ip('-n', namespace, 'link', 'set', 'lo', 'up')
        ip('-n', namespace, 'link', 'set', name, 'up')
        ip('-n', namespace, 'link', 'set', name, 'mtu', '9000')
        ip('-n', namespace, 'address', 'add', address + '/24', 'dev', name)
    ip('-n', FAR, 'address', 'add', '203.0.113.1/32', 'dev', 'lo')
    for test in (killed, troubles, configured):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            try:
                test(directory)
            except (AssertionError, OSError, ValueError, StopIteration, subprocess.SubprocessError) as e:
                log = open(directory + '/log').read() if os.path.exists(directory + '/log') else ''
                expect(test.__name__, False, '%s: %s\n%s' % (type(e).__name__, e, log[-3000:]))
finally:
    for namespace in (NS, FAR):
        subprocess.run(['ip', 'netns', 'delete', namespace])
print('tcp: %d failed, %.0f s' % (len(problems), time.monotonic() - begun))
sys.exit(len(problems) > 0)
