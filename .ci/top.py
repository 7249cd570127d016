#!/usr/bin/env python3
"""`pflowctl top` on a terminal: what the screen shows, what keys do, and that the terminal is given back.

usage: top.py PFLOW PFLOWCTL TESTDATA-DIRECTORY [-s]     (with tmux; PFLOWCTL built with the feature top)

PFLOW replays a capture from a pipe and so holds its states for as long as it takes. pflowctl runs in a shell in tmux, at
80 and at 200 columns; the pflowctl beside PFLOW, built without the feature, shows the list. With -s the screen of 80
columns is printed.
"""
import json, os, re, signal, socket, struct, subprocess, sys, tempfile, time

PFLOW, TOP, DATA = (os.path.abspath(word) for word in sys.argv[1:4])
PLAIN = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
CAPTURE = DATA + '/mix200.openbsd-v6.pcap'
NAME = 'pflow-top-%d' % os.getpid()
PROMPT = 'top-test$ '
HEADS = 'PR   D SRC                  DEST                 STATE  AGE  EXP PKTS BYTES RATE'.split()
WIDE = 'PR DIR SRC GATEWAY DEST STATE AGE EXP PKTS BYTES RATE IF SENDER QUALITY SILENT'.split()
passed = 0


class Failed(Exception):
    pass


def ok(name):
    global passed
    passed += 1
    print('ok', name, flush=True)


def need(truth, what, shown=''):
    if not truth:
        raise Failed('%s\n%s' % (what, shown))


