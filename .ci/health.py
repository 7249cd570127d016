#!/usr/bin/env python3
"""Each cause of a collector that shows nothing, live, with the real binary: `show health` names it within 15 s, the log
has its line once, and where the cause can be removed one line says that it is over.

usage: health.py PFLOW [CAUSE ...]     (as root, with iproute2; pflowctl beside PFLOW)

Every cause has a network namespace of its own, with a firewall that is simulated on one end of a veth pair, and all run
at once. Of every answer: at most fifteen lines of at most 80 columns, and its JSON is JSON.
"""
import concurrent.futures, json, os, pwd, re, signal, socket, struct, subprocess, sys, tempfile, threading, time, traceback

from common import make_user

PFLOW = os.path.abspath(sys.argv[1])
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
WITHIN = 15
A, B = '192.0.2.1', '192.0.2.2'
make_user()

# The firewall: lines of JSON on standard input say what to send, and at once.
SENDER = r'''
import json, socket, struct, sys
def checksum(b):
    s = sum(struct.unpack('>%dH' % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
def state(n, creator=0x7a11c0de, flags=4, age=0, octets=1000, host=1):
    b = bytearray(264)
    struct.pack_into('>Q', b, 0, (0x68 << 56) + n)
    b[8:11] = b'em0'
    for key in (24, 64):
        b[key:key + 4] = bytes((192, 0, 2, 1))
        struct.pack_into('>I', b, key + 16, 10 << 24 | host << 16 | n & 0xffff)
        struct.pack_into('>HH', b, key + 32, 443, 0x8000 | n & 0x7fff)
        b[key + 38] = 2
    b[128] = b[160] = 4
    struct.pack_into('>II', b, 196, age, 86400)
    struct.pack_into('>QQQQ', b, 204, 9, 7, octets, 2 * octets)
    struct.pack_into('>I', b, 236, creator)
    b[250:253] = bytes((2, 6, 1))
    b[255], b[261] = 2, flags
    return bytes(b)
def upd_c(n, creator=0x7a11c0de, **_):
    b = bytearray(84)
    struct.pack_into('>Q', b, 0, (0x68 << 56) + n)
    b[8 + 22] = b[40 + 22] = 4
    struct.pack_into('>I', b, 72, creator)
    b[80] = 2
    return bytes(b)
def del_c(n, creator=0x7a11c0de, **_):
    return struct.pack('>QI', (0x68 << 56) + n, creator)
MESSAGES = {'ins': (13, 66, state), 'upd': (14, 66, state), 'upd_c': (4, 21, upd_c), 'del_c': (7, 3, del_c)}
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
for line in sys.stdin:
    o = json.loads(line)
    kind, source, ttl, numbers = o.pop('kind'), o.pop('source'), o.pop('ttl', 255), o.pop('n')
    action, words, make = MESSAGES[kind]
    for at in range(0, len(numbers), 5):
        some = numbers[at:at + 5]
        body = struct.pack('>BBH', action, words, len(some)) + b''.join(make(n, **o) for n in some)
        body = struct.pack('>BBH16x', 6, 0, 20 + len(body)) + body
        head = struct.pack('>BBHHHBBH4s4s', 0x45, 16, 20 + len(body), at, 0, ttl, 240, 0, socket.inet_aton(source), bytes((224, 0, 0, 240)))
        head = head[:10] + struct.pack('>H', checksum(head)) + head[12:]
        s.send(b'\x01\x00\x5e\x00\x00\xf0\x02\x00\x00\x00\x00\x01\x08\x00' + head + body)
'''


