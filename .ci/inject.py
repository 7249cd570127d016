#!/usr/bin/env python3
"""A daemon whose system calls fail, one at a time, as SQLite tests itself.

usage: inject.py [-av] [-j N] [-k N] [-o PROCESS:CALL:NTH:ERROR] PFLOW TESTDATA-DIRECTORY     (as root, with iproute2 and cc)

A short life of a daemon: start, packets, a reload, a tap, the capture lost and found, a flush, a keep file, SIGTERM. It
is lived once to count the calls that parent, child and the reader of the capture make (inject.c), and then once for each
of them, for each error that it may have: that one fails. Whatever fails, the daemon ends in good order or goes on, says
so if it costs anything, answers SIGTERM, leaves nothing behind, and its sums hold. -a takes every call, otherwise at most
-k (3) of each kind and error are taken, spread over its life. -o is one of them, with the log.
"""
import errno, functools, getopt, json, multiprocessing, os, re, signal, socket, struct, subprocess, sys, tempfile, time

from common import in_namespace, make_user, until as common_until

PROCESSES, CALLS, LOST = 4, 48, 1000
NAMES = ('accept4 bind chdir chmod chroot connect dup dup2 fcntl fdopendir flock fork fstat fsync ftruncate getifaddrs getsockname getsockopt '
         'ioctl listen lseek lstat open poll pthread_create pwrite read readdir readv recv recvmsg rename send sendmmsg sendmsg sendto '
         'setgroups setresgid setresuid setsockopt sigaction socket socketpair stat unlink waitpid write writev').split()
# What may come of each (Linux's manual pages), besides EIO where nothing else is said.
ERRORS = {'poll': 'EINTR ENOMEM', 'read': 'EINTR ENOMEM EIO', 'readv': 'EINTR ENOMEM EIO', 'recv': 'EINTR ENOMEM EAGAIN',
          'recvmsg': 'EINTR ENOMEM EMFILE LOST', 'send': 'EINTR ENOBUFS EAGAIN', 'sendto': 'EINTR ENOBUFS EAGAIN ENOMEM',
          'sendmmsg': 'EINTR ENOBUFS EAGAIN ENOMEM', 'sendmsg': 'EINTR ENOBUFS EAGAIN EMFILE', 'write': 'EINTR ENOSPC EIO',
          'writev': 'EINTR ENOSPC EIO', 'pwrite': 'EINTR ENOSPC EIO', 'open': 'EINTR EMFILE ENOMEM ENOSPC EIO',
          'accept4': 'EINTR EMFILE ENOBUFS', 'socket': 'EMFILE ENOBUFS', 'socketpair': 'EMFILE ENOMEM', 'fsync': 'EINTR ENOSPC EIO',
          'rename': 'ENOSPC EIO', 'fork': 'EAGAIN ENOMEM', 'pthread_create': 'EAGAIN', 'connect': 'EINTR EAGAIN', 'ftruncate': 'EINTR EIO',
          'flock': 'EINTR ENOMEM', 'waitpid': 'EINTR', 'fcntl': 'EINTR ENOMEM', 'bind': 'ENOMEM', 'dup': 'EMFILE', 'dup2': 'EMFILE',
          'getifaddrs': 'ENOMEM ENOBUFS', 'setsockopt': 'ENOMEM ENOBUFS', 'getsockopt': 'ENOBUFS', 'getsockname': 'ENOBUFS',
          'ioctl': 'ENOMEM EINTR', 'fdopendir': 'ENOMEM', 'sigaction': 'ENOMEM', 'listen': 'ENOBUFS', 'chroot': 'ENOMEM', 'setresuid': 'EAGAIN'}
WHO = 'parent', 'child', 'reader', 'second reader'


class Wrong(Exception):
    pass


def ip(*words):
    subprocess.run(('ip', '-n', NS) + words, check=True)


until = functools.partial(common_until, seconds=8, pause=0.005, error=Wrong)


