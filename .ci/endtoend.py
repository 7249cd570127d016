#!/usr/bin/env python3
"""The real binary against real collectors, and a live capture in network namespaces.

usage: endtoend.py PFLOW TESTDATA-DIRECTORY     (as root, with nfdump, tshark and iproute2; pflowctl beside PFLOW)

1. nfcapd stores every record of every form with no sequence failure; nfdump reads them back. With the receive buffer
   that the system gives it, it loses none of 400 000 records that a replay sends at full speed, five times of five.
2. tshark finds nothing malformed in the datagrams of every form.
3. Two namespaces joined by veth: pfsync packets put on the wire to 224.0.0.240 are captured with -i, exported, and
   the records are those of a replay of the same packets. SIGUSR1 logs statistics, SIGTERM ends with status 0.
4. SIGHUP reads the configuration again, as a whole or not at all.
5. Soliciting: a model firewall in another namespace tells of states without their last counters; each is asked for
   once, with what a firewall insists on, and exported with the counters of the answer. So are states that were there
   before, which a bulk request brings. With a syncpeer, the same by unicast.
6. nfcapd sees no sequence failure while pflowctl sets the interface again and again; tshark finds the tap's savefile
   well formed, its checksums right.
7. Live: the default control socket, its mode, a dead program's socket replaced, a living one's not.
8. The keep file: a hundred times SIGKILL, stops in good order, files that are refused, a disk that is full.
9. -x 1 takes as long as the capture; a broken pipe and a damaged file end as the manual page says.
"""
import collections, fcntl, json, os, random, signal, socket, struct, subprocess, sys, tempfile, termios, time

import states

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE = DATA + '/mix200.openbsd-v6.pcap'
BOOT = '1699900000'
FORMS = ('pflowproto 5', 'pflowproto 10', 'pflowproto 10 template openbsd78', 'pflowproto 10 template freebsd', 'pflowproto 9')
TMP = tempfile.TemporaryDirectory()
# Whom a live capture becomes.
subprocess.run('id -u _pflow >/dev/null 2>&1 || useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin _pflow', shell=True, check=True)
passed = failed = 0


def check(name, problem):
    global passed, failed
    failed, passed = (failed + 1, passed) if problem else (failed, passed + 1)
    print('%s %s%s' % ('FAILED' if problem else 'ok', name, ': %s' % (problem,) if problem else ''), flush=True)


def free_port(v6):
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('::1' if v6 else '127.0.0.1', 0))
        return s.getsockname()[1]


def address(port, v6):
    return ('[::1]:%d' if v6 else '127.0.0.1:%d') % port


def run(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **more)


def summary_of(text, what):
    """The number before WHAT on the interface's line of a summary."""
    line = [l for l in text.splitlines() if l.startswith('pflow: pflow0: ')][-1]
    words = line.replace(',', '').split()
    return int(words[words.index(what) - 1])


def nfcapd(form, v6, replay=None, buffer=('-B', '2000000')):
    """Records stored against those sent by REPLAY, which is given what flowdst and further words are, and returns a log."""
    replay = replay or (lambda words: run(PFLOW, '-a', '-b', BOOT, '-r', CAPTURE, 'pflow0', *words))
    out = tempfile.mkdtemp(dir=TMP.name)
    port = free_port(v6)
    args = ['nfcapd', '-w', out, '-p', str(port), '-t', '3600', *buffer, '-b', '::1' if v6 else '127.0.0.1'] + (['-6'] if v6 else [])
    collector = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + 10
        while ':%04X ' % port not in open('/proc/net/udp6' if v6 else '/proc/net/udp').read():
            if time.monotonic() > deadline:
                return 'nfcapd does not start'
            time.sleep(0.05)
        r = replay(['flowdst', address(port, v6), *form.split()])
        if r.returncode:
            return r.stderr
        want = summary_of(r.stderr, 'records')
        time.sleep(0.5)
    finally:
        collector.send_signal(signal.SIGTERM)
        log = collector.communicate(timeout=20)[0]
    stats = next((l for l in log.splitlines() if 'Sequence Errors' in l), '')
    if 'Sequence Errors: 0, Bad Packets: 0' not in stats:
        return stats or log
    r = run('nfdump', '-q', '-R', out, '-o', 'csv')
    rows = [l for l in r.stdout.splitlines() if l[:4].isdigit()]
    return len(rows) != want and '%d records stored, %d sent' % (len(rows), want)