class Place:
    """A namespace with a firewall on fw0, which sync0 hears, and a way out to a collector that is another namespace."""
    number, lock = 0, threading.Lock()

    def __init__(self, name, directory):
        with Place.lock:
            Place.number += 1
            self.ns = 'pflow-h%d-%d' % (Place.number, os.getpid())
        self.dir, self.name, self.processes, self.load = directory, name, [], None
        self.sock, self.log, self.conf = (os.path.join(directory, n) for n in ('sock', 'log', 'conf'))
        subprocess.run(['ip', 'netns', 'add', self.ns], check=True)
        self.out = self.ns + 'c'
        subprocess.run(['ip', 'netns', 'add', self.out], check=True)
        for words in ('link set lo up', 'link add fw0 type veth peer name sync0', 'link set fw0 up', 'link set sync0 up',
                      'link add out0 type veth peer name in0 netns ' + self.out, 'addr add 10.9.0.1/24 dev out0', 'link set out0 up'):
            self.ip(words)
        for words in ('link set lo up', 'addr add 10.9.0.2/24 dev in0', 'link set in0 up'):
            subprocess.run(['ip', '-n', self.out, *words.split()], check=True)
        self.sender = self.inside(sys.executable, '-c', SENDER, 'fw0', stdin=subprocess.PIPE)

    def ip(self, words):
        subprocess.run(['ip', '-n', self.ns, *words.split()], check=True)

    def inside(self, *words, ns=None, **how):
        process = subprocess.Popen(['ip', 'netns', 'exec', ns or self.ns, *words], text=True, **how)
        self.processes.append(process)
        return process

    def send(self, kind, numbers, source=A, **how):
        with Place.lock:
            self.sender.stdin.write(json.dumps(dict(how, kind=kind, source=source, n=list(numbers))) + '\n')
            self.sender.stdin.flush()

    def keep(self, *loads, every=0.5):
        """Sends that again and again from now on: functions of the number of the turn."""
        self.rest()
        stop = self.load = threading.Event()

        def run():
            turn = 0
            while not stop.wait(every):
                for load in loads:
                    load(turn)
                turn += 1
        threading.Thread(target=run, daemon=True).start()

    def rest(self):
        if self.load:
            self.load.set()

    def flows(self, **how):
        """States that come and go, so that there is something to send."""
        def load(turn):
            self.send('ins', range(turn * 10, turn * 10 + 10), **how)
            if turn > 1:
                self.send('del_c', range(turn * 10 - 20, turn * 10 - 10), **{k: v for k, v in how.items() if k in ('source', 'creator')})
        return load

    def start(self, *lines, words=('-a',), until_ready=True):
        with open(self.conf, 'w') as f:
            f.write(''.join(l + '\n' for l in lines if l))
            f.write('socket "%s"\n' % self.sock)
            if not any(l.startswith('interface') for l in lines):
                f.write('interface sync0\n')
        with open(self.log, 'w') as log:
            self.pflow = self.inside(PFLOW, '-d', '-f', self.conf, *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        if until_ready:
            self.until('start', lambda: 'control socket' in self.text() or self.pflow.poll() is not None, 10)
            assert self.pflow.poll() is None, 'ended: ' + self.text()
        self.begun = time.monotonic()

    def listen(self, port, kind='udp'):
        """A collector in the other namespace."""
        code = ('import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_%s)\ns.setsockopt(1,2,1)\ns.bind(("0.0.0.0",%d))\n' %
                ('DGRAM' if kind == 'udp' else 'STREAM', port))
        code += 'print(flush=True)\n' if kind == 'udp' else ''
        code += ('while s.recv(65536): pass' if kind == 'udp' else 's.listen()\nprint(flush=True)\nall=[]\nwhile True:\n c=s.accept()[0]\n all.append(c)\n'
                 ' import threading\n threading.Thread(target=lambda c=c: [0 for _ in iter(lambda: c.recv(65536), b"")], daemon=True).start()')
        collector = self.inside(sys.executable, '-c', code, ns=self.out, stdout=subprocess.PIPE)
        collector.stdout.readline()

    def text(self):
        return open(self.log).read() if os.path.exists(self.log) else ''

    def ctl(self, *words):
        for tries in range(20):
            try:
                run = subprocess.run([PFLOWCTL, '-s', self.sock, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
                break
            except BlockingIOError:
                # Where others have as many processes as there may be.
                time.sleep(0.1)
        assert run.returncode == 0, run.stdout
        return run.stdout

    def health(self):
        text = self.ctl('show', 'health')
        lines = text.splitlines()
        assert 3 <= len(lines) <= 15 and all(len(line) <= 80 for line in lines), text
        first = lines[0]
        troubles = [json.loads(line) for line in self.ctl('-j', 'show', 'health').splitlines()]
        assert troubles[0]['part'] == 'health', troubles
        assert first == 'ok' or re.fullmatch(r'[0-9]+ troubles?', first), text
        return text, [t for t in troubles if t['part'] == 'trouble']

    def until(self, what, condition, seconds=WITHIN):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
            time.sleep(0.2)
        return seconds - (end - time.monotonic())

    def names(self, cause, words, seconds=WITHIN):
        """Health names the cause, in these words, in the first lines."""
        def is_named():
            text, troubles = self.health()
            joined = re.sub(r'\s+', ' ', text)
            return any(t['cause'] == cause for t in troubles) and re.search(words, joined) and not text.startswith('ok')
        took = self.until('%s: %s' % (cause, words), is_named, seconds)
        print('   %-22s named after %4.1f s' % (self.name, took), flush=True)

    def once(self, words, count=1):
        lines = re.findall(words, self.text())
        assert len(lines) == count, '%d times: %s\n' % (len(lines), words)

    def over(self, cause, words, seconds=WITHIN):
        self.until(cause + ' is over', lambda: not any(t['cause'] == cause for t in self.health()[1]), seconds)
        self.until('its line', lambda: re.search(words, self.text()), 3)
        self.once(words)

    def clean(self):
        self.rest()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for directory in reversed([m.split()[1] for m in open('/proc/mounts') if m.split()[1].startswith(self.dir + '/')]):
            subprocess.run(['umount', directory], check=True)
        subprocess.run(['ip', 'netns', 'del', self.ns], check=True)
        subprocess.run(['ip', 'netns', 'del', self.out], check=True)


TO = 'pflow0 flowdst 10.9.0.2:%d pflowproto 10 hold 1 refresh 1'


def tmpfs(here, name, size):
    path = os.path.join(here.dir, name)
    os.mkdir(path, 0o700)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%s,mode=0700' % size, 'tmpfs', path], check=True)
    user = pwd.getpwnam('_pflow')
    os.chown(path, user.pw_uid, user.pw_gid)
    return path


def nothing_wrong(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.keep(here.flows())
    here.until('ok', lambda: here.health()[0].startswith('ok\n') and ' ago, 0 lost: udp' in here.health()[0], 20)
    time.sleep(15)
    text, troubles = here.health()
    assert text.startswith('ok\n') and not troubles, text
    for words in ('sync0: [0-9]+ packets, 0 dropped, last 0 s ago', A + ': v6, .*100% pflow, clock \\+0 s', 'flows: [0-9]+ exported\n',
                  'pflow0: nothing tells if it arrives, last [0-9] s ago, 0 lost: udp 10.9.0.2:2055'):
        assert re.search(words, text), (words, text)
    log = here.text()
    assert not re.search('no pfsync|not known|marked|nobody', log), log


def wrong_interface(here):
    here.ip('link add other type veth peer name other1')
    here.ip('link set other up')
    here.ip('link set other1 up')
    here.start(TO % 2055, 'interface other')
    here.keep(here.flows())
    here.names('silent', 'no pfsync packets on other for [0-9]+ seconds: is it the sync network')
    here.once('no pfsync packets on other')


def no_pfsync(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.names('silent', 'no pfsync packets on sync0 for 1[0-9] seconds')
    here.keep(here.flows())
    here.over('silent', 'sync0: pfsync packets come, after [0-9]+ s')
    here.once('no pfsync packets on sync0 for 1[0-9] seconds')


def ttl(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.keep(here.flows(ttl=254))
    here.names('ttl', 'pfsync with a TTL that is not 255 is left out: it passed a router')
    here.keep(here.flows())
    here.over('ttl', 'sync0: no more pfsync of another TTL than 255, after [0-9]+ s', 40)
    here.once('pfsync with a TTL that is not 255')
    assert 'no pfsync packets' not in here.text()


def refused(here):
    here.start(TO % 2055)
    here.keep(here.flows())
    here.names('refused', 'pflow0: nobody listens at 10.9.0.2:2055: start the collector')
    here.once('pflow0: nobody listens at 10.9.0.2:2055')
    here.listen(2055)
    here.over('refused', 'pflow0: no reports from 10.9.0.2:2055 any more', 75)


def refused_tcp(here):
    here.start((TO % 2055) + ' transport tcp reconnect 1')
    here.keep(here.flows())
    here.names('not_connected', 'pflow0: 10.9.0.2:2055: connection refused')
    here.once('connection refused')
    here.listen(2055, 'tcp')
    here.over('not_connected', 'pflow0: connected to 10.9.0.2:2055 after [0-9]+ s')
    assert 'pflow0: connected, last' in here.health()[0]


def black_hole(here):
    # The next hop is there and takes everything; no answer ever comes.
    subprocess.run(['ip', 'netns', 'exec', here.out, 'nft', '-f', '-'], input='table ip t {\nchain i { type filter hook input priority 0; policy drop; }\n}\n',
                   text=True, check=True)
    here.start((TO % 2055) + ' transport tcp', 'pflow1 flowdst 10.9.0.2:2056')
    here.keep(here.flows())
    here.names('not_connected', 'pflow0: 10.9.0.2:2055.*is the collector up there')
    text = here.health()[0]
    assert re.search('pflow1: nothing tells if it arrives, last [0-9] s ago, 0 lost: udp 10.9.0.2:2056', text), text
    time.sleep(10)
    here.once('pflow0: 10.9.0.2:2055: ')


def no_route(here):
    here.start('pflow0 flowdst 203.0.113.9:2055 pflowproto 10 hold 1 refresh 1')
    here.keep(here.flows())
    here.names('no_route', 'pflow0: no route to 203.0.113.9:2055: Network is unreachable: add one')
    here.once('pflow0: send: ')
    here.ip('route add default via 10.9.0.2')
    here.over('no_route', 'pflow0: there is a route, after [0-9]+ s')


def bad_flowsrc(here):
    # At the start it is refused, in words; where it goes later health tells.
    here.start('pflow0 flowsrc 10.9.9.9 flowdst 10.9.0.2:2055', until_ready=False)
    assert here.pflow.wait(10) == 1
    assert re.search('pflow0: flowsrc 10.9.9.9: .*address', here.text()), here.text()
    here.ip('addr add 10.9.0.77/24 dev out0')
    here.listen(2055)
    here.start((TO % 2055) + ' flowsrc 10.9.0.77')
    here.keep(here.flows())
    here.until('ok', lambda: here.health()[0].startswith('ok'), 10)
    here.ip('addr del 10.9.0.77/24 dev out0')
    here.names('bad_source', 'pflow0: no way from flowsrc 10.9.0.77 to 10.9.0.2:2055.*: is it an address of this host still')
    here.once('pflow0: send: ')
    here.ip('addr add 10.9.0.77/24 dev out0')
    here.over('bad_source', 'pflow0: flowsrc serves, after [0-9]+ s')


def no_flowdst(here):
    here.listen(2055)
    here.start('pflow0 pflowproto 10')
    here.keep(here.flows())
    here.names('idle', 'pflow0 has no flowdst: it sends nothing: pflowctl pflow0 flowdst')
    here.once('pflow0 has no flowdst')
    here.ctl('pflow0', 'flowdst', '10.9.0.2:2055')
    here.over('idle', 'pflow0: it runs, after [0-9]+ s')


def no_interface(here):
    here.start()
    here.keep(here.flows())
    here.names('no_interface', 'no pflowN is there: flows go nowhere: say where: pflowctl pflow0 flowdst')
    here.once('no pflowN is there')


def unmarked(here):
    here.listen(2055)
    here.start(TO % 2055, words=())
    here.keep(here.flows(flags=0))
    here.names('unmarked', 'none of the last [0-9]+ states of 192.0.2.1 is marked pflow: say "set state-defaults pflow"')
    text = here.health()[0]
    assert ', 0% pflow' in text, text
    here.until('flows left out', lambda: re.search('flows: 0 exported; left out: [0-9]+ not marked pflow', here.health()[0]), 5)
    here.keep(here.flows(flags=4))
    here.over('unmarked', '192.0.2.1: states are marked pflow, after [0-9]+ s')
    here.once('none of the last')


def mid_life(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.keep(lambda turn: here.send('upd_c', range(1000, 1040)))
    here.names('unknown', '100% of the updates of 192.0.2.1 are of states not known: they began before pflow')
    assert ', 100% not known' in here.health()[0]
    here.send('ins', range(1000, 1040))
    here.over('unknown', '192.0.2.1: most updates are of states known, after [0-9]+ s')
    here.once('are of states not known')


def clocks(here):
    # The clock of the firewall, a virtual machine, stands still for 3 s.
    here.listen(2055)
    here.start(TO % 2055)
    begun = time.monotonic()
    age = lambda lost=0: int(time.monotonic() - begun - lost)
    for _ in range(4):
        here.send('upd', range(20), age=age() + 100)
        time.sleep(0.5)
    time.sleep(3)
    here.keep(lambda turn: here.send('upd', range(20), age=age(3) + 100))
    here.names('clocks', 'clock of 192.0.2.1 moved by [34] s: run ntpd')
    here.once('clock of 192.0.2.1 moved by [34] s')
    assert re.search(r'clock \+[34] s', here.health()[0])


def peers_clocks(here):
    # Two firewalls of a cluster tell the same states with ages 3 s apart, then alike.
    here.listen(2055)
    here.start(TO % 2055)
    begun, apart = time.monotonic(), [3]
    age = lambda: int(time.monotonic() - begun) + 100
    here.keep(lambda turn: here.send('upd', range(5), age=age()), lambda turn: here.send('upd', range(5), source=B, age=age() - apart[0], octets=2000))
    here.names('clocks', 'clocks differ: 192.0.2.[12] has states begin 3 s (later|earlier) than its peer: run ntpd')
    apart[0] = 0
    here.over('clocks', 'clock of 192.0.2.2: they agree.*, after [0-9]+ s')
    here.once('clocks differ: 192.0.2.2')


def host_id(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.keep(lambda turn: here.send('upd', range(5), host=1), lambda turn: here.send('upd', range(5), source=B, host=2))
    here.names('host_id', '192.0.2.[12] and 192.0.2.[12] both use host id 7a11c0de: give one of them another hostid')
    here.once('both use host id 7a11c0de')
    here.keep(lambda turn: here.send('upd', range(5), host=1), lambda turn: here.send('upd', range(5), source=B, host=2, creator=0x11111111))
    here.over('host_id', 'host id 7a11c0de: one firewall is heard with it, after [0-9]+ s', 45)


def disk_full(here):
    path = tmpfs(here, 'flows', '64k')
    here.start('pflow0 file "%s/f-%%s" pflowproto 10 rotate 3600 hold 1' % path)
    filler = path + '/filler'
    with open(filler, 'wb', buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
    here.keep(here.flows(), every=0.05)
    here.names('disk', 'pflow0: file: .*No space left.*: make room on that disk')
    here.once('No space left')
    os.remove(filler)
    here.over('disk', 'pflow0: file: .*written again')


def spool_filling(here):
    path = os.path.join(here.dir, 'spool')
    os.mkdir(path, 0o700)
    here.start((TO % 2055) + ' transport tcp reconnect 1 spool "%s" 1M' % path)
    count = [0]

    def flood(turn):
        # Until it is filled to nine tenths.
        here.send('ins', range(turn * 500, turn * 500 + 500))
        here.send('del_c', range(turn * 500, turn * 500 + 500))
    here.keep(flood, every=0.1)
    here.names('spool_filling', r'pflow0: spool .* is filled to [0-9]+%: records are lost once it is full', 30)
    here.rest()
    here.once('is filled to')
    here.listen(2055, 'tcp')
    here.over('spool_filling', 'pflow0: there is room in the spool, after [0-9]+ s')


def capture_lost(here):
    here.listen(2055)
    here.start(TO % 2055)
    here.keep(here.flows())
    time.sleep(1)
    here.ip('link set sync0 down')
    here.names('capture_lost', 'sync0: capture lost: the interface is down: bring the interface up again')
    here.once('sync0: capture lost')
    here.ip('link set sync0 up')
    here.over('capture_lost', 'sync0: capturing again')


CAUSES = (nothing_wrong, wrong_interface, no_pfsync, ttl, refused, refused_tcp, black_hole, no_route, bad_flowsrc, no_flowdst, no_interface,
          unmarked, mid_life, clocks, peers_clocks, host_id, disk_full, spool_filling, capture_lost)


def run(cause):
    with tempfile.TemporaryDirectory(prefix='pflow-health-') as directory:
        os.chmod(directory, 0o755)
        here = Place(cause.__name__, directory)
        try:
            cause(here)
            return None
        except Exception as e:
            try:
                health = here.ctl('show', 'health')
            except Exception as again:
                health = str(again)
            trace = traceback.format_exc().splitlines()[-6:]
            return '%s: %s\n%s\n%s\n--\n%s' % (type(e).__name__, e, '\n'.join(trace), here.text()[-1500:], health)
        finally:
            here.clean()


begun = time.monotonic()
chosen = [cause for cause in CAUSES if not sys.argv[2:] or cause.__name__ in sys.argv[2:]]
with concurrent.futures.ThreadPoolExecutor(len(chosen)) as pool:
    outcomes = list(pool.map(run, chosen))
failed = 0
for cause, problem in zip(chosen, outcomes):
    failed += problem is not None
    print('ok %s' % cause.__name__ if problem is None else 'FAILED %s: %s' % (cause.__name__, problem), flush=True)
print('%d of %d, %.0f s' % (len(chosen) - failed, len(chosen), time.monotonic() - begun))
sys.exit(failed > 0)
