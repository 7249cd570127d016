#!/usr/bin/env python3
"""TLS, DTLS and SCTP to collectors: who proves what to whom, restarts, and what is lost by them.

usage: secure.py PFLOW TESTDATA-DIRECTORY [TOOLS-DIRECTORY]     (as root, with openssl, iproute2, nftables; pflowctl beside PFLOW)

1. Replays by UDP, TCP, TLS 1.2, TLS 1.3 and DTLS 1.2, over IPv4 and IPv6, with each template, and in NetFlow v9 by
   those that keep messages apart, both sides of TLS with certificates, to Python's ssl, to openssl s_server, to socat and
   ipfixDump where they are installed, to ipfixcheck.py of TOOLS-DIRECTORY: every record, the same by each.
2. Certificates that are no good, on either side, each with its own sentence; no octet of a message is given away, and
   what went over the wire is records of TLS and nothing else.
3. A daemon in its cage, whose TLS collector goes and comes back KILLS times under load: what is neither lost nor in
   doubt has arrived, and nothing twice. Its certificates change on a reload.
4. A DTLS collector that is started again at once, DTLS_KILLS times: what is lost is no more than one `renew` holds.
5. ENDED connections that end at once: neither descriptors nor memory grow.
6. SCTP in the emulated machine of TOOLS-DIRECTORY/vm, if that is set up, and sctp.py there.
"""
import json, os, re, shutil, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time

from common import HERE, end, expect, free_port, in_namespace, ip, make_user, problems, records_of_netflow9, sender, until

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TOOLS = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
CAPTURE, RECORDS = DATA + '/mix200.openbsd-v6.pcap', 305
# FreeBSD's template tells of 112 translated flows as they begin and as they end.
TEMPLATES = {'openbsd': RECORDS, 'openbsd78': RECORDS, 'freebsd': RECORDS + 2 * 112}
KILLS, DTLS_KILLS, ENDED = (int(os.environ.get(name, usual)) for name, usual in (('KILLS', 20), ('DTLS_KILLS', 2), ('ENDED', 200)))
PKI = tempfile.mkdtemp(prefix='pflow-pki-')
os.chmod(PKI, 0o755)
NS, FAR = 'pflow-x-%d' % os.getpid(), 'pflow-y-%d' % os.getpid()
make_user()



def openssl(*words, **how):
    return subprocess.run(('openssl',) + words, check=True, cwd=PKI, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how).stdout


def certificate(name, by=None, names='DNS:collector.example,IP:127.0.0.1,IP:::1', days=('-days', '30'), is_ca=False):
    """NAME.pem and NAME.key, signed by BY or itself."""
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', name + '.key', '-out', name + '.csr', '-subj', '/CN=' + name)
    with open(os.path.join(PKI, name + '.ext'), 'w') as f:
        f.write('basicConstraints=critical,CA:%s\n' % ('TRUE' if is_ca else 'FALSE') + ('' if is_ca or not names else 'subjectAltName=%s\n' % names))
    signed = ('-CA', by + '.pem', '-CAkey', by + '.key', '-CAcreateserial') if by else ('-signkey', name + '.key')
    openssl('x509', '-req', '-in', name + '.csr', '-extfile', name + '.ext', '-out', name + '.pem', *signed, *days)
    return name


def pem(name):
    return os.path.join(PKI, name)


def dated(name, by, start, end):
    """A certificate of certain dates, which x509(1) of OpenSSL 3.0 cannot make: ca(1) can."""
    certificate(name, by)
    for file, text in (('index.txt', ''), ('serial', '%08x\n' % (sum(name.encode()) + 0x1000)),
                       ('ca.cnf', '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n')):
        with open(pem(file), 'w') as f:
            f.write(text)
    openssl('ca', '-batch', '-config', 'ca.cnf', '-in', name + '.csr', '-cert', by + '.pem', '-keyfile', by + '.key', '-extfile', name + '.ext',
            '-startdate', start, '-enddate', end, '-out', name + '.pem', '-notext')
    return name


def pin(name):
    return openssl('x509', '-in', name + '.pem', '-noout', '-fingerprint', '-sha256').decode().strip().split('=')[1]