def at_full_speed(times):
    """A long replay into nfcapd with the receive buffer that the system gives: the rate of a replay is one that it keeps up with."""
    long = os.path.join(TMP.name, 'long.pcap')
    with open(long, 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 246))
        for n, packet in enumerate(states.packets(200000, 2000)):
            f.write(struct.pack('<IIII', 1750000000 + n // 4000, n % 4000 * 250, len(packet), len(packet)) + packet)
    replay = lambda words: run(PFLOW, '-r', long, 'pflow0', *words)
    for n in range(times):
        for form in FORMS[:2]:
            problem = nfcapd(form, False, replay, buffer=())
            if problem:
                return 'run %d, %s: %s' % (n + 1, form, problem)
    os.remove(long)


PMACCT = """daemonize: false
nfacctd_ip: %s
nfacctd_port: %d
plugins: print[a]
aggregate[a]: src_host, dst_host, src_port, dst_port, proto, timestamp_start, timestamp_end, export_proto_seqno
print_output[a]: json
print_output_file[a]: %s
print_output_file_append[a]: true
print_refresh_time[a]: 1
print_history[a]: 1m
nfacctd_time_new: true
"""


def nfacctd(form, v6):
    """Flows, packets and octets that pmacct's collector stores against those of -o json."""
    port, out = free_port(v6), os.path.join(TMP.name, 'pmacct.json')
    conf = os.path.join(TMP.name, 'pmacct.conf')
    if os.path.exists(out):
        os.remove(out)
    with open(conf, 'w') as f:
        f.write(PMACCT % ('::1' if v6 else '127.0.0.1', port, out))
    lines = run(PFLOW, '-a', '-b', BOOT, '-r', CAPTURE, '-o', 'json').stdout.splitlines()
    want = [json.loads(l) for l in lines]
    if form.startswith('pflowproto 5'):
        want = [r for r in want if 'sourceIPv4Address' in r]
    want = (len(want), sum(r['packetDeltaCount'] for r in want), sum(r['octetDeltaCount'] for r in want))
    log = open(os.path.join(TMP.name, 'pmacct.log'), 'w+')
    collector = subprocess.Popen(['nfacctd', '-f', conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    got = None
    try:
        deadline = time.monotonic() + 25
        while not all(w in open(log.name).read() for w in ('waiting for NetFlow', 'cache entries')):
            if time.monotonic() > deadline or collector.poll() is not None:
                return 'nfacctd does not start: ' + open(log.name).read()
            time.sleep(0.05)
        time.sleep(1)  # what comes before its parts have found each other waits in it for ten seconds more
        r = run(PFLOW, '-a', '-b', BOOT, '-r', CAPTURE, 'pflow0', 'flowdst', address(port, v6), *form.split())
        while not r.returncode and got != want and time.monotonic() < deadline:
            time.sleep(0.2)
            rows = [json.loads(l) for l in open(out).read().splitlines() if l.endswith('}')] if os.path.exists(out) else []
            rows = [r for r in rows if r.get('ip_src')]
            got = (len(rows), sum(r['packets'] for r in rows), sum(r['bytes'] for r in rows))
    finally:
        collector.send_signal(signal.SIGINT)
        try:
            collector.wait(timeout=10)
        except subprocess.TimeoutExpired:
            collector.kill()
            collector.wait()
    return got != want and 'records, packets, octets: %r stored, %r sent; %s' % (got, want, r.stderr)


def reconfigured(form, changes):
    """nfcapd() of a paced replay whose interface is set again every 0.2 s."""
    sock = os.path.join(TMP.name, 'reconfigured.sock')
    done = 0

    def replay(words):
        nonlocal done
        p = subprocess.Popen([PFLOW, '-a', '-b', BOOT, '-x', '70', '-s', sock, '-r', CAPTURE, 'pflow0', *words],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while p.poll() is None:
            r = run(PFLOWCTL, '-s', sock, 'pflow0', *changes[done % len(changes)].split())
            if r.returncode == 0:
                done += 1
            elif not any(s in r.stderr for s in ('is pflow running', 'has not begun', 'was closed', 'eset', 'roken')):
                p.kill()
                break
            time.sleep(0.2)
        log = p.communicate()[1]
        return subprocess.CompletedProcess(p.args, p.returncode, '', log if p.returncode == 0 else log + r.stderr)

    return nfcapd(form, False, replay) or (done < 10 and 'only %d changes' % done)


def tshark(form, v6):
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(('::1' if v6 else '127.0.0.1', 0))
    run(PFLOW, '-a', '-b', BOOT, '-r', CAPTURE, 'pflow0', 'flowdst', address(sock.getsockname()[1], v6), *form.split())
    sock.settimeout(0.3)
    path = os.path.join(TMP.name, 'tshark.pcap')
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        try:
            while True:
                d = sock.recv(65535)
                udp = struct.pack('>HHHH', 12345, 2055, 8 + len(d), 0) + d
                ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1]))
                f.write(struct.pack('<IIII', 0, 0, len(ip + udp), len(ip + udp)) + ip + udp)
        except socket.timeout:
            sock.close()
    r = run('tshark', '-r', path, '-d', 'udp.port==2055,cflow', '-o', 'ip.check_checksum:FALSE', '-Y', '_ws.expert || _ws.malformed')
    seen = run('tshark', '-r', path, '-d', 'udp.port==2055,cflow', '-Y', 'cflow').stdout.count('\n')
    bad = r.stdout.strip()
    return bad or (seen == 0 and 'tshark decodes nothing')


def tap(form, v6):
    """The tap's savefile: every datagram is there, decodes, and has the right checksums."""
    path = os.path.join(TMP.name, 'tap.pcap')
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('::1' if v6 else '127.0.0.1', 0))
    port = sock.getsockname()[1]
    r = run(PFLOW, '-a', '-b', BOOT, '-r', CAPTURE, 'pflow0', 'flowdst', address(port, v6), *form.split(), 'tap', path)
    sock.close()
    options = ['-r', path, '-d', 'udp.port==%d,cflow' % port, '-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE']
    good = run('tshark', *options, '-Y', 'cflow && udp.checksum.status == "Good"' + ('' if v6 else ' && ip.checksum.status == "Good"'))
    bad = run('tshark', *options, '-Y', '_ws.expert || _ws.malformed').stdout
    want = summary_of(r.stderr, 'datagrams')
    seen = good.stdout.count('\n')
    return r.returncode and r.stderr or bad or good.stderr.replace('Running as user "root" and group "root". This could be dangerous.', '').strip() \
        or seen != want and '%d packets, %d datagrams sent' % (seen, want)


def packets(path):
    """(seconds, frame) of a nanosecond or microsecond little-endian pcap."""
    b, p = open(path, 'rb').read(), 24
    scale = 1e-9 if b[:4] == b'\x4d\x3c\xb2\xa1' else 1e-6
    while p < len(b):
        sec, frac, n = struct.unpack_from('<III', b, p)
        yield sec + frac * scale, b[p + 16:p + 16 + n]
        p += 16 + n


def ip(*words):
    subprocess.run(('ip',) + words, check=True)


# The capture's four minutes go out in half a second, so that the states' ages, which say when they began, must all be 0.
SENDER = '''
import struct, socket, sys, time
def without_ages(f):
    f, o = bytearray(f), 14 + 20 + 20
    while o + 4 <= len(f):
        action, words, count = struct.unpack_from('>BBH', f, o)
        for n in range(count):
            if action in (13, 14):
                f[o + 4 + n * 264 + 196:o + 4 + n * 264 + 200] = bytes(4)
        o += 4 + count * words * 4
    return f
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('pfe0', 0))
b, p = open(sys.argv[1], 'rb').read(), 24
while p < len(b):
    n = struct.unpack_from('<I', b, p + 8)[0]
    s.send(without_ages(b[p + 16:p + 16 + n]))
    p += 16 + n
    time.sleep(0.002)
'''


def live():
    """Records of the live capture against those of a replay: same but for the times, which are now, and what counters are worth, which the times tell."""
    a, b = 'pflow-a-%d' % os.getpid(), 'pflow-b-%d' % os.getpid()
    try:
        for n in (a, b):
            ip('netns', 'add', n)
        ip('link', 'add', 'pfe0', 'netns', a, 'type', 'veth', 'peer', 'name', 'pfe1', 'netns', b)
        ip('-n', a, 'addr', 'add', '192.0.2.1/24', 'dev', 'pfe0')
        ip('-n', b, 'addr', 'add', '192.0.2.9/24', 'dev', 'pfe1')
        for n, d in ((a, 'pfe0'), (b, 'pfe1'), (b, 'lo')):
            ip('-n', n, 'link', 'set', d, 'up')
        out = open(os.path.join(TMP.name, 'live.json'), 'w+')
        log = open(os.path.join(TMP.name, 'live.log'), 'w+')
        daemon = subprocess.Popen(['ip', 'netns', 'exec', b, PFLOW, '-d', '-a', '-i', 'pfe1', '-o', 'json', '-e', 'counters exact', 'pflow0', 'flowdst', '127.0.0.1:2055', 'pflowproto', '10'],
                                  stdout=out, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 15
        while 'capturing on' not in open(log.name).read():
            if time.monotonic() > deadline or daemon.poll() is not None:
                return open(log.name).read() or 'does not start'
            time.sleep(0.05)
        groups = run('ip', '-n', b, 'maddr', 'show', 'dev', 'pfe1').stdout
        subprocess.run(['ip', 'netns', 'exec', a, sys.executable, '-c', SENDER, CAPTURE], check=True)
        replay = run(PFLOW, '-a', '-r', CAPTURE, '-o', 'json', '-e', 'counters exact')
        want = [json.loads(l) for l in replay.stdout.splitlines()]
        while time.monotonic() < deadline and open(out.name).read().count('\n') < len(want):
            time.sleep(0.1)
        daemon.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(timeout=10)
        got = [json.loads(l) for l in open(out.name).read().splitlines()]
        key = lambda r: tuple(sorted((k, str(v)) for k, v in r.items() if k not in ('flowStartMilliseconds', 'flowEndMilliseconds', 'quality', 'flowQuality')))
        x, y = collections.Counter(map(key, got)), collections.Counter(map(key, want))
        text = open(log.name).read()
        if x != y:
            return '%d records live, %d in a replay, %d differ' % (len(got), len(want), sum(((x - y) + (y - x)).values()))
        if status or text.count('records') < 2 or '224.0.0.240' not in groups:
            return 'status %d, group joined: %r, log: %s' % (status, '224.0.0.240' in groups, text)
        sent = summary_of(text, 'records')
        return sent != len(want) and '%d records packed, %d expected' % (sent, len(want))
    finally:
        for n in (a, b):
            subprocess.run(['ip', 'netns', 'del', n], stderr=subprocess.DEVNULL)


def reload():
    """SIGHUP: a changed line takes effect, a broken file none; the sequence goes on; held records go to the old collector."""
    ns = 'pflow-r-%d' % os.getpid()
    conf = os.path.join(TMP.name, 'reload.conf')
    log = open(os.path.join(TMP.name, 'reload.log'), 'w+')

    def wait_for(text, count=1):
        deadline = time.monotonic() + 10
        while open(log.name).read().count(text) < count:
            if time.monotonic() > deadline or daemon.poll() is not None:
                return 'no %r in: %s' % (text, open(log.name).read())
            time.sleep(0.05)

    collect = """
import socket, sys, time
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for n, s in enumerate(socks):
    s.bind(('127.0.0.1', 2001 + n)); s.settimeout(0.05)
print('ready', flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    for n, s in enumerate(socks):
        try: d, a = s.recvfrom(65535)
        except socket.timeout: continue
        print(n, int.from_bytes(d[2:4], 'big'), int.from_bytes(d[8:12], 'big'), int.from_bytes(d[16:18], 'big'), a[1], flush=True)
"""
    try:
        ip('netns', 'add', ns)
        ip('-n', ns, 'link', 'set', 'lo', 'up')
        ip('-n', ns, 'link', 'add', 'pfe0', 'type', 'veth', 'peer', 'name', 'pfe1')
        for d in ('pfe0', 'pfe1'):
            ip('-n', ns, 'link', 'set', d, 'up')
        open(conf, 'w').write('to = 127.0.0.1:2001\npflow0 flowdst $to pflowproto 10\n')
        sink = subprocess.Popen(['ip', 'netns', 'exec', ns, sys.executable, '-c', collect, '6'], stdout=subprocess.PIPE, text=True)
        sink.stdout.readline()
        daemon = subprocess.Popen(['ip', 'netns', 'exec', ns, PFLOW, '-d', '-a', '-i', 'pfe1', '-f', conf], stderr=log, stdin=subprocess.DEVNULL)
        problem = wait_for('capturing on')
        if problem:
            return problem
        subprocess.run(['ip', 'netns', 'exec', ns, sys.executable, '-c', SENDER, CAPTURE], check=True)
        time.sleep(0.3)
        open(conf, 'w').write('pflow0 flowdst 127.0.0.1\n')
        daemon.send_signal(signal.SIGHUP)
        problem = wait_for('reload.conf:1: flowdst: no port; the configuration stays as it was')
        if problem:
            return problem
        open(conf, 'w').write('to = 127.0.0.1:2002\npflow0 flowdst $to pflowproto 10\n')
        daemon.send_signal(signal.SIGHUP)
        problem = wait_for('configuration read again')
        if problem:
            return problem
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(timeout=10)
        lines = [tuple(map(int, l.split())) for l in sink.communicate()[0].splitlines()]
        old, new = [l for l in lines if l[0] == 0], [l for l in lines if l[0] == 1]
        sizes = {256: 54, 257: 66, 258: 78}
        records = sum((length - 20) // sizes[s] for _, length, _, s, _ in old if s in sizes)
        if status or records != 305 or [l[3] for l in new] != [2] or new[0][2] != 305 or len({l[4] for l in lines}) != 1:
            return 'status %d, %d records to the old collector, to the new one %r, ports %r' % (status, records, new, {l[4] for l in lines})
    finally:
        subprocess.run(['ip', 'netns', 'del', ns], stderr=subprocess.DEVNULL)


# A firewall of OpenBSD 7.4 with 240 states that are closing, of which nobody is told the last counters unasked, and one
# more that is older than the listener. It tells what it was asked for.
FIREWALL = """
import json, socket, struct, sys, time
GROUP, CREATOR, N = '224.0.0.240', 0x5f3a9c01, 240
peer = sys.argv[1] if len(sys.argv) > 1 else GROUP
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 240)
s.bind(('192.0.2.1', 0))
own = socket.inet_aton('192.0.2.1')
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 240)
r.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
begun = time.monotonic()
def octets(n): return [n * 1000 + 1, n * 2000 + 2]
def state(n, part):
    b = bytearray(264)
    struct.pack_into('>Q', b, 0, n)
    b[8:11] = b'all'
    for key in (24, 64):
        b[key:key + 4], b[key + 16:key + 20] = socket.inet_aton('198.51.100.7'), socket.inet_aton('10.0.0.1')
        struct.pack_into('>HHHB', b, key + 32, 443, 1024 + n, 0, 2)
    b[104 + 24] = b[136 + 24] = 9
    struct.pack_into('>II', b, 196, int(time.monotonic() - begun) + (500 if n == 0 else 0), 40)
    struct.pack_into('>QQQQ', b, 204, 10 * part, 20 * part, *[o * part // 4 for o in octets(n)])
    struct.pack_into('>I', b, 236, CREATOR)
    b[250:253], b[255], b[261] = bytes([2, 6, 1]), 4, 4
    return bytes(b)
def upd_c(n):
    b = bytearray(84)
    struct.pack_into('>Q', b, 0, n)
    b[8 + 24] = b[40 + 24] = 9
    struct.pack_into('>I', b, 72, CREATOR)
    b[80] = 4
    return bytes(b)
def send(action, messages, at_most):
    for k in range(0, len(messages), at_most):
        part = messages[k:k + at_most]
        body = struct.pack('>BBH', action, len(part[0]) // 4, len(part)) + b''.join(part)
        s.sendto(struct.pack('>BBH16x', 6, 0, 20 + len(body)) + body, (peer, 0))
        time.sleep(0.0005)
asked, wrong, bulks = [], [], 0
def listen(seconds):
    global bulks
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0: return
        r.settimeout(left)
        try: packet, who = r.recvfrom(65535)
        except socket.timeout: return
        p = packet[20:]
        version, length = struct.unpack_from('>BxH', p)
        action, words, count = struct.unpack_from('>BBH', p, 20)
        to = socket.inet_ntoa(packet[16:20])
        if (packet[0], packet[8], packet[9], version, action, words) != (0x45, 255, 240, 6, 5, 3) or length != len(p) or \
                length != 24 + 12 * count or len(packet) > 1500 or to != ('192.0.2.1' if peer != GROUP else GROUP):
            wrong.append(packet.hex())
        ids = [struct.unpack_from('>QI', p, 24 + 12 * k) for k in range(count)]
        if ids == [(0, 0)]:
            bulks += 1
            for status, messages in ((1, [state(0, 4)]), (2, [])):
                send(10, [struct.pack('>IIB3x', CREATOR, 0, status)], 1)
                if messages: send(14, messages, 5)
            continue
        asked.extend(n for n, creator in ids)
        send(14, [state(n, 4) for n, creator in ids], 5)
send(13, [state(n, 1) for n in range(1, N + 1)], 5)
listen(1.2)
send(4, [upd_c(n) for n in range(1, N + 1)], 17)
listen(6)
send(7, [struct.pack('>QI', n, CREATOR) for n in range(N + 1)], 121)
print(json.dumps({'asked': sorted(asked), 'wrong': wrong[:3], 'bulks': bulks, 'octets': [octets(n) for n in range(N + 1)]}))
"""


def solicit(peer, reload=False):
    """What was asked, once each, and what came of it; by the group or by unicast, told to at the start or later."""
    a, b = 'pflow-s-%d' % os.getpid(), 'pflow-t-%d' % os.getpid()
    try:
        for n in (a, b):
            ip('netns', 'add', n)
        ip('link', 'add', 'pfe0', 'netns', a, 'type', 'veth', 'peer', 'name', 'pfe1', 'netns', b)
        for n, d, address in ((a, 'pfe0', '192.0.2.1/24'), (b, 'pfe1', '192.0.2.9/24')):
            ip('-n', n, 'addr', 'add', address, 'dev', d)
            ip('-n', n, 'link', 'set', d, 'up')
        out = open(os.path.join(TMP.name, 'solicit.json'), 'w+')
        log = open(os.path.join(TMP.name, 'solicit.log'), 'w+')
        conf = os.path.join(TMP.name, 'solicit.conf')
        lines = ['solicit on pfe1', 'solicit rate 200'] + (['solicit peer 192.0.2.1'] if peer else [])
        with open(conf, 'w') as f:
            f.write('' if reload else '\n'.join(lines) + '\n')
        words = ['-f', conf]
        daemon = subprocess.Popen(['ip', 'netns', 'exec', b, PFLOW, '-d', '-i', 'pfe1', '-o', 'json', *words],
                                  stdout=out, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 15
        while 'capturing on' not in open(log.name).read():
            if time.monotonic() > deadline or daemon.poll() is not None:
                return open(log.name).read() or 'does not start'
            time.sleep(0.05)
        if reload:
            with open(conf, 'w') as f:
                f.write('\n'.join(lines) + '\n')
            daemon.send_signal(signal.SIGHUP)
            while 'configuration read again' not in open(log.name).read():
                if time.monotonic() > deadline or daemon.poll() is not None:
                    return open(log.name).read()
                time.sleep(0.05)
        firewall = run('ip', 'netns', 'exec', a, sys.executable, '-c', FIREWALL, *(['192.0.2.9'] if peer else []))
        if firewall.returncode:
            return firewall.stderr
        told = json.loads(firewall.stdout)
        time.sleep(0.5)
        daemon.send_signal(signal.SIGTERM)
        status = daemon.wait(timeout=10)
        text = open(log.name).read()
        got = collections.defaultdict(lambda: [0, 0])
        for line in open(out.name).read().splitlines():
            record = json.loads(line)
            got[int(record['stateId'], 16)][record['reverse']] += record['octetDeltaCount']
        if status or told['wrong'] or told['bulks'] != 1 or told['asked'] != list(range(1, 241)):
            return 'status %d, %r, log: %s' % (status, {k: v for k, v in told.items() if k != 'octets'}, text)
        wrong = [n for n, octets in enumerate(told['octets']) if got[n] != octets]
        if wrong:
            return '%d states with other counters than the truth, such as %d: %r; log: %s' % (len(wrong), wrong[0], got[wrong[0]], text)
        if '240 states asked for' not in text or '240 requests answered' not in text or '1 bulk transfers that ended' not in text:
            return text
    finally:
        for n in (a, b):
            subprocess.run(['ip', 'netns', 'del', n], stderr=subprocess.DEVNULL)
LIVE_SOCKET = r'''
mount -t tmpfs tmpfs "$3" && cd / && log=$4 && sock=$3/$5
begin() { "$pflow" -d -i lo "$@" >>"$log" 2>&1 & pid=$!; n=0
          until "$ctl" show config >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 200 ] || { kill $pid; exit 9; }; sleep 0.05; done; }
pflow=$1 ctl=$2
begin -e "socket ro $3/ro"
echo "modes $(stat -c %a "$sock" "$3/ro" | xargs)"
"$ctl" -c && "$ctl" pflow0 | head -n 1
timeout 10 "$pflow" -d -i lo -s "$sock" >"$log.second" 2>&1; echo "second $?"; grep -c 'another program listens there' "$log.second"
"$ctl" -l
kill -9 $pid; wait $pid 2>/dev/null; [ -S "$sock" ] && echo left
begin
"$ctl" -l; "$ctl" -c
kill $pid; wait $pid; echo "ended $?"
[ -e "$sock" ] || echo gone
'''


def live_socket():
    ns = 'pflow-s-%d' % os.getpid()
    log = os.path.join(TMP.name, 'socket.log')
    default = run(PFLOWCTL).stderr.split(': ')[1]
    directory, name = os.path.split(default)
    try:
        ip('netns', 'add', ns)
        ip('-n', ns, 'link', 'set', 'lo', 'up')
        r = run('ip', 'netns', 'exec', ns, 'unshare', '-m', 'sh', '-c', LIVE_SOCKET, 'sh', PFLOW, PFLOWCTL, directory, log, name)
        want = ['modes 600 666', 'pflow0', 'pflow0: flags=1<UP> mtu 1492', 'second 1', '1', 'pflow0: version 5 domain 42', 'left', 'pflow0', 'ended 0', 'gone']
        return r.stdout.splitlines() != want and '%r %s %s' % (r.stdout, r.stderr, open(log).read())
    finally:
        subprocess.run(['ip', 'netns', 'del', ns], stderr=subprocess.DEVNULL)


def feed(kept, frames, kill_at, interval=2, more=()):
    """Gives pflow frames on standard input and kills it with SIGKILL after so many, None: lets it end. Its NetFlow v5 records, its log."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(('127.0.0.1', 0))
        collector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        collector.settimeout(0.05)
        child = subprocess.Popen([PFLOW, '-a', '-b', BOOT, '-r', '-', '-e', 'keep file "%s"' % kept, '-e', 'keep interval %d' % interval, *more,
                                  'pflow0', 'flowdst', '127.0.0.1:%d' % collector.getsockname()[1], 'hold', '1'],
                                 stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        head, frames = frames
        child.stdin.write(head + b''.join(frames[:kill_at]))
        child.stdin.flush()
        if kill_at is None:
            child.stdin.close()
        else:
            settle(child)
            child.send_signal(signal.SIGKILL)
        log = child.stderr.read().decode()
        child.wait()
        records = collections.Counter()
        try:
            while True:
                d = collector.recv(65536)
                count, = struct.unpack('>H', d[2:4])
                records.update(d[24 + 48 * n:72 + 48 * n] for n in range(count))
        except socket.timeout:
            return records, log


def settle(child):
    """Until it has read its standard input and each thread of it and its children waits, on a machine that is busy, too."""
    quiet = 0
    while quiet < 5 and child.poll() is None:
        time.sleep(0.02)
        waiting, = struct.unpack('i', fcntl.ioctl(child.stdin, termios.FIONREAD, struct.pack('i', 1)))
        quiet = quiet + 1 if waiting == 0 and all(state == 'S' for state in states_of(child.pid)) else 0


def states_of(pid):
    """The states of the threads of a process and of its children, as ps(1) has them."""
    found = []
    for task in os.listdir('/proc/%d/task' % pid):
        with open('/proc/%d/task/%s/stat' % (pid, task)) as f:
            found.append(f.read().rpartition(')')[2].split()[0])
        with open('/proc/%d/task/%s/children' % (pid, task)) as f:
            for child in f.read().split():
                found += states_of(int(child))
    return found


def ends_of(record):
    """First, last packet in ms of uptime, and what does not change with what was counted."""
    return struct.unpack('>II', record[24:32]), record[:12] + record[32:36] + record[38:39] + record[24:28]


def capture_frames(path):
    """The head of a savefile, and its packets with their headers."""
    data, at, frames = open(path, 'rb').read(), 24, []
    while at < len(data):
        length = 16 + struct.unpack('<I', data[at + 8:at + 12])[0]
        frames.append(data[at:at + length])
        at += length
    return data[:24], frames


def uptime(frame):
    seconds, fraction = struct.unpack('<II', frame[:8])
    return (seconds - int(BOOT)) * 1000 + fraction // (1000 if fraction < 10 ** 6 else 10 ** 6)


def killed(times):
    """Runs that are killed after some packets and go on with the next from the keep file. Over all runs no record is there twice, and those
    that lack began or ended in an interval that a kill cut off."""
    head, frames = capture_frames(CAPTURE)
    whole, _ = feed(os.path.join(TMP.name, 'whole'), (head, frames), None)
    random.seed(6)
    lost = kills = restored = all_records = 0
    while kills < times:
        kept = os.path.join(TMP.name, 'killed')
        if os.path.exists(kept):
            os.unlink(kept)
        records, windows, at = collections.Counter(), [], 0
        while at < len(frames):
            length = random.randrange(8, 40)
            is_last = at + length >= len(frames)
            some, log = feed(kept, (head, frames[at:]), None if is_last else length)
            records += some
            restored += 'after a crash' in log
            if not is_last:
                kills += 1
                written = os.path.exists(kept) and struct.unpack('>q', open(kept, 'rb').read()[24:32])[0] // 10 ** 6 - int(BOOT) * 1000 or 0
                windows.append((written - 1000, uptime(frames[at + length - 1]) + 1000))
            at += length
        all_records += sum(whole.values())
        names = collections.Counter(ends_of(r)[1] for r in records.elements())
        usual = collections.Counter(ends_of(r)[1] for r in whole.elements())
        more = names - usual
        if more:
            return '%d records twice: %r' % (sum(more.values()), list(more)[:2])
        for record in whole:
            (first, last), name = ends_of(record)
            if names[name] == 0:
                lost += 1
                # The end of a record is its last packet; its state ends up to a timeout later.
                if not any(begin <= first <= end for begin, end in windows) and not any(begin <= last + 100000 and last <= end for begin, end in windows):
                    return 'lost outside of every window %r: %d %d' % (windows, first, last)
    print('   %d kills, %d times read back, %d records of %d lost, all in the windows' % (kills, restored, lost, all_records))
    if lost * 10 > all_records:
        return '%d of %d records lost' % (lost, all_records)
    return restored < times / 2 and 'read back %d times only' % restored


def kept_in_good_order():
    """Stopped and started again at every tenth packet, what goes out is what goes out in one run."""
    head, frames = capture_frames(CAPTURE)
    whole, _ = feed(os.path.join(TMP.name, 'whole2'), (head, frames), None)
    kept, records = os.path.join(TMP.name, 'order'), collections.Counter()
    for at in range(0, len(frames), 10):
        some, log = feed(kept, (head, frames[at:at + 10]), None)
        records += some
        if at and 'after a stop in good order' not in log:
            return log
    return records != whole and '%r' % ((records - whole).total(), (whole - records).total())


def refused():
    """What is wrong with a file is said, and pflow begins without it."""
    head, frames = capture_frames(CAPTURE)
    kept = os.path.join(TMP.name, 'refused')
    feed(kept, (head, frames[:60]), None)
    good = open(kept, 'rb').read()
    for words, data in (('damaged: its checksum is wrong', good[:200] + bytes([good[200] ^ 1]) + good[201:]),
                        ("damaged: its header's checksum is wrong", good[:20] + b'\xff' + good[21:]),
                        ('octets where it should have', good[:-7]),
                        ('of an older pflow', good[:9] + b'\0' + good[10:]),
                        ('of a newer pflow', good[:9] + b'\7' + good[10:]),
                        ('not a file that pflow kept', b'#!/bin/sh\n')):
        open(kept, 'wb').write(data)
        _, log = feed(kept, (head, frames[60:]), None)
        if words not in log or 'a fresh start' not in log:
            return '%s: %s' % (words, log)
        if open(kept, 'rb').read()[:10] != good[:10]:
            return '%s: no new file' % words
    late = struct.pack('<I', struct.unpack('<I', frames[60][:4])[0] + 8000) + frames[60][4:]
    open(kept, 'wb').write(good)
    _, log = feed(kept, (head, [late]), None)
    return 'more than an hour; a fresh start' not in log and log


def disk_full():
    """A disk that is full leaves the old file, and pflow goes on."""
    head, frames = capture_frames(CAPTURE)
    disk = tempfile.mkdtemp(dir=TMP.name)
    run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk, check=True)
    try:
        kept = os.path.join(disk, 'keep')
        feed(kept, (head, frames[:60]), None)
        old = open(kept, 'rb').read()[36:]
        with open(os.path.join(disk, 'filler'), 'wb', 0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
        _, log = feed(kept, (head, frames[60:]), None)
        if 'the old one stays' not in log or 'No space left' not in log:
            return log
        return open(kept, 'rb').read()[36:] != old and 'the old file has changed' or os.path.exists(kept + '.new') and 'half a file stays'
    finally:
        run('umount', disk)


def pace():
    """A capture of three packets over two seconds takes two seconds at -x 1, one at -x 2, none at 0."""
    path = os.path.join(TMP.name, 'pace.pcap')
    frame = next(packets(CAPTURE))[1]
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for n in range(3):
            f.write(struct.pack('<IIII', 1700000000 + n, 0, len(frame), len(frame)) + frame)
    for speed, low, high in (('1', 1.9, 3.5), ('2', 0.9, 1.9), ('0', 0, 0.8)):
        start = time.monotonic()
        r = run(PFLOW, '-x', speed, '-o', 'none', '-r', path)
        took = time.monotonic() - start
        if r.returncode or not low <= took <= high:
            return '-x %s took %.2f s, status %d' % (speed, took, r.returncode)


def endings():
    whole = open(CAPTURE, 'rb').read()
    cut = os.path.join(TMP.name, 'cut.pcap')
    open(cut, 'wb').write(whole[:-100])
    r = run(PFLOW, '-a', '-r', cut)
    check('a damaged file: what is whole is exported, the error names file and offset, status 1',
          (r.returncode != 1 or 'cut.pcap' not in r.stderr or 'offset' not in r.stderr or r.stdout.count('\n') < 200) and r.stderr)
    r = run('sh', '-c', '{ "$0" -x 1000 -a -r "$1" -o messages; echo "status $?" >&2; } | head -n 1', PFLOW, CAPTURE)
    check('a broken pipe ends quietly', (r.stderr.strip() != 'status 0' or r.stdout.count('\n') != 1) and r.stderr)
    r = run('sh', '-c', 'cat "$1" | "$0" -a -r - -o json | wc -l', PFLOW, CAPTURE)
    check('standard input is read', r.stdout.strip() != '305' and r.stdout)
    r = run(PFLOW, '-Z')
    check('wrong usage is status 2', (r.returncode != 2 or 'usage: pflow' not in r.stderr) and r.stderr)
    r = run(PFLOW, '-r', '/nonexistent')
    check('a missing file is status 1', (r.returncode != 1 or '/nonexistent' not in r.stderr) and r.stderr)


for form in FORMS:
    for v6 in (False, True):
        check('nfcapd %s over %s' % (form, 'IPv6' if v6 else 'IPv4'), nfcapd(form, v6))
    check('tshark %s' % form, tshark(form, False))
    if 'freebsd' not in form:  # whose NAT events are flows of no packets to it
        for v6 in (False, True):
            check('nfacctd %s over %s' % (form, 'IPv6' if v6 else 'IPv4'), nfacctd(form, v6))
check('nfcapd with the buffer that the system gives, replays at full speed', at_full_speed(5))
for v6 in (False, True):
    for form in FORMS[:2]:
        check('tap %s over %s' % (form, 'IPv6' if v6 else 'IPv4'), tap(form, v6))
COMMON = ('mtu 600', 'hold 1', 'mtu 1500', 'down', 'up', 'hold 30', 'flowsrc 127.0.0.1', '-flowsrc')
check('nfcapd pflowproto 5 while it is set again', reconfigured('pflowproto 5', COMMON))
check('nfcapd pflowproto 9 while it is set again', reconfigured('pflowproto 9', COMMON + ('mtu 800', 'refresh 5', 'refreshpackets 1', 'mtu 1500')))
check('nfcapd pflowproto 10 while it is set again', reconfigured('pflowproto 10', COMMON + ('template openbsd78', 'mtu 800', 'template openbsd', 'refresh 5')))
check('live in namespaces', live())
check('control socket', live_socket())
check('reload', reload())
check('solicit', solicit(False))
check('solicit a syncpeer', solicit(True))
check('solicit after a reload', solicit(False, reload=True))
check('keep file: a hundred kills', killed(100))
check('keep file: stopped in good order', kept_in_good_order())
check('keep file: refused', refused())
check('keep file: disk full', disk_full())
check('pace', pace())
endings()
print('endtoend: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
