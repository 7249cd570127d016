#!/usr/bin/env python3
"""Instructions a state on the main path, against a bound, so that a slower program is seen where time is too noisy.

usage: instructions.py PFLOW

A capture like the benchmark's (OpenBSD v6, five INS and five DEL_C a packet, two records a state, a quarter IPv6, a
quarter translated) is replayed under valgrind --tool=callgrind to a socket that nobody reads, once with 20000 states
and once with 60000; the difference leaves the start of the program out. So is one in which each state has four UPD_C, 17
a packet, of TCP that moves data. The bounds are 1 % above what was measured
when they were written (Rust 1.95, x86-64): whoever makes the program faster lowers them, whoever makes it slower for a
reason, or takes another compiler, raises them and says why.
"""
import os, re, shutil, socket, struct, subprocess, sys, tempfile

from states import packets

# pflowproto, UPD_C a state.
BOUNDS = {('5', 0): 1530, ('10', 0): 1630, ('10', 4): 6400}
FEW, MANY, ALIVE = 20000, 60000, 2000


def capture(path, states, updates):
    with open(path, 'wb') as out:
        out.write(struct.pack('<IHHIIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 246))
        for n, packet in enumerate(packets(states, ALIVE, updates)):
            out.write(struct.pack('<IIII', 1750000000 + n // 4000, n % 4000 * 250, len(packet), len(packet)) + packet)


def instructions(pflow, path, words, directory):
    run = subprocess.run(['valgrind', '--tool=callgrind', '--callgrind-out-file=%s/out' % directory, pflow, '-o', 'none', '-r',
                          path] + words, capture_output=True, text=True)
    found = re.search(r'refs:\s+([\d,]+)', run.stderr)
    if run.returncode or not found:
        sys.exit('valgrind: ' + run.stderr[-2000:])
    return int(found[1].replace(',', ''))


if not shutil.which('valgrind'):
    print('SKIPPED: valgrind is not installed')
    sys.exit(0)
pflow = os.path.abspath(sys.argv[1])
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(('127.0.0.1', 0))
is_slower = False
with tempfile.TemporaryDirectory() as directory:
    few, many = directory + '/few.pcap', directory + '/many.pcap'
    for (proto, updates), bound in BOUNDS.items():
        capture(few, FEW, updates)
        capture(many, MANY, updates)
        words = ['pflow0', 'flowdst', '127.0.0.1:%d' % sink.getsockname()[1], 'rate', 'none', 'pflowproto', proto]
        spent = instructions(pflow, many, words, directory) - instructions(pflow, few, words, directory)
        a_state = spent / (MANY - FEW)
        is_slower |= a_state > bound
        print('pflowproto %-2s, %d UPD_C a state: %6.0f instructions a state, bound %d%s' % (
            proto, updates, a_state, bound, '  TOO MANY' if a_state > bound else ''))
sys.exit(is_slower)
