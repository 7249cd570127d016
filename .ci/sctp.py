#!/usr/bin/env python3
"""SCTP associations that a collector aborts, and a collector with two addresses: a daemon in its cage, under load.

usage: sctp.py PFLOW KILLS     (as root, on a machine of its own with SCTP: it changes the routing rules; pflowctl beside PFLOW)

1. A collector that goes without reading, or with what it has read, and aborts; every fifth time it listens again only
   after a refusal. What pflow counts neither as lost nor as in doubt has arrived, and nothing twice. The log says so.
2. The same with a spool: every record arrives, and twice at most what was in doubt.
3. NetFlow v9 to a collector that aborts once: templates first, a sequence of messages without gaps, every record.
4. A collector with two addresses: when the way to one is cut, the association goes on by the other.

The daemon captures on lo, which needs no module of the kernel.
"""
import functools, json, os, re, signal, socket, struct, subprocess, sys, tempfile, threading, time

from common import expect, ip, problems, records_of_netflow9, sender, until as common_until

PFLOW, KILLS = os.path.abspath(sys.argv[1]), int(sys.argv[2])
FIRST, SECOND, OURS, PORT = '10.9.0.1', '10.9.0.2', '10.9.0.9', 4739
# linux/sctp.h
BINDX_ADD = 100
# Packets a second, of ten messages each: what an emulated machine does beside the rest.
RATE = 60
until = functools.partial(common_until, seconds=60, pause=0.05)


def cut(address):
    ip('rule', 'add', 'pref', '10', 'to', address, 'blackhole')


def mend(address):
    ip('rule', 'del', 'pref', '10', 'to', address, 'blackhole')


def records(messages):
    """Data records of an association's messages, each by its octets."""
    lens, found, number = {}, [], 0
    for message in messages:
        version, size, _, sequence, _, kind = struct.unpack_from('>HHIIIH', message)
        assert (version, size) == (10, len(message)), 'not a message: %s' % message[:24].hex()
        assert sequence == number, 'sequence %d, not %d' % (sequence, number)
        p = 20
        if kind == 2:
            while p + 4 <= size:
                template, fields = struct.unpack_from('>HH', message, p)
                lens[template] = sum(struct.unpack_from('>H', message, p + 6 + 4 * n)[0] for n in range(fields))
                p += 4 + 4 * fields
        else:
            found += [message[p + n:p + n + lens[kind]] for n in range(0, size - 20, lens[kind])]
            number += (size - 20) // lens[kind]
    return found


class Collector(threading.Thread):
    """What it read, a list of messages an association."""
    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses, self.sessions, self.connection, self.is_reading = addresses, [], None, True
        self.lock, self.is_over = threading.Lock(), False
        self.listen()
        self.start()

    def listen(self):
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        # So little that what is not read waits at the sender soon.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.listener.bind((self.addresses[0], PORT))
        for more in self.addresses[1:]:
            address = struct.pack('=H', socket.AF_INET) + struct.pack('>H', PORT) + socket.inet_aton(more) + bytes(8)
            self.listener.setsockopt(socket.IPPROTO_SCTP, BINDX_ADD, address)
        self.listener.listen(8)

    def run(self):
        while not self.is_over:
            try:
                self.listener.settimeout(0.2)
                connection, _ = self.listener.accept()
            except OSError:
                time.sleep(0.05)
                continue
            connection.setblocking(False)
            messages = []
            self.sessions.append(messages)
            self.connection = connection
            while self.connection is connection and not self.is_over:
                with self.lock:
                    went_on = self.is_reading and self.read(messages)
                if went_on is None:
                    break
                if not went_on:
                    time.sleep(0.01)
            self.connection = None
            connection.close()

    def read(self, messages):
        """Whether there was something; None at the end."""
        count = 0
        try:
            while part := self.connection.recv(1 << 16):
                messages.append(part)
                count += 1
            return None
        except BlockingIOError:
            return count > 0
        except (OSError, AttributeError):
            return None

    def abort(self):
        """Nothing is acknowledged any more, all that was is read, and the association is aborted."""
        cut(FIRST)
        # A delayed acknowledgement takes 200 ms.
        time.sleep(0.4)
        with self.lock:
            self.read(self.sessions[-1])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.connection.close()
            self.connection = None
        mend(FIRST)

    def stop(self):
        self.is_over = True
        self.join(10)
        self.listener.close()

    def found(self):
        return sum(len(messages) for messages in self.sessions)


