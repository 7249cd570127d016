#!/usr/bin/env python3
"""`records connection` against the truth: the states of each connection joined where they were made.

usage: connections.py PFLOW [GOLDEN-DIRECTORY]     (examples/pfsim beside PFLOW)

1. pfsim makes connections with every kind of translation, and local ones, on one firewall and on two, in three dialects,
   and compares what `pflow -o json` makes of their states with what passed: see examples/pfsim/connections.rs. No kind is
   missing.
2. The records of `template full` in a file, as ipfixDump reads them, are those of -o json, with both interfaces, and parts
   of an interface with an active timeout have as many octets.
3. The same comparison with the truth of GOLDEN-DIRECTORY/live, where it is there.
"""
import collections, gzip, json, os, shutil, subprocess, sys, tempfile

from common import expect_quietly as expect, problems

PFLOW = os.path.abspath(sys.argv[1])
PFSIM = os.path.join(os.path.dirname(PFLOW), 'examples', 'pfsim')
GOLDEN = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
T = tempfile.mkdtemp(prefix='pflow-connections-')
SCENARIOS = (('obsd74', ('-s', '1')), ('obsd60', ('-s', '2')), ('fbsd15', ('-s', '3')),
             ('obsd74', ('-s', '4', '-N', '2', '-e', '400=failover')))
KINDS = ('af-to', 'forwarded', 'from the firewall', 'made anew', 'nat-to', 'rdr-to', 'rdr-to, nat-to', 'to the firewall')


def path(name):
    return os.path.join(T, name)


def flows(capture, *words, boot=()):
    """What -o json prints, and as text."""
    command = [PFLOW, '-a', '-r', capture, '-o', 'json', '-e', 'ifindex auto', '-e', 'records connection', *boot]
    run = subprocess.run(command + [one for word in words for one in ('-e', word)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr[-2000:])
    return run.stdout


def compared(name, truth, printed, kinds=()):
    with open(path('flows.json'), 'w') as f:
        f.write(printed)
    run = subprocess.run([PFSIM, 'connections', truth, path('flows.json')], capture_output=True, text=True)
    expect('%s: every packet is counted once' % name, run.returncode == 0, run.stderr + run.stdout[:2000])
    print('\n'.join('    ' + line for line in run.stdout.splitlines() if run.returncode == 0))
    missing = [kind for kind in kinds if not any(line.startswith(kind + ' ') for line in run.stdout.splitlines())]
    expect('%s: no kind of connection is missing' % name, not missing, missing)


def dumped(file):
    """Records of a file as ipfixDump reads them, without those of options."""
    text = subprocess.run(['ipfixDump', '--rfc5610', '-d', '--in', file], capture_output=True, text=True).stdout
    found, record = [], None
    for line in text.splitlines():
        if line.startswith('--- data record'):
            record = {}
            found.append(record)
        elif ' : ' in line and record is not None:
            field, value = line.split(' : ', 1)
            record[field.split(')')[-1].strip()] = value.strip()
    return [one for one in found if 'octetDeltaCount' in one and 'flowId' in one]


def full(capture, printed):
    file, parts = path('full.ipfix'), path('parts.ipfix')
    line = 'pflow%d pflowproto 10 template full active %d file %s'
    flows(capture, line % (0, 0, file), line % (1, 60, parts))
    fields = ('flowId', 'packetDeltaCount', 'octetDeltaCount', 'ingressInterface', 'egressInterface', 'flowDirection')
    ours = [json.loads(one) for one in printed.splitlines()]
    wanted = collections.Counter(tuple(str(one[field]) for field in fields) for one in ours)
    told = collections.Counter(tuple(one[field] for field in fields) for one in dumped(file))
    expect('template full has the %d records of json' % len(ours), told == wanted, list((wanted - told).items())[:3])
    sums = [collections.Counter(), collections.Counter()]
    told, ended = dumped(parts), {str(one['flowId']) for one in ours}
    for total, records in zip(sums, (ours, told)):
        for one in records:
            # Of what is alive at the end there are parts, and no flow.
            if str(one['flowId']) in ended:
                total[str(one['flowId']), str(one['flowDirection'])] += int(one['octetDeltaCount'])
    wrong = [(one, sums[0][one], sums[1][one]) for one in sums[0] | sums[1] if sums[0][one] != sums[1][one]]
    expect('%d parts have as many octets' % len(told), not wrong and len(told) > len(ours), wrong[:5])


def simulated():
    for number, (dialect, words) in enumerate(SCENARIOS):
        capture, truth = path('sync.pcap'), path('truth.json')
        subprocess.run([PFSIM, '-f', '-q', '-d', dialect, '-n', '6000', '-T', '900', '-g', '1', '-w', capture, '-t', truth, *words],
                       check=True, stderr=subprocess.DEVNULL)
        printed = flows(capture)
        compared('%s %s' % (dialect, ' '.join(words)), truth, printed, KINDS)
        if number == 0 and shutil.which('ipfixDump'):
            full(capture, printed)


def connected(states):
    """A number for each state: the same for the two that one packet made."""
    numbers, inner = {}, {}
    for at, one in enumerate(states):
        numbers[at] = at
        prefix = 'nat_' if one['dir'] == 'in' else ''
        ends = tuple(one[prefix + end] for end in ('src', 'sport', 'dst', 'dport'))
        key = one['creatorid'], one['proto'], ends
        other = inner.get(key)
        if other is not None and states[other]['dir'] != one['dir'] and abs(states[other]['start_s'] - one['start_s']) < 0.01:
            numbers[at] = numbers[other]
        inner[key] = at
    return numbers


def golden():
    cases = [('real3k-2207-solicited.openbsd-v6.eth', 'real3k-2207', 1000, ('-b', '1740222877.333'))]
    cases += [('mix300-1811.%s.eth' % one, 'mix300-1811', 0, ()) for one in ('openbsd-v6', 'freebsd-1400', 'openbsd45-v5')]
    for name, case, least, boot in cases:
        lines = [json.loads(one) for one in gzip.open('%s/live/%s.truth.json.gz' % (GOLDEN, case), 'rt')]
        states = [one for one in lines if one['type'] == 'state']
        capture, truth = path('live.pcap'), path('live.json')
        with gzip.open('%s/live/%s.pcap.gz' % (GOLDEN, name)) as f, open(capture, 'wb') as out:
            shutil.copyfileobj(f, out)
        numbers = connected(states)
        with open(truth, 'w') as out:
            print(json.dumps({'type': 'meta', 'wall0': 1e12, 'nodes': len(lines[0]['nodes'])}), file=out)
            for at, one in enumerate(states):
                one.update(connection=numbers[at], interface=one['ifname'])
                # The truth does not tell the routing domain after translation.
                one['invisible'] |= 'rdom' in one['kind']
                print(json.dumps(one), file=out)
        printed = flows(capture, boot=boot)
        compared(name, truth, printed)
        joined = len({json.loads(one)['flowId'] for one in printed.splitlines() if 'egressInterfaceName' in one})
        expect('%s: %d connections of two states' % (name, joined), joined >= least)


try:
    simulated()
    if GOLDEN:
        golden()
finally:
    shutil.rmtree(T, ignore_errors=True)
print('%d problems' % len(problems))
sys.exit(1 if problems else 0)
