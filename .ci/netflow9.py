#!/usr/bin/env python3
"""NetFlow v9 as collectors read it: every record, with the right addresses, ports and counters, and none missed.

usage: netflow9.py PFLOW TESTDATA-DIRECTORY     (with nfdump, pmacct and tshark; argus-client, the Python library netflow
       and npm's node-netflowv9 where they are installed or can be)

Replays of captures are sent to each reader. What it makes of them is compared with what pflow prints with -o json.
1. A decoder of RFC 3954 in a few lines here: whole words, counts, a sequence without gaps, no data before its template,
   first <= last <= sysUpTime, and each field.
2. nfcapd and nfdump, with templates sent again after each second message; tshark: nothing to complain about.
3. nfacctd, argus' ra, node-netflowv9, Python's netflow.
4. Each firewall with a source id of its own.
"""
import collections, importlib.util, ipaddress, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, time

from common import free_port

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TMP = tempfile.TemporaryDirectory()
BOOT = '1699900000'
CAPTURES = ['mix200.openbsd-v6.pcap', 'mix200.freebsd-1500.pcap', 'mix200.openbsd45-v5.pcap']
ADDRESS, PORT = 'source%sAddress destination%sAddress', 'sourceTransportPort destinationTransportPort'
VENV = os.path.expanduser('~/.cache/pflow-tools/venv/bin/python')
failed = 0


def check(name, problem):
    global failed
    failed += bool(problem)
    print('%s %s%s' % ('FAILED' if problem else 'ok', name, ': %s' % (problem,) if problem else ''), flush=True)


def skip(name, why):
    print('SKIPPED %s: %s' % (name, why), flush=True)


def run(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)


def replay(capture, *words, flags=()):
    r = run(PFLOW, '-a', '-b', BOOT, *flags, '-r', os.path.join(DATA, capture), 'pflow0', 'pflowproto', '9', *words)
    assert r.returncode == 0, r.stderr
    return r.stderr


def is_icmp(proto):
    return proto in (1, 58)


ANSWERS = {(1, 8): 0, (1, 13): 14, (1, 15): 16, (1, 17): 18, (58, 128): 129, (58, 130): 131, (58, 133): 134, (58, 135): 136, (58, 139): 140}


def truth(capture, words=()):
    """Records by -o json: all that a record of v9 tells of them, by type."""
    out = run(PFLOW, '-a', '-b', BOOT, '-r', os.path.join(DATA, capture), '-o', 'json', *words).stdout
    for one in map(json.loads, out.splitlines()):
        v = 'IPv4' if 'sourceIPv4Address' in one else 'IPv6'
        src, dst = (one[end + v + 'Address'] for end in ('source', 'destination'))
        proto = one['protocolIdentifier']
        record = {'src': src, 'dst': dst, 4: proto, 1: one['octetDeltaCount'], 2: one['packetDeltaCount'],
                  'first': one['flowStartMilliseconds'], 'last': one['flowEndMilliseconds'], 61: (one['direction'] == 'out') != one['reverse'],
                  10: one['ingressInterface'], 14: one['egressInterface'], 'creator': int(one['creatorId'], 16), 'state': one['stateId'], 'reverse': one['reverse']}
        if is_icmp(proto):
            kind = one.get('icmpType' + v, 0)
            record[32] = 256 * (ANSWERS.get((proto, kind), kind) if one['reverse'] else kind)
        else:
            record[7], record[11] = one['sourceTransportPort'], one['destinationTransportPort']
        for post in ('IPv4', 'IPv6'):
            if 'postNATSource%sAddress' % post in one:
                record['post'] = tuple(one['postNAT%s%sAddress' % (end, post)] for end in ('Source', 'Destination'))
                if not is_icmp(proto):
                    record[227], record[228] = one['postNAPTSourceTransportPort'], one['postNAPTDestinationTransportPort']
        yield record


def key(record):
    """What all collectors tell of a record."""
    ports = (0, 0) if is_icmp(record[4]) else (record[7], record[11])
    return (str(ipaddress.ip_address(record['src'])), str(ipaddress.ip_address(record['dst'])), *ports, record[4], record[2], record[1])


