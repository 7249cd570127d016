#!/usr/bin/env python3
"""Flow files as other programs read them: of replays and of a daemon, after kill -9 and after a full disk.

usage: files.py PFLOW TESTDATA-DIRECTORY [../shared/tools]     (as root, with iproute2, mount, useradd, libfixbuf-tools
       and python3-ipfix; pflowctl beside PFLOW)

Each file is read by a decoder of a few lines here, by ipfixDump, by ipfix2csv and, if its directory is given, by
ipfixcheck.py. All must find every record that pflow says it wrote, and nothing to complain about.

1. A replay: plain, gzip, each in files of 30 seconds and in one.
2. A daemon that gets packets, is killed with its child in the middle, three times, and is started again: what it wrote
   can be read at once up to the last message, is finished by the next one, and is never renamed before. SIGTERM ends
   it with no file left unfinished. The files are made by the parent: their owner is root.
3. A full disk, in a replay (which fails) and live (which goes on when there is room): lost + written = exported.
4. Old files are removed, and nothing else; a file that only pflowctl names is refused.
"""
import glob, json, os, re, signal, struct, subprocess, sys, tempfile, time, zlib

from common import make_user

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
CHECK = os.path.join(sys.argv[3], 'ipfixcheck.py') if len(sys.argv) > 3 else None
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE = DATA + '/mix200.openbsd-v6.pcap'
NS = 'pflow-files-%d' % os.getpid()
IN_NS = ('ip', 'netns', 'exec', NS)