class Daemon:
    """A pflow that holds the states of the first packets of a capture, and takes more."""
    def __init__(self, path, packets):
        self.path = path
        self.child = subprocess.Popen([PFLOW, '-a', '-r', '-', '-o', 'none', '-s', path], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.octets, self.at = open(CAPTURE, 'rb').read(), 24
        self.write(self.octets[:24])
        self.feed(packets)
        until('states', lambda: len(self.states()) > 50)

    def write(self, octets):
        self.child.stdin.write(octets)
        self.child.stdin.flush()

    def feed(self, packets):
        for _ in range(packets):
            size = 16 + struct.unpack_from('<I', self.octets, self.at + 8)[0]
            self.write(self.octets[self.at:self.at + size])
            self.at += size

    def ask(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(line.encode() + b'\n')
            lines = []
            for answer in s.makefile('r'):
                if not answer.startswith(' '):
                    return lines
                lines.append(answer[1:].rstrip('\n'))

    def states(self):
        try:
            return [json.loads(line) for line in self.ask('json show states')]
        except OSError:
            return []

    def kill(self):
        self.child.kill()
        self.child.wait()


def until(what, condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed('not in %d s: %s\n%s' % (seconds, what, screen()))
        time.sleep(0.05)


def tmux(*words):
    words = ['tmux', '-f', '/dev/null', '-L', NAME, *words]
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, TERM='xterm', PS1=PROMPT, ENV='')).stdout


def screen():
    return tmux('capture-pane', '-p', '-t', NAME)


def lines():
    return screen().split('\n')


def keys(*words):
    tmux('send-keys', '-t', NAME, *words)


def typed(text):
    tmux('send-keys', '-t', NAME, '-l', text)


def shell(line):
    typed(line)
    keys('Enter')


def shows(*texts):
    """Waits until all of these are on the screen."""
    until(' and '.join(map(repr, texts)), lambda: all(text in screen() for text in texts))


def rows():
    """The rows of the list, as words."""
    return [line.split() for line in lines()[3:] if line]


def settings():
    """What stty says of the terminal."""
    tty = tmux('display-message', '-p', '-t', NAME, '#{pane_tty}').strip()
    with open(tty) as terminal:
        return subprocess.run(['stty', '-a'], stdin=terminal, stdout=subprocess.PIPE, text=True, check=True).stdout


def children():
    """The pids of pflowctl in the shell of tmux."""
    pane = int(tmux('display-message', '-p', '-t', NAME, '#{pane_pid}'))
    return [int(pid) for pid in open('/proc/%d/task/%d/children' % (pane, pane)).read().split()]


def start(path, *words):
    shell('clear; trap : INT; %s -s %s top %s; echo "status $?"' % (TOP, path, ' '.join(words)))
    shows(' states, ', 'PR ')


def plain(daemon):
    words = [TOP, '-s', daemon.path]
    run = lambda *more: subprocess.run(words + list(more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=10)
    held = daemon.states()
    listed = run('top')
    shown = listed.stdout.splitlines()
    need(listed.returncode == 0 and listed.stderr == '' and len(shown) == 22, 'top | cat', listed)
    need(shown[0].startswith('20 of %d states by rate; in all ' % len(held)), 'its first line', shown[0])
    need(shown[1].split() == 'PR DIR SRC DEST STATE AGE EXP PKTS BYTES RATE'.split(), 'its heads', shown[1])
    sums = sorted((sum(state['octets']) for state in held if state['proto'] == 'tcp'), reverse=True)
    listed = run('top', 'by', 'octets', '3', 'proto', 'tcp').stdout.splitlines()
    need([int(line.split()[-2]) for line in listed[2:]] == sums[:3], 'the three with most octets: %s' % sums[:3], '\n'.join(listed))
    objects = [json.loads(line) for line in run('-j', 'top', 'by', 'age', '1000').stdout.splitlines()]
    ages = [state['age'] for state in objects[1:]]
    need(objects[0]['states'] == len(ages) == len(held) and ages == sorted(ages, reverse=True), 'JSON by age', objects[:3])
    wrong = run('top', 'port', '7x')
    need((wrong.returncode, wrong.stdout) == (1, '') and '7x' in wrong.stderr, 'a bad filter', wrong)
    ok('without a terminal: one answer, as a list or in JSON')


def screens(daemon, is_printed):
    before = settings()
    start(daemon.path)
    shown = lines()
    need(shown[2].split() == HEADS and len(rows()) == 21, '24 lines of 80 columns', screen())
    need(all(len(line) <= 80 for line in shown) and shown[0].endswith('h: help'), 'the first line', screen())
    held = daemon.states()
    need(shown[0].startswith('%d states, ' % len(held)), 'the number of states', screen())
    if is_printed:
        print(screen())
    ok('80 columns')

    keys('B')
    shows('by octets')
    most = max(held, key=lambda state: sum(state['octets']))
    first = rows()[0]
    need(str(most['wire']['ports'][0]) in ' '.join(first[2:4]) or ':' not in first[2], 'the state with most octets is first', screen())
    keys('r')
    shows('by octets, least first')
    keys('r', 'o')
    shows('by packets;')
    ok('keys put in order')

    typed('f')
    typed('proto udp')
    shows('filter: proto udp')
    keys('Enter')
    until('UDP only', lambda: rows() and all(row[0] == 'udp' for row in rows()))
    count = sum(state['proto'] == 'udp' for state in daemon.states())
    need(lines()[0].startswith('%d states, ' % count), 'as many as there are', screen())
    typed('f')
    keys('C-u')
    typed('port 7x')
    keys('Enter')
    until('what is wrong with the word', lambda: '7x' in lines()[1] and 'filter' not in lines()[1])
    need(rows() and all(row[0] == 'udp' for row in rows()), 'the good filter stays', screen())
    typed('f')
    keys('C-u', 'Enter')
    until('all states', lambda: lines()[0].startswith('%d states, ' % len(held)))
    ok('a filter, a bad one, none')

    keys('Space')
    shows('; paused')
    daemon.feed(10)
    held = lines()[3:]
    time.sleep(1)
    need(lines()[3:] == held, 'what is paused stands still', screen())
    typed('s')
    keys('C-u')
    typed('1')
    keys('Enter', 'p')
    shows('every 1 s')
    until('other rows', lambda: lines()[3:] != held)
    keys('h')
    shows('next order, previous order', 'pf tells no counters')
    need(all(len(line) <= 80 for line in lines()), 'the help is wider than 80', screen())
    keys('x')
    shows('PR ')
    ok('pause, interval, help')

    tmux('resize-window', '-t', NAME, '-x', '200', '-y', '50')
    until('200 columns', lambda: lines()[2].split() == WIDE and len(rows()) == 47)
    need(all(len(line) <= 200 for line in lines()), 'wider than 200', screen())
    tmux('resize-window', '-t', NAME, '-x', '80', '-y', '24')
    until('80 columns', lambda: lines()[2].split() == HEADS)
    ok('resized to 200 columns and back')

    keys('C-z')
    shows(PROMPT.strip())
    need(settings() == before, 'stopped, the terminal is not what it was')
    shell('fg')
    until('the list', lambda: lines()[2].split() == HEADS)
    ok('stopped and continued')
    return before


def lost(daemon, before):
    daemon.kill()
    until('that pflow has gone', lambda: 'asked again every 1 s' in lines()[1])
    need(rows() and lines()[2].split() == HEADS, 'the rows stay', screen())
    time.sleep(2.2)
    shows(' old')
    again = Daemon(daemon.path, 30)
    until('the new one', lambda: lines()[1] == '' and lines()[0].startswith('%d states' % len(again.states())))
    ok('pflow ended and started')
    keys('q')
    # The shell's line ended where pflowctl was stopped.
    until('the prompt', lambda: screen().rstrip().endswith(PROMPT.strip()))
    shell('echo "status $?"')
    back(before, 'status 0')
    return again


def back(before, status):
    """The prompt is there behind the exit status, and the terminal is what it was."""
    until(status, lambda: re.search('^%s$' % re.escape(status), screen(), re.M))
    need(settings() == before, 'stty says another thing than before', settings())
    flags = tmux('display-message', '-p', '-t', NAME, '#{alternate_on} #{cursor_flag}').strip()
    need(flags == '0 1', 'the screen is not left: %s' % flags)
    ok('the terminal is given back: ' + status)


def ends(daemon, before):
    # A shell whose child ends by SIGINT ends its line, unless it takes that signal itself.
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        start(daemon.path, 'by', 'age')
        shows('by age')
        os.kill(children()[0], number)
        back(before, 'status %d' % status)
    daemon.kill()
    shell('clear; %s -s %s top; echo "status $?"' % (TOP, daemon.path))
    shows('Connection refused')
    back(before, 'status 1')


def hangs_up(daemon):
    start(daemon.path)
    pid = children()[0]
    tmux('kill-session', '-t', NAME)
    end = time.monotonic() + 5
    while os.path.exists('/proc/%d' % pid) and open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0] != 'Z':
        need(time.monotonic() < end, 'pflowctl outlives its terminal')
        time.sleep(0.05)
    ok('the terminal goes: so does pflowctl')


def without_feature(daemon):
    shell('clear; %s -s %s top by octets 5' % (PLAIN, daemon.path))
    shows('built without the screen of top', '5 of ')
    ok('built without the feature: says so, and shows the list')


def main():
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(os.path.join(directory, 'sock'), 40)
        try:
            plain(daemon)
            tmux('new-session', '-d', '-s', NAME, '-x', '80', '-y', '24', 'sh -i')
            tmux('set-option', '-g', 'status', 'off')
            tmux('resize-window', '-t', NAME, '-x', '80', '-y', '24')
            until('a shell', lambda: screen().strip())
            shell("PS1='%s'; clear" % PROMPT)
            until('the prompt', lambda: screen().strip() == PROMPT.strip())
            without_feature(daemon)
            before = screens(daemon, '-s' in sys.argv[4:])
            daemon = lost(daemon, before)
            ends(daemon, before)
            daemon = Daemon(daemon.path, 30)
            hangs_up(daemon)
        except Failed as error:
            print('FAILED', error)
            return 1
        finally:
            tmux('kill-server')
            daemon.kill()
    return 0


started = time.monotonic()
code = main()
print('top: %d passed in %.0f s' % (passed, time.monotonic() - started))
sys.exit(code)
