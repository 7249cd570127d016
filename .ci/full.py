#!/usr/bin/env python3
"""`template full` read by others: what each of them makes of every field.

usage: full.py PFLOW TESTDATA-DIRECTORY [TOOLS-DIRECTORY]

Captures of TESTDATA are replayed with and without `enterprise`, `biflow`, `events nat` and `domain creatorid`. Then
1. ipfixcheck.py of TOOLS-DIRECTORY has no finding in a file, over UDP and over TCP, and each record has the values that
   `-o json` prints for it, by name; -o csv has them, too.
2. tshark finds nothing wrong in the datagrams.
3. ipfixDump --rfc5610, python-ipfix, netflow_parser, NetGauze, nfcapd with nfdump, and nfacctd with primitives read every
   record, and each field that they know has the value of -o json. Those that are not installed are skipped.
4. A spool that nobody took anything from gives all of it, in a session that is whole, to the collector that comes.
At the end stands the table of fields by readers, which has to be the one in docs/readers.md.
"""
import calendar, collections, csv, io, ipaddress, json, os, shutil, socket, subprocess, sys, tempfile, time

from common import expect_quietly as expect, free_port, problems

PFLOW, DATA = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TOOLS = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
CHECK = TOOLS and os.path.join(TOOLS, 'ipfixcheck.py')
VENV = os.path.expanduser('~/.cache/pflow-tools/venv/bin/python')
T = tempfile.mkdtemp(prefix='pflow-full-')
table = collections.defaultdict(dict)
OWN = 32473
ICMP = (1, 58)
# What ICMP has in its ports differs on purpose.
PORTS = {'sourceTransportPort', 'destinationTransportPort', 'postNAPTSourceTransportPort', 'postNAPTDestinationTransportPort'}


def new(name):
    """A name that no file has."""
    return os.path.join(tempfile.mkdtemp(dir=T), name)


