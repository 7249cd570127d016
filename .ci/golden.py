#!/usr/bin/env python3
"""Compares what pflow exports for the golden captures with what the kernels' own code exported.

usage: golden.py PFLOW GOLDEN-DIRECTORY

For every scenario and dialect of GOLDEN/states: NetFlow v5 and the IPFIX templates, as multisets over
addresses, ports, protocol, NAT, packets and octets, with start and end within a second. The end of some states
is not on the wire: their packets after the last of at most six UPD_C are told by no message, and the full update
comes when they are due already (expire 0). Those may end earlier than the kernel says, never later. For GOLDEN/live:
check_flows.py of ../tools must be content, what is marked exact must be, and what is only listened to must come near
the truth. For GOLDEN/dialects: every message against the truth beside it. For GOLDEN/malformed: each of the 420 packets a file is read whole
or counted under one reason. For GOLDEN/reports: the files are those that tests/reports.rs checks. For GOLDEN/kernel: every flow marked exact against the one that a running kernel
exported of the same state, and when flows begin with packets lost. Two replays must give the same datagrams. pflow_decode.py must find no fault.
"""
import collections, gzip, ipaddress, json, os, random, socket, struct, subprocess, sys, tempfile, threading

PFLOW, GOLDEN = sys.argv[1], sys.argv[2].rstrip('/')
TOOLS = os.path.join(os.path.dirname(GOLDEN), 'tools')
BOOT = '1699900000'
TMP = tempfile.TemporaryDirectory()
passed = failed = 0


def verdict(name, problem):
    global passed, failed
    if problem:
        failed += 1
        print('FAILED %s: %s' % (name, problem), flush=True)
    else:
        passed += 1


def unpacked(path):
    """Path of PATH without its .gz."""
    out = os.path.join(TMP.name, os.path.basename(path)[:-3])
    if not os.path.exists(out):
        with open(out, 'wb') as f:
            f.write(gzip.open(path).read())
    return out


class Sink(threading.Thread):
    """Takes datagrams on loopback until told to stop."""

    def __init__(self, v6=False):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        except OSError:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.sock.bind(('::1' if v6 else '127.0.0.1', 0))
        self.sock.settimeout(0.1)
        self.address = ('[::1]:%d' if v6 else '127.0.0.1:%d') % self.sock.getsockname()[1]
        self.v6, self.datagrams, self.done = v6, [], False
        self.start()

    def run(self):
        while True:
            try:
                self.datagrams.append(self.sock.recvfrom(65535)[0])
            except socket.timeout:
                if self.done:
                    return

    def finish(self):
        self.done = True
        self.join()
        self.sock.close()
        return self.datagrams


def export(capture, words, flags=(), v6=False):
    """The datagrams that pflow sends for CAPTURE, and what it says on standard error."""
    sink = Sink(v6)
    run = subprocess.run([PFLOW, *flags, '-r', capture, 'pflow0', 'flowdst', sink.address, *words.split()],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, text=True)
    datagrams = sink.finish()
    if run.returncode:
        raise SystemExit('pflow on %s: status %d: %s' % (capture, run.returncode, run.stderr))
    return datagrams, run.stderr


def savefile(datagrams, path, v6=False):
    """Writes datagrams as a LINKTYPE_RAW capture."""
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for d in datagrams:
            udp = struct.pack('>HHHH', 12345, 9996, 8 + len(d), 0) + d
            if v6:
                ip = struct.pack('>IHBB', 6 << 28, len(udp), 17, 64) + 2 * ipaddress.ip_address('::1').packed
            else:
                ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, *2 * (bytes([127, 0, 0, 1]),))
            f.write(struct.pack('<IIII', 0, 0, len(ip + udp), len(ip + udp)) + ip + udp)
    return path


def payloads(path):
    """UDP payloads of a kernel's export (little-endian pcap, LINKTYPE_RAW, IPv4)."""
    b, p = open(path, 'rb').read(), 24
    while p < len(b):
        n = struct.unpack_from('<I', b, p + 8)[0]
        yield b[p + 16 + 28:p + 16 + n]
        p += 16 + n


