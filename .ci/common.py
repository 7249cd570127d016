"""What several of these scripts do: say what holds, wait, find a port, enter a network namespace, send, read NetFlow v9.

Each script imports this from its own directory, so a script runs from anywhere.
"""
import ctypes, os, pwd, signal, socket, struct, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
# Names of what does not hold; a script that has any fails.
problems = []

# Sends packets of a firewall at a rate, until it is killed.
SENDER = '''
import socket, sys, time
interface, here, rate, states, alive = sys.argv[1:]
sys.path.insert(0, here)
from states import frame, packets
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((interface, 0))
rate, begun = float(rate), time.monotonic()
for n, pfsync in enumerate(packets(int(states), int(alive))):
    s.send(frame(pfsync))
    wait = begun + n / rate - time.monotonic()
    if wait > 0.002:
        time.sleep(wait)
'''


class Failed(Exception):
    """Something did not come in time."""


def expect(name, is_so, detail=''):
    told = '' if detail in ('', None, [], ()) else ': %s' % (detail,)
    print('%s %s%s' % ('ok' if is_so else 'FAILED', name, told), flush=True)
    if not is_so:
        problems.append(name)


def expect_quietly(name, is_so, detail=''):
    """The same, with its detail only where it does not hold."""
    expect(name, is_so, '' if is_so else detail)


def until(what, condition, seconds=20, pause=0.02, error=AssertionError):
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise error('not in %d s: %s' % (seconds, what))
        time.sleep(pause)


def make_user():
    """The user whose rights pflow takes."""
    try:
        pwd.getpwnam('_pflow')
    except KeyError:
        subprocess.run(['useradd', '--system', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', '_pflow'], check=True)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def ip(*words):
    subprocess.run(('ip',) + words, check=True)


def in_namespace(name, make):
    """What `make` opens, of a network namespace."""
    def enter(file):
        # CLONE_NEWNET
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), 'setns')

    with open('/proc/self/ns/net') as old, open('/run/netns/' + name) as new:
        enter(new)
        try:
            return make()
        finally:
            enter(old)


def sender(interface, rate, states=10_000_000, alive=1000, namespace=None):
    """A firewall that sends at `rate` packets a second."""
    words = [sys.executable, '-c', SENDER, interface, HERE, str(rate), str(states), str(alive)]
    return subprocess.Popen((['ip', 'netns', 'exec', namespace] if namespace else []) + words, stdin=subprocess.DEVNULL)


def end(process, number=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(30)


def records_of_netflow9(stream):
    """Data records of whole NetFlow v9 messages, each by its octets. Messages do not tell their lengths, but no flowset has the number 9."""
    at, lens, found, number = 0, {}, [], 0
    while at < len(stream):
        version, _, _, _, sequence, _ = struct.unpack_from('>HHIIII', stream, at)
        assert (version, sequence) == (9, number), 'version %d, message %d instead of %d' % (version, sequence, number)
        at, number = at + 20, number + 1
        while at < len(stream) and stream[at:at + 2] != b'\0\x09':
            kind, size = struct.unpack_from('>HH', stream, at)
            p, end = at + 4, at + size
            if kind == 0:
                while p < end:
                    template, fields = struct.unpack_from('>HH', stream, p)
                    lens[template] = sum(struct.unpack_from('>H', stream, p + 6 + 4 * n)[0] for n in range(fields))
                    p += 4 + 4 * fields
            elif 256 <= kind < 400:
                found += [stream[n:n + lens[kind]] for n in range(p, end - lens[kind] + 1, lens[kind])]
            at = end
    return found
