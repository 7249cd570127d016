#!/usr/bin/env python3
"""The real binary as a daemon: two processes, rights, files, faults.

usage: daemon.py PFLOW TESTDATA-DIRECTORY     (as root, with iproute2 and useradd; pflowctl beside PFLOW)

1. The shell waits until it runs or learns why it does not; the pidfile keeps a second start away, even beside a
   file that a killed one left.
2. The process that parses is _pflow without capabilities, in an empty root, with seccomp and without a terminal.
3. A reload after that opens new tap files and privileged source ports; what the configuration does not name, the
   control socket does not get opened either, and nothing changes.
4. Each process ends with the other; SIGTERM sends what is held, within 2 s, and leaves no file behind.
5. syslogd gone and back: lines go on, by a socket that the parent made.
6. Without root: no change of user, the same sandbox, and reload still works.
"""
import os, pwd, signal, socket, subprocess, sys, tempfile, time

from common import Failed, make_user

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE = DATA + '/mix200.openbsd-v6.pcap'
NS = 'pflow-d-%d' % os.getpid()
passed = failed = 0
make_user()


def check(name, test):
    global passed, failed
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        here = Place(directory)
        try:
            test(here)
            passed += 1
            print('ok', name, flush=True)
        except (Failed, AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
            failed += 1
            print('FAILED %s: %s: %s' % (name, type(e).__name__, e), flush=True)
        finally:
            here.clean()


def until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed('not in %d s: %s' % (seconds, what))
        time.sleep(0.02)


def is_alive(pid):
    try:
        return open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def status(pid):
    return dict(l.split(':\t', 1) for l in open('/proc/%d/status' % pid).read().splitlines() if ':\t' in l)


class Place:
    """A directory with a configuration, and what was started there."""
    def __init__(self, directory):
        self.dir, self.pids = directory, []
        self.conf, self.sock, self.pidfile, self.tap = (os.path.join(directory, n) for n in ('conf', 'sock', 'pid', 'tap.pcap'))
        self.write('pflow0 flowdst 127.0.0.1:2055')

    def write(self, *lines):
        with open(self.conf, 'w') as f:
            f.write(''.join(l + '\n' for l in ('interface pfe1', 'socket ' + self.sock) + lines))

    def start(self, *more, prefix=()):
        words = ['ip', 'netns', 'exec', NS, *prefix, PFLOW, '-a', '-f', self.conf, '-p', self.pidfile, *more]
        r = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
        if r.returncode == 0:
            self.parent = int(open(self.pidfile).read())
            self.child = int(open('/proc/%d/task/%d/children' % (self.parent, self.parent)).read())
            self.pids += [self.parent, self.child]
        return r

    def must_start(self, *more, **how):
        r = self.start(*more, **how)
        if r.returncode or r.stdout or r.stderr:
            raise Failed('status %d: %s%s' % (r.returncode, r.stdout, r.stderr))

    def ctl(self, *words):
        r = subprocess.run([PFLOWCTL, '-s', self.sock, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        return r.returncode, r.stdout.strip()

    def files(self):
        return sorted(os.listdir(self.dir))

    def clean(self):
        for pid in self.pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def records(path):
    """Datagrams in a tap's savefile."""
    b, p, n = open(path, 'rb').read(), 24, 0
    while p < len(b):
        p += 16 + int.from_bytes(b[p + 8:p + 12], 'little')
        n += 1
    return n if p == len(b) else -1


SENDER = '''
import socket, struct, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('pfe0', 0))
b, p = open(sys.argv[1], 'rb').read(), 24
while p < len(b):
    n = struct.unpack_from('<I', b, p + 8)[0]
    s.send(b[p + 16:p + 16 + n])
    p += 16 + n
    time.sleep(0.0005)
'''


def send():
    subprocess.run(['ip', 'netns', 'exec', NS, sys.executable, '-c', SENDER, CAPTURE], check=True)
    time.sleep(0.3)


def starts(here):
    here.must_start()
    assert os.stat(here.pidfile).st_mode & 0o777 == 0o644
    code, text = here.ctl('-a')
    assert code == 0 and 'RUNNING' in text, text
    again = here.start()
    assert again.returncode == 1 and 'pflow runs already, process %d' % here.parent in again.stderr, again
    assert is_alive(here.parent) and here.ctl()[0] == 0
    os.kill(here.parent, signal.SIGTERM)
    until('end', lambda: not is_alive(here.parent), 3)
    assert here.files() == ['conf'], here.files()
    here.must_start()
    for pid in here.pids[-2:]:
        os.kill(pid, signal.SIGKILL)
    until('end', lambda: not any(map(is_alive, here.pids)))
    assert here.files() == ['conf', 'pid', 'sock'], here.files()
    here.must_start()


def does_not_start(here):
    wrong = (
        (('-i', 'nonexistent0'), 'nonexistent0'),
        (('-u', 'no_such_user'), 'user no_such_user: no such user'),
        (('-e', 'pflow0 mtu 3'), '-e 1: mtu:'),
        (('-e', 'pflow0 flowsrc 192.0.2.77'), 'pflow0: flowsrc 192.0.2.77: '),
        (('-e', 'pflow0 tap /nonexistent/tap'), 'pflow0: tap: /nonexistent/tap: No such file'),
        (('-e', 'socket /nonexistent/sock'), '/nonexistent/sock'),
        (('-p', '/nonexistent/pid'), ''),
    )
    for words, text in wrong:
        r = here.start(*words)
        assert r.returncode != 0 and text in r.stderr and r.stderr.startswith('pflow: '), (words, r)
        assert r.returncode == 2 or r.stderr.count('\n') == 1, (words, r)
        assert here.files() == ['conf'], (words, here.files())


def rights(here):
    here.must_start()
    parent, child = status(here.parent), status(here.child)
    user = pwd.getpwnam('_pflow')
    assert child['Uid'].split() == [str(user.pw_uid)] * 4, child['Uid']
    assert child['Gid'].split() == [str(user.pw_gid)] * 4 and child['Groups'].split() == [str(user.pw_gid)], child
    assert int(child['CapEff'], 16) == int(child['CapPrm'], 16) == 0, child['CapPrm']
    assert child['NoNewPrivs'] == '1' and child['Seccomp'] == '2', child
    assert parent['Uid'].split()[0] == '0'
    for task in os.listdir('/proc/%d/task' % here.child):
        thread = dict(l.split(':\t', 1) for l in open('/proc/%d/task/%s/status' % (here.child, task)).read().splitlines() if ':\t' in l)
        assert thread['Seccomp'] == '2' and thread['Uid'] == child['Uid'], (task, thread)
    assert os.listdir('/proc/%d/root' % here.child) == []
    for pid in (here.parent, here.child):
        assert {os.readlink('/proc/%d/fd/%d' % (pid, n)) for n in range(3)} == {'/dev/null'}
        assert os.getsid(pid) == os.getsid(here.parent) != os.getsid(0)
    # What the parent passes on or leaves behind is not what it may use itself.
    open_files = [os.readlink('/proc/%d/fd/%s' % (here.child, n)) for n in os.listdir('/proc/%d/fd' % here.child)]
    named = [f for f in open_files if f.startswith('/')]
    assert set(named) <= {'/dev/null', here.pidfile}, named


def reloads(here):
    here.must_start()
    here.write('pflow0 flowdst 127.0.0.1:2055 flowsrc 127.0.0.1:500 pflowproto 10 hold 1 tap ' + here.tap)
    code, text = here.ctl('reload')
    assert code == 0, text
    assert os.stat(here.tap).st_uid == 0 and os.stat(here.tap).st_mode & 0o777 == 0o600
    code, text = here.ctl()
    assert 'sender: 127.0.0.1:500' in text, text
    send()
    until('datagrams in the tap', lambda: records(here.tap) > 3)
    # Nobody named these to the parent.
    other = here.tap + '2'
    before = here.ctl()
    for words, text in ((('tap', other), 'only files that the configuration names'), (('flowsrc', '127.0.0.1:501'), 'only a port below 1024 that the configuration names')):
        code, said = here.ctl('pflow0', *words)
        assert code == 1 and text in said, said
    assert here.ctl() == before and not os.path.exists(other)
    code, said = here.ctl('pflow0', 'flowsrc', '127.0.0.1:5001')
    assert code == 0, said
    # An error of the file is told as it is at the start, and the whole stays.
    here.write('pflow0 mtu 3')
    code, said = here.ctl('reload')
    assert code == 1 and 'conf:3: mtu: 3 is not a number' in said, said
    here.write('user nobody', 'pflow0')
    assert 'user: cannot be changed' in here.ctl('reload')[1]
    here.write('pflow3 flowdst 127.0.0.1:2056')
    os.kill(here.parent, signal.SIGHUP)
    until('SIGHUP', lambda: 'pflow3' in here.ctl()[1])


def storms(here):
    """Signals by the thousand: the program goes on and does not grow."""
    here.must_start()
    count = lambda pid: len(os.listdir('/proc/%d/fd' % pid))
    fds = count(here.parent), count(here.child)
    for n in range(2000):
        os.kill(here.parent, signal.SIGHUP if n % 3 else signal.SIGUSR1)
    assert here.ctl()[0] == 0
    until('as many descriptors as before', lambda: (count(here.parent), count(here.child)) == fds)


def ends(here):
    here.write('pflow0 flowdst 127.0.0.1:2055 tap ' + here.tap)
    here.must_start()
    send()
    held = records(here.tap)
    begin = time.monotonic()
    os.kill(here.parent, signal.SIGTERM)
    until('end', lambda: not is_alive(here.parent) and not is_alive(here.child), 2)
    assert records(here.tap) > held, 'nothing held was sent'
    assert here.files() == ['conf', 'tap.pcap'], here.files()
    here.must_start()
    os.kill(here.parent, signal.SIGKILL)
    first = here.child
    here.must_start()  # at once: it waits for the child of the one that was killed
    assert not is_alive(first)
    os.kill(here.parent, signal.SIGKILL)
    until('the child sees its parent go', lambda: not is_alive(here.child), 2)
    here.must_start()
    os.kill(here.child, signal.SIGKILL)
    until('the parent sees its child go', lambda: not is_alive(here.parent), 2)
    assert here.files() == ['conf', 'tap.pcap'], here.files()


# In a mount namespace of its own, where nobody listens at /dev/log.
SYSLOG = '''
import os, signal, socket, subprocess, sys, time
pflow, pidfile, words = sys.argv[1], sys.argv[2], sys.argv[3:]
subprocess.run(['mount', '-t', 'tmpfs', 'none', '/run'], check=True)
def syslogd():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.bind('/run/log'); s.settimeout(5)
    return s
s = syslogd()
subprocess.run([pflow] + words, check=True)
parent = int(open(pidfile).read())
def lines(socket, last):
    while True:
        line = socket.recv(9000).decode()
        print(line, flush=True)
        if last in line: return
lines(s, 'capturing on')
s.close(); os.unlink('/run/log')
os.kill(parent, signal.SIGUSR1)          # nobody is there: these are lost, and nothing waits
time.sleep(0.5)
s = syslogd()
os.chmod('/run/log', 0o600)              # a socket that the child could not reach even without its cage
print('again', flush=True)
os.kill(parent, signal.SIGUSR1)
lines(s, 'no states')
os.kill(parent, signal.SIGTERM)
lines(s, 'pflow0: 0 records')
'''


def syslog(here):
    words = ['ip', 'netns', 'exec', NS, 'unshare', '-m', '--propagation', 'private', sys.executable, '-c', SYSLOG, PFLOW, here.pidfile, '-f', here.conf, '-p', here.pidfile]
    if os.path.exists('/dev/log') and not os.path.realpath('/dev/log').startswith('/run/'):
        return  # the host's own syslogd would get the lines
    r = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30)
    before, _, after = r.stdout.partition('again\n')
    assert r.returncode == 0 and before.startswith('<3') and 'pflow[' in before and 'no states' in after, r


def without_root(here):
    """As nobody with CAP_NET_RAW handed over, as systemd's AmbientCapabilities does."""
    os.chmod(here.dir, 0o777)
    os.chmod(here.conf, 0o644)
    prefix = ('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=+net_raw', '--ambient-caps=+net_raw', '--bounding-set=-all,+net_raw')
    r = here.start('-u', '_pflow', prefix=prefix)
    assert r.returncode == 1 and 'user _pflow: only root can become another user' in r.stderr, r
    here.must_start(prefix=prefix)
    child = status(here.child)
    assert child['Uid'].split() == ['65534'] * 4 and child['Seccomp'] == '2', child
    assert int(status(here.parent)['CapEff'], 16) == 1 << 13 and int(child['CapEff'], 16) == int(child['CapAmb'], 16) == int(child['CapPrm'], 16) == 0, child
    here.write('pflow0 flowdst 127.0.0.1:2055 hold 1 tap ' + here.tap)
    assert here.ctl('reload') == (0, ''), here.ctl('reload')
    send()
    until('datagrams in the tap', lambda: records(here.tap) > 3)
    os.kill(here.parent, signal.SIGTERM)
    until('end', lambda: not is_alive(here.parent), 3)
    assert here.files() == ['conf', 'tap.pcap'], here.files()


subprocess.run(['ip', 'netns', 'add', NS], check=True)
try:
    for words in ('link set lo up', 'link add pfe0 type veth peer name pfe1', 'link set pfe0 up', 'link set pfe1 up'):
        subprocess.run(['ip', '-n', NS, *words.split()], check=True)
    check('starts once, and again after any end', starts)
    check('tells the shell why it does not start', does_not_start)
    check('what parses has no rights', rights)
    check('reloads without rights', reloads)
    check('signals by the thousand', storms)
    check('ends whole', ends)
    check('syslogd gone and back', syslog)
    check('without root', without_root)
finally:
    subprocess.run(['ip', 'netns', 'del', NS])
print('daemon: %d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