def until(what, condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
        time.sleep(0.02)


def unpacked(path):
    """The octets of a file, of gzip's as far as members are whole."""
    octets = open(path, 'rb').read()
    if not re.search(r'\.gz(\.current)?$', path):
        return octets
    plain = b''
    while octets:
        member = zlib.decompressobj(31)
        more = member.decompress(octets)
        if not member.eof:
            break
        plain, octets = plain + more, member.unused_data
    return plain


def records(octets):
    """Data records of the whole messages of a session, and octets behind them."""
    templates, sequences, p = {}, {}, 0
    while len(octets) - p >= 16:
        version, length, _, sequence, domain = struct.unpack_from('>HHIII', octets, p)
        if len(octets) - p < length:
            break
        n = sequences.get(domain, 0)
        assert version == 10 and length >= 20 and sequence == n, (version, length, sequence, n)
        q = p + 16
        while q < p + length:
            kind, size = struct.unpack_from('>HH', octets, q)
            r, end = q + 4, q + size
            while kind == 2 and r < end:
                number, fields = struct.unpack_from('>HH', octets, r)
                templates[domain, number] = sum(struct.unpack_from('>HH', octets, r + 4 + 4 * i)[1] for i in range(fields))
                r += 4 + 4 * fields
            if kind != 2:
                assert (size - 4) % templates[domain, kind] == 0
                n += (size - 4) // templates[domain, kind]
            q = end
        sequences[domain] = n
        p += length
    return sum(sequences.values()), len(octets) - p


def read(directory, torn=False):
    """Records of all files there, which every reader must agree on."""
    total = 0
    for path in sorted(glob.glob(directory + '/*')):
        octets = unpacked(path)
        n, rest = records(octets)
        assert torn or rest == 0, (path, rest)
        total += n
        if len(octets) == rest:
            continue
        with tempfile.NamedTemporaryFile(suffix='.ipfix') as plain:
            plain.write(octets[:len(octets) - rest])
            plain.flush()
            dumped = subprocess.run(['ipfixDump', '-d', '--in', plain.name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert dumped.returncode == 0 and not dumped.stderr, dumped.stderr
            found = len(re.findall(r'^--- data record', dumped.stdout, re.M))
            assert found == n, (path, found, n)
            # Only what every template has.
            rows = subprocess.run(['ipfix2csv', '-f', plain.name, 'octetDeltaCount', 'packetDeltaCount'], stdout=subprocess.PIPE, text=True, check=True)
            found = len(rows.stdout.splitlines()) - 1  # its heading
            assert found == n, (path, found, n)
            if CHECK:
                checked = subprocess.run([sys.executable, CHECK, 'file:' + plain.name, '--json', '--skew', '1000000000'],
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                assert checked.returncode == 0, (path, checked.stdout[-2000:])
    return total


def replay(*words, prefix=()):
    run = subprocess.run([*prefix, PFLOW, '-a', '-o', 'none', '-r', CAPTURE, 'pflow0', 'pflowproto', '10', *words],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    exported = re.search(r'pflow: pflow0: (\d+) records', run.stdout)
    return run.returncode, int(exported[1]), run.stdout


def replays(directory):
    for name, more in (('one', ()), ('%s', ('rotate', '30')), ('%Y%m%d%H%M%S%z.gz', ('rotate', '30', 'compress', 'gzip')),
                       ('one', ('compress', 'gzip')), ('%s', ('domain', 'creatorid', 'rotate', '7'))):
        with tempfile.TemporaryDirectory() as place:
            code, exported, log = replay('file', '%s/%s' % (place, name), *more)
            assert code == 0, log
            found = read(place)
            assert found == exported > 200, (found, exported, log)
            print('ok   replay, %s %s: %d records in %d files' % (name, ' '.join(more), found, len(os.listdir(place))), flush=True)


SENDER = '''
import socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('pff0', 0))
b, p = open(sys.argv[1], 'rb').read(), 24
while p < len(b):
    n = struct.unpack_from('<I', b, p + 8)[0]
    s.send(b[p + 16:p + 16 + n])
    p += 16 + n
    time.sleep(0.0005)
'''


class Daemon:
    def __init__(self, directory, *lines):
        self.dir, self.flows = directory, directory + '/flows'
        self.conf, self.sock, self.pidfile = (os.path.join(directory, n) for n in ('conf', 'sock', 'pid'))
        os.makedirs(self.flows, exist_ok=True)
        with open(self.conf, 'w') as f:
            f.write('interface pff1\nsocket %s\n' % self.sock + ''.join(line + '\n' for line in lines))
        self.err = open(directory + '/log', 'a+')
        self.parent = subprocess.Popen([*IN_NS, PFLOW, '-d', '-a', '-f', self.conf, '-p', self.pidfile], stderr=self.err, stdin=subprocess.DEVNULL)
        until('start', lambda: os.path.exists(self.sock) and self.parent.poll() is None and self.ctl('-a')[0] == 0)

    def ctl(self, *words):
        r = subprocess.run([PFLOWCTL, '-s', self.sock, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return r.returncode, r.stdout

    def log(self):
        self.err.seek(0)
        return self.err.read()

    def counters(self, unit='pflow0'):
        lines = map(json.loads, self.ctl('-j', 'show', 'statistics')[1].splitlines())
        return next(line for line in lines if line.get('of') == unit)

    def send(self):
        subprocess.run([*IN_NS, sys.executable, '-c', SENDER, CAPTURE], check=True)
        assert self.ctl('flush')[0] == 0

    def child(self):
        return int(open('/proc/%d/task/%d/children' % (self.parent.pid, self.parent.pid)).read())

    def kill(self):
        child = self.child()
        os.kill(self.parent.pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        self.parent.wait()
        until('end', lambda: not os.path.exists('/proc/%d' % child))
        os.remove(self.sock)
        self.err.close()

    def term(self):
        self.parent.send_signal(signal.SIGTERM)
        assert self.parent.wait(20) == 0, self.log()


def killed(directory):
    for unit, (more, name) in enumerate((('', 'f.%s'), ('compress gzip', 'f.%s'))):
        place = tempfile.mkdtemp(dir=directory)
        os.chmod(place, 0o755)
        line = 'pflow0 pflowproto 10 hold 1 file %s/flows/%s rotate 2 %s' % (place, name, more)
        before = 0
        for turn in range(3):
            daemon = Daemon(place, line)
            daemon.send()
            until('records in files', lambda: daemon.counters()['records_sent'] > 100)
            sent = daemon.counters()['records_sent']
            daemon.kill()
            found = read(daemon.flows, torn=True)
            # What was sent when it was asked is there; more may be.
            assert found >= before + sent, (found, before, sent)
            before = found
        daemon = Daemon(place, line)
        until('files that were left', lambda: not glob.glob(daemon.flows + '/*.current'))
        assert read(daemon.flows) == before
        daemon.send()
        until('all written', lambda: daemon.counters()['records_sent'] == daemon.counters()['records'] > 200)
        counters = daemon.counters()
        daemon.term()
        assert not glob.glob(daemon.flows + '/*.current'), os.listdir(daemon.flows)
        found = read(daemon.flows)
        assert found == before + counters['records'], (found, before, counters)
        for path in glob.glob(daemon.flows + '/*'):
            stat = os.stat(path)
            assert (stat.st_uid, stat.st_mode & 0o7777) == (os.getuid(), 0o640), path
        print('ok   a daemon killed three times, %s: %d records in %d files' % (more or 'plain', found, len(os.listdir(daemon.flows))), flush=True)


def full(directory):
    disk = directory + '/disk'
    os.mkdir(disk)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12k', 'tmpfs', disk], check=True)
    try:
        code, exported, log = replay('file', disk + '/f.%s')
        lost = int(re.search(r'files: (\d+) records not written', log)[1])
        found = read(disk)
        assert code == 1 and log.count('No space left on device') == 1, log
        assert lost > 0 and found > 0 and found + lost == exported, (found, lost, exported)
        print('ok   a full disk, replay: %d records written and %d lost of %d' % (found, lost, exported), flush=True)
        for path in glob.glob(disk + '/*'):
            os.remove(path)
        daemon = Daemon(directory, 'pflow0 pflowproto 10 hold 1 file %s/f.%%s' % disk)
        daemon.send()
        until('a full disk', lambda: 'file: cannot be written: ' in daemon.ctl('pflow0')[1])
        begun = time.monotonic()
        assert daemon.ctl('-a')[0] == 0 and time.monotonic() - begun < 1, 'it stalls'
        subprocess.run(['mount', '-o', 'remount,size=10m', disk], check=True)
        until('room', lambda: 'cannot be written' not in daemon.ctl('pflow0')[1])
        until('all written', lambda: daemon.counters()['held'] == 0)
        counters = daemon.counters()
        daemon.term()
        log = daemon.log()
        assert log.count('; flows wait') == 1 and log.count('written again, 0 records were lost') == 1, log
        found = read(disk)
        assert found == counters['records'] > 200, (found, counters)
        print('ok   a full disk, live: all %d records when there is room again' % found, flush=True)
    finally:
        subprocess.run(['umount', disk], check=True)


def retained(directory):
    daemon = Daemon(directory, 'pflow0 pflowproto 10 hold 1 file %s/flows/f.%%s rotate 1 retain 2' % directory)
    others = ['f.1~', 'f.x', 'g.1', 'f.2.bak']
    for name in others:
        open('%s/flows/%s' % (directory, name), 'w').close()
    os.symlink('/etc/passwd', directory + '/flows/f.3')
    for _ in range(4):
        daemon.send()
        time.sleep(1)
    daemon.send()
    until('files removed', lambda: daemon.counters()['files_removed'] > 1)
    code, text = daemon.ctl('pflow1', 'pflowproto', '10', 'file', directory + '/flows/h.%s')
    assert code == 1 and 'only files that the configuration names can be opened' in text, text
    code, text = daemon.ctl('pflow0', 'retain', '1')
    assert code == 1 and 'only files that the configuration names can be opened' in text, text
    daemon.term()
    left = set(os.listdir(daemon.flows))
    assert left > set(others) | {'f.3'} and len(left) == len(others) + 1 + 2, left
    print('ok   two files retained, %d others untouched' % (len(others) + 1), flush=True)


make_user()
subprocess.run(['ip', 'netns', 'add', NS], check=True)
try:
    for words in ('link set lo up', 'link add pff0 type veth peer name pff1', 'link set pff0 up', 'link set pff1 up'):
        subprocess.run(['ip', '-n', NS, *words.split()], check=True)
    for test in (replays, killed, full, retained):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            test(directory)
finally:
    subprocess.run(['ip', 'netns', 'del', NS], check=True)
