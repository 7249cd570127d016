#!/usr/bin/env python3
"""Compares every offset of src/wire/pfsync's layouts with the kernels' own headers.

usage: layouts.py SOURCE-DIRECTORY

PyPI's ziglang ships the net/pfvar.h and net/if_pfsync.h of OpenBSD, FreeBSD and NetBSD and compiles them for any
machine: sizeof and offsetof are read out of the assembler it writes, for amd64 and for a big-endian machine. It is
installed into a cache directory of its own. Older releases than these headers' are facts on paper only.
"""
import os, re, subprocess, sys

from zig import CACHE, zig

SRC = sys.argv[1] + '/src/wire/pfsync/'

HEAD = '''
#include <sys/types.h>
#include <sys/socket.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
'''
OPENBSD = HEAD + '''
union sockaddr_union { struct sockaddr sa; struct sockaddr_in sin; struct sockaddr_in6 sin6; };
#include <net/pfvar.h>
#include <net/if_pfsync.h>
'''
FREEBSD = HEAD + '''
#include <net/pfvar.h>
#include <net/if_pfsync.h>
'''
IOCCOM = '#include <sys/ioccom.h>\n'
NETBSD = HEAD + '''
#include <net/pfvar.h>
'''

# field of ours: member of theirs
COMMON = dict(id='id', ifname='ifname', src='src', dst='dst', rt_addr='rt_addr', rule='rule', anchor='anchor', nat_rule='nat_rule',
              creation='creation', expire='expire', packets0='packets[0]', packets1='packets[1]', octets0='bytes[0]', octets1='bytes[1]',
              creatorid='creatorid', direction='direction', log='log', timeout='timeout')
KEYS = dict(wire='key[0]', stack='key[1]')
ONE_AF = dict(af0='af', af1='af', proto0='proto', proto1='proto')
SYNC = dict(sync_flags='sync_flags', updates='updates')
MODERN = dict(max_mss='max_mss', min_ttl='min_ttl', set_tos='set_tos', set_prio='set_prio[0]', rt='rt')
LAYOUTS = {
    ('openbsd.rs', 'V6'): ('pfsync_state', OPENBSD, ('x86_64-openbsd', 'sparc64-openbsd'),
                           dict(COMMON, **KEYS, **ONE_AF, **SYNC, **MODERN, rtableid0='rtableid[0]', rtableid1='rtableid[1]', state_flags='state_flags')),
    ('freebsd.rs', 'V1301'): ('pfsync_state_1301', FREEBSD, ('x86_64-freebsd', 'powerpc64-freebsd'), dict(COMMON, **KEYS, **ONE_AF, **SYNC, state_flags='state_flags')),
    ('freebsd.rs', 'V1400'): ('pfsync_state_1400', FREEBSD, ('x86_64-freebsd', 'powerpc64-freebsd'),
                              dict(COMMON, **KEYS, **ONE_AF, **SYNC, **MODERN, rtableid0='rtableid', queues='qid', rt_ifname='rt_ifname', state_flags='state_flags')),
    ('freebsd.rs', 'V1500'): ('pfsync_state_1500', FREEBSD, ('x86_64-freebsd', 'powerpc64-freebsd'),
                              dict(COMMON, **KEYS, **MODERN, af0='wire_af', af1='stack_af', proto0='wire_proto', proto1='stack_proto', rt_af='rt_af', rtableid0='rtableid', queues='qid',
                                   rt_ifname='rt_ifname', orig_ifname='orig_ifname', tagname='tagname', state_flags='state_flags')),
    ('old.rs', 'V3'): ('pfsync_state', NETBSD, ('x86_64-netbsd', 'sparc-netbsd'), dict(COMMON, **ONE_AF, **SYNC, lan='lan', gwy='gwy', ext='ext')),
}
PEER = dict(seqlo=8, seqhi=12, seqdiff=16, max_win=20, mss=22, state=24, wscale=25)


def theirs(source, target, struct, members):
    """Offsets of the members, and the size, by the compiler."""
    peer = 'pf_state_peer_export' if source == FREEBSD else 'pfsync_state_peer'
    values = numbers(source, target, dict([('%d' % n, 'offsetof(struct %s, %s)' % (struct, m)) for n, m in enumerate(members)]
                                          + [('size', 'sizeof(struct %s)' % struct)]
                                          + [('peer_' + m, 'offsetof(struct %s, %s)' % (peer, m)) for m in PEER]))
    for member, offset in PEER.items():
        if values['peer_' + member] != offset:
            sys.exit('pfsync_state_peer.%s is at %s for %s' % (member, values['peer_' + member], target))
    return dict(zip(members, (values['%d' % n] for n in range(len(members))))), values['size']


