#!/usr/bin/env python3
"""Every socket option and ioctl(2) that pflow uses: its number and its value's size on each system, against headers.

usage: options.py SOURCE-DIRECTORY

The numbers come from the headers that PyPI's ziglang ships, by its compiler; they are compared with what the libc crate
says (its source in cargo's registry) and with the constants in src/io/sys/. What sizes the kernels take is in no header:
the table below has it from ip_output.c and ip6_output.c (ip_setmoptions, ip6_setmoptions) and uipc_socket.c of each.
"""
import glob, os, re, subprocess, sys

from zig import CACHE, zig

sys.argv[1:] or sys.exit(__doc__)
ROOT = sys.argv[1]
TARGETS = {'openbsd': 'x86_64-openbsd', 'freebsd': 'x86_64-freebsd', 'netbsd': 'x86_64-netbsd', 'linux': 'x86_64-linux-gnu'}
BSDS = ('openbsd', 'freebsd', 'netbsd')
ALL = BSDS + ('linux',)
# Where the libc crate keeps a system's numbers, the nearest first.
FILES = {'openbsd': ('bsd/netbsdlike/openbsd', 'bsd/netbsdlike', 'bsd', ''), 'netbsd': ('bsd/netbsdlike/netbsd', 'bsd/netbsdlike', 'bsd', ''),
         'freebsd': ('bsd/freebsdlike/freebsd', 'bsd/freebsdlike', 'bsd', ''),
         'linux': ('linux_like/linux/arch/generic', 'linux_like/linux/gnu', 'linux_like/linux', 'linux_like', '')}
OCTET, INT = 'unsigned char', 'int'
# On Linux the libc crate has those of SOL_SOCKET by machine, and they are not compared.
# option: what the kernels take, systems, the word in our source that sets it.
OPTIONS = [
    ('IP_MULTICAST_TTL', OCTET, ALL, 'set_octet_option'),
    ('IP_MULTICAST_LOOP', OCTET, ALL, 'set_octet_option'),
    ('IP_MULTICAST_IF', 'struct in_addr', ALL, 'set_multicast_if_v4'),
    ('IP_TTL', INT, ALL, 'set_ttl_v4'),
    ('IP_TOS', INT, ALL, 'set_tos_v4'),
    ('IP_ADD_MEMBERSHIP', 'struct ip_mreq', ('openbsd', 'netbsd'), 'join_multicast_v4'),
    ('IP_ADD_MEMBERSHIP', 'struct ip_mreqn', ('freebsd', 'linux'), 'join_multicast_v4_n'),
    ('IPV6_MULTICAST_HOPS', INT, ALL, 'set_multicast_hops_v6'),
    ('IPV6_MULTICAST_LOOP', 'unsigned int', ALL, 'set_multicast_loop_v6'),
    ('IPV6_MULTICAST_IF', 'unsigned int', ALL, 'set_multicast_if_v6'),
    ('IPV6_UNICAST_HOPS', INT, ALL, 'set_unicast_hops_v6'),
    ('IPV6_JOIN_GROUP', 'struct ipv6_mreq', BSDS, 'join_multicast_v6'),
    ('SO_RCVBUF', INT, BSDS, 'set_recv_buffer_size'),
    ('SO_SNDBUF', INT, BSDS, 'set_send_buffer_size'),
    ('SO_RCVTIMEO', 'struct timeval', BSDS, 'set_read_timeout'),
    ('SO_SNDTIMEO', 'struct timeval', BSDS, 'set_write_timeout'),
    ('SO_REUSEPORT', INT, BSDS, 'set_reuse_port'),
    ('SO_REUSEADDR', INT, BSDS, 'set_reuse_address'),
    ('SO_KEEPALIVE', INT, BSDS, 'set_keepalive'),
    ('TCP_NODELAY', INT, ALL, 'set_tcp_nodelay'),
    ('TCP_KEEPIDLE', INT, ('freebsd', 'netbsd', 'linux'), 'set_tcp_keepalive'),
    ('TCP_KEEPINTVL', INT, ('freebsd', 'netbsd', 'linux'), 'set_tcp_keepalive'),
    ('TCP_KEEPCNT', INT, ('freebsd', 'netbsd', 'linux'), 'set_tcp_keepalive'),
    ('SO_RTABLE', INT, ('openbsd',), 'set_int_option'),
    ('SO_SETFIB', INT, ('freebsd',), 'set_int_option'),
]
# Setters of socket2 and std that pass what a system refuses, or that are not in the table.
REFUSED = ('set_multicast_ttl_v4', 'set_multicast_loop_v4')
SETTERS = re.compile(r'\.(set_(?:ttl|tos|multicast|unicast|recv_buffer|send_buffer|read_timeout|write_timeout|reuse|tclass|only|broadcast|linger|keepalive|nodelay|tcp|mark)\w*|join_\w+|bind_device)\(')
OTHERS = {'bind_device': 'SO_BINDTODEVICE: a name, Linux only'}
# ioctl: the systems where src/io/sys/ has it as a constant, and the type that it reads or writes.
IOCTLS = [
    ('BIOCGBLEN', 'openbsd', 'unsigned int'),
    ('BIOCGBLEN', 'freebsd', 'unsigned int'),
    ('BIOCGBLEN', 'netbsd', 'unsigned int'),
    ('BIOCSWTIMEOUT', 'openbsd', 'struct timeval'),
    ('BIOCGSTATS', 'freebsd', 'struct bpf_stat'),
    ('FIONWRITE', 'freebsd', 'int'),
    ('FIONWRITE', 'netbsd', 'int'),
]
HEAD = {system: '#include <sys/types.h>\n#include <sys/socket.h>\n#include <sys/time.h>\n#include <netinet/in.h>\n#include <netinet/tcp.h>\n' + (
    '#include <sys/ioctl.h>\n#include <net/bpf.h>\n' if system != 'linux' else '') for system in TARGETS}


