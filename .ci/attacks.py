#!/usr/bin/env python3
"""What a message costs, in instructions and memory: anyone on the sync network can send any, and a CLR ends any number of states.

usage: attacks.py PFLOW

Captures of OpenBSD's v6 over Ethernet: STATES inserts of one creator; the same and CREATORS creators of one state each,
each cleared; the same with states on an interface of their own of the first creator, cleared by name over and over; and
the inserts and one CLR of all of them. By callgrind, no message may cost more than what it ends, and a CLR of all with 16
interfaces may take 1.3 times the memory that it takes with none, with every record sent. Then each kind of message, alone in
its packet and far from the one before, with few states, with many, with as many as -m allows, with active timeouts: none may
cost more than MOST, nor twice as much with many states as with few. cargo bench --bench messages tells the times.
"""
import multiprocessing.pool, os, re, shutil, socket, struct, subprocess, sys, tempfile

from states import frame, packet, tcp

PFLOW = os.path.abspath(sys.argv[1])
STATES, CREATORS = 60000, 720
FEW, MANY, FULL, MESSAGES = 4000, 24000, 40000, 2000
# Instructions a message, its packet and its flow included: a third more than the dearest took (Rust 1.95, x86-64).
MOST = 9000
failed = passed = 0


def state(id, creator, ifname=b'all'):
    return tcp(id, b'\x0a\0\0\1', b'\xc0\0\2\1', creator, ifname)