def numbers(source, target, expressions):
    """What expressions of C are, by the compiler."""
    lines = ['const unsigned long pf_%s = %s;' % pair for pair in expressions.items()]
    python = zig()
    path = os.path.join(CACHE, 'layout.c')
    with open(path, 'w') as f:
        f.write(source + '\n'.join(lines) + '\n')
    run = subprocess.run([python, '-m', 'ziglang', 'cc', '-target', target, '-S', '-g0', '-o', path + '.s', path], stderr=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit('zig for %s: %s' % (target, run.stderr))
    values, name = {}, None
    for line in open(path + '.s'):
        label = re.match(r'\.?(pf_\w+):', line)
        if label:
            name = label[1]
        value = re.match(r'\s+\.(?:quad|xword|8byte|long|word|4byte|llong|int)\s+(\d+)', line)
        if value and name and name not in values:
            values[name] = int(value[1])
    # an object of zeros has no directive of its own
    return {name: values.get('pf_' + name, 0) for name in expressions}


def ours(file, static):
    """The numbers of a layout in the source, bases included."""
    text = re.sub(r'//.*', '', open(SRC + file).read())
    body = re.search(r'static %s: Layout = Layout \{(.*?)\n\};' % static, text, re.S)[1]
    base = re.search(r'\.\.(?:(\w+)::)?(\w+)', body)
    found = ours((base[1] + '.rs') if base[1] else file, base[2]) if base else {}
    keys = re.search(r'keys: Keys::\w+ \{(.*?)\}', body, re.S)
    if keys:
        for stale in ('wire', 'stack', 'lan', 'gwy', 'ext'):
            found.pop(stale, None)
        found.update((k, int(v)) for k, v in re.findall(r'(\w+): (\d+)', keys[1]))
        body = body.replace(keys[0], '')
    for name, value in re.findall(r'(\w+): ([^\n]*?),?\n', body + '\n'):
        numbers = [int(n) for n in re.findall(r'(?<![\w])\d+', value.replace('U16', '').replace('U8', ''))]
        if value.startswith('['):
            parts = re.findall(r'None|\d+', value)
            for n, part in enumerate(parts):
                found['%s%d' % (name, n)] = None if part == 'None' else int(part)
        else:
            found[name] = numbers[0] if numbers else None
    return found


def check_export():
    """The fields of src/wire/pf/export.rs in struct pf_state_export and in struct pfsync_state_1500: what differs, and how many were compared."""
    text = open(SRC + '../pf/export.rs').read()
    fields = re.search(r'const FIELDS.*?\[(.*?)\n\];', text, re.S)[1]
    constant = {name: int(value) for name, value in re.findall(r'const (\w+): usize = (\d+);', text)}
    rows = re.findall(r'\((\w+), (\w+), (\d+)\),\s*// (\w+)(.*)', fields)
    wanted = {}  # what is to be: C expression
    found = {}   # the same: our number
    for n, (at, to, length, name, more) in enumerate(rows):
        other = re.search(r', as (\w+)', more)
        key = re.match(r'\[PF_SK_(\w+)\]', more)
        member = name if not key else 'key[%d]' % (0 if key[1] == 'WIRE' else 1)
        # qid and the three behind it are one piece, min_ttl and set_tos another
        last = {'qid': 'dnrpipe', 'min_ttl': 'set_tos'}.get(name, member)
        source, target = 'struct pf_state_export', 'struct pfsync_state_1500'
        wanted['at%d' % n] = 'offsetof(%s, %s)' % (source, member)
        wanted['to%d' % n] = 'offsetof(%s, %s)' % (target, other[1] if other else member)
        wanted['len%d' % n] = 'offsetof(%s, %s) + sizeof(((%s *)0)->%s) - offsetof(%s, %s)' % (source, last, source, last, source, member)
        found.update({'at%d' % n: int(constant.get(at, at) if not at.isdigit() else at), 'to%d' % n: int(to), 'len%d' % n: int(length)})
    wanted.update(LEN='sizeof(struct pf_state_export)', VERSION='offsetof(struct pf_state_export, version)', ID='offsetof(struct pf_state_export, id)',
                  COUNTERS='offsetof(struct pf_state_export, packets)', CREATORID='offsetof(struct pf_state_export, creatorid)',
                  AF='offsetof(struct pf_state_export, af)', COUNTERS_TO='offsetof(struct pfsync_state_1500, packets)')
    found.update((name, constant[name]) for name in wanted if name.isupper())
    # bytes follow packets in both, and stack_af wire_af.
    afs = re.search(r'AFS_TO: \[usize; 2\] = \[(\d+), (\d+)\]', text)
    wanted.update(bytes_at='offsetof(struct pf_state_export, bytes)', bytes_to='offsetof(struct pfsync_state_1500, bytes)',
                  wire_af='offsetof(struct pfsync_state_1500, wire_af)', stack_af='offsetof(struct pfsync_state_1500, stack_af)', version='PF_STATE_VERSION')
    version = re.search(r'KNOWN_VERSION: u64 = ([\d_]+)', text)[1].replace('_', '')
    found.update(bytes_at=constant['COUNTERS'] + 16, bytes_to=constant['COUNTERS_TO'] + 16, wire_af=int(afs[1]), stack_af=int(afs[2]), version=int(version))
    if len(rows) != int(re.search(r'FIELDS: \[Field; (\d+)\]', text)[1]):
        sys.exit('layouts: not all of FIELDS were read')
    return compare('pf/export.rs', FREEBSD, ('x86_64-freebsd', 'powerpc64-freebsd'), wanted, found)


def check_ioctls():
    """The numbers and structs of src/io/sys/pf.rs: what differs, and how many were compared."""
    text = open(SRC + '../../io/sys/pf.rs').read()
    inout = int(re.search(r'INOUT: libc::c_ulong = (0x[0-9a-f_]+)', text)[1].replace('_', ''), 16)
    number = lambda nr, size: inout | (size & 0x1fff) << 16 | ord(re.search(r"b'(.)' as", text)[1]) << 8 | nr
    length = int(re.search(r'const LEN: usize = (\d+)', text)[1])
    state = int(re.search(r'DIOCGETSTATE: libc::c_ulong = iowr\((\d+), LEN\)', text)[1])
    states = int(re.search(r'DIOCGETSTATESV2: libc::c_ulong = iowr\((\d+), size_of::<States>\(\)\)', text)[1])
    version = int(re.search(r'VERSION: u64 = ([\d_]+)', text)[1].replace('_', ''))
    fields = re.findall(r'^    (ps_\w+): ', re.search(r'struct States \{(.*?)\n\}', text, re.S)[1], re.M)
    first = compare('io/sys/pf.rs', OPENBSD + IOCCOM, ('x86_64-openbsd', 'sparc64-openbsd'),
                    {'DIOCGETSTATE': 'DIOCGETSTATE', 'LEN': 'sizeof(struct pfioc_state)', 'state': 'offsetof(struct pfioc_state, state)',
                     'id': 'offsetof(struct pfsync_state, id)', 'creatorid': 'offsetof(struct pfsync_state, creatorid)'},
                    {'DIOCGETSTATE': number(state, length), 'LEN': length, 'state': 0, 'id': 0, 'creatorid': 236})
    # int, u64, pointer: repr(C) on 64-bit machines.
    wanted = {'DIOCGETSTATESV2': 'DIOCGETSTATESV2', 'size': 'sizeof(struct pfioc_states_v2)', 'VERSION': 'PF_STATE_VERSION'}
    wanted.update((field, 'offsetof(struct pfioc_states_v2, %s)' % field) for field in fields)
    found = {'DIOCGETSTATESV2': number(states, 24), 'size': 24, 'VERSION': version, 'ps_len': 0, 'ps_req_version': 8, 'ps_buf': 16}
    second = compare('io/sys/pf.rs', '#define COMPAT_FREEBSD14\n' + FREEBSD + IOCCOM, ('x86_64-freebsd', 'powerpc64-freebsd'), wanted, found)
    return first[0] + second[0], first[1] + second[1]


def compare(what, source, targets, wanted, found):
    """How many numbers differ from the kernels', and how many were compared."""
    wrong = 0
    for target in targets:
        real = numbers(source, target, wanted)
        for name in wanted:
            if real[name] != found[name]:
                wrong += 1
                print('FAILED %s %s: %s, the kernel of %s has %s' % (what, name, found[name], target, real[name]))
    return wrong, len(targets) * len(wanted)


def main():
    wrong = checked = 0
    for more in (check_export(), check_ioctls()):
        wrong, checked = wrong + more[0], checked + more[1]
    for (file, static), (struct, source, targets, members) in LAYOUTS.items():
        mine = ours(file, static)
        for target in targets:
            real, size = theirs(source, target, struct, list(members.values()))
            pairs = [('len', mine['len'], size)] + [(f, mine.get(f), real[m]) for f, m in members.items()]
            for field, have, want in pairs:
                checked += 1
                if have != want:
                    wrong += 1
                    print('FAILED %s %s.%s: %s, the kernel of %s has %s' % (file, static, field, have, target, want))
        extra = {f for f, v in mine.items() if v is not None} - set(members) - {'len', 'counter', 'rdomain_and_af'}
        if extra:
            wrong += 1
            print('FAILED %s %s: not compared: %s' % (file, static, sorted(extra)))
    print('layouts: %d passed, %d failed' % (checked - wrong, wrong))
    sys.exit(wrong > 0)


main()