def evaluate(system, expressions):
    """What C expressions are on a system, by the assembler that the compiler writes; None for one that it does not know."""
    python, path = zig(), os.path.join(CACHE, 'options-%s.c' % system)
    lines = ['const unsigned long pf_%d = (unsigned long)(%s);' % pair for pair in enumerate(expressions)]
    with open(path, 'w') as f:
        f.write(HEAD[system] + '\n'.join(lines) + '\n')
    run = subprocess.run([python, '-m', 'ziglang', 'cc', '-target', TARGETS[system], '-S', '-g0', '-o', path + '.s', path], stderr=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit('zig for %s: %s' % (system, run.stderr))
    values, name = {}, None
    for line in open(path + '.s'):
        label = re.match(r'(pf_\d+):', line)
        name = label[1] if label else name
        value = re.match(r'\s+\.(?:quad|xword|8byte)\s+(\d+)', line)
        if value and name:
            values.setdefault(name, int(value[1]))
    return [values.get('pf_%d' % n, 0) for n in range(len(expressions))]


def of_crate(system, name):
    """The number of an option in the libc crate's source."""
    version = re.search(r'name = "libc"\nversion = "([\d.]+)"', open(ROOT + '/Cargo.lock').read())[1]
    home = os.environ.get('CARGO_HOME', os.path.expanduser('~/.cargo'))
    for part in FILES[system]:
        for path in glob.glob('%s/registry/src/*/libc-%s/src/unix/%s/mod.rs' % (home, version, part)) + \
                glob.glob('%s/registry/src/*/libc-%s/src/new/*%s*/**/*.rs' % (home, version, system), recursive=True) * (part == ''):
            found = re.search(r'pub const %s: (?:\w|::)+ = (0x[0-9a-f]+|\d+|[A-Z0-9_]+);' % name, open(path).read())
            if found:
                return int(found[1], 0) if found[1][0].isdigit() else of_crate(system, found[1])
    return None


source = {path: open(path).read() for path in glob.glob(ROOT + '/src/io/**/*.rs', recursive=True)}
system_calls = '\n'.join(text for path, text in source.items() if path.startswith(ROOT + '/src/io/sys/'))
passed = failed = 0


def check(good, line):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print('FAILED ' + line)


for system in ALL:
    options = [o for o in OPTIONS if system in o[2]]
    values = evaluate(system, [o[0] for o in options] + ['sizeof(%s)' % o[1] for o in options])
    for n, (name, kind, _, setter) in enumerate(options):
        crate, size = of_crate(system, name), values[len(options) + n]
        check(crate == values[n], '%s: %s is %s in the libc crate, %d in the headers' % (system, name, crate, values[n]))
        print('%-8s %-20s %4d  %2d octets  %s' % (system, name, values[n], size, setter))
    for name, _, kind in (i for i in IOCTLS if i[1] == system):
        value, size = evaluate(system, [name, 'sizeof(%s)' % kind])
        ours = re.findall(r'const %s: libc::\w+ = (0x[0-9a-f_]+)' % name, system_calls)
        check(value in [int(one, 16) for one in ours], '%s: %s is %s in sys/, %#x in the headers' % (system, name, ours, value))
        # The number itself tells how much the kernel copies: IOCPARM_LEN.
        check(value >> 16 & 0x1fff == size, '%s: %s copies %d octets, %s has %d' % (system, name, value >> 16 & 0x1fff, kind, size))
        print('%-8s %-20s %#x  %2d octets' % (system, name, value, size))
for path, text in source.items():
    text = re.sub(r'#\[cfg\(test\)\]\nmod tests.*', '', text, flags=re.S)
    for setter in SETTERS.findall(text):
        where = os.path.relpath(path, ROOT)
        check(setter not in REFUSED, '%s: %s passes an int where OpenBSD takes one octet' % (where, setter))
        check(setter in {o[3] for o in OPTIONS} | set(OTHERS) | set(REFUSED), '%s: %s is not in the table' % (where, setter))
    for name in re.findall(r'set_octet_option\([^;]*?libc::(IP\w+), ', text):
        if name != 'IPPROTO_IP':
            check((name, OCTET) in {o[:2] for o in OPTIONS}, '%s: %s is no option of one octet' % (path, name))
print('options: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
