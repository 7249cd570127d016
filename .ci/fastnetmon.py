#!/usr/bin/env python3
"""FastNetMon, which reckons rates, beside active timeouts: who takes a stream of a minute for an attack.

usage: fastnetmon.py PFLOW

A connection of 8000 packets a second lives for a minute, in real time; FastNetMon's limit is 20 000. Each of the ways to set
both has an interface and a FastNetMon of its own. It averages over five seconds unless it is told otherwise, so that records
which come once a minute look like a twelfth of that minute's packets in each second. Takes 80 s; skipped where FastNetMon is
not installed.
"""
import os, shutil, signal, socket, struct, subprocess, sys, tempfile, time
from states import frame, packet, section, state

PFLOW = os.path.abspath(sys.argv[1])
CONF = '/etc/fastnetmon.conf'
RATE, SECONDS = 8000, 61
# How pflow is set, over how many seconds FastNetMon averages, and whether it bans; None: it depends on when datagrams leave.
# One of NetFlow v5 waits 30 s for more records, so that three parts of ten seconds come at once.
WAYS = (('', 5, True), ('active 60', 5, True), ('active 10', 5, None), ('active 60', 60, False),
        ('pflowproto 10 template full active 60', 60, False))
if not shutil.which('fastnetmon') or not os.path.exists(CONF):
    print('SKIPPED: fastnetmon is not installed')
    sys.exit(0)
T = tempfile.mkdtemp(prefix='pflow-fastnetmon-')


def port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def fastnetmon(number, seconds):
    """One with its own files: the process, its log, its port."""
    at = port()
    own = {'netflow': 'on', 'netflow_host': '127.0.0.1', 'netflow_port': at, 'average_calculation_time': seconds, 'pid_path': T + '/pid%d' % number,
           'average_calculation_time_for_subnets': seconds, 'networks_list_path': T + '/networks', 'white_list_path': T + '/white',
           'cli_stats_file_path': T + '/stats%d' % number, 'disable_usage_report': 'on', 'enable_api': 'off', 'prometheus': 'off', 'notify_script_path': '/bin/true'}
    lines = [line for line in open(CONF) if line.split('=')[0].strip() not in own]
    conf, log = T + '/conf%d' % number, T + '/log%d' % number
    with open(conf, 'w') as f:
        f.writelines(lines + ['%s = %s\n' % one for one in own.items()])
    run = subprocess.Popen(['fastnetmon', '--configuration_file', conf, '--log_file', log, '--disable_pid_logic'],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return run, log, at


def alone(kind, body):
    """An Ethernet frame of one pfsync message."""
    return frame(packet(section(kind, [body])))


def record(octets):
    now = time.time()
    return struct.pack('<IIII', int(now), int(now % 1 * 1e6), len(octets), len(octets)) + octets


def stream(out):
    begin = time.monotonic()
    for second in range(SECONDS + 1):
        time.sleep(max(0, begin + second - time.monotonic()))
        sent = bytearray(state(4))
        struct.pack_into('>I', sent, 196, second)
        struct.pack_into('>QQQQ', sent, 204, RATE * second + 1, 1, 1000 * (RATE * second + 1), 60)
        out.write(record(alone(13 if second == 0 else 14, bytes(sent))))
        if second == SECONDS:
            out.write(record(alone(7, bytes(sent[:8]) + bytes(sent[236:240]))))
        out.flush()


for name, text in (('networks', '10.0.0.0/24\n'), ('white', '')):
    with open('%s/%s' % (T, name), 'w') as f:
        f.write(text)
runs = [fastnetmon(number, seconds) for number, (_, seconds, _) in enumerate(WAYS)]
problems = 0
try:
    time.sleep(4)
    lines = [word for number, ((words, _, _), (_, _, at)) in enumerate(zip(WAYS, runs))
             for word in ('-e', 'pflow%d flowdst 127.0.0.1:%d %s' % (number, at, words))]
    run = subprocess.Popen([PFLOW, '-r', '-', '-o', 'none', *lines], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdin.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    stream(run.stdin)
    run.stdin.close()
    run.wait()
    time.sleep(8)
    for (words, seconds, bans), (_, log, _) in zip(WAYS, runs):
        text = open(log).read()
        attacks = [line for line in text.splitlines() if 'attack' in line.lower() and '10.0.0.4' in line]
        is_right = bans in (None, bool(attacks))
        problems += not is_right
        print('%s %s, FastNetMon averages over %d s: %s' % ('ok' if is_right else 'FAILED', words or 'active 0', seconds,
                                                              attacks[0] if attacks else 'no ban'))
        if not is_right:
            print(text[-3000:], run.stderr.read().decode()[-500:])
finally:
    for one, _, _ in runs:
        one.send_signal(signal.SIGKILL)
        one.wait()
    shutil.rmtree(T, ignore_errors=True)
sys.exit(problems > 0)
