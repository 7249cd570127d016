#!/usr/bin/env python3
"""What pflow makes of captures whose clock made a step: the same as without, and a line in the log for each step.

usage: clocks.py PFLOW GOLDEN-DIRECTORY

The stamps of the second half of captures of GOLDEN/live are moved, as if a clock was set or two captures were joined:
those of all firewalls, of one only, and of one with the other's packets left out. The same states must be learned, the
same flows come out with the same octets, quality and duration, and one line must tell of each firewall's step.
"""
import collections, gzip, json, os, re, struct, subprocess, sys, tempfile

PFLOW, GOLDEN = sys.argv[1], sys.argv[2].rstrip('/')
CASES = ('mix300-1811.openbsd-v6', 'mix300-1811.freebsd-1400', 'mix300-1811.freebsd-1500', 'mix300-1811.openbsd45-v5',
         'real3k-2207-solicited.openbsd-v6', 'real3k-2207.openbsd-v6')
STEPS = 3, -3, 45, -45, 3600
# Of all octets those that may come or go, also from one quality to another; and of the flows those as long as before:
# what began between a step and the first age that tells of it is as much too long or too short.
NEAR, LONG = 0.005, 0.94
failed = 0


def packets(path):
    """(stamp in nanoseconds, octets) of each packet."""
    b, o, out = gzip.open(path).read(), 24, []
    order, unit = {b'\xd4\xc3\xb2\xa1': ('<', 1000), b'\xa1\xb2\xc3\xd4': ('>', 1000),
                   b'\x4d\x3c\xb2\xa1': ('<', 1), b'\xa1\xb2\x3c\x4d': ('>', 1)}[b[:4]]
    while o < len(b):
        s, u, n, _ = struct.unpack_from(order + 'IIII', b, o)
        out.append((s * 10**9 + u * unit, b[o + 16:o + 16 + n]))
        o += 16 + n
    return out


def source(packet):
    """Where an Ethernet packet is from, as written."""
    return '.'.join(map(str, packet[26:30]))


def replay(packets):
    """(the log, each flow by what does not change, with its octets, quality and duration)."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(struct.pack('<IHHiIII', 0xa1b23c4d, 2, 4, 0, 0, 262144, 1))
        for at, p in packets:
            f.write(struct.pack('<IIII', *divmod(at, 10**9), len(p), len(p)) + p)
        f.flush()
        run = subprocess.run([PFLOW, '-a', '-e', 'flush active', '-o', 'json', '-v', '-r', f.name], capture_output=True, text=True, check=True)
    flows = collections.defaultdict(list)
    for line in run.stdout.splitlines():
        r = json.loads(line)
        key = r['stateId'], r['creatorId'], r['reverse']
        flows[key].append((r['octetDeltaCount'], r['quality'], r['flowEndMilliseconds'] - r['flowStartMilliseconds']))
    return run.stderr, flows


def learned(log):
    return int(re.search(r'(\d+) states learned', log)[1])


def by_quality(flows):
    """Octets of each quality."""
    out = collections.Counter()
    for octets, quality, _ in (flow for of in flows.values() for flow in of):
        out[quality] += octets
    return out


def problem(before, after, steps):
    """What is wrong with a replay beside the one of stamps not moved."""
    lines = re.findall(r'clock of (\S+) moved by (-?\d+) s', after[0])
    # A state that is told of once only says nothing of a clock.
    is_told = ' UPD,' in before[0]
    if sorted(s for s, _ in lines) != (sorted(steps) if is_told else []):
        return 'steps told: %r' % lines
    wrong = [line for line in lines if abs(int(line[1]) - steps[line[0]]) > 1]
    if wrong:
        return 'steps told: %r' % wrong
    if learned(before[0]) != learned(after[0]):
        return '%d states learned, not %d' % (learned(after[0]), learned(before[0]))
    if {k: len(v) for k, v in before[1].items()} != {k: len(v) for k, v in after[1].items()}:
        return '%d keys of flows, not %d' % (len(after[1]), len(before[1]))
    sums = [sum(f[0] for of in r[1].values() for f in of) for r in (before, after)]
    if abs(sums[1] - sums[0]) > NEAR * sums[0]:
        return '%d octets, not %d' % (sums[1], sums[0])
    was, now = by_quality(before[1]), by_quality(after[1])
    for quality in sorted(set(was) | set(now)):
        if abs(was[quality] - now[quality]) > NEAR * sums[0]:
            return '%s: %d octets, not %d' % (quality, now[quality], was[quality])
    pairs = [(a, b) for k in before[1] for a, b in zip(before[1][k], after[1][k])]
    same = sum(abs(a[2] - b[2]) <= 2000 for a, b in pairs)
    if same < LONG * len(pairs):
        return '%d of %d flows as long as before' % (same, len(pairs))


for case in CASES:
    all_packets = packets('%s/live/%s.eth.pcap.gz' % (GOLDEN, case))
    half = all_packets[len(all_packets) // 2][0]
    nodes = sorted({source(p) for _, p in all_packets})
    # Whose packets there are, and whose are moved.
    kinds = [(nodes, nodes)] + [([n], [n]) for n in nodes if len(nodes) > 1] + [(nodes, [n]) for n in nodes if len(nodes) > 1]
    for heard, moved in kinds:
        some = [(at, p) for at, p in all_packets if source(p) in heard]
        before = replay(some)
        for step in STEPS:
            shifted = [(at + (step * 10**9 if at >= half and source(p) in moved else 0), p) for at, p in some]
            wrong = problem(before, replay(shifted), {n: step for n in moved})
            name = '%s of %s, %s moved by %d s' % (case, ' '.join(heard), ' '.join(moved), step)
            if wrong:
                failed += 1
                print('FAILED %s: %s' % (name, wrong), flush=True)
print('clocks: %d failed' % failed)
sys.exit(failed > 0)
