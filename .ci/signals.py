#!/usr/bin/env python3
"""Signals in quick succession, to both processes and to those that read captures, with the real binary.

usage: signals.py PFLOW     (as root, with iproute2; pflowctl beside PFLOW)

1. SIGHUP and SIGUSR1 0 to 4 ms apart, 100 times: each time the configuration can be read again afterwards.
2. SIGHUP and SIGTERM 0 to 4 ms apart, 100 lives: each ends in good order and leaves its keep file.
3. SIGTERM, SIGHUP and the others to the process that reads a capture that was opened again: the daemon goes on.
4. SIGTERM to a child that stands still, and goes on: both end. The parent answers SIGTERM though a FIFO has taken the
   place of the configuration.
"""
import json, os, re, signal, subprocess, sys, tempfile, time

from common import make_user

PFLOW, ROUNDS = os.path.abspath(sys.argv[1]), 100
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
NS = 'pflow-s-%d' % os.getpid()
make_user()


def until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
        time.sleep(0.002)


class Daemon:
    def __init__(self, directory, name=''):
        self.conf, self.keep, self.sock, self.log = (os.path.join(directory, n + name) for n in ('conf', 'keep', 'sock', 'log'))
        with open(self.conf, 'w') as f:
            f.write('interface pfc0\nsocket "%s"\nkeep file "%s"\npflow0 flowdst 127.0.0.1:9995\n' % (self.sock, self.keep))
        self.process = subprocess.Popen(['ip', 'netns', 'exec', NS, PFLOW, '-d', '-f', self.conf], stdin=subprocess.DEVNULL, stderr=open(self.log, 'w'))
        until('start', lambda: 'control socket' in self.text())

    def text(self):
        return open(self.log).read()

    def signal(self, *signals, apart=0.0):
        for n, s in enumerate(signals):
            if n:
                end = time.perf_counter() + apart
                while time.perf_counter() < end:
                    pass
            os.kill(self.process.pid, s)

    def children(self):
        return list(map(int, open('/proc/%d/task/%d/children' % (self.process.pid, self.process.pid)).read().split()))

    def reloads(self):
        """That the configuration is read again when asked for."""
        r = subprocess.run([PFLOWCTL, '-s', self.sock, 'reload'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
        assert r.returncode == 0, r.stdout
        return True

    def reopened(self):
        r = subprocess.run([PFLOWCTL, '-s', self.sock, '-j', 'show', 'sources'], stdout=subprocess.PIPE, text=True, timeout=10)
        return json.loads(r.stdout)['reopened']

    def end(self):
        assert self.process.wait(timeout=10) == 0, self.process.returncode
        problems = [l for l in self.text().splitlines() if re.search('keep file .*: (?!none yet)|parent process', l)]
        assert os.path.exists(self.keep) and '1 keep files written' in self.text() and not problems, problems

    def clean(self):
        for pid in self.children() if self.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def ip(*words):
    subprocess.run(('ip', '-n', NS) + words, check=True)


def hup_usr1(directory):
    d = Daemon(directory)
    try:
        for n in range(ROUNDS):
            d.signal(signal.SIGHUP, signal.SIGUSR1, apart=4e-3 * n / ROUNDS)
            d.reloads()
        d.signal(signal.SIGTERM)
        d.end()
        assert d.text().count('configuration read again') > ROUNDS
    finally:
        d.clean()


def hup_term(directory):
    for n in range(ROUNDS):
        d = Daemon(directory, '-%d' % n)
        try:
            d.signal(signal.SIGHUP, signal.SIGTERM, apart=4e-3 * n / ROUNDS)
            d.end()
        except AssertionError as e:
            raise AssertionError('round %d: %s' % (n, e))
        finally:
            d.clean()


def reader(directory):
    d = Daemon(directory)
    try:
        ip('link', 'set', 'pfc0', 'down')
        until('loss', lambda: 'capture lost' in d.text())
        ip('link', 'set', 'pfc0', 'up')
        until('return', lambda: d.reopened() == 1)
        child, r = d.children()
        for s in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            os.kill(r, s)
            time.sleep(0.1)
            assert d.children() == [child, r] and d.process.poll() is None, s
        os.kill(r, signal.SIGTERM)
        until('another reader', lambda: d.reopened() == 2)
        assert d.process.poll() is None
        assert d.reloads() and len(d.children()) == 2, d.children()
        # A child that wants another has another, and the one before is no more.
        os.kill(d.children()[1], signal.SIGSTOP)
        ip('link', 'set', 'pfc0', 'down')
        time.sleep(0.5)
        ip('link', 'set', 'pfc0', 'up')
        assert len(d.children()) <= 2
        os.kill(d.children()[1], signal.SIGCONT)
        d.signal(signal.SIGTERM)
        d.end()
    finally:
        d.clean()


def still(directory):
    d = Daemon(directory)
    try:
        os.rename(d.conf, d.conf + '.old')
        os.mkfifo(d.conf)
        d.signal(signal.SIGHUP)
        until('refusal', lambda: 'not a regular file' in d.text())
        child, = d.children()
        os.kill(child, signal.SIGSTOP)
        d.signal(signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, apart=0.05)
        time.sleep(0.2)
        assert d.process.poll() is None
        os.kill(child, signal.SIGCONT)
        d.end()
    finally:
        d.clean()


failed = 0
subprocess.run(['ip', 'netns', 'add', NS], check=True)
try:
    ip('link', 'set', 'lo', 'up')
    ip('link', 'add', 'pfs0', 'type', 'veth', 'peer', 'name', 'pfc0')
    for name in ('pfs0', 'pfc0'):
        ip('link', 'set', name, 'up')
    for name, test in (('SIGHUP and SIGUSR1, %d times' % ROUNDS, hup_usr1), ('SIGHUP and SIGTERM, %d lives' % ROUNDS, hup_term),
                       ('signals to a reader', reader), ('a child that stands still', still)):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            try:
                test(directory)
                print('ok', name, flush=True)
            except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
                failed += 1
                print('FAILED %s: %s: %s' % (name, type(e).__name__, e), flush=True)
finally:
    subprocess.run(['ip', 'netns', 'del', NS])
sys.exit(failed > 0)