def until_bound(at):
    """Waits until a reader has the port."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for kind in ('udp', 'tcp'):
            with open('/proc/net/' + kind) as f:
                if any(line.split()[1].endswith(':%04X' % at) for line in f):
                    return
        time.sleep(0.05)
    sys.exit('nobody has port %d' % at)


def pflow(capture, line, *words):
    run = subprocess.run([PFLOW, '-a', '-r', capture, '-e', 'ifindex auto', '-e', line] + list(words), capture_output=True,
                         text=True)
    if run.returncode:
        sys.exit('%s: %s' % (line, run.stderr[-2000:]))
    return run.stdout


def printed(capture, form):
    return pflow(capture, 'pflow0 create', '-o', form)


def key(record, reverse):
    return record['flowId'], reverse, record['flowEndMilliseconds'], record['octetDeltaCount']


def expected(capture):
    """What pflow prints, by flow, direction, end and octets."""
    found = collections.defaultdict(list)
    for line in printed(capture, 'json').splitlines():
        record = json.loads(line)
        found[key(record, record['reverse'])].append(record)
    return found


def is_back(record, direction):
    return (record['flowDirection'] == 1) == (direction == 'in')


def compare(name, records, capture, reader=None):
    """Each record has the values of one that pflow prints; fields that `reader` knows go into the table."""
    wanted = expected(capture)
    directions = {flow: record['direction'] for (flow, *_), some in wanted.items() for record in some}
    count = sum(len(some) for some in wanted.values())
    wrong = collections.Counter()
    for record in records:
        some = wanted.get(key(record, is_back(record, directions.get(record['flowId']))))
        if not some:
            wrong['no such record'] += 1
            continue
        other = some.pop()
        for field, value in record.items():
            if field.startswith('_') or field in PORTS and other['protocolIdentifier'] in ICMP:
                continue
            if str(other.get(field)) != str(value):
                wrong['%s is %r, not %r' % (field, value, other.get(field))] += 1
            elif reader:
                table[field][reader] = True
    expect('%s: %d records with the values of json' % (name, count), len(records) == count and not wrong,
           '%d records; %s' % (len(records), wrong.most_common(3)))


def checked(source, while_running=None):
    """Records that ipfixcheck.py reads, without those of options; what it finds is a failure."""
    run = subprocess.Popen([sys.executable, CHECK, source, '--json', '--seconds', '5', '--skew', '1000000000'],
                           stdout=subprocess.PIPE, text=True)
    if while_running:
        until_bound(int(source.split(':')[2]))
        while_running()
    lines = run.communicate()[0].splitlines()
    findings = [line for line in lines if line.startswith('FINDING')]
    expect('ipfixcheck: nothing to find in %s' % source.split(':')[0], not findings and run.returncode == 0, findings[:3])
    return [json.loads(line) for line in lines if line.startswith('{"_')]


def flows(records):
    return [one for one in records if 300 <= one['_template'] < 400]


def full(words=''):
    return 'pflow0 pflowproto 10 template full ' + words


def readers_of_files(capture, name):
    for words in ('', 'enterprise %d' % OWN, 'enterprise %d domain creatorid' % OWN):
        path = new('flows.ipfix')
        pflow(capture, full(words) + ' file ' + path)
        if CHECK:
            records = checked('file:' + path)
            compare('%s %s: ipfixcheck' % (name, words), flows(records), capture, 'ipfixcheck')
            options = collections.Counter(one['_template'] for one in records if one['_template'] >= 400)
            needed = [400, 401, 402, 406] + ([407] if words else [])
            expect('%s %s: options of each kind' % (name, words), all(options[one] for one in needed), options)
    if shutil.which('ipfixDump'):
        ipfixdump(path, capture, name)
    if os.path.exists(VENV):
        python_ipfix(capture, name)


def biflows(capture, name):
    path = new('biflow.ipfix')
    pflow(capture, full('biflow on file ' + path))
    octets = collections.Counter()
    records = flows(checked('file:' + path))
    for one in records:
        octets['sent'] += one['octetDeltaCount'] + one.get('reverseOctetDeltaCount', 0)
        octets['packets'] += one['packetDeltaCount'] + one.get('reversePacketDeltaCount', 0)
    wanted = [one for some in expected(capture).values() for one in some]
    expect('%s: biflows have the octets and packets of both directions' % name, octets == {
        'sent': sum(one['octetDeltaCount'] for one in wanted), 'packets': sum(one['packetDeltaCount'] for one in wanted)},
        octets)
    expect('%s: one biflow a flow' % name, len(records) == len({one['flowId'] for one in wanted}) or
           len(records) < len(wanted), len(records))
    expect('%s: the initiator is the source' % name, all(one['biflowDirection'] == 1 for one in records))


def number(text):
    """A value as ipfixDump writes it."""
    whole, _, fraction = text.partition('.')
    try:
        return calendar.timegm(time.strptime(whole, '%Y-%m-%d %H:%M:%S')) * 1000 + int(fraction)
    except ValueError:
        pass
    return text.split(') ', 1)[1] if text.startswith('(len') else text


def ipfixdump(path, capture, name):
    text = subprocess.run(['ipfixDump', '--rfc5610', '-d', '--in', path], capture_output=True, text=True).stdout
    records, record = [], None
    for line in text.splitlines():
        if line.startswith('--- data record'):
            record = {}
            records.append(record)
        elif line.strip().startswith('count:') and record is not None:
            record['_template'] = int(line.split('tid:')[1].split()[0])
        elif ' : ' in line and record is not None:
            field, value = line.split(' : ', 1)
            value = number(value.strip())
            if 'IPv6Address' in field:
                value = str(ipaddress.ip_address(value))
            record[field.split(')')[-1].strip()] = int(value) if str(value).isdigit() else value
        elif line.startswith('***'):
            record = None
    compare('%s: ipfixDump --rfc5610' % name, flows(records), capture, 'ipfixDump')


PYTHON_IPFIX = '''
import json, sys
import ipfix.ie, ipfix.reader
ipfix.ie.use_iana_default()
ipfix.ie.use_5103_default()
with open(sys.argv[1], 'rb') as f:
    for record in ipfix.reader.from_stream(f).namedict_iterator():
        if 'octetDeltaCount' in record:
            print(json.dumps({k: int(v.timestamp() * 1000) if hasattr(v, 'timestamp') else str(v) if 'Address' in k else v
                              for k, v in record.items() if not k.startswith('_')}, default=str))
'''


def python_ipfix(capture, name):
    path = new('plain.ipfix')
    pflow(capture, full('file ' + path))
    run = subprocess.run([VENV, '-c', PYTHON_IPFIX, path], capture_output=True, text=True, env=dict(os.environ, TZ='UTC'))
    records = [json.loads(line) for line in run.stdout.splitlines()]
    known = [{k: v for k, v in one.items() if not k.startswith('IE') and not k.startswith('_')} for one in records]
    if not records or 'flowDirection' not in records[0] or 'flowId' not in records[0]:
        expect('%s: python-ipfix reads it' % name, False, run.stderr[-300:])
        return
    compare('%s: python-ipfix' % name, known, capture, 'python-ipfix')


END_REASONS = {'IdleTimeout': 1, 'ActiveTimeout': 2, 'EndOfFlow': 3, 'ForcedEnd': 4, 'LackOfResources': 5}


def value_of(field):
    """A value as netflow_parser's JSON has it; None: it does not know the element, or names the protocol."""
    (kind, value), = field.items()
    if kind == 'DataNumber':
        return list(value.values())[0]
    if kind == 'Duration':
        return value['secs'] * 1000 + value['nanos'] // 1000000
    if kind in ('Ip4Addr', 'Ip6Addr'):
        return value
    return END_REASONS.get(value, value) if kind == 'FlowEndReason' else None