def records(stream):
    """Data records of whole messages, each by its octets."""
    at, lens, found = 0, {}, []
    if stream[:2] == b'\0\x09':
        return records_of_netflow9(stream)
    while at + 20 <= len(stream):
        version, size, kind = struct.unpack_from('>HH12xH', stream, at)
        assert version == 10, 'not IPFIX at %d: %s' % (at, stream[at:at + 24].hex())
        if at + size > len(stream):
            break
        p = at + 20
        if kind == 3 or kind >= 400:
            at += size  # options
            continue
        if kind == 2:
            while p + 4 <= at + size:
                number, fields = struct.unpack_from('>HH', stream, p)
                lens[number] = sum(struct.unpack_from('>H', stream, p + 6 + 4 * n)[0] for n in range(fields))
                p += 4 + 4 * fields
        else:
            found += [stream[p + n:p + n + lens[kind]] for n in range(0, size - 20, lens[kind])]
        at += size
    return found


class Collector(threading.Thread):
    """Python's TLS on one port; what it read, a stream a session, and how sessions went wrong."""
    def __init__(self, cert='server', clients='ca', least=ssl.TLSVersion.TLSv1_2, most=ssl.TLSVersion.TLSv1_3, host='127.0.0.1', listener=None):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version, self.context.maximum_version = least, most
        self.context.load_cert_chain(pem(cert + '.pem'), pem(cert + '.key'))
        if clients:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(pem(clients + '.pem'))
        self.listener = listener or socket.create_server((host, 0), family=socket.AF_INET6 if ':' in host else socket.AF_INET)
        self.port, self.streams, self.errors, self.raw = self.listener.getsockname()[1], [], [], []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream, raw = bytearray(), bytearray()
        self.streams.append(stream), self.raw.append(raw)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session, is_done = self.context.wrap_bio(incoming, outgoing, server_side=True), False
        try:
            while True:
                try:
                    if not is_done:
                        session.do_handshake()
                        is_done = True
                    while True:
                        part = session.read(1 << 16)
                        if not part:
                            return
                        stream += part
                except ssl.SSLWantReadError:
                    pass
                finally:
                    if outgoing.pending:
                        connection.sendall(outgoing.read())
                came = connection.recv(1 << 16)
                if not came:
                    return
                raw += came
                incoming.write(came)
        except (ssl.SSLError, OSError) as e:
            self.errors.append(str(e))
        finally:
            connection.close()

    def stop(self):
        # A thread that waits in accept() would begin again with whatever gets this descriptor's number.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()


def replay(port, transport, *more, ca='ca', own='client', host='127.0.0.1'):
    to = '[%s]:%d' % (host, port) if ':' in host else '%s:%d' % (host, port)
    words = [PFLOW, '-a', '-r', CAPTURE, '-o', 'none', 'pflow0', 'flowdst', to, 'pflowproto', '10', 'transport', transport]
    words += ['ca', pem(ca + '.pem')] if ca else []
    words += ['cert', pem(own + '.pem'), 'key', pem(own + '.key')] if own else []
    return subprocess.run(words + list(more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90)


def all_read():
    """Until each collector's thread has read its session to the end."""
    until('the end of each session', lambda: not any('serve' in t.name for t in threading.enumerate()), seconds=30)


class Plain(Collector):
    """The same without TLS."""
    def serve(self, connection):
        stream = bytearray()
        self.streams.append(stream)
        while part := connection.recv(1 << 16):
            stream += part


class Datagrams(threading.Thread):
    """Reads datagrams of one port."""
    def __init__(self, host):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self.socket.bind((host, 0))
        self.port, self.stream = self.socket.getsockname()[1], bytearray()
        self.start()

    def run(self):
        while part := self.socket.recv(1 << 16):
            self.stream += part


def taken(transport, host, *words, version=None):
    """What a collector reads of a replay, and how that ended."""
    if transport == 'udp':
        collector = Datagrams(host)
        r = replay(collector.port, transport, *words, host=host, ca=None, own=None)
        with socket.socket(collector.socket.family, socket.SOCK_DGRAM) as last:
            last.sendto(b'', (host, collector.port))
        collector.join(10)
        return records(bytes(collector.stream)), r
    if transport == 'dtls':
        port = free_port(socket.SOCK_DGRAM)
        server = ['openssl', 's_server', '-dtls1_2', '-accept', ('[%s]:%d' if ':' in host else '%s:%d') % (host, port), '-cert', pem('server.pem'), '-key', pem('server.key'),
                  '-CAfile', pem('ca.pem'), '-Verify', '1', '-verify_return_error', '-quiet']
        with tempfile.TemporaryFile() as out:
            server = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL)
            time.sleep(0.5)
            r = replay(port, transport, *words, host=host)
            time.sleep(0.5)
            server.kill(), server.wait()
            out.seek(0)
            return records(out.read()), r
    if transport == 'tcp':
        collector = Plain(host=host)
        r = replay(collector.port, transport, *words, host=host, ca=None, own=None)
    else:
        collector = Collector(least=version, most=version, host=host)
        r = replay(collector.port, transport, *words, host=host)
    all_read()
    collector.stop()
    if collector.errors:
        print(collector.errors)
    return [record for stream in collector.streams for record in records(bytes(stream))], r