def difference(want, got):
    want, got = collections.Counter(want), collections.Counter(got)
    if want == got:
        return None
    return '%d records, %d of them wrong, %d missing, such as %r and %r' % (
        sum(got.values()), sum((got - want).values()), sum((want - got).values()), list(got - want)[:2], list(want - got)[:2])


def messages(capture, *words, v6=False, flags=()):
    """The datagrams of a replay."""
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        s.bind(('::1' if v6 else '127.0.0.1', 0))
        at = ('[::1]:%d' if v6 else '127.0.0.1:%d') % s.getsockname()[1]
        replay(capture, 'flowdst', at, *words, flags=flags)
        s.setblocking(False)
        got = []
        try:
            while True:
                got.append(s.recv(65536))
        except BlockingIOError:
            return got


def decode(datagrams):
    """Records as truth() has them, options, and how many messages told templates; AssertionError: RFC 3954 is broken."""
    templates, sequences, records, options, told = {}, collections.Counter(), [], [], 0
    for d in datagrams:
        version, count, uptime, secs, sequence, source = struct.unpack_from('>HHIIII', d)
        assert version == 9 and sequence == sequences[source], (version, sequence, sequences[source])
        sequences[source] += 1
        at, has_templates = 20, False
        while at < len(d):
            kind, size = struct.unpack_from('>HH', d, at)
            assert size >= 4 and size % 4 == 0 and at + size <= len(d), (kind, size)
            p, end = at + 4, at + size
            if kind < 2:
                has_templates = True
                while end - p >= 6:
                    number, scopes, n = struct.unpack_from('>HHH', d, p) if kind else (*struct.unpack_from('>H', d, p), 0, 4 * struct.unpack_from('>H', d, p + 2)[0])
                    p += 6 if kind else 4
                    fields = [struct.unpack_from('>HH', d, p + i) for i in range(0, scopes + n, 4)]
                    assert number > 255 and all(f[1] for f in fields) and templates.setdefault((source, number), (fields, scopes // 4)) == (fields, scopes // 4)
                    p += scopes + n
                    count -= 1
            else:
                fields, scopes = templates[source, kind]  # told before
                length = sum(f[1] for f in fields)
                while end - p >= length:
                    values, p0 = [], p
                    for number, size_of in fields:
                        values.append((number, d[p:p + size_of]))
                        p += size_of
                    if scopes:
                        options.append((kind, [(n, v if len(v) > 4 else int.from_bytes(v, 'big')) for n, v in values]))
                    else:
                        records.append(tidy(dict(values), secs * 1000 - uptime, uptime, source))
                    count -= 1
            assert d[p:end] == bytes(end - p) and end - p < 4, 'padding'
            at = end
        assert count == 0, count
        told += has_templates
    return records, options, told


def tidy(fields, zero, uptime, source):
    number = {n: int.from_bytes(v, 'big') for n, v in fields.items()}
    assert number[22] <= number[21] <= uptime
    address = lambda n: str(ipaddress.ip_address(fields[n]))
    v4 = 8 in fields
    record = {'src': address(8 if v4 else 27), 'dst': address(12 if v4 else 28), 'first': zero + number[22], 'last': zero + number[21],
              'source': source, **{n: number[n] for n in (1, 2, 4, 7, 11, 32, 61, 136, 148, 227, 228, 10, 14) if n in number}}
    for one, other in ((225, 226), (281, 282)):
        if one in fields:
            record['post'] = address(one), address(other)
    return record


SHOWN = ('src', 'dst', 'first', 'last', 'post', 1, 2, 4, 7, 11, 32, 61, 227, 228)


def shown(record):
    return tuple((n, record[n]) for n in SHOWN if n in record)


def own(capture):
    want = list(truth(capture))
    got, options, told = decode(messages(capture))
    problem = difference(map(shown, want), map(shown, got))
    ids = collections.defaultdict(set)
    for one in want:
        ids[one['creator'], one['state'], one[4], frozenset((one['src'], one['dst'])), frozenset((one.get(7), one.get(11)))]
    flows = {record[148] for record in got}
    if problem or len(flows) != len(ids):
        return problem or '%d flow ids of %d states' % (len(flows), len(ids))
    if [(n, fields[1:]) for n, fields in options if n == 400] != told * [(400, [(34, 1), (35, 1)])]:
        return 'options %r' % options
    return not told and 'no templates'


def indexes():
    """Interfaces have the numbers that are set, and options name them."""
    conf = os.path.join(TMP.name, 'ifindex')
    with open(conf, 'w') as f:
        f.write('ifindex em0 7\n')
    got = messages(CAPTURES[0], 'refreshpackets', '1', flags=('-f', conf))
    records, options, _ = decode(got)
    names = {fields[0]: fields[1] for n, fields in options if n == 401}
    of = lambda record: (shown(record), record[10], record[14])
    if names != {(2, 7): (82, b'em0'.ljust(16, b'\0'))} or not any(record[14] for record in records):
        return 'names %r' % names
    return difference(map(of, truth(CAPTURES[0], ('-f', conf))), map(of, records))


def by_creator():
    words = ('domain', 'creatorid')
    want = [(one['creator'], shown(one)) for one in truth(CAPTURES[0])]
    got, _, _ = decode(messages(CAPTURES[0], *words))
    return difference(want, ((one['source'], shown(one)) for one in got))


def listens(port):
    return ':%04X ' % port in open('/proc/net/udp').read()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def with_collector(words, port, capture, *more, ready=None, stop=signal.SIGTERM, done=lambda: time.sleep(0.5), **options):
    """A collector gets a replay, what it wrote to standard output and error."""
    with tempfile.TemporaryFile('w+') as out:
        collector = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
        try:
            assert until(lambda: listens(port) and (not ready or ready())), '%s does not listen' % words[0]
            replay(capture, 'flowdst', '127.0.0.1:%d' % port, *more)
            done()
        finally:
            collector.send_signal(stop)
            try:
                collector.wait(10)
            except subprocess.TimeoutExpired:
                collector.kill()
                collector.wait()
        out.seek(0)
        return out.read()


def nfcapd(capture):
    out, port = tempfile.mkdtemp(dir=TMP.name), free_port(socket.SOCK_DGRAM)
    log = with_collector(['nfcapd', '-w', out, '-p', str(port), '-t', '3600', '-B', '2000000', '-b', '127.0.0.1'], port, capture, 'refreshpackets', '2')
    if 'Sequence Errors: 0, Bad Packets: 0' not in log:
        return log
    rows = json.loads(run('nfdump', '-R', out, '-o', 'json').stdout)
    got = []
    for row in rows:
        src, dst = (row.get('%s4_addr' % end) or row.get('%s6_addr' % end) for end in ('src', 'dst'))
        one = {'src': src, 'dst': dst, 4: row['proto'], 7: row.get('src_port'), 11: row.get('dst_port'), 2: row['in_packets'], 1: row['in_bytes']}
        nat = [row.get(field) for field in ('src4_xlt_ip', 'dst4_xlt_ip', 'src_xlt_port', 'dst_xlt_port')]
        got.append((*key(one), row['first'][:19], row['last'][:19], row.get('icmp_type'), row['direction'], *map(str, nat if nat[0] else ())))
    want = []
    for one in truth(capture):
        times = (time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(one[end] / 1000)) for end in ('first', 'last'))
        nat = (*one['post'], one.get(227), one.get(228)) if '.' in one.get('post', [''])[0] else ()
        want.append((*key(one), *times, one[32] >> 8 if 32 in one else None, int(one[61]), *map(str, nat)))
    return difference(want, got)


def tshark(capture):
    path = os.path.join(TMP.name, 'tshark.pcap')
    datagrams = messages(capture, 'refreshpackets', '5')
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for d in datagrams:
            udp = struct.pack('>HHHH', 12345, 2055, 8 + len(d), 0) + d
            ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([127, 0, 0, 1]), bytes([127, 0, 0, 1])) + udp
            f.write(struct.pack('<IIII', 0, 0, len(ip), len(ip)) + ip)
    words = ['tshark', '-r', path, '-d', 'udp.port==2055,cflow', '-o', 'ip.check_checksum:FALSE']
    bad = run(*words, '-Y', '_ws.expert || _ws.malformed || cflow.template_frame == 0').stdout.strip()
    shown = run(*words, '-V').stdout
    unknown = 'No template found' in shown
    got = sorted(int(n) for n in re.findall(r'^ +Octets: (\d+)$', shown, re.M))
    want = sorted(one[1] for one in truth(capture))
    return bad or (unknown and 'a template is not known') or (got != want and '%d records, %d sent' % (len(got), len(want)))