def built():
    """Directory of the programs of .ci/readers."""
    manifest = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'readers', 'Cargo.toml')
    target = os.path.join(os.path.dirname(os.path.dirname(PFLOW)), 'readers')
    run = subprocess.run(['cargo', 'build', '--locked', '-q', '--manifest-path', manifest, '--target-dir', target])
    expect('netflow_parser and NetGauze are built', run.returncode == 0)
    return os.path.join(target, 'debug')


def read_by(program, capture):
    """Messages of a file, as one of those prints them."""
    path = new('parser.ipfix')
    pflow(capture, full('enterprise %d file %s' % (OWN, path)))
    with open(path, 'rb') as f:
        run = subprocess.run([program], stdin=f, capture_output=True, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def netflow_parser(directory, capture, name):
    """The crate of that name."""
    known = {field.lower(): field for some in expected(capture).values() for one in some for field in one}
    records = []
    for one in read_by(os.path.join(directory, 'netflow_parser'), capture):
        (_, message), = one.items()
        for one in message['flowsets']:
            for fields in one['body'].get('Data', {}).get('fields', []):
                values = {element.get('IANA', '').lower(): value_of(value) for element, value in fields}
                records.append({known[one]: value for one, value in values.items() if one in known and value is not None})
    compare('%s: netflow_parser' % name, [one for one in records if 'octetDeltaCount' in one], capture, 'netflow_parser')


# Elements of our own in the order of their numbers, from 1.
OWN_NAMES = ('flowQuality', 'flowPart', 'pfRule', 'pfAnchor', 'pfNatRule', 'pfStateFlags', 'pfInitiatorState', 'pfResponderState', 'pfsyncDialect')
# Numbers of what NetGauze names.
NAMED = {'TCP': 6, 'UDP': 17, 'ICMP': 1, 'SCTP': 132, 'ingress': 0, 'egress': 1, 'idletimeout': 1, 'activetimeout': 2,
         'endofFlowdetected': 3, 'forcedend': 4, 'lackofresources': 5}


def value_of_netgauze(field, value):
    """A field as -o json names it, and its value."""
    if field == 'Unknown':
        return OWN_NAMES[value['id'] - 1], int.from_bytes(bytes(value['value']), 'big')
    if field.endswith('Milliseconds'):
        seconds, _, fraction = value.rstrip('Z').partition('.')
        return field, calendar.timegm(time.strptime(seconds, '%Y-%m-%dT%H:%M:%S')) * 1000 + int((fraction + '000')[:3])
    return field, NAMED.get(value, value) if field in ('protocolIdentifier', 'flowDirection', 'flowEndReason') else value


def netgauze(directory, capture, name):
    """The crate netgauze-flow-pkt."""
    records = []
    for message in read_by(os.path.join(directory, 'netgauze'), capture):
        for one in message['sets']:
            for record in one.get('Data', {}).get('records', []):
                fields = [value_of_netgauze(*field) for one in record['fields'] for field in one.items()]
                # It names some protocols in its own way.
                records.append({field: value for field, value in fields if field != 'protocolIdentifier' or isinstance(value, int)})
    compare('%s: NetGauze' % name, [one for one in records if 'octetDeltaCount' in one], capture, 'NetGauze')


def started(command, log):
    return subprocess.Popen(command, stdout=open(log, 'w'), stderr=subprocess.STDOUT)


def nfcapd(capture, name):
    at, directory = free_port(socket.SOCK_DGRAM), tempfile.mkdtemp(dir=T)
    run = started(['nfcapd', '-w', directory, '-t', '3600', '-b', '127.0.0.1', '-p', str(at), '-B', '4000000'], T + '/nf.log')
    until_bound(at)
    pflow(capture, full('enterprise %d statistics 60 flowdst 127.0.0.1:%d' % (OWN, at)))
    time.sleep(0.8)
    run.terminate()
    run.wait()
    out = subprocess.run(['nfdump', '-R', directory, '-o', 'json'], capture_output=True, text=True).stdout
    # Versions before 1.7.2 write no comma after some members.
    records = json.loads(out)
    failures = ''.join(subprocess.run(['nfdump', '-E', os.path.join(directory, one)], capture_output=True, text=True).stdout
                       for one in os.listdir(directory))
    # nfcapd 1.7.1 does not count records of options, and takes their numbers for records that it missed.
    print('%s: nfcapd: %s' % (name, failures.strip().splitlines()[-1]))
    wanted = [one for some in expected(capture).values() for one in some]
    expect('%s: nfcapd stores %d records' % (name, len(wanted)), len(records) == len(wanted), len(records))
    names = {'sourceTransportPort': 'src_port', 'destinationTransportPort': 'dst_port', 'protocolIdentifier': 'proto',
             'packetDeltaCount': 'in_packets', 'octetDeltaCount': 'in_bytes', 'ingressInterface': 'input_snmp',
             'egressInterface': 'output_snmp', 'flowDirection': 'direction', 'sourceIPv4Address': 'src4_addr',
             'destinationIPv4Address': 'dst4_addr', 'sourceIPv6Address': 'src6_addr', 'destinationIPv6Address': 'dst6_addr',
             'postNATSourceIPv4Address': 'src4_xlt_ip', 'postNATDestinationIPv4Address': 'dst4_xlt_ip',
             'postNAPTSourceTransportPort': 'src_xlt_port', 'postNAPTDestinationTransportPort': 'dst_xlt_port'}
    for field, its in names.items():
        is_plain = field not in PORTS
        of = lambda some, one: collections.Counter(
            str(record[one]) for record in some if one in record and (is_plain or record.get('protocolIdentifier', record.get('proto')) not in ICMP))
        ours, theirs = of(wanted, field), of(records, its)
        if field.startswith('postNAT') or field.startswith('postNAPT'):
            # It has members for NAT in others, too.
            theirs = collections.Counter({one: theirs[one] for one in theirs if one in ours})
        if not ours:
            continue
        is_same = ours == theirs
        if is_same:
            table[field]['nfdump'] = True
        elif field in ('flowDirection',):
            continue
        else:
            expect('%s: nfdump has %s' % (name, field), False, ((ours - theirs).most_common(2), (theirs - ours).most_common(2)))
    icmp = collections.Counter(one['icmpTypeCodeIPv4'] for one in wanted if 'icmpTypeCodeIPv4' in one)
    theirs = collections.Counter(one.get('icmp_type', 0) * 256 + one.get('icmp_code', 0) for one in records if one.get('proto') == 1)
    expect('%s: nfdump has the types of ICMP' % name, icmp == theirs, (icmp, theirs))
    table['icmpTypeCodeIPv4']['nfdump'] = True


PRIMITIVES = '''name=flow_end_reason field_type=136 len=1 semantics=u_int
name=flow_id field_type=148 len=8 semantics=u_int
name=firewall field_type=405 len=4 semantics=u_int
name=quality field_type=%d:1 len=1 semantics=u_int
name=rule_nr field_type=%d:3 len=4 semantics=u_int
''' % (OWN, OWN)
NFACCTD = '''daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: %d
aggregate_primitives: %s/primitives
plugins: print[a]
aggregate[a]: src_host, dst_host, src_port, dst_port, proto, in_iface, out_iface, timestamp_start, timestamp_end, post_nat_src_host, post_nat_dst_host, post_nat_src_port, post_nat_dst_port, flow_end_reason, flow_id, firewall, quality, rule_nr
print_output[a]: json
print_output_file[a]: %s/pm.json
print_output_file_append[a]: true
print_refresh_time[a]: 1
timestamps_since_epoch: true
nfacctd_pipe_size: 4000000
'''


def nfacctd(capture, name):
    at = free_port(socket.SOCK_DGRAM)
    for path, text in (('primitives', PRIMITIVES), ('pm.conf', NFACCTD % (at, T, T))):
        with open(os.path.join(T, path), 'w') as f:
            f.write(text)
    out = os.path.join(T, 'pm.json')
    if os.path.exists(out):
        os.remove(out)
    run = started(['nfacctd', '-f', T + '/pm.conf'], T + '/pm.log')
    until_bound(at)
    time.sleep(0.3)
    pflow(capture, full('enterprise %d flowdst 127.0.0.1:%d' % (OWN, at)))
    time.sleep(2.5)
    run.send_signal(2)
    run.wait()
    records = [json.loads(line) for line in open(out)] if os.path.exists(out) else []
    wanted = [one for some in expected(capture).values() for one in some]
    names = {'flowId': 'flow_id', 'flowEndReason': 'flow_end_reason', 'originalObservationDomainId': 'firewall',
             'flowQuality': 'quality', 'pfRule': 'rule_nr', 'ingressInterface': 'iface_in', 'egressInterface': 'iface_out',
             'postNATSourceIPv4Address': 'post_nat_ip_src', 'postNAPTSourceTransportPort': 'post_nat_port_src',
             'packetDeltaCount': 'packets', 'octetDeltaCount': 'bytes', 'sourceIPv4Address': 'ip_src',
             'destinationIPv4Address': 'ip_dst'}
    expect('%s: nfacctd has %d records' % (name, len(wanted)), len(records) == len(wanted), len(records))
    for field, its in names.items():
        ours = collections.Counter(str(one[field]) for one in wanted if field in one
                                   and (field not in PORTS or one['protocolIdentifier'] not in ICMP))
        theirs = collections.Counter(str(one[its]) for one in records if its in one)
        is_same = all(theirs[value] >= count for value, count in ours.items() if value not in ('0', '0.0.0.0'))
        expect('%s: nfacctd has %s' % (name, field), is_same, (ours - theirs).most_common(2))
        table[field]['nfacctd'] = True


# natEvent of a translation that begins and one that ends, by whether IPv6 is on either side.
NAT_EVENTS = {False: (4, 5), True: (6, 7)}


def nat_events(capture, name):
    """Events of translated states: each begins and ends once, with the ends that its flow's records have."""
    path, tap, at = new('events.ipfix'), new('events.pcap'), free_port(socket.SOCK_DGRAM)
    pflow(capture, full('enterprise %d events nat biflow on file ' % OWN + path))
    records = checked('file:' + path)
    events = [one for one in flows(records) if 'natEvent' in one]
    by_flow = {one['flowId']: one for one in flows(records) if 'natEvent' not in one}
    begun, ended = ({one['flowId']: one for one in events if one['natEvent'] in some} for some in zip(*NAT_EVENTS.values()))
    expect('%s: %d translations begin, as many as their records' % (name, len(begun)),
           begun and len(begun) + len(ended) == len(events), (len(events), len(ended)))
    translated = {flow for flow, one in by_flow.items() if any(field.startswith('postNAT') for field in one)}
    expect('%s: each flow that is translated began and ended' % name, translated <= set(begun) & set(ended),
           len(translated - set(begun)))
    wrong = collections.Counter()
    for flow, one in ended.items():
        other = begun.get(flow)
        ends = {k: v for k, v in one.items() if k not in ('natEvent', 'observationTimeMilliseconds') and not k.startswith('_')}
        if other is None or any(other.get(k) != v for k, v in ends.items()):
            wrong['does not end as it began'] += 1
        elif other['observationTimeMilliseconds'] > one['observationTimeMilliseconds']:
            wrong['ends before it began'] += 1
        has_ipv6 = any('IPv6' in field and 'Exporter' not in field for field in one)
        if other and (other['natEvent'], one['natEvent']) != NAT_EVENTS[has_ipv6]:
            wrong['has another natEvent'] += 1
        for field, value in by_flow.get(flow, {}).items():
            if 'NAT' in field or field.endswith(('Address', 'Port')) or field == 'protocolIdentifier':
                if one.get(field, value) != value and not (field in PORTS and one['protocolIdentifier'] in ICMP):
                    wrong['%s is not that of its flow' % field] += 1
    expect('%s: events have the ends of their flows' % name, not wrong, wrong.most_common(3))
    # One that ends is heard of at its last packet or later.
    brief = 1 + max(one['observationTimeMilliseconds'] - begun[flow]['observationTimeMilliseconds']
                    for flow, one in ended.items()) // 1000
    pflow(capture, full('events nat delay %d file ' % brief + path + '.2'))
    late = [one for one in flows(checked('file:' + path + '.2')) if one.get('natEvent') in (5, 7)]
    expect('%s: with a delay of %d s nothing that ended is told' % (name, brief), not late, late[:1])
    line = full('events nat refresh 30 tap %s flowdst 127.0.0.1:%d' % (tap, at))
    checked('udp:127.0.0.1:%d' % at, lambda: pflow(capture, line))
    if shutil.which('tshark'):
        tshark(tap, at, name + ' with events')
        words = ['tshark', '-r', tap, '-d', 'udp.port==%d,cflow' % at, '-T', 'fields', '-e', 'cflow.nat_event']
        out = subprocess.run(words, capture_output=True, text=True).stdout.replace(',', ' ').split()
        wanted = collections.Counter(str(one['natEvent']) for one in events)
        expect('%s: tshark reads each natEvent' % name, collections.Counter(out) == wanted, (collections.Counter(out), wanted))
    at = free_port(socket.SOCK_STREAM)
    line = full('events nat transport tcp flowdst 127.0.0.1:%d' % at)
    count = sum('natEvent' in one for one in flows(checked('tcp:127.0.0.1:%d' % at, lambda: pflow(capture, line))))
    expect('%s: as many events over TCP' % name, count == len(events), (count, len(events)))


def datagrams(capture, name):
    """Over UDP: ipfixcheck beside, and tshark over the tap."""
    tap, at = os.path.join(T, 'tap.pcap'), free_port(socket.SOCK_DGRAM)
    line = full('enterprise %d biflow on statistics 60 refresh 30 tap %s flowdst 127.0.0.1:%d' % (OWN, tap, at))
    if CHECK:
        checked('udp:127.0.0.1:%d' % at, lambda: pflow(capture, line))
    if shutil.which('tshark') and os.path.exists(tap):
        tshark(tap, at, name)


def tshark(tap, at, name):
    words = ['tshark', '-r', tap, '-d', 'udp.port==%d,cflow' % at]
    out = subprocess.run(words + ['-Y', '_ws.expert || _ws.malformed', '-T', 'fields', '-e', 'frame.number', '-e',
                                  '_ws.expert.message'], capture_output=True, text=True).stdout
    expect('%s: tshark finds nothing' % name, not out.strip(), out[:300])


def connection(capture):
    at = free_port(socket.SOCK_STREAM)
    words = 'enterprise %d transport tcp flowdst 127.0.0.1:%d' % (OWN, at)
    records = checked('tcp:127.0.0.1:%d' % at, lambda: pflow(capture, full(words)))
    compare('over TCP', flows(records), capture)


def spool(capture):
    """A run that reaches nobody leaves all in the spool; the next hands it on behind templates and options."""
    at, directory = free_port(socket.SOCK_STREAM), os.path.join(T, 'spool')
    os.makedirs(directory, mode=0o700, exist_ok=True)
    line = full('enterprise %d transport tcp flowdst 127.0.0.1:%d spool %s 64M' % (OWN, at, directory))
    empty = os.path.join(T, 'empty.pcap')
    with open(capture, 'rb') as f, open(empty, 'wb') as out:
        out.write(f.read(24))
    subprocess.run([PFLOW, '-a', '-r', capture, '-e', 'ifindex auto', '-e', line], capture_output=True)
    records = checked('tcp:127.0.0.1:%d' % at, lambda: subprocess.run([PFLOW, '-a', '-r', empty, '-e', line],
                                                                      capture_output=True))
    compare('from the spool of an earlier run', flows(records), capture)
    names = [one for one in records if one['_template'] == 401]
    expect('the spool tells names of interfaces', bool(names))


def columns(capture, name):
    rows = list(csv.DictReader(io.StringIO(printed(capture, 'csv'))))
    objects = [json.loads(line) for line in printed(capture, 'json').splitlines()]
    text = lambda value: str(value).lower() if isinstance(value, bool) else str(value)
    is_same = len(rows) == len(objects) and all(
        {k: v for k, v in row.items() if v != ''} == {k: text(v) for k, v in one.items()} for row, one in zip(rows, objects))
    expect('%s: csv has what json has' % name, is_same)


def check_table():
    """The table of fields by readers is printed, and is that of docs/readers.md."""
    readers = ['ipfixDump', 'python-ipfix', 'netflow_parser', 'NetGauze', 'nfdump', 'nfacctd']
    lines = ['| field | %s |' % ' | '.join(readers), '|---|' + '---|' * len(readers)]
    for field, known in table.items():
        lines.append('| %s | %s |' % (field, ' | '.join('yes' if known.get(one) else '' for one in readers)))
    print('\n' + '\n'.join(lines))
    missing = [one for one in readers if not any(known.get(one) for known in table.values())]
    if missing:
        print('SKIPPED: docs/readers.md is not compared without %s' % ', '.join(missing))
        return
    with open(os.path.join(DATA, '..', 'docs', 'readers.md')) as f:
        told = [line.rstrip('\n') for line in f] + ['']
    begin = told.index(lines[0]) if lines[0] in told else 0
    told = told[begin:begin + len(lines) + 1]
    # Which fields are there is the same in any order.
    is_same = sorted(told[:-1]) == sorted(lines) and not told[-1].startswith('|')
    expect("the table of docs/readers.md is this one", is_same, sorted(set(told[:-1]) ^ set(lines))[:5])


def main():
    captures = [os.path.join(DATA, one) for one in ('mix200.openbsd-v6.pcap', 'mix200.freebsd-1500.pcap')]
    for capture in captures:
        name = os.path.basename(capture)
        columns(capture, name)
        readers_of_files(capture, name)
        if CHECK:
            biflows(capture, name)
            nat_events(capture, name)
        datagrams(capture, name)
    main_capture = captures[0]
    if shutil.which('cargo'):
        directory = built()
        netflow_parser(directory, main_capture, 'mix200')
        netgauze(directory, main_capture, 'mix200')
    if shutil.which('nfcapd'):
        nfcapd(main_capture, 'mix200')
    if shutil.which('nfacctd'):
        nfacctd(main_capture, 'mix200')
    if CHECK:
        connection(main_capture)
        spool(main_capture)
    check_table()


try:
    main()
finally:
    shutil.rmtree(T, ignore_errors=True)
print('%d problems' % len(problems))
sys.exit(1 if problems else 0)