V4 = '>4s4s8xQQQQHHxB'
V4NAT = '>4s4s8xQQQQ4s4sHHHHxB'
V6 = '>16s16s8xQQQQHHxB'
LAYOUTS = {'openbsd78': {256: V4, 257: V6}, 'openbsd': {256: V4, 257: V4NAT, 258: V6}}


def records(datagrams, templates):
    """(key, start, end) of each record; key = all but the times and interface indexes."""
    out = []
    for d in datagrams:
        if d[1] == 5:
            count, up, sec = struct.unpack_from('>HII', d, 2)
            for i in range(count):
                s, t, pk, oc, first, last, sp, dp, pr = struct.unpack_from('>4s4s8xIIIIHHxxB', d, 24 + 48 * i)
                base = sec - up // 1000
                out.append(((s, t, sp, dp, pr, pk, oc), base + first // 1000, base + last // 1000))
            continue
        set_id, length = struct.unpack_from('>HH', d, 16)
        layout = LAYOUTS[templates].get(set_id)
        if set_id == 2:
            continue
        for p in range(20, 16 + length, struct.calcsize(layout)):
            f = struct.unpack_from(layout, d, p)
            if layout == V4NAT:
                s, t, pk, oc, st, en, *rest = f
            else:
                s, t, pk, oc, st, en, *rest = f
            out.append(((s, t, *rest, pk, oc), st // 1000, en // 1000))
    return out


def merge_v5(rs):
    """Adds up the pieces of flows above 2^32 octets: the kernel repeats all packets in each."""
    big = {(k[:5], s) for k, s, _ in rs if k[6] == 0xffffffff}
    sums, out = collections.Counter(), []
    for k, s, e in rs:
        if (k[:5], s) in big:
            sums[k[:5], s, e] += k[6]
        else:
            out.append((k, s, e))
    return out + [(k + (None, octets), s, e) for (k, s, e), octets in sums.items()]


def difference(kernel, ours):
    """What is different between two lists of records; None if nothing is."""
    left = collections.defaultdict(list)
    for k, s, e in kernel:
        left[k].append((s, e))
    early, extra = 0, []
    for k, s, e in ours:
        best = min(left[k], key=lambda t: abs(t[0] - s) + abs(t[1] - e), default=None)
        if best is None or abs(best[0] - s) > 1 or e > best[1] + 1 or e < s:
            extra.append((k, s, e, left[k]))
        else:
            left[k].remove(best)
            early += e < best[1] - 1
    missing = sum(map(len, left.values()))
    if extra or missing or early > len(kernel) / 4:
        return '%d of %d records missing, %d unexpected, such as %r; %d end early' % (missing, len(kernel), len(extra), extra[:1], early)


def nofinal_truth(capture):
    """Counters of the last full message of each state, from pflow's own decoder of messages."""
    text = subprocess.run([PFLOW, '-o', 'messages-json', '-r', capture], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    last = {}
    for line in text.splitlines():
        m = json.loads(line)
        if m['msg'] in ('INS', 'UPD'):
            last[m['id'], m['creatorid']] = m
    want = collections.Counter()
    for m in last.values():
        ends = [(m['src'], m['sport']), (m['dst'], m['dport'])]
        for n, (a, b) in enumerate((ends, ends[::-1])):
            if m['bytes'][n]:
                want[ipaddress.ip_address(a[0]).packed, ipaddress.ip_address(b[0]).packed, a[1], b[1], m['proto'], m['packets'][n], m['bytes'][n]] += 1
    return want


def states():
    kernels = {5: 'pflow-v5', 'openbsd78': 'pflow-v10-obsd77', 'openbsd': 'pflow-v10-obsd79'}
    for name in sorted(os.listdir(GOLDEN + '/states')):
        if not name.endswith('.pcap.gz') or '.pflow-' in name:
            continue
        scenario = name.split('.')[0]
        capture = unpacked(GOLDEN + '/states/' + name)
        for form, kernel in kernels.items():
            words = 'pflowproto 5' if form == 5 else 'pflowproto 10 template ' + form
            ours = records(export(capture, words, ('-a', '-b', BOOT))[0], form)
            theirs = records(payloads(unpacked('%s/states/%s.%s.pcap.gz' % (GOLDEN, scenario, kernel))), form)
            if scenario.endswith('nofinal'):
                if form == 'openbsd78':
                    got = collections.Counter(k for k, _, _ in ours)
                    want = nofinal_truth(capture)
                    verdict('%s %s' % (name, form), got != want and '%d records differ' % sum(((got - want) + (want - got)).values()))
                    starts = {(k[:5], s + d) for k, s, _ in theirs for d in (-1, 0, 1)}
                    wrong = [k for k, s, _ in ours if (k[:5], s) not in starts]
                    verdict('%s keys and starts' % name, wrong and '%d are not the kernel\'s: %r' % (len(wrong), wrong[0]))
                continue
            if form == 5:
                ours, theirs = merge_v5(ours), merge_v5(theirs)
            verdict('%s %s' % (name, form), difference(theirs, ours))


def forms():
    """Every form of export over both transports, judged by the strict decoder; twice the same."""
    capture = unpacked(GOLDEN + '/states/mix200.openbsd-v6.eth.pcap.gz')
    for v6 in (False, True):
        for words, profile in (('pflowproto 5', None), ('pflowproto 10', 'openbsd-nat'), ('pflowproto 10 template openbsd78', 'openbsd'), ('pflowproto 10 template freebsd', 'freebsd')):
            first, _ = export(capture, words, ('-a', '-b', BOOT), v6)
            again, _ = export(capture, words, ('-a', '-b', BOOT), v6)
            verdict('%s twice the same' % words, first != again and 'two replays differ')
            path = savefile(first, os.path.join(TMP.name, 'form.pcap'), v6)
            judge = [sys.executable, TOOLS + '/pflow_decode.py', path, '--whole-seconds'] + (['-p', profile] if profile else [])
            run = subprocess.run(judge, stdout=subprocess.PIPE, text=True)
            problems = [l for l in run.stdout.splitlines() if '"problem"' in l]
            verdict('%s %s strict decoder' % (words, 'IPv6' if v6 else 'IPv4'), run.returncode and 'status %d %s' % (run.returncode, problems[:2]))


def live():
    cases = [('real3k-2207-solicited.openbsd-v6.eth', 'real3k-2207', 'all', '--min-exact 0.999')]
    for d in ('freebsd-1301.eth', 'freebsd-1400.eth', 'freebsd-1500.eth', 'openbsd-v6.eth', 'openbsd-v6.dlt246-iphdr', 'openbsd45-v5.eth'):
        cases.append(('mix300-1811.' + d, 'mix300-1811', 'flagged' if 'openbsd' in d else 'all', '--min-exact 1'))
    for capture, truth, which, least in cases:
        path = unpacked('%s/live/%s.pcap.gz' % (GOLDEN, capture))
        for words, more in (('pflowproto 5', '--coalesce'), ('pflowproto 10', '--nat')):
            datagrams, _ = export(path, words)
            verdict('%s %s twice' % (capture, words), datagrams != export(path, words)[0] and 'two replays differ')
            out = savefile(datagrams, os.path.join(TMP.name, 'live.pcap'))
            judge = [sys.executable, TOOLS + '/check_flows.py', '%s/live/%s.truth.json.gz' % (GOLDEN, truth), out, '--states', which, more,
                     *least.split(), '--max-missing', '0', '--max-unexpected', '0', '--max-undecoded', '0', '--max-lost', '0']
            run = subprocess.run(judge, stdout=subprocess.PIPE, text=True)
            verdict('%s %s' % (capture, words), run.returncode and run.stdout)


def truths(case):
    """States of a case by id, creator: those that used an id one after the other."""
    states = collections.defaultdict(list)
    for line in gzip.open('%s/live/%s.truth.json.gz' % (GOLDEN, case), 'rt'):
        t = json.loads(line)
        if t['type'] == 'state':
            states[t['id'], t['creatorid']].append(t)
    return states


def judged_flows(capture, case):
    """Each flow of CAPTURE as (truth, packets, octets, quality)."""
    run = subprocess.run([PFLOW, '-a', '-o', 'json', '-r', capture], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    flows = {}
    for line in run.stdout.splitlines():
        r = json.loads(line)
        key = r['stateId'], r['creatorId'], r['flowStartMilliseconds']
        flow = flows.setdefault(key, ([0, 0], [0, 0], r['quality']))
        flow[0][r['reverse']], flow[1][r['reverse']] = r['packetDeltaCount'], r['octetDeltaCount']
    states = truths(case)
    for (id, creator, start), flow in flows.items():
        yield (min(states[id, creator], key=lambda t: abs(t['start_s'] - start / 1000)), *flow)


def is_right(truth, packets, octets):
    return octets == truth['octets'] and all(p == t for p, t, o in zip(packets, truth['packets'], octets) if o)


def passive():
    """What only listening gives: TCP as far as its sequence numbers tell, everything else exact or marked."""
    for case, lossy in (('real3k-2207', False), ('real3k-2207-loss1', True)):
        capture = unpacked('%s/live/%s.openbsd-v6.eth.pcap.gz' % (GOLDEN, case))
        flows = list(judged_flows(capture, 'real3k-2207'))
        exact = [f[:3] for f in flows if f[3] == 'exact']
        wrong = sum(not is_right(*f) for f in exact)
        verdict('%s exact' % case, wrong > (len(exact) // 1000 if lossy else 0) and '%d of %d marked exact are not' % (wrong, len(exact)))
        tcp = [(sum(o), sum(t['octets'])) for t, _, o, _ in flows if t['proto'] == 6]
        total = sum(o for o, _ in tcp) / sum(t for _, t in tcp)
        verdict('%s TCP octets' % case, abs(total - 1) > 0.05 and '%.4f of the truth' % total)
        near = [abs(o / t - 1) <= 0.1 for o, t in tcp if t > 100000]
        verdict('%s TCP flows' % case, sum(near) < 0.95 * len(near) and '%d of %d within a tenth' % (sum(near), len(near)))
        small = [(o[n], t['octets'][n]) for t, _, o, _ in flows for n in (0, 1) if t['octets'][n] < 256 << 20]
        share = sum(o for o, _ in small) / sum(t for _, t in small)
        verdict('%s records below 256 MiB' % case, share < 0.88 and '%.4f of their octets' % share)
        most = max(sum(o) / sum(t['octets']) for t, _, o, _ in flows)
        verdict('%s most' % case, most > 1.5 and '%.2f times the truth' % most)
        guessed = [t['id'] for t, *_, quality in flows if quality == 'estimated' and t['proto'] != 6]
        verdict('%s others' % case, guessed and 'estimated: %r' % guessed[:3])
    for case in ('mix300-1811.freebsd-1400', 'mix300-1811.openbsd-v6', 'mix300-1811.openbsd45-v5', 'real3k-2207-solicited'):
        capture = unpacked('%s/live/%s.eth.pcap.gz' % (GOLDEN, case if 'mix' in case else case + '.openbsd-v6'))
        wrong = [t['id'] for t, p, o, q in judged_flows(capture, case.split('.')[0].replace('-solicited', '')) if q == 'exact' and not is_right(t, p, o)]
        verdict('%s exact' % case, wrong and 'marked exact, but wrong: %r' % wrong[:3])


def active():
    """Parts of long flows are as many octets as the flows."""
    capture = unpacked('%s/live/real3k-2207.openbsd-v6.eth.pcap.gz' % GOLDEN)
    sums = []
    for words in ('pflowproto 10', 'pflowproto 10 active 60'):
        sums.append(collections.Counter())
        datagrams, _ = export(capture, words, ('-a', '-e', 'flush active'))
        verdict('active %s twice' % words, datagrams != export(capture, words, ('-a', '-e', 'flush active'))[0] and 'two replays differ')
        for key, _, _ in records(datagrams, 'openbsd'):
            sums[-1][key[:-2]] += key[-1]
            sums[-1]['packets'] += key[-2]
            sums[-1]['records'] += 1
    whole, parts = sums
    verdict('active makes parts', parts.pop('records') <= whole.pop('records') and 'no more records than without')
    verdict('active adds up', whole != parts and '%d keys differ' % len((whole - parts) | (parts - whole)))
    datagrams = [export(capture, words, ('-a', '-e', 'flush active'))[0] for words in ('pflowproto 10', 'pflowproto 10 active 5')]
    whole, parts = ([((frozenset((key[:1] + key[2:3], key[1:2] + key[3:4])), frozenset(key[4:-2])), key, start, end)
                     for key, start, end in records(sent, 'openbsd')] for sent in datagrams)
    empty = sum(key[-2] == 0 for _, key, _, _ in parts) - sum(key[-2] == 0 for _, key, _, _ in whole)
    verdict('active parts have packets', empty > 0 and '%d have octets only' % empty)
    # The states of a connection, and what used its ports later, are not told apart: those alone.
    ways = collections.defaultdict(list)
    for connection, key, _, _ in whole:
        ways[connection].append(key[:4])
    alone = {connection for connection, keys in ways.items() if len(set(keys)) == len(keys)}
    times = collections.defaultdict(set)
    for connection, _, start, end in parts:
        if connection in alone:
            times[connection].add((start, end))
    joints = [(a[1], b[0]) for spans in map(sorted, times.values()) for a, b in zip(spans, spans[1:])]
    apart = sum(a != b for a, b in joints)
    verdict('active joints', (apart or len(joints) < 100) and '%d of %d apart' % (apart, len(joints)))


TIMEOUTS = ('tcp.first 20', 'tcp.opening 10', 'tcp.established 60', 'tcp.closing 15', 'tcp.finwait 8', 'tcp.closed 5', 'udp.first 10',
            'udp.single 6', 'udp.multiple 10', 'icmp.first 6', 'icmp.error 4')
# Of the firewall of golden/kernel: when it came up, and its interface of the states that came in.
KERNEL_BOOT, KERNEL_IN = '1796010501.968434', 5


def kernel_records(run):
    """What the kernel exported as IPFIX in a run: by addresses, ports and protocol, a list of (packets, octets, start, end, side of the firewall)."""
    b = open(unpacked('%s/kernel/%s.kernel-pflow.pcap.gz' % (GOLDEN, run)), 'rb').read()
    p, found = 24, collections.defaultdict(list)
    while p < len(b):
        n = struct.unpack_from('<I', b, p + 8)[0]
        frame, p = b[p + 16:p + 16 + n], p + 16 + n
        if frame[12:14] != b'\x08\0' or frame[23] != 17 or struct.unpack_from('>H', frame, 36)[0] != 9995:
            continue
        message = frame[42:42 + struct.unpack_from('>H', frame, 38)[0] - 8]
        set_id, length = struct.unpack_from('>HH', message, 16)
        layout = {256: '>4s4sIIQQQQHHxB', 257: '>16s16sIIQQQQHHxB'}.get(set_id)
        for at in range(20, 16 + length, struct.calcsize(layout)) if layout else ():
            src, dst, into, out, packets, octets, start, end, sport, dport, proto = struct.unpack_from(layout, message, at)
            side = 'in' if KERNEL_IN in (into, out) else 'out'
            found[src, dst, sport, dport, proto].append((packets, octets, start, end, side))
    return found


def tuple_of(record):
    """Addresses, ports and protocol of a record of ours, as a key of kernel_records."""
    version = 'IPv6Address' if 'sourceIPv6Address' in record else 'IPv4Address'
    ends = [ipaddress.ip_address(record[end + version]).packed for end in ('source', 'destination')]
    return (*ends, record['sourceTransportPort'], record['destinationTransportPort'], record['protocolIdentifier'])


def kernel():
    """The flows of a running OpenBSD kernel, and what it exported itself of the same states."""
    for run, least in (('runA.listen', 2049), ('runA.solicit', 2762)):
        theirs = kernel_records(run)
        last = max(r[3] for rs in theirs.values() for r in rs)
        capture = unpacked('%s/kernel/%s.wire.pcap.gz' % (GOLDEN, run))
        words = [w for t in TIMEOUTS for w in ('-e', 'timeout ' + t)]
        text = subprocess.run([PFLOW, '-b', KERNEL_BOOT, *words, '-r', capture, '-o', 'json'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        right = exact = same_time = same_length = unexpected = 0
        octets, wrong = collections.defaultdict(lambda: [0, 0]), []
        # The two states of a connection have one tuple. Those that count alike on the same side first: what passes
        # through comes in on one side and goes out on the other, what the firewall itself sends does not.
        rows = [(tuple_of(r), r) for r in map(json.loads, text.splitlines())]
        for equal, beside in ((True, True), (True, False), (False, True), (False, False)):
            rest = []
            for key, r in rows:
                near = [t for t in theirs[key] if abs(t[2] - r['flowStartMilliseconds']) <= 1000 and (not beside or t[4] == r['direction']) and
                        (not equal or t[:2] == (r['packetDeltaCount'], r['octetDeltaCount']))]
                if not near:
                    rest.append((key, r))
                    continue
                best = min(near, key=lambda t: (abs(t[3] - r['flowEndMilliseconds']), abs(t[1] - r['octetDeltaCount'])))
                theirs[key].remove(best)
                sums = octets[r['quality'], r['protocolIdentifier']]
                sums[0], sums[1] = sums[0] + r['octetDeltaCount'], sums[1] + best[1]
                if r['quality'] == 'exact':
                    exact += 1
                    right += equal
                    same_time += best[2:4] == (r['flowStartMilliseconds'], r['flowEndMilliseconds'])
                    same_length += best[3] - best[2] == r['flowEndMilliseconds'] - r['flowStartMilliseconds']
                    wrong += [] if equal else [(key, best)]
            rows = rest
        # What the kernel still had in its buffer when the capture ended.
        unexpected = [r for _, r in rows if r['flowEndMilliseconds'] < last - 35000]
        verdict('kernel/%s exact' % run, (wrong or exact < least) and '%d of %d right, %r' % (right, exact, wrong[:1]))
        verdict('kernel/%s durations' % run, same_length < 0.95 * exact and '%d of %d are the kernel\'s' % (same_length, exact))
        if run == 'runA.listen':
            for quality, least, most in (('estimated', 0.99, 1.01), ('partial', 0.90, 1.5)):
                ours, truth = octets[quality, 6]
                verdict('kernel/%s %s TCP' % (run, quality), not least <= ours / truth <= most and '%.4f of the kernel\'s octets' % (ours / truth))
            verdict('kernel/%s partial TCP' % run, octets['partial', 6][1] > 0.001 * octets['estimated', 6][1] and '%d octets' % octets['partial', 6][1])
        verdict('kernel/%s unexpected' % run, unexpected and '%d, %r' % (len(unexpected), unexpected[:1]))
        print('kernel/%s: %d of %d exact records right, times of %.3f the kernel\'s, durations of %.3f; octets of the kernel\'s: %s' % (
            run, right, exact, same_time / exact, same_length / exact, ', '.join('%s %s %.3f' % (q, p, o / t) for (q, p), (o, t) in sorted(octets.items()))))


def kernel_with_loss():
    """With 1 % of the packets lost, and timeouts taken for longer than that firewall's are, every flow begins when the
    kernel says: none at boot. One state of runA.solicit has no record of the kernel's."""
    for run in 'runA.listen', 'runA.solicit':
        theirs = kernel_records(run)
        whole = open(unpacked('%s/kernel/%s.wire.pcap.gz' % (GOLDEN, run)), 'rb').read()
        for seed in range(1, 6):
            chance, kept, p = random.Random(seed), [whole[:24]], 24
            while p < len(whole):
                end = p + 16 + struct.unpack_from('<I', whole, p + 8)[0]
                if chance.random() >= 0.01:
                    kept.append(whole[p:end])
                p = end
            text = subprocess.run([PFLOW, '-b', KERNEL_BOOT, '-r', '-', '-o', 'json'], input=b''.join(kept), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
            rows = [json.loads(line) for line in text.splitlines()]
            begins = [r['flowStartMilliseconds'] - float(KERNEL_BOOT) * 1000 for r in rows]
            boot = sum(b < 2000 for b in begins)
            verdict('kernel/%s loss %d boot' % (run, seed), (boot or len(rows) < 2700) and '%d of %d begin at boot' % (boot, len(rows)))
            apart = [r for r in rows if not any(abs(t[2] - r['flowStartMilliseconds']) <= 1000 for t in theirs[tuple_of(r)])]
            verdict('kernel/%s loss %d starts' % (run, seed), len(apart) > 1 and '%d of %d are not the kernel\'s: %r' % (len(apart), len(rows), apart[:1]))


def malformed():
    for name in sorted(os.listdir(GOLDEN + '/malformed')):
        if not name.endswith('.pcap.gz'):
            continue
        capture = unpacked(GOLDEN + '/malformed/' + name)
        run = subprocess.run([PFLOW, '-a', '-o', 'messages', '-vv', '-r', capture], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        whole = bad = None
        for line in run.stderr.splitlines():
            words = line.replace(',', '').replace(':', '').split()
            if line.startswith('pflow: ') and ' packets, ' in line and ' read whole' in line:
                whole = int(words[words.index('whole') - 2])
            if 'packets not read whole:' in line:
                bad = sum(int(w.split()[0]) for w in line.split('whole: ')[1].split(', '))
        verdict(name, (run.returncode or whole is None or bad is None or whole + bad != 420) and 'status %d, %r whole, %r not' % (run.returncode, whole, bad))


def without_exporter(line):
    """A flow without who told it, which its framing decides, and without the zeros that an IPv6 address there brings."""
    fields = json.loads(line).items()
    return json.dumps({name: value for name, value in fields if 'Exporter' not in name and value not in (0, '0.0.0.0', '::')})


def dialects():
    """Every message of every dialect and framing means what its writer says; Ethernet and raw IP give the same flows."""
    flows = {}
    for name in sorted(os.listdir(GOLDEN + '/dialects')):
        if not name.endswith('.pcap'):
            continue
        capture = GOLDEN + '/dialects/' + name
        text = subprocess.run([PFLOW, '-o', 'messages-json', '-vv', '-r', capture], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        ours = [json.loads(l) for l in text.splitlines()]
        theirs = [dict(m, version=p['version']) for p in json.load(open(capture[:-4] + 'json')) for m in p['messages']]
        wrong = [(k, v, m.get(k)) for m, t in zip(ours, theirs) for k, v in t.items() if m.get(k) != v]
        verdict('dialects/' + name, (len(ours) != len(theirs) or wrong) and '%d messages, %d expected, %r' % (len(ours), len(theirs), wrong[:2]))
        dialect, framing = name[:-5].rsplit('-', 1)
        text = subprocess.run([PFLOW, '-a', '-o', 'json', '-e', 'flush active', '-r', capture], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        if framing != 'pfsync':  # which holds other packets: its own only, and whole states
            ours = sorted(map(without_exporter, text.splitlines()))
            verdict('dialects/%s flows' % name, ours != flows.setdefault(dialect, ours) and 'differ from another framing')


def reports():
    """tests/reports.rs checks the same files."""
    copies = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../testdata/reports')
    for name in sorted(os.listdir(GOLDEN + '/reports')):
        if name.endswith('.pcap'):
            copy = os.path.join(copies, name)
            same = os.path.exists(copy) and open(copy, 'rb').read() == open(GOLDEN + '/reports/' + name, 'rb').read()
            verdict('reports/' + name, not same and 'testdata/reports has another, or none')


states()
forms()
dialects()
live()
passive()
active()
malformed()
if os.path.isdir(GOLDEN + '/reports'):
    reports()
if os.path.isdir(GOLDEN + '/kernel'):
    kernel()
    kernel_with_loss()
print('golden: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
