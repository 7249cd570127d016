#!/usr/bin/env python3
"""Metrics as programs read them: promtool finds nothing to complain of, a real Prometheus scrapes them through
`pflowctl metrics http` behind a listener as inetd(8) is one, and a query returns what pflow counted.

usage: metrics.py PFLOW     (as root, with iproute2, socat, promtool and prometheus; pflowctl beside PFLOW. OpenMetrics
                             are read by python3-prometheus-client, whose parser is the strict one)

HTTP, too: methods, paths, heads that are wrong, too long or too slow, connections that are kept. The dashboard in
packaging/grafana names no metric that is not there. All of it in a network namespace of its own.
"""
import http.client, json, os, pwd, re, socket, subprocess, sys, tempfile, threading, time, urllib.parse

from common import free_port, make_user

PFLOW = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
PFLOWCTL = os.path.join(os.path.dirname(PFLOW), 'pflowctl')
DASHBOARD = os.path.join(HERE, '..', 'packaging', 'grafana', 'pflow.json')
NS = 'pflow-m-%d' % os.getpid()
# Where Debian's packages are, whatever other Python comes first.
PYTHON = '/usr/bin/python3' if os.path.exists('/usr/bin/python3') else sys.executable
if not os.environ.get('PFLOW_METRICS_NS'):
    # Everything below runs inside.
    make_user()
    subprocess.run(['ip', 'netns', 'add', NS], check=True)
    try:
        for words in ('link set lo up', 'link add fw0 type veth peer name sync0', 'link set fw0 up', 'link set sync0 up'):
            subprocess.run(['ip', '-n', NS, *words.split()], check=True)
        done = subprocess.run(['ip', 'netns', 'exec', NS, PYTHON, *sys.argv], env=dict(os.environ, PFLOW_METRICS_NS=NS))
    finally:
        subprocess.run(['ip', 'netns', 'del', NS], check=True)
    sys.exit(done.returncode)

begun = time.monotonic()
processes = []


def start(*words, **how):
    processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, **how))
    return processes[-1]


def until(what, condition, seconds=15):
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, ValueError, KeyError, IndexError, http.client.HTTPException):
            found = None
        if found:
            return found
        assert time.monotonic() < end, 'not in %d s: %s' % (seconds, what)
        time.sleep(0.1)


def states():
    """Fifty states that end."""
    sys.path.insert(0, HERE)
    from states import packets
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(('fw0', 0))
    for packet in packets(50, 10):
        head = bytearray(b'\x45\x10' + (20 + len(packet)).to_bytes(2, 'big') + b'\0\0\0\0\xff\xf0\0\0' + bytes((192, 0, 2, 1, 224, 0, 0, 240)))
        total = sum(int.from_bytes(head[at:at + 2], 'big') for at in range(0, 20, 2))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        head[10:12] = (~total & 0xffff).to_bytes(2, 'big')
        s.send(b'\x01\x00\x5e\x00\x00\xf0\x02\x00\x00\x00\x00\x01\x08\x00' + bytes(head) + packet)


def speak(port, octets, seconds=5):
    """What comes back for these octets until the end, or until nothing comes."""
    with socket.create_connection(('127.0.0.1', port), timeout=seconds) as s:
        s.sendall(octets)
        answer = b''
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                answer += piece
        except TimeoutError:
            pass
        return answer.decode()


def get(port, method='GET', path='/metrics', connection=None, **headers):
    c = connection or http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    c.request(method, path, headers={k.replace('_', '-'): v for k, v in headers.items()})
    r = c.getresponse()
    return r.status, dict((k.lower(), v) for k, v in r.getheaders()), r.read().decode()


def check_http(port, sock):
    accept = 'application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
    status, headers, text = get(port, Accept=accept)
    assert status == 200 and headers['content-type'].startswith('application/openmetrics-text; version=1.0.0'), headers
    assert text.endswith('\n# EOF\n') and int(headers['content-length']) == len(text)
    status, headers, text = get(port)
    assert status == 200 and headers['content-type'].startswith('text/plain; version=0.0.4') and '# EOF' not in text, headers
    length = headers['content-length']
    status, headers, text = get(port, 'HEAD')
    assert (status, text) == (200, '') and abs(int(headers['content-length']) - int(length)) < 100, headers
    assert get(port, path='/')[0] == 404 and get(port, path='/metrics/')[0] == 404
    status, headers, _ = get(port, 'POST')
    assert status == 405 and headers['allow'] == 'GET, HEAD', headers
    # Kept by default, and several requests at once.
    kept = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    for _ in range(3):
        assert get(port, connection=kept)[0] == 200
    two = b'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    answer = speak(port, two)
    assert answer.startswith('HTTP/1.1 200 OK\r\n') and 'HTTP/1.1 404 Not Found\r\n' in answer, answer[-300:]
    assert 'Connection: close' in speak(port, b'GET /metrics HTTP/1.0\r\n\r\n')
    for octets, status in ((b'nonsense\r\n\r\n', 400), (b'GET /metrics HTTP/1.1\r\n\r\n', 400), (b'\x16\x03\x01\x02\x00\x01\x00\n\n', 400),
                           (b'GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n', 400), (b'GET /metrics HTTP/3.0\r\n\r\n', 505),
                           (b'GET /' + b'x' * 9000, 431)):
        assert speak(port, octets).startswith('HTTP/1.1 %d ' % status), (octets[:40], status)
    assert speak(port, b'') == ''


def check_slow(port, problems):
    """A head that never ends is given up after ten seconds, and the process with it."""
    begun = time.monotonic()
    answer = speak(port, b'GET /metrics HTTP/1.1\r\nHost: a\r\n', 13)
    if not answer.startswith('HTTP/1.1 408 ') or not 9 < time.monotonic() - begun < 13:
        problems.append('408: %r after %.1f s' % (answer[:60], time.monotonic() - begun))