class Daemon:
    def __init__(self, directory, line):
        self.conf, self.sock, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'log'))
        with open(self.conf, 'w') as f:
            f.write('interface lo\nsocket %s\n%s\n' % (self.sock, line))
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen((PFLOW, '-d', '-a', '-f', self.conf), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        until('start', lambda: 'capturing on' in self.text() and os.path.exists(self.sock))
        self.sender = sender('lo', RATE, alive=500)

    def text(self):
        return open(self.log).read()

    def ctl(self, *words):
        words = (os.path.join(os.path.dirname(PFLOW), 'pflowctl'), '-s', self.sock) + words
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout

    def interface(self):
        parts = [json.loads(line) for line in self.ctl('-j', 'show', 'statistics').splitlines()]
        return next(p for p in parts if p.get('of') == 'pflow0')

    def finish(self):
        """The counters when all is sent; the daemon has ended then."""
        self.sender.kill(), self.sender.wait()
        time.sleep(2)
        self.ctl('flush')
        until('all is sent', lambda: self.interface()['held'] == 0)
        time.sleep(1)
        counted = self.interface()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        time.sleep(0.5)
        return counted

    def kill(self):
        for process in (self.sender, self.process):
            if process.poll() is None:
                process.kill(), process.wait()


def line(*more):
    return ' '.join(('pflow0 flowdst %s:%d flowsrc %s pflowproto 10 transport sctp reconnect 1 hold 1' % (FIRST, PORT, OURS),) + more)


def under_aborts(directory, kills, *more):
    """A daemon whose collector aborts so often: its counters, and the records of each association."""
    collector = Collector([FIRST])
    daemon = Daemon(directory, line(*more))
    try:
        for turn in range(kills):
            sessions = turn + 1
            until('association', lambda: len(collector.sessions) == sessions and collector.connection)
            until('messages', lambda: len(collector.sessions[-1]) > 2)
            if turn % 2:
                # Its window closes, and what comes next waits at the sender.
                collector.is_reading = False
                time.sleep(0.8)
            is_away = turn % 5 == 4
            if is_away:
                collector.listener.close()
            collector.abort()
            collector.is_reading = True
            if is_away:
                until('refusal', lambda: 'connection refused' in daemon.ctl('pflow0'))
                collector.listen()
        until('association', lambda: len(collector.sessions) > kills)
        counted = daemon.finish()
        text = daemon.text()
    finally:
        daemon.kill()
        if 'counted' not in locals():
            print(daemon.text()[-1500:])
        collector.stop()
    return counted, [records(messages) for messages in collector.sessions], text


def aborts(directory):
    counted, sessions, text = under_aborts(directory, KILLS)
    found = [r for session in sessions for r in session]
    lost, doubt, exported = counted['records_refused'], counted['in_doubt'], counted['records']
    expect('SCTP: %d aborts: what is neither lost nor in doubt has arrived' % KILLS, exported - lost - doubt <= len(found) <= exported - lost,
           '%d of %d, %d lost, %d in doubt' % (len(found), exported, lost, doubt))
    expect('SCTP: and nothing twice', len(set(found)) == len(found), len(found) - len(set(found)))
    expect('SCTP: some was in doubt', doubt > 0)
    told = re.findall('%s:%d: connection reset; tried again|connected to %s:%d after' % (2 * (re.escape(FIRST), PORT)), text)
    expect('SCTP: the log tells of the first abort, and of the association after it', len(set(told)) == 2 and 'reset' in told[0], told[:2])
    expect('SCTP: each abort is counted, and each refusal', counted['disconnected'] == KILLS and counted['unconnected'] >= KILLS // 5,
           '%d, %d refused, %d associations' % (counted['disconnected'], counted['unconnected'], counted['connected']))


def spooled(directory):
    kills = max(KILLS // 4, 5)
    spool = os.path.join(directory, 'spool')
    os.mkdir(spool, 0o700)
    counted, sessions, _ = under_aborts(directory, kills, 'spool %s 64M' % spool)
    found = [r for session in sessions for r in session]
    twice, doubt, exported = len(found) - len(set(found)), counted['in_doubt'], counted['records']
    expect('SCTP: %d aborts with a spool: every record has arrived' % kills, len(set(found)) == exported and counted['records_refused'] == 0,
           '%d of %d, %d twice, %d in doubt' % (len(set(found)), exported, twice, doubt))
    expect('SCTP: and twice inside of one association none', all(len(set(s)) == len(s) for s in sessions))


def netflow9(directory):
    collector = Collector([FIRST])
    daemon = Daemon(directory, line('pflowproto 9'))
    try:
        until('messages', lambda: collector.sessions and len(collector.sessions[-1]) > 20)
        collector.abort()
        until('another association', lambda: len(collector.sessions) > 1 and len(collector.sessions[-1]) > 20)
        counted = daemon.finish()
    finally:
        daemon.kill()
        collector.stop()
    found = [len(records_of_netflow9(b''.join(messages))) for messages in collector.sessions]
    lost, doubt, exported = counted['records_refused'], counted['in_doubt'], counted['records']
    expect('SCTP: NetFlow v9 and an abort: what is neither lost nor in doubt has arrived', min(found) > 0 and exported - lost - doubt <= sum(found) <= exported,
           '%s of %d, %d lost, %d in doubt' % (found, exported, lost, doubt))


def paths(directory):
    collector = Collector([FIRST, SECOND])
    daemon = Daemon(directory, line())
    try:
        for address in (FIRST, SECOND):
            until('messages', lambda: collector.found() > 5)
            before = collector.found()
            cut(address)
            begun = time.monotonic()
            time.sleep(0.5)
            # What was on the way has come by now.
            before = collector.found()
            until('messages by the other way', lambda: collector.found() > before + 20)
            took = time.monotonic() - begun
            mend(address)
            expect('SCTP: the way to %s is cut, and the association goes on by the other' % address,
                   len(collector.sessions) == 1 and daemon.interface()['disconnected'] == 0, '20 messages more %.1f s after the cut' % took)
        counted = daemon.finish()
    finally:
        print(daemon.text()[-1000:] if problems else '', end='')
        daemon.kill()
        collector.stop()
    found = records(collector.sessions[0])
    expect('SCTP: and every record came, once', len(set(found)) == len(found) == counted['records'] and counted['in_doubt'] == 0,
           '%d of %d, %d in doubt' % (len(found), counted['records'], counted['in_doubt']))


for address in (FIRST, SECOND, OURS):
    ip('addr', 'add', address + '/32', 'dev', 'lo')
# The rules that cut a way come before that of the machine's own addresses.
ip('rule', 'add', 'pref', '100', 'lookup', 'local')
ip('rule', 'del', 'pref', '0')
for test in (aborts, spooled, netflow9, paths):
    if len(sys.argv) > 3 and test.__name__ not in sys.argv[3:]:
        continue
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        try:
            test(directory)
        except (AssertionError, OSError, subprocess.SubprocessError) as e:
            expect('SCTP: ' + test.__name__, False, '%s: %s' % (type(e).__name__, e))
    print('%s: %.0f s' % (test.__name__, time.monotonic() - began), flush=True)
sys.exit(len(problems) > 0)