PMACCT = """daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: %d
plugins: print[a]
aggregate[a]: src_host, dst_host, src_port, dst_port, proto, timestamp_start, timestamp_end, export_proto_seqno, export_proto_version
print_output[a]: json
print_output_file[a]: %s
print_output_file_append[a]: true
print_refresh_time[a]: 1
print_history[a]: 1m
nfacctd_time_new: true
"""


def nfacctd(capture):
    port, out, conf, log = free_port(socket.SOCK_DGRAM), *(os.path.join(TMP.name, name) for name in ('pm.json', 'pm.conf', 'pm.log'))
    with open(conf, 'w') as f:
        f.write(PMACCT % (port, out) + 'logfile: %s\n' % log)
    rows = lambda: [json.loads(l) for l in open(out).read().splitlines() if l.endswith('}')] if os.path.exists(out) else []
    want = sum(1 for _ in truth(capture))
    ready = lambda: os.path.exists(log) and all(w in open(log).read() for w in ('waiting for NetFlow', 'cache entries')) and not time.sleep(1)
    # Rows of one flow are added up where nothing tells them apart.
    with_collector(['nfacctd', '-f', conf], port, capture, ready=ready, stop=signal.SIGINT, done=lambda: until(lambda: len(rows()) >= want, 10))
    got = []
    for row in rows():
        if row.get('ip_src') and row['export_proto_version'] == 9:
            proto = {'icmp': 1, 'tcp': 6, 'udp': 17, 'ipv6-icmp': 58, 'sctp': 132}.get(row['ip_proto']) or socket.getprotobyname(row['ip_proto'])
            got.append(key({'src': row['ip_src'], 'dst': row['ip_dst'], 7: row['port_src'], 11: row['port_dst'], 4: proto, 2: row['packets'], 1: row['bytes']}))
    return difference(sums(map(key, truth(capture))), sums(got))