def matrix():
    for host in ('127.0.0.1', '::1'):
        for template, count in {**TEMPLATES, 'full': RECORDS}.items():
            plain = None
            for name, transport, version in (('UDP', 'udp', None), ('TCP', 'tcp', None), ('TLS 1.2', 'tls', ssl.TLSVersion.TLSv1_2),
                                             ('TLS 1.3', 'tls', ssl.TLSVersion.TLSv1_3), ('DTLS 1.2', 'dtls', None)):
                found, r = taken(transport, host, 'template', template, version=version)
                found.sort()
                plain = plain or found
                expect('%s over %s, %s: every record' % (name, host, template), r.returncode == 0 and len(found) == count and found == plain,
                       '%d %s' % (len(found), '' if r.returncode == 0 else r.stdout))
        plain = None
        for name, transport in (('UDP', 'udp'), ('DTLS 1.2', 'dtls')):
            found, r = taken(transport, host, 'pflowproto', '9')
            found.sort()
            plain = plain or found
            expect('%s over %s, NetFlow v9: every record' % (name, host), r.returncode == 0 and len(found) == RECORDS and found == plain,
                   '%d %s' % (len(found), '' if r.returncode == 0 else r.stdout))
    if shutil.which('socat') and shutil.which('ipfixDump'):
        for kind, transport in (('OPENSSL-LISTEN', 'tls'), ('OPENSSL-DTLS-LISTEN', 'dtls')):
            port = free_port()
            with open(pem('server.both'), 'w') as f:
                f.write(open(pem('server.pem')).read() + open(pem('server.key')).read())
            with tempfile.TemporaryFile('w+') as out:
                at = '%s:%d,bind=127.0.0.1,reuseaddr,cert=%s,cafile=%s,verify=1' % (kind, port, pem('server.both'), pem('ca.pem'))
                feeding = subprocess.Popen(['socat', '-u', '-T', '5', at, 'STDOUT'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                reading = subprocess.Popen(['ipfixDump', '-d'], stdin=feeding.stdout, stdout=out, stderr=subprocess.STDOUT)
                for _ in range(50):
                    r = replay(port, transport)
                    if 'refused' not in r.stdout:
                        break
                    time.sleep(0.1)
                feeding.wait(30), reading.wait(30)
                out.seek(0)
                found = len(re.findall(r'^--- data record', out.read(), re.M | re.I))
            expect('socat and ipfixDump by %s: every record' % transport, r.returncode == 0 and found == RECORDS, '%d' % found)
    for transport in ('udp', 'tcp', 'tls', 'dtls') if TOOLS else ():
        for template, count in TEMPLATES.items():
            checked(transport, template, count)


def checked(transport, template, count):
    port = free_port(socket.SOCK_DGRAM if transport == 'udp' else socket.SOCK_STREAM)
    source, how = '%s:127.0.0.1:%d' % (transport, port), {}
    if 'tls' in transport:
        source += ':%s:%s:%s' % tuple(map(pem, ('server.pem', 'server.key', 'ca.pem')))
    else:
        how = dict(ca=None, own=None)
    python = os.path.expanduser('~/.cache/pflow-tools/venv/bin/python')
    words = [python if os.path.exists(python) else sys.executable, TOOLS + '/ipfixcheck.py', source, '--seconds', '5', '--json', '--skew', '1000000000']
    checking = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if transport == 'udp':
        until('a receiver', lambda: ':%04X ' % port in open('/proc/net/udp').read())
    for _ in range(50):
        r = replay(port, transport, 'template', template, **how)
        if 'refused' not in r.stdout:
            break
        time.sleep(0.1)
    out = checking.communicate(timeout=60)[0]
    if 'pyOpenSSL' in out or 'No module' in out:
        print('SKIPPED: ipfixcheck.py by %s: %s' % (transport, out.strip().splitlines()[-1]))
        return
    expect('ipfixcheck.py by %s, %s: every record, no finding' % (transport, template), r.returncode == 0 and '%d records, 0 findings' % count in out, out.splitlines()[-1])


def nft(text):
    subprocess.run(['ip', 'netns', 'exec', NS, 'nft', '-f', '-'], input=text, text=True, check=True)


def inside(*words, namespace=NS, **how):
    return subprocess.Popen(('ip', 'netns', 'exec', namespace) + words, stdin=subprocess.DEVNULL, text=True, **how)


def listener(port, kind=socket.SOCK_STREAM):
    """A socket that lives in the daemon's network namespace."""
    s = in_namespace(NS, lambda: socket.socket(socket.AF_INET, kind))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', port))
    if kind == socket.SOCK_STREAM:
        s.listen(64)
    return s


class Daemon:
    """pflow in the namespace."""
    def __init__(self, directory, lines):
        self.conf, self.sock, self.log = (os.path.join(directory, n) for n in ('conf', 'sock', 'log'))
        self.write(lines)
        with open(self.log, 'w') as log:
            self.process = inside(PFLOW, '-d', '-a', '-f', self.conf, stdout=subprocess.DEVNULL, stderr=log)
        until('start', lambda: 'capturing on' in self.text() and os.path.exists(self.sock))

    def write(self, lines):
        with open(self.conf, 'w') as f:
            f.write('interface pxc\nsocket %s\n%s\n' % (self.sock, '\n'.join(lines)))

    def reload(self, lines):
        times = self.text().count('configuration read again')
        self.write(lines)
        self.process.send_signal(signal.SIGHUP)
        until('reload', lambda: self.text().count('configuration read again') > times)

    def text(self):
        return open(self.log).read()

    def ctl(self, *words):
        words = (os.path.join(os.path.dirname(PFLOW), 'pflowctl'), '-s', self.sock) + words
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30).stdout

    def interface(self, unit=0):
        parts = [json.loads(line) for line in self.ctl('-j', 'show', 'statistics').splitlines()]
        return next(p for p in parts if p.get('of') == 'pflow%d' % unit)

    def child(self):
        """The process that exports: the one with the most threads of those that are ours."""
        found = []
        for name in os.listdir('/proc'):
            try:
                if os.readlink('/proc/%s/exe' % name).startswith(PFLOW):
                    cmd = open('/proc/%s/cmdline' % name, 'rb').read().split(b'\0')
                    if self.conf.encode() in cmd:
                        found.append((len(os.listdir('/proc/%s/task' % name)), int(name)))
            except OSError:
                pass
        return max(found)[1]

    def stop(self):
        code = end(self.process)
        expect('the daemon ends in good order', code == 0, '' if code == 0 else self.text()[-2000:])


class Relay(threading.Thread):
    """Stands before a collector as its system: what it took before it is cut off it hands on."""
    def __init__(self, port, behind):
        super().__init__(daemon=True)
        self.port, self.behind, self.listener = port, behind, listener(port)
        self.connection, self.lock = None, threading.Lock()
        self.start()

    def run(self):
        while True:
            ours, _ = self.listener.accept()
            theirs = socket.create_connection(('127.0.0.1', self.behind))
            self.connection, self.onward = ours, theirs
            threading.Thread(target=self.copy, args=(theirs, ours), daemon=True).start()
            try:
                while True:
                    with self.lock:
                        ours.setblocking(False)
                        try:
                            part = ours.recv(1 << 16)
                        except BlockingIOError:
                            part = None
                        ours.setblocking(True)
                        if part:
                            theirs.sendall(part)
                    if part == b'':
                        break
                    if part is None:
                        time.sleep(0.001)
            except OSError:
                pass
            theirs.shutdown(socket.SHUT_WR)

    def copy(self, theirs, ours):
        try:
            while part := theirs.recv(1 << 16):
                ours.sendall(part)
        except OSError:
            pass

    def cut(self):
        """Nothing is acknowledged any more, all that was is handed on, and the connection is reset."""
        nft('table ip x { chain c { type filter hook input priority 0; tcp dport %d drop; }; }' % self.port)
        time.sleep(0.2)
        with self.lock:
            # What the thread has not come to yet.
            self.connection.setblocking(False)
            try:
                while part := self.connection.recv(1 << 16):
                    self.onward.sendall(part)
            except BlockingIOError:
                pass
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.connection.close()
        nft('delete table ip x')


def restarts(directory):
    behind, relay = Collector(), None
    relay = Relay(4740, behind.port)
    line = 'pflow0 flowdst 127.0.0.1:4740 pflowproto 10 transport tls reconnect 1 hold 1 queue 256k ca %s cert %s key %s' % tuple(map(pem, ('ca.pem', 'client.pem', 'client.key')))
    daemon = Daemon(directory, [line])
    load = sender('pxs', 1500, namespace=FAR)
    try:
        for turn in range(KILLS):
            until('session', lambda: daemon.interface()['connected'] > turn, pause=0.05)
            time.sleep(0.3)
            relay.cut()
        until('session', lambda: daemon.interface()['connected'] > KILLS, pause=0.05)
        end(load, signal.SIGKILL)
        time.sleep(1.5)
        daemon.ctl('flush')
        until('all is sent', lambda: daemon.interface()['held'] == 0)
        made = daemon.interface()['connected']
        certificate('client2', 'ca')
        daemon.reload([line.replace('client.', 'client2.')])
        until('another session', lambda: daemon.interface()['connected'] == made + 1)
        expect('other certificates begin another session on a reload', True)
        shutil.copy(pem('server.key'), pem('client2.key'))
        daemon.process.send_signal(signal.SIGHUP)
        until('refusal', lambda: 'not the key of the certificate in cert' in daemon.text())
        expect('a key that does not fit is refused on a reload, and nothing changes', 'connected to 127.0.0.1:4740' in daemon.ctl('pflow0'))
        counted = daemon.interface()
        daemon.stop()
        all_read()
    finally:
        for process in (load, daemon.process):
            end(process, signal.SIGKILL)
        behind.stop()
    sessions = [records(bytes(stream)) for stream in behind.streams]
    found = [r for session in sessions for r in session]
    lost, doubt, exported = counted['records_refused'], counted['in_doubt'], counted['records']
    expect('%d cuts: what is neither lost nor in doubt has arrived' % KILLS, exported - lost - doubt <= len(found) <= exported - lost,
           '%d of %d, %d lost, %d in doubt; sessions %s' % (len(found), exported, lost, doubt, [len(session) for session in sessions]))
    expect('and nothing twice', len(set(found)) == len(found), len(found) - len(set(found)))
    expect('sessions that went wrong told nothing of ours', not [e for e in behind.errors if 'EOF' not in e.upper()], behind.errors[:3])


def datagrams(directory):
    port, renew = 4741, 10
    words = ('openssl', 's_server', '-dtls1_2', '-accept', '127.0.0.1:%d' % port, '-cert', pem('server.pem'), '-key', pem('server.key'), '-quiet')
    line = 'pflow0 flowdst 127.0.0.1:%d pflowproto 10 transport dtls renew %d reconnect 1 hold 1 refresh 2 ca %s' % (port, renew, pem('ca.pem'))
    files = []

    def serve():
        files.append(open('%s/%d' % (directory, len(files)), 'wb'))
        return subprocess.Popen(('ip', 'netns', 'exec', NS) + words, stdin=subprocess.PIPE, stdout=files[-1], stderr=subprocess.DEVNULL)

    def sessions():
        return daemon.interface()['connected']

    server = serve()
    time.sleep(0.5)
    daemon = Daemon(directory, [line])
    load, in_between, longest = sender('pxs', 300, namespace=FAR), 0, 0
    try:
        until('session', lambda: sessions() == 1)
        for _ in range(DTLS_KILLS):
            time.sleep(2)
            known, before, begun = sessions(), daemon.interface()['records_sent'], time.monotonic()
            # At once, as a supervisor does: nobody tells the client.
            server.kill(), server.wait()
            server = serve()
            until('the next session', lambda: sessions() > known, seconds=3 * renew, pause=0.1)
            in_between += daemon.interface()['records_sent'] - before
            longest = max(longest, time.monotonic() - begun)
        time.sleep(2)
        end(load, signal.SIGKILL)
        time.sleep(1.5)
        daemon.ctl('flush')
        time.sleep(0.5)
        counted = daemon.interface()
        daemon.stop()
        time.sleep(0.5)
    finally:
        for process in (load, daemon.process):
            end(process, signal.SIGKILL)
        server.kill(), server.wait()
    for file in files:
        file.close()
    arrived = [len(records(open(file.name, 'rb').read())) for file in files]
    missing = counted['records_sent'] - sum(arrived)
    # What is counted in between ends a moment after what went to nobody.
    expect('a DTLS collector that is started again %d times loses what went until the next session at most' % DTLS_KILLS,
           all(arrived) and 0 <= missing <= in_between + 300 * DTLS_KILLS,
           '%d missing of %d; %d in between' % (missing, counted['records_sent'], in_between))
    expect('and that is one renew at most', longest <= renew + 2, '%.1f s' % longest)
    expect('what ended for its age is counted', counted['renewed'] + counted['disconnected'] >= DTLS_KILLS, '%d renewed, %d lost' % (counted['renewed'], counted['disconnected']))


def many(directory):
    collectors = [Collector(clients=None, listener=listener(4750 + n)) for n in range(9)]
    for one in collectors:
        one.serve = lambda connection: connection.close()
    line = 'pflow0 flowdst 127.0.0.1:4750 pflowproto 10 transport tls reconnect 1 queue 64k ca %s' % pem('ca.pem')
    line += ''.join(' backup 127.0.0.1:%d' % (4751 + n) for n in range(8))
    daemon = Daemon(directory, [line])
    try:
        tried = lambda: sum(daemon.interface()[name] for name in ('connected', 'unconnected'))
        until('some', lambda: tried() > 50, seconds=60, pause=0.2)
        child = daemon.child()
        size = lambda: (len(os.listdir('/proc/%d/fd' % child)), int(re.search(r'VmRSS:\s+(\d+)', open('/proc/%d/status' % child).read()).group(1)))
        before = size()
        until('more', lambda: tried() > 50 + ENDED, seconds=60 + ENDED, pause=0.2)
        after = size()
        expect('%d connections that end at once cost neither descriptors nor memory' % tried(), after[0] <= before[0] + 2 and after[1] <= before[1] + 400,
               'descriptors %d and %d, %d and %d kB' % (before[0], after[0], before[1], after[1]))
        daemon.stop()
    finally:
        end(daemon.process, signal.SIGKILL)
        for one in collectors:
            one.stop()


def sctp():
    vm = os.path.join(TOOLS or '/nonexistent', 'vm')
    cache = os.path.expanduser('~/.cache/pflow-tools/vm/initrd.gz')
    if not (os.path.exists(vm + '/run.sh') and os.path.exists(cache) and shutil.which('qemu-system-x86_64')):
        print('SKIPPED: SCTP: the emulated machine is not set up')
        return
    out = tempfile.mkdtemp()
    replayed = '%s -a -r %s -o none pflow0 flowdst 127.0.0.1:%%d pflowproto 10 transport sctp' % (PFLOW, CAPTURE)
    with open(out + '/t.sh', 'w') as f:
        f.write('''cd /tmp
ready() { for i in $(seq 60); do grep -q -i "$1" $2 && return; sleep 1; done; }
/usr/bin/python3 %s/ipfixcheck.py sctp:127.0.0.1:4739 --seconds 30 --count 20 --json --skew 1000000000 >/out/check 2>&1 &
ready listening /out/check
%s >/out/one 2>&1; echo "rc $?" >>/out/one
wait
(timeout 40 socat -u -dd SCTP4-LISTEN:4740,bind=127.0.0.1 STDOUT 2>/out/socat | ipfixDump -d >/out/dump 2>&1) &
ready listening /out/socat
%s >/out/two 2>&1; echo "rc $?" >>/out/two
wait
%s >/out/three 2>&1; echo "rc $?" >>/out/three
/usr/bin/python3 %s/sctp.py %s %d >/out/aborts 2>&1; echo "rc $?" >>/out/aborts
''' % (TOOLS, replayed % 4739, replayed % 4740, replayed % 4741, HERE, PFLOW, KILLS))
    longest = 400 + 10 * KILLS
    subprocess.run(['sh', vm + '/run.sh', 'sh /out/t.sh', out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, T=str(longest)), timeout=longest + 20)
    text = {n: open(os.path.join(out, n)).read() if os.path.exists(os.path.join(out, n)) else '' for n in ('check', 'one', 'two', 'three', 'dump', 'aborts')}
    shutil.rmtree(out)
    expect('SCTP: ipfixcheck.py reads every record and finds nothing', 'rc 0' in text['one'] and '%d records, 0 findings' % RECORDS in text['check'],
           (text['check'].splitlines() or [''])[-1])
    found = len(re.findall(r'^--- data record', text['dump'], re.M | re.I))
    expect('SCTP: socat and ipfixDump read every record', 'rc 0' in text['two'] and found == RECORDS, found)
    expect('SCTP: nobody listens', 'rc 1' in text['three'] and 'connection refused' in text['three'], text['three'].strip().splitlines()[:1])
    # What sctp.py says is said in the same words.
    told = [line for line in text['aborts'].splitlines() if not line.startswith('rc ')]
    print('\n'.join(told))
    problems.extend(line for line in told if line.startswith('FAILED'))
    expect('SCTP: aborts and paths came to their end', 'rc 0' in text['aborts'] or any(line.startswith('FAILED') for line in told), told[-1:])


def is_tls(raw):
    """Whether octets are records of TLS and nothing else."""
    at = 0
    while at + 5 <= len(raw):
        kind, version, size = struct.unpack_from('>BHH', raw, at)
        if kind not in (20, 21, 22, 23) or version >> 8 != 3:
            return False
        at += 5 + size
    return True


def refusals():
    certificate('stranger', names=None, is_ca=True)
    certificate('other', 'stranger')
    certificate('elsewhere', 'ca', names='DNS:elsewhere.example')
    certificate('selfmade')
    dated('expired', 'ca', '20200101000000Z', '20210101000000Z')
    dated('early', 'ca', '20490101000000Z', '20491231000000Z')
    mine = 'the collector refuses our certificate: '
    theirs = "the collector's certificate"
    table = [
        ('wrong name', dict(cert='elsewhere'), {}, [], theirs + ' is not for 127.0.0.1'),
        ('wrong name of a host', {}, {}, ['servername', 'elsewhere.example'], theirs + ' is not for elsewhere.example'),
        ('wrong authority', dict(cert='other'), {}, [], theirs + ': unable to get local issuer certificate'),
        ('expired', dict(cert='expired'), {}, [], theirs + ': certificate has expired'),
        ('not yet valid', dict(cert='early'), {}, [], theirs + ': certificate is not yet valid'),
        ('made by itself', dict(cert='selfmade'), {}, [], theirs + ': self-signed certificate'),
        ('another one than pinned', {}, {}, ['pin', pin('client')], theirs + ' is none that pin names'),
        ('ours of a stranger', {}, dict(own='other'), [], mine + 'its authority is not trusted'),
        ('ours has expired', {}, dict(own='expired'), [], mine + 'certificate expired'),
        ('ours is missing', {}, dict(own=None), [], 'the collector wants a certificate of ours: set cert and key'),
        ('only old TLS', dict(least=ssl.TLSVersion.TLSv1_1, most=ssl.TLSVersion.TLSv1_1), {}, [], 'the collector ends the session: '),
    ]
    for name, server, client, words, sentence in table:
        try:
            collector = Collector(**server)
        except ssl.SSLError as e:
            print('SKIPPED: %s: %s' % (name, e))
            continue
        r = replay(collector.port, 'tls', *words, **client)
        time.sleep(0.2)
        told = r.stdout.replace('self signed', 'self-signed')
        expect('refused: %s' % name, r.returncode == 1 and sentence in told, r.stdout.strip().splitlines()[-1])
        expect('and nothing was given away', not any(collector.streams) and all(is_tls(bytes(raw)) for raw in collector.raw))
        collector.stop()
    shutil.copy(pem('client.pem'), pem('mixed.pem')), shutil.copy(pem('server.key'), pem('mixed.key'))
    for name, words in (('garbage', 'no certificate'), ('missing', '')):
        for ending in ('.pem', '.key'):
            if name == 'garbage':
                open(pem(name + ending), 'w').write('x\n')
    collector = Collector()
    for name, client, sentence in (
            ('a key that does not fit', dict(own='mixed'), 'key: %s: not the key of the certificate in cert' % pem('mixed.key')),
            ('a file that is no certificate', dict(ca='garbage'), 'ca: %s: no certificate in it' % pem('garbage.pem')),
            ('a file that is not there', dict(ca='missing'), 'ca: %s: No such file' % pem('missing.pem')),
            ('no ca', dict(ca=None), 'transport: it needs ca: whom to trust')):
        r = replay(collector.port, 'tls', **client)
        expect('refused: %s' % name, r.returncode == 1 and sentence in r.stdout, r.stdout.strip().splitlines()[-1])
    expect('and nobody was asked', not collector.raw)
    collector.stop()
    plain = socket.create_server(('127.0.0.1', 0))
    kept = []
    threading.Thread(target=lambda: (kept.append(plain.accept()[0]), kept[0].sendall(b'SSH-2.0-OpenSSH_9.9\r\n')), daemon=True).start()
    r = replay(plain.getsockname()[1], 'tls')
    expect('refused: not TLS at all', r.returncode == 1 and 'what the collector sends is not TLS' in r.stdout, r.stdout.strip().splitlines()[-1])


certificate('ca', names=None, is_ca=True)
certificate('server', 'ca')
certificate('client', 'ca', names='DNS:firewall.example')
begun = time.monotonic()
for namespace in (NS, FAR):
    ip('netns', 'add', namespace)
try:
    ip('link', 'add', 'pxc', 'netns', NS, 'type', 'veth', 'peer', 'name', 'pxs', 'netns', FAR)
    for namespace, name in ((NS, 'pxc'), (FAR, 'pxs')):
        ip('-n', namespace, 'link', 'set', 'lo', 'up')
        ip('-n', namespace, 'link', 'set', name, 'up', 'mtu', '9000')
    for test in (matrix, refusals, restarts, datagrams, many, sctp):
        if len(sys.argv) > 4 and test.__name__ not in sys.argv[4:]:
            continue
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            try:
                test(*[directory][:test.__code__.co_argcount])
            except (AssertionError, OSError, subprocess.SubprocessError) as e:
                detail = (getattr(e, 'stderr', None) or b'').decode('utf-8', 'replace')[-500:]
                log = open(directory + '/log').read()[-2000:] if os.path.exists(directory + '/log') else ''
                expect(test.__name__, False, '%s: %s %s %s' % (type(e).__name__, e, detail, log))
finally:
    for namespace in (NS, FAR):
        subprocess.run(['ip', 'netns', 'delete', namespace])
    shutil.rmtree(PKI)
print('secure: %d failed, %.0f s' % (len(problems), time.monotonic() - begun))
sys.exit(len(problems) > 0)