def section(action, size, messages):
    return struct.pack('>BBH', action, size // 4, len(messages)) + b''.join(messages)


def ins(states):
    return section(13, 264, states)


def clr(clears):
    return section(0, 20, [name.ljust(16, b'\0') + struct.pack('>I', creator) for creator, name in clears])


def capture(path, bodies):
    with open(path, 'wb') as f:
        f.write(struct.pack('<IHHIIII', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1))
        for n, body in enumerate(bodies):
            octets = frame(packet(body))
            f.write(struct.pack('<IIII', 1750000000, n, len(octets), len(octets)) + octets)


def fives(states):
    return [ins(states[n:n + 5]) for n in range(0, len(states), 5)]


def check(name, good, told):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print('%s %s: %s' % ('ok' if good else 'FAILED', name, told), flush=True)


def instructions(path, words=()):
    run = subprocess.run(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', PFLOW, '-o', 'none', '-r', path, *words], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr[-2000:])
    return int(re.search(r'refs:\s+([\d,]+)', run.stderr)[1].replace(',', ''))


def ipv6(id, creator):
    b = bytearray(state(id, creator))
    for o in (24, 40, 64, 80):
        b[o:o + 8] = b'\x20\x01\x0d\xb8' + struct.pack('>I', id)
    b[24 + 38] = b[64 + 38] = b[250] = 24
    return bytes(b)


def translated(id, creator):
    b = bytearray(state(id, creator))
    b[64:68] = struct.pack('>I', 0xc6336400 + id % 256)
    return bytes(b)


def ident(id, creator):
    return struct.pack('>QI', id, creator)


def upd_c(id, creator):
    b = bytearray(84)
    struct.pack_into('>Q', b, 0, id)
    b[32] = b[64] = 4
    struct.pack_into('>I', b, 72, creator)
    b[80] = 2
    return bytes(b)


# How a message about the n-th state of a table of so many is written: action, octets.
KINDS = {
    'INS': lambda n, held: (13, state(held + n, 7)),
    'INS of IPv6': lambda n, held: (13, ipv6(held + n, 7)),
    'INS, translated': lambda n, held: (13, translated(held + n, 7)),
    'INS of a creator each': lambda n, held: (13, state(1, 1000 + n)),
    'INS of a state held': lambda n, held: (13, state(n, 7)),
    'UPD': lambda n, held: (14, state(n, 7)),
    'UPD_C': lambda n, held: (4, upd_c(n, 7)),
    'UPD_C of none': lambda n, held: (4, upd_c(1 << 40 | n, 7)),
    'UREQ': lambda n, held: (5, ident(n, 7)),
    'IACK': lambda n, held: (2, ident(n, 7)),
    'DEL': lambda n, held: (6, state(n, 7)),
    'DEL of none': lambda n, held: (6, state(1 << 40 | n, 7)),
    'DEL_C': lambda n, held: (7, ident(n, 7)),
    'DEL_C of none': lambda n, held: (7, ident(1 << 40 | n, 7)),
    'CLR of none': lambda n, held: (0, bytes(16) + struct.pack('>I', 99)),
    'CLR of no interface': lambda n, held: (0, b'em9'.ljust(16, b'\0') + struct.pack('>I', 7)),
    'BUS': lambda n, held: (10, struct.pack('>IIBxxx', 7, 0, 1)),
    'TDB': lambda n, held: (15, b'\1' * 52),
    'unknown': lambda n, held: (99, bytes(8)),
}


def messages(kind, held):
    """Packets of one message each, about states far from each other."""
    for n in range(MESSAGES):
        action, octets = KINDS[kind](n * 7919 % held, held)
        if kind.startswith('INS') and not kind.endswith('held'):
            action, octets = KINDS[kind](n, held)
        yield section(action, len(octets), [octets])


def each_kind(directory, to):
    """What a message of each kind costs with each table, in instructions."""
    exporter = ['-e', 'pflow0 flowdst %s pflowproto 10' % to]
    tables = {'few': (FEW, []), 'many': (MANY, []), 'bound': (MANY, ['-m', str(MANY)]), 'octets': (FULL, ['-m', '4M']),
              'active': (MANY, ['-e', 'pflow0 active 60'])}
    fills = {held: fives([state(n, 7) for n in range(held)]) for held in (FEW, MANY, FULL)}

    def run(case):
        kind, table = case
        held, words = tables[table]
        path = os.path.join(directory, '%s-%s' % case)
        capture(path, fills[held] + (list(messages(kind, held)) if kind else []))
        spent = instructions(path, exporter + words)
        os.unlink(path)
        return spent

    cases = [(kind, table) for table in tables for kind in ['', *KINDS]]
    with multiprocessing.pool.ThreadPool(2) as pool:
        spent = dict(zip(cases, pool.map(run, cases, 1)))
    cost = {(kind, table): (spent[kind, table] - spent['', table]) / MESSAGES for kind, table in cases if kind}
    print('%-22s' % 'instructions' + ''.join('%8s' % table for table in tables))
    for kind in KINDS:
        print('%-22s' % kind + ''.join('%8.0f' % cost[kind, table] for table in tables))
    dearest = max(cost, key=cost.get)
    check('each kind of message', cost[dearest] <= MOST, 'at most %.0f instructions (%s, %s)' % (cost[dearest], *dearest))
    grown = max(KINDS, key=lambda kind: cost[kind, 'many'] / (cost[kind, 'few'] + 300))
    check('many states', cost[grown, 'many'] <= 2 * (cost[grown, 'few'] + 300), 'at most %.0f instructions instead of %.0f (%s)' % (
        cost[grown, 'many'], cost[grown, 'few'], grown))


def peak(path, words):
    """Most memory in kB, and the closing summary."""
    run = subprocess.run(['/usr/bin/env', 'python3', '-c', '''
import resource, subprocess, sys
run = subprocess.run(sys.argv[1:], capture_output=True, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(run.stderr)
''', PFLOW, '-o', 'none', '-r', path, *words], capture_output=True, text=True, check=True)
    first, rest = run.stdout.split('\n', 1)
    return int(first), rest


with tempfile.TemporaryDirectory() as directory:
    at = lambda name: os.path.join(directory, name)
    all_states = fives([state(n, 7) for n in range(STATES)])
    others = range(1000, 1000 + CREATORS)
    capture(at('fill'), all_states)
    capture(at('storm'), all_states + fives([state(1, c) for c in others]) +
            [clr([(c, b'') for c in others[n:n + 60]]) for n in range(0, CREATORS, 60)])
    named = [ins([state(STATES + n, 7, b'em9')]) + clr([(7, b'em9')]) for n in range(CREATORS)]
    capture(at('named'), all_states + named)
    capture(at('one'), all_states + [clr([(7, b'')])])
    if shutil.which('valgrind'):
        fill = instructions(at('fill'))
        for case in ('storm', 'named'):
            most = instructions(at(case))
            check('CLR, ' + case, most <= 1.5 * fill, '%.2f times the instructions of the inserts' % (most / fill))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
            sink.bind(('127.0.0.1', 0))
            each_kind(directory, '127.0.0.1:%d' % sink.getsockname()[1])
    else:
        print('SKIPPED: valgrind is not installed')
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.bind(('127.0.0.1', 0))
    words = [w for n in range(16) for w in ('-e', 'pflow%d flowdst 127.0.0.1:%d pflowproto 10 rate none' % (n, sink.getsockname()[1]))]
    none, _ = peak(at('one'), [])
    many, told = peak(at('one'), words)
    records = [int(n) for n in re.findall(r'pflow\d+: (\d+) records', told)]
    check('CLR of all, 16 interfaces', many <= 1.3 * none and records == 16 * [2 * STATES], '%.2f times the memory of none, %d records' % (many / none, sum(records)))
    for line, case in (('flush active', 'fill'),):
        many, told = peak(at(case), words + ['-e', line])
        records = [int(n) for n in re.findall(r'pflow\d+: (\d+) records', told)]
        check('%s, 16 interfaces' % line, many <= 1.3 * none and records == 16 * [2 * STATES], '%.2f times the memory of none' % (many / none))
print('attacks: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