def check_texts(texts):
    run = subprocess.run(['promtool', 'check', 'metrics'], input=texts['prometheus'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0 and not run.stdout, run.stdout
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
        from prometheus_client.parser import text_string_to_metric_families as read_old
    except ImportError:
        sys.exit('python3-prometheus-client is missing')
    families = list(read(texts['openmetrics']))
    value = lambda families, name: sum(s.value for f in families for s in f.samples if s.name == name)
    assert value(families, 'pflow_flows_exported_total') == 50, 'OpenMetrics'
    assert value(read_old(texts['prometheus']), 'pflow_flows_exported_total') == 50, 'Prometheus text'
    units = [f.unit for f in families if f.unit]
    assert units.count('octets') > 10 and units.count('seconds') >= 4, units
    print('ok both texts: promtool, and the parsers of prometheus_client; %d families' % len(families))


def check_dashboard(text):
    known = set(re.findall(r'^# TYPE (\S+) ', text, re.M))
    dashboard = json.load(open(DASHBOARD))
    names = set(re.findall(r'\bpflow_[a-z_]+', json.dumps(dashboard['panels']) + json.dumps(dashboard['templating'])))
    assert len(names) > 15 and names <= known, names - known
    print('ok the dashboard: %d panels, %d metrics' % (len(dashboard['panels']), len(names)))


def check_prometheus(directory, port):
    web = free_port()
    with open(directory + '/prometheus.yml', 'w') as f:
        f.write('global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: pflow\n  static_configs:\n'
                '  - targets: ["127.0.0.1:%d"]\n' % port)
    with open(directory + '/prometheus.log', 'w') as log:
        start('prometheus', '--config.file=' + directory + '/prometheus.yml', '--storage.tsdb.path=' + directory + '/data',
              '--web.listen-address=127.0.0.1:%d' % web, stdout=log, stderr=log)

    def query(expression):
        status, _, text = get(web, path='/api/v1/query?' + urllib.parse.urlencode({'query': expression}))
        assert status == 200, text
        return json.loads(text)['data']['result']
    until('a scrape', lambda: query('up')[0]['value'][1] == '1', 20)
    until('flows', lambda: query('pflow_flows_exported_total')[0]['value'][1] == '50')
    sent = query('pflow_interface_records_total{interface="pflow0"}')[0]
    assert int(sent['value'][1]) == 100, sent
    assert query('pflow_sender_learned_total{sender="192.0.2.1"}')[0]['value'][1] == '50'
    told = query('pflow_creator_messages_total{creatorid="7a11c0de",action="INS"}')[0]
    assert told['value'][1] == '50', told
    targets = json.loads(get(web, path='/api/v1/targets')[2])['data']['activeTargets']
    assert targets[0]['health'] == 'up' and not targets[0]['lastError'], targets
    help_text = json.loads(get(web, path='/api/v1/metadata?metric=pflow_flows_exported_total')[2])['data']
    help_text = help_text or json.loads(get(web, path='/api/v1/metadata?metric=pflow_flows_exported')[2])['data']
    assert 'Flows exported.' in json.dumps(help_text), help_text
    print('ok Prometheus scrapes, and its queries return what was counted')


with tempfile.TemporaryDirectory(prefix='pflow-metrics-') as directory:
    os.chmod(directory, 0o755)
    try:
        sock, log = directory + '/ro.sock', directory + '/log'
        with open(directory + '/conf', 'w') as f:
            f.write('socket "%s/sock"\nsocket ro "%s"\ninterface sync0\n' % (directory, sock) +
                    'pflow0 flowdst 127.0.0.1:%d pflowproto 10 hold 1\npflow1 file "%s/f\\\\-%%s" proto 10\n' % (free_port(), directory))
        user = pwd.getpwnam('_pflow')
        os.chown(directory, user.pw_uid, user.pw_gid)
        pflow = start(PFLOW, '-d', '-f', directory + '/conf', stderr=open(log, 'w'))
        until('pflow', lambda: 'control socket' in open(log).read())
        time.sleep(0.5)
        states()
        show = lambda *words: subprocess.run([PFLOWCTL, '-s', sock, 'show', *words], stdout=subprocess.PIPE, text=True, check=True, timeout=10).stdout
        until('flows', lambda: '\npflow_flows_exported_total 50\n' in show('metrics'))
        until('records sent', lambda: 'pflow_interface_records_sent_total{interface="pflow0"}' in show('metrics'))
        texts = {name: show('metrics', name) for name in ('openmetrics', 'prometheus')}
        assert show('metrics').count('\n') == texts['openmetrics'].count('\n')
        port, dead = free_port(), free_port()
        for where, path in ((port, sock), (dead, directory + '/nobody')):
            start('socat', 'TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork' % where, 'EXEC:"%s -s %s metrics http"' % (PFLOWCTL, path))
        until('a listener', lambda: speak(port, b'GET /metrics HTTP/1.0\r\n\r\n'))
        problems = []
        slow = threading.Thread(target=check_slow, args=(port, problems))
        slow.start()
        check_texts(texts)
        check_dashboard(texts['prometheus'])
        check_http(port, sock)
        until('503', lambda: get(dead)[0] == 503)
        assert 'is pflow running?' in get(dead)[2] or 'nobody' in get(dead)[2]
        print('ok HTTP')
        check_prometheus(directory, port)
        slow.join()
        assert not problems, problems
        assert pflow.poll() is None
        print('ok: %.0f s' % (time.monotonic() - begun))
    except BaseException:
        print(open(log).read()[-2000:], file=sys.stderr)
        raise
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
