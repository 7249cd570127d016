"""pfsync packets like the benchmarks': OpenBSD v6, five INS and five DEL_C a packet, two records a state, a quarter IPv6, a
quarter translated."""
import struct


def state(n):
    b = bytearray(264)
    six, nat = n % 4 == 3, n % 4 == 1
    host, af = n & 0xffff, 24 if six else 2
    struct.pack_into('>Q', b, 0, (0x68 << 56) + n)
    b[8:11] = b'all'
    for key in (24, 64):
        b[key:key + 4] = bytes((0x20, 1, 0xd, 0xb8) if six else (192, 0, 2, 1))
        struct.pack_into('>I', b, key + 16, 10 << 24 | host)
        struct.pack_into('>HH', b, key + 32, 443, 0x8000 | host)
        b[key + 38] = af
    if nat:
        b[40:44] = bytes((198, 51, 100, 1))
    b[128] = b[160] = 4
    struct.pack_into('>QQQQ', b, 204, 9, 7, 1000, 2500)
    struct.pack_into('>I', b, 236, 0x7a11c0de)
    b[250:253] = bytes((af, 6, 2 if nat else 1))
    b[255], b[261] = 2, 4
    return bytes(b)


def update(n, step):
    """UPD_C number `step` of state `n`: a request of a thousand octets more, and an answer of twenty thousand."""
    b = bytearray(84)
    struct.pack_into('>Q', b, 0, (0x68 << 56) + n)
    for peer, seqlo in (8, 1001 + 1000 * step), (40, 5001 + 20000 * step):
        struct.pack_into('>IIIHHBB', b, peer + 8, seqlo, seqlo + 60000, 0, 65535, 1460, 4, 0)
    struct.pack_into('>I', b, 72, 0x7a11c0de)
    b[80] = 2
    return bytes(b)


def packets(states, alive, updates=0):
    """`states` states, `alive` of them at a time, each with so many UPD_C evenly over its life, 17 a packet."""
    told = [0] * updates
    for n in range(0, states + alive, 5):
        body = b''
        if n >= alive:
            body += struct.pack('>BBH', 7, 3, 5)
            body += b''.join(struct.pack('>QI', (0x68 << 56) + n - alive + i, 0x7a11c0de) for i in range(5))
        if n < states:
            body += struct.pack('>BBH', 13, 66, 5) + b''.join(state(n + i) for i in range(5))
        yield packet(body)
        for step in range(updates):
            due = min(states, n + 5 - alive * (step + 1) // (updates + 1))
            while due - told[step] >= 17 or told[step] < due == states:
                some = range(told[step], min(states, told[step] + 17))
                told[step] = some.stop
                body = struct.pack('>BBH', 4, 21, len(some)) + b''.join(update(i, step + 1) for i in some)
                yield packet(body)


def tcp(number, far, near, creator=7, ifname=b'all'):
    """A TCP connection that has counted, with ends given as octets: far:443 to near:50000."""
    b = bytearray(264)
    struct.pack_into('>Q', b, 0, number)
    b[8:8 + len(ifname)] = ifname
    b[62] = b[102] = 2
    for key in (24, 64):
        b[key:key + 4], b[key + 16:key + 20] = far, near
        struct.pack_into('>HH', b, key + 32, 443, 50000)
    b[104 + 24] = b[136 + 24] = 4
    struct.pack_into('>III', b, 184, 17, 0xffffffff, 0xffffffff)
    struct.pack_into('>II', b, 196, 0, 86400)
    struct.pack_into('>QQQQ', b, 204, 10, 10, 1000, 1000)
    struct.pack_into('>I', b, 236, creator)
    b[250], b[251], b[252], b[255] = 2, 6, 1, 2
    struct.pack_into('>H', b, 260, 4)
    return bytes(b)


def section(action, messages):
    """Messages of one action behind their subheader."""
    return struct.pack('>BBH', action, len(messages[0]) // 4, len(messages)) + b''.join(messages)


def packet(body):
    """The pfsync packet of these sections."""
    return struct.pack('>BBH16x', 6, 0, 20 + len(body)) + body


def frame(pfsync):
    """The Ethernet frame of a pfsync packet from 192.0.2.1."""
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(pfsync), 0, 0, 255, 240, 0, bytes((192, 0, 2, 1)), bytes((224, 0, 0, 240)))
    return bytes.fromhex('01005e0000f0020000000001') + b'\x08\0' + ip + pfsync
