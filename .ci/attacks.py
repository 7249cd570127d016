#!/usr/bin/env python3
"""What a CLR costs, in instructions and memory: it may end any number of states, and anyone on the sync network can send it.

usage: attacks.py PFLOW

Captures of OpenBSD's v6 over Ethernet: STATES inserts of one creator; the same and CREATORS creators of one state each,
each cleared; the same with states on an interface of their own of the first creator, cleared by name over and over; and
the inserts and one CLR of all of them. By callgrind, no message may cost more than what it ends, and a CLR of all with 16
interfaces may take 1.3 times the memory that it takes with none, with every record sent.
"""
import os, re, shutil, socket, struct, subprocess, sys, tempfile

PFLOW = os.path.abspath(sys.argv[1])
STATES, CREATORS = 60000, 720
failed = passed = 0


def state(id, creator, ifname=b'all'):
    b = bytearray(264)
    struct.pack_into('>Q', b, 0, id)
    b[8:8 + len(ifname)] = ifname
    b[62] = b[102] = 2
    for o, a in ((24, b'\x0a\0\0\1'), (40, b'\xc0\0\2\1'), (64, b'\x0a\0\0\1'), (80, b'\xc0\0\2\1')):
        b[o:o + 4] = a
    for o in (56, 96):
        struct.pack_into('>HH', b, o, 443, 50000)
    b[104 + 24] = b[136 + 24] = 4
    struct.pack_into('>III', b, 184, 17, 0xffffffff, 0xffffffff)
    struct.pack_into('>II', b, 196, 0, 86400)
    struct.pack_into('>QQQQ', b, 204, 10, 10, 1000, 1000)
    struct.pack_into('>I', b, 236, creator)
    b[250], b[251], b[252], b[255] = 2, 6, 1, 2
    struct.pack_into('>H', b, 260, 4)
    return bytes(b)


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
            pfsync = struct.pack('>BBH16x', 6, 0, 20 + len(body)) + body
            ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(pfsync), 0, 0, 255, 240, 0, bytes([192, 0, 2, 1]), bytes([224, 0, 0, 240]))
            frame = bytes(12) + b'\x08\0' + ip + pfsync
            f.write(struct.pack('<IIII', 1750000000, n, len(frame), len(frame)) + frame)


def fives(states):
    return [ins(states[n:n + 5]) for n in range(0, len(states), 5)]


def check(name, good, told):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print('%s %s: %s' % ('ok' if good else 'FAILED', name, told), flush=True)


def instructions(path):
    run = subprocess.run(['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null', PFLOW, '-o', 'none', '-r', path], capture_output=True, text=True)
    return int(re.search(r'refs:\s+([\d,]+)', run.stderr)[1].replace(',', ''))


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