def sums(keys):
    """Counters of equal ends added up: some collectors do."""
    added = collections.defaultdict(lambda: [0, 0])
    for *ends, packets, octets in keys:
        added[tuple(ends)][0] += packets
        added[tuple(ends)][1] += octets
    return [(*ends, *counters) for ends, counters in added.items()]


def ra(capture):
    """ra swaps ends as it thinks who began, so they are compared without their order."""
    port = free_port(socket.SOCK_DGRAM)
    log = with_collector(['ra', '-C', '127.0.0.1:%d' % port, '-n', '-u', '-c', ',', '-s', 'saddr', 'daddr', 'proto', 'pkts', 'bytes'], port, capture, stop=signal.SIGINT,
                         done=lambda: time.sleep(2))
    got = []
    for line in log.splitlines():
        words = line.split(',')
        if len(words) == 5 and words[3].isdigit() and words[2] != 'man':
            ends = frozenset(str(ipaddress.ip_address(end)) for end in words[:2])
            got.append((ends, int(words[3]), int(words[4])))
    want = [(frozenset(key(one)[:2]), one[2], one[1]) for one in truth(capture)]
    return difference(want, got)


PYTHON = """
import json, sys, netflow
known = {"netflow": {}, "ipfix": {}}
for line in sys.stdin:
    packet = netflow.parse_packet(bytes.fromhex(line), known)
    for flow in packet.flows:
        print(json.dumps(flow.data, default=str))
"""