def frames(path):
    b, p, found = open(path, 'rb').read(), 24, []
    while p < len(b):
        n = struct.unpack_from('<I', b, p + 8)[0]
        found.append(b[p + 16:p + 16 + n])
        p += 16 + n
    return found


class Over(Exception):
    """The daemon has ended early."""


class Life:
    """One life of a daemon, in a directory of its own."""
    def __init__(self, directory, at):
        self.dir, self.at = directory, at
        self.conf, self.sock, self.keep, self.tap, self.log, self.pid = (os.path.join(directory, n) for n in ('conf', 'sock', 'keep', 'tap', 'log', 'pid'))
        self.collector = in_namespace(NS, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.collector.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
        self.collector.bind(('127.0.0.1', 0))
        self.collector.setblocking(False)
        # A collector of connections: its system takes what comes.
        self.listener = in_namespace(NS, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.listener.bind(('127.0.0.1', 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.connections = []
        with open(self.conf, 'w') as f:
            f.write('interface pfc0\nsocket "%s"\nkeep file "%s"\nkeep interval 1\nuser _pflow\n'
                    'pflow0 flowdst 127.0.0.1:%d hold 1 tap "%s"\npflow1 flowdst 127.0.0.1:%d pflowproto 10 transport tcp reconnect 1 hold 1\n'
                    'pflow2 pflowproto 10 hold 1 file "%s/f.%%s" rotate 1 retain 2\n'
                    % (self.sock, self.keep, self.collector.getsockname()[1], self.tap, self.listener.getsockname()[1], directory))
        # What a program left that was killed: a message, and a part of one.
        with open(directory + '/f.1.current', 'wb') as f:
            f.write(struct.pack('>HHIII', 10, 16, 1, 0, 1) + b'\0\x0a\0')
        self.arrived, self.octets, self.sent, self.process, self.is_started = 0, 0, 0, None, False

    def text(self):
        return open(self.log).read()

    def run(self):
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(['ip', 'netns', 'exec', NS, 'env', 'LD_PRELOAD=' + SHIM, 'INJECT=' + self.dir + '/shared',
                                             PFLOW, '-d', '-a', '-v', '-p', self.pid, '-f', self.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            self.live()
            self.end()
        except Over:
            self.ended_early()
        self.look()

    def alive(self):
        if self.process.poll() is not None:
            raise Over
        return True

    def live(self):
        until('start', lambda: self.alive() and os.path.exists(self.sock) and self.statistics())
        self.is_started = True
        self.send(FRAMES[:80])
        # The first connection is lost, and another is made.
        self.accept()
        while self.connections:
            self.connections.pop().close()
        os.kill(self.process.pid, signal.SIGHUP)
        os.kill(self.process.pid, signal.SIGUSR1)
        self.send(FRAMES[80:])
        ip('link', 'set', 'pfc0', 'down')
        until('the loss', lambda: self.source('lost'), pause=0.1)
        self.settle()
        ip('link', 'set', 'pfc0', 'up')
        until('the return', lambda: self.source('reopened'), seconds=12, pause=0.1)
        until('both up', lambda: 'state UP' in subprocess.run(['ip', '-n', NS, 'link', 'show', 'pfc0'], stdout=subprocess.PIPE, text=True).stdout)
        self.send(FRAMES[:80])
        self.ask('flush')
        self.settle()
        counted = self.statistics()
        if counted:
            self.sums(counted)
        tapped = self.ask('tap pflow0', keeps=True)
        self.send(FRAMES[80:120])
        self.ask('flush')
        if tapped:
            tapped.close()

    def send(self, packets):
        for p in packets:
            SENDER.send(p)
        self.sent += len(packets)
        time.sleep(0.06)

    def settle(self):
        """Until what was sent is in the counters, or was lost and nothing more comes."""
        before = None
        for _ in range(40):
            counted = self.statistics()
            now = counted and (counted['source']['packets'], counted['interface']['records'], counted['interface']['held'])
            if now == before:
                return
            before = now
            time.sleep(0.04)

    def ask(self, line, keeps=False):
        """The answer; a client that is turned away comes again."""
        for _ in range(3):
            self.alive()
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(5)
            try:
                s.connect(self.sock)
                s.sendall(line.encode() + b'\n')
                b = b''
                while not re.search(rb'^(ok|error: .*)\n', b, re.M):
                    octets = s.recv(1 << 16)
                    if not octets:
                        break
                    b += octets
                else:
                    if keeps:
                        return s
                    s.close()
                    return b.decode()
            except socket.timeout:
                self.alive()
                raise Wrong('no answer to %r' % line)
            except OSError:
                pass
            s.close()
            time.sleep(0.05)
        if self.at is None:
            raise Wrong('no control socket')

    def statistics(self):
        text = self.ask('json show statistics')
        if not text or 'ok\n' not in text:
            return None
        name = lambda p: {'pflow1': 'tcp', 'pflow2': 'files'}.get(p.get('of'), p['part'])
        return {name(p): p for p in map(json.loads, text.splitlines()[:-1])}

    def source(self, name):
        counted = self.statistics()
        return counted and counted['source'][name]

    def accept(self):
        try:
            while True:
                self.connections.append(self.listener.accept()[0])
        except BlockingIOError:
            pass

    def read(self):
        try:
            while True:
                d = self.collector.recv(65536)
                self.arrived, self.octets = self.arrived + 1, self.octets + len(d)
        except BlockingIOError:
            pass

    def sums(self, c):
        self.read()
        i, t, f, s = c['interface'], c['table'], c['flows'], c['source']
        o, w = c['tcp'], c['files']
        gone = sum(t[n] for n in ('deleted', 'cleared', 'expired', 'evicted', 'replaced', 'dead'))
        sums = {
            'datagrams sent = arrived': (i['datagrams'], self.arrived),
            'datagrams = tapped + tap_dropped': (i['datagrams'], i['tapped'] + i['tap_dropped']),
            'records by TCP = sent + refused + held': (o['records'], o['records_sent'] + o['records_refused'] + o['held']),
            'connections made = lost + the one there is': (o['connected'] - o['disconnected'] in (0, 1), True),
            'records for files = written + lost + held': (w['records'], w['records_sent'] + w['records_refused'] + w['held']),
            'packets captured = read': (s['packets'], sum(v for n, v in c['packets'].items() if n != 'part')),
            'states in = ended + held': (t['inserted'] + t['restored'], gone + t['held']),
            'states ended = flows exported + left out': (gone, sum(f[n] for n in ('exported', 'unflagged', 'direction', 'empty'))),
        }
        for name, (a, b) in sums.items():
            if a != b:
                raise Wrong('%s: %d, %d: %r' % (name, a, b, c))
        if s['packets'] > self.sent:
            raise Wrong('more packets than were sent: %r' % s)
        if self.at is None and s['packets'] != self.sent:
            raise Wrong('packets missing: %r of %d' % (s, self.sent))

    def end(self):
        os.kill(self.process.pid, signal.SIGTERM)
        begun = time.monotonic()
        while self.process.poll() is None and time.monotonic() - begun < 8:
            time.sleep(0.005)
        if self.process.poll() is None:
            raise Wrong('SIGTERM: has not ended within 8 s')
        text = self.text()
        if self.process.returncode != 0 and not re.search('ended by|both processes end|keep file', text):
            raise Wrong('status %d' % self.process.returncode)
        if self.at is None and self.process.returncode != 0:
            raise Wrong('status %d' % self.process.returncode)
        self.read()
        said = re.findall(r'pflow0: .* (\d+) datagrams sent', text)
        # Lines of the log may be what failed to be written.
        if not self.is_log_cut() and (not said or int(said[-1]) != self.arrived):
            raise Wrong('%s datagrams sent by the log, %d arrived' % (said, self.arrived))
        self.check_files(text)
        self.outcome = 'goes on' if self.process.returncode == 0 else 'ends'
        self.check_keep(text)

    def check_files(self, text):
        """Files hold whole messages, and have their names unless something is said."""
        for name in os.listdir(self.dir):
            if not name.startswith('f.'):
                continue
            b = open(os.path.join(self.dir, name), 'rb').read()
            while len(b) >= 16 and b[:2] == b'\0\x0a':
                b = b[int.from_bytes(b[2:4], 'big'):]
            is_said = 'file: ' in text or self.is_log_cut()
            if b and not is_said or name.endswith('.current') and not is_said:
                raise Wrong('%s: %d octets behind whole messages, and nothing said' % (name, len(b)))

    def is_log_cut(self):
        return bool(self.at) and self.at[1] in ('write', 'writev') and self.at[3] != 'EINTR'

    def check_keep(self, text):
        is_said = re.search(r'keep file \S+: (?!none yet)', text)
        if not os.path.exists(self.keep):
            if not is_said and not self.is_log_cut():
                raise Wrong('no keep file, and nothing said')

    def ended_early(self):
        text = self.text()
        if self.at is None:
            raise Wrong('ended early: ' + text)
        if self.process.returncode not in (0, 1):
            raise Wrong('ended with status %d' % self.process.returncode)
        if self.process.returncode == 0 or not text.strip():
            raise Wrong('ended with status %d and %d lines' % (self.process.returncode, text.count('\n')))
        if self.is_started:
            self.check_keep(text)
            self.outcome = 'ends in the middle'
        else:
            self.outcome = 'does not start'

    def look(self):
        """What is left behind."""
        until('the end of all processes', lambda: not self.left())
        for name in (self.sock, self.pid):
            # What a file is, or whether it may go, may be what fails.
            if os.path.exists(name) and not (self.at and self.at[1] in ('unlink', 'lstat', 'flock')):
                raise Wrong('left behind: ' + name)
        text = self.text()
        if 'panicked' in text:
            raise Wrong('panic')
        error = self.at and self.at[3]
        self.said = bool(error) and any(w in text for w in (('was lost',) if error == 'LOST' else (error, os.strerror(getattr(errno, error)))))

    def left(self):
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                if os.stat('/proc/%s' % pid) and self.conf.encode() in open('/proc/%s/cmdline' % pid, 'rb').read():
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def clean(self):
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
        self.collector.close()
        for s in (self.listener, *self.connections):
            s.close()
        subprocess.run(['ip', '-n', NS, 'link', 'set', 'pfc0', 'up'])


def live(at):
    """Lives once; `at` fails: (process, call, nth, error). The Life, how often it was hit, the counts."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        size = 4 * (6 + PROCESSES * CALLS)
        with open(directory + '/shared', 'wb') as f:
            process, call, nth, error = at or (-1, -1, 0, 0)
            number = LOST if error == 'LOST' else getattr(errno, error) if error else 0
            f.write(struct.pack('6i', process, call if call == -1 else NAMES.index(call), nth, number, 0, 0).ljust(size, b'\0'))
        life = Life(directory, at)
        life.outcome, life.problem, life.said = None, None, False
        try:
            life.run()
        except Wrong as wrong:
            life.problem = str(wrong)
        finally:
            life.clean()
        life.final = life.text()
        b = open(directory + '/shared', 'rb').read()
        counts = struct.unpack_from('%di' % (PROCESSES * CALLS), b, 24)
        return life, struct.unpack_from('6i', b)[4], counts


def plan(counts, most):
    for process in range(PROCESSES):
        for call, name in enumerate(NAMES):
            made = counts[process * CALLS + call]
            for error in ERRORS.get(name, 'EIO').split():
                if most and made > most:
                    # The first, the last, and some between.
                    chosen = sorted({1 + k * (made - 1) // max(1, most - 1) for k in range(most)})
                else:
                    chosen = range(1, made + 1)
                for nth in chosen:
                    yield process, name, nth, error


def prepare():
    """A network of its own for each worker."""
    global NS, SENDER
    NS = 'pflow-i-%d' % os.getpid()
    subprocess.run(['ip', 'netns', 'add', NS], check=True)
    ip('link', 'set', 'lo', 'up')
    ip('link', 'add', 'pfs0', 'type', 'veth', 'peer', 'name', 'pfc0')
    for name in ('pfs0', 'pfc0'):
        ip('link', 'set', name, 'up')
    SENDER = in_namespace(NS, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    in_namespace(NS, lambda: SENDER.bind(('pfs0', 0)))


def judge(at):
    """Once more if it is wrong: a machine that is busy is late."""
    for _ in range(2):
        life, hits, counts = live(at)
        if not life.problem:
            break
    return at, life.problem, life.outcome, life.said, life.final, hits, counts


def main(pool):
    begun = time.monotonic()
    _, problem, _, _, text, _, counts = pool.apply(judge, (None,))
    if problem:
        print(text)
        sys.exit('nothing fails and yet: ' + problem)
    if ONLY:
        process, call, nth, error = ONLY.split(':')
        _, problem, outcome, said, text, hits, _ = pool.apply(judge, ((int(process), call, int(nth), error),))
        print('%s%s; wrong: %s; failed %d times; says so: %s' % (text, outcome, problem, hits, said))
        return problem is not None
    print('calls of one life: ' + ', '.join('%s %d' % (who, sum(counts[n * CALLS:(n + 1) * CALLS])) for n, who in enumerate(WHO)), flush=True)
    outcomes, tried, missed, failed = {}, 0, 0, 0
    for at, problem, outcome, said, text, hits, _ in pool.imap_unordered(judge, plan(counts, MOST)):
        tried += 1
        missed += not hits  # It made fewer calls this time.
        what = '%d:%s:%d:%s' % at
        if problem:
            failed += 1
            print('FAILED %s (%s): %s' % (what, WHO[at[0]], problem), flush=True)
        elif hits:
            key = outcome + (', and says so' if said else ', nothing to say')
            outcomes[key] = outcomes.get(key, 0) + 1
        if VERBOSE:
            print(what, outcome, said, text, flush=True)
    for key, n in sorted(outcomes.items()):
        print('%5d %s' % (n, key))
    print('inject: %d calls failed on purpose, %d not made that time, %d wrong, %d s' % (tried - missed, missed, failed, time.monotonic() - begun))
    return failed > 0


OPTIONS, ARGUMENTS = getopt.getopt(sys.argv[1:], 'aj:k:o:v')
OPTIONS = dict(OPTIONS)
MOST, ONLY, VERBOSE = None if '-a' in OPTIONS else int(OPTIONS.get('-k', 1)), OPTIONS.get('-o'), '-v' in OPTIONS
WORKERS = int(OPTIONS.get('-j', 8))
PFLOW = os.path.abspath(ARGUMENTS[0])
FRAMES = frames(os.path.join(ARGUMENTS[1], 'mix200.openbsd-v6.pcap'))
make_user()
with tempfile.TemporaryDirectory() as built:
    os.chmod(built, 0o755)
    SHIM = os.path.join(built, 'inject.so')
    subprocess.run(['cc', '-O', '-Wall', '-shared', '-fPIC', '-o', SHIM, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'inject.c'), '-ldl'], check=True)
    pool = multiprocessing.Pool(WORKERS, prepare)
    try:
        status = main(pool)
    finally:
        workers = [process.pid for process in multiprocessing.active_children()]
        pool.terminate()
        pool.join()
        for pid in workers:
            subprocess.run(['ip', 'netns', 'del', 'pflow-i-%d' % pid])
sys.exit(status)