def python(interpreter, capture):
    """The library gives addresses as numbers. It reads no options with strings, of which there are none without ifindex."""
    datagrams = messages(capture, 'refreshpackets', '3')
    r = subprocess.run([interpreter, '-c', PYTHON], input=''.join(d.hex() + '\n' for d in datagrams), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if r.returncode:
        return r.stderr[-500:]
    got = []
    for row in map(json.loads, r.stdout.splitlines()):
        if 'IN_BYTES' in row and 'PROTOCOL' in row:
            v4 = 'IPV4_SRC_ADDR' in row
            make = ipaddress.IPv4Address if v4 else ipaddress.IPv6Address
            src, dst = (row['IPV%s_%s_ADDR' % ('4' if v4 else '6', end)] for end in ('SRC', 'DST'))
            address = lambda a: str(make(int(a)) if str(a).isdigit() else make(a))
            got.append(key({'src': address(src), 'dst': address(dst), 7: row.get('L4_SRC_PORT'), 11: row.get('L4_DST_PORT'), 4: row['PROTOCOL'], 2: row['IN_PKTS'], 1: row['IN_BYTES']}))
    return difference(map(key, truth(capture)), got)


NODE = """
const Collector = require('node-netflowv9');
Collector(function (packet) {
    for (const flow of packet.flows) console.log(JSON.stringify([packet.header.sequence, flow]));
}).listen(+process.argv[2]);
"""


def node(modules, capture):
    port, script = free_port(socket.SOCK_DGRAM), os.path.join(modules, 'read.js')
    with open(script, 'w') as f:
        f.write(NODE)
    log = with_collector(['node', script, str(port)], port, capture, 'rate', '500', done=lambda: time.sleep(1))
    got, bad = [], []
    for line in log.splitlines():
        if not line.startswith('['):
            bad.append(line)
            continue
        _, row = json.loads(line)
        if 'in_bytes' not in row:
            continue
        src, dst = (row.get('ipv4_%s_addr' % end) or row.get('ipv6_%s_addr' % end) for end in ('src', 'dst'))
        src, dst = (':'.join(a[i:i + 4] for i in range(0, 32, 4)) if len(a) == 32 and ':' not in a and '.' not in a else a for a in (src, dst))
        got.append(key({'src': src, 'dst': dst, 7: row.get('l4_src_port'), 11: row.get('l4_dst_port'), 4: row['protocol'], 2: row['in_pkts'], 1: row['in_bytes']}))
    problem = difference(map(key, truth(capture)), got)
    return problem and '%s; %s' % (problem, bad[:3])


def node_modules():
    """A directory that has node-netflowv9, if it can be had."""
    if not (shutil.which('npm') and shutil.which('node')):
        return None
    where = os.path.join(TMP.name, 'node')
    os.mkdir(where)
    try:
        r = run('npm', 'install', '--no-audit', '--no-fund', '--prefix', where, 'node-netflowv9@0.2.16')
    except subprocess.TimeoutExpired:
        return None
    return where if r.returncode == 0 else None


for name in CAPTURES:
    check('each field, %s' % name, own(name))
check('interfaces and their names', indexes())
check('a source id for each firewall', by_creator())
for name in CAPTURES[:2]:
    check('nfcapd, %s' % name, nfcapd(name))
check('tshark', tshark(CAPTURES[0]))
check('nfacctd', nfacctd(CAPTURES[0]))
if shutil.which('ra'):
    check('ra', ra(CAPTURES[0]))
else:
    skip('ra', 'argus-client is not installed')
interpreter = sys.executable if importlib.util.find_spec('netflow') else VENV
if run('sh', '-c', 'exec "$0" -c "import netflow"', interpreter).returncode == 0:
    check("Python's netflow", python(interpreter, CAPTURES[0]))
else:
    skip("Python's netflow", 'it is not installed')
modules = node_modules()
if modules:
    check('node-netflowv9', node(modules, CAPTURES[0]))
else:
    skip('node-netflowv9', 'npm does not bring it')
sys.exit(failed > 0)
