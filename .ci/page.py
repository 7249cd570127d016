#!/usr/bin/env python3
"""The page of -o html in a real browser: what it shows is what -o json says, sorting and filtering do so, in light and
dark, wide and narrow, with 100 000 rows, and nothing is asked of the network.

usage: page.py pflow testdata [pfsim] [--save directory]      with pfsim: also 100 000 rows; --save docs/img
                                                              writes the screenshots that the documentation has

Chromium is spoken to by its DevTools protocol over two pipes. Where there is none, or it does not start, one line says
that this was skipped.
"""
import base64, csv, io, json, os, shutil, sqlite3, subprocess, sys, tempfile, time

SAVE = sys.argv[sys.argv.index('--save') + 1] if '--save' in sys.argv else None
WORDS = [word for word in sys.argv[1:] if word not in ('--save', SAVE)]
PFLOW, TESTDATA = os.path.abspath(WORDS[0]), WORDS[1]
PFSIM = os.path.abspath(WORDS[2]) if len(WORDS) > 2 else None
CAPTURE = 'mix200.openbsd-v6.pcap'
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
MOST_OCTETS = 150_000  # of a screenshot


def skip(why):
    print('SKIPPED: the page of -o html in a browser: ' + why)
    sys.exit(0)


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, profile):
        down, to_browser = os.pipe()
        from_browser, up = os.pipe()

        def pipes():  # 3 is read by the browser, 4 written
            reading, writing = os.dup(down), os.dup(up)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, '--headless=new', '--no-sandbox', '--remote-debugging-pipe', '--disable-gpu', '--hide-scrollbars',
             '--no-first-run', '--disable-background-networking', '--disable-component-update',
             '--force-device-scale-factor=1', '--user-data-dir=' + profile, 'about:blank'],
            preexec_fn=pipes, close_fds=False, env=dict(os.environ, TZ='UTC', LANG='C.UTF-8'),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(down)
        os.close(up)
        os.set_blocking(from_browser, False)
        self.to, self.source, self.rest, self.number, self.session = to_browser, from_browser, b'', 0, None
        self.requests, self.problems = [], []
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in 'Page', 'Runtime', 'Network', 'Log':
            self.call(domain + '.enable')

    def call(self, method, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for answer in self.read():
                if answer.get('id') == self.number:
                    if 'error' in answer:
                        raise RuntimeError('%s: %s' % (method, answer['error']))
                    return answer['result']
                self.note(answer)
        raise TimeoutError(method)

    def read(self):
        try:
            piece = os.read(self.source, 1 << 20)
        except BlockingIOError:
            time.sleep(0.005)
            return []
        if not piece:
            raise EOFError('the browser went away')
        *whole, self.rest = (self.rest + piece).split(b'\0')
        return [json.loads(one) for one in whole]

    def note(self, event):
        params = event.get('params', {})
        if event.get('method') == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif event.get('method') == 'Runtime.exceptionThrown':
            self.problems.append(json.dumps(params['exceptionDetails'])[:600])
        elif event.get('method') == 'Log.entryAdded':
            self.problems.append(params['entry']['text'])

    def do(self, script):
        outcome = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in outcome, outcome
        return outcome['result'].get('value')

    def open(self, path, width=1400, height=1000, scheme='light'):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        self.call('Page.navigate', url='file://' + path)
        self.wait('document.documentElement?.dataset.ready === "yes"')

    def wait(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not self.do(condition):
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def click(self, selector):
        self.do('document.querySelector(%r).scrollIntoView({block: "center"})' % selector)
        x, y = self.do('(b => [b.x + b.width / 2, b.y + b.height / 2])'
                       '(document.querySelector(%r).getBoundingClientRect())' % selector)
        for kind in 'mousePressed', 'mouseReleased':
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def key(self, key, text=None):
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key, **({'text': text} if text else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key)

    def type(self, text):
        self.call('Input.insertText', text=text)

    def picture(self):
        return base64.b64decode(self.call('Page.captureScreenshot', format='png')['data'])

    def rows(self):
        """The rows that are there, as texts of their cells."""
        return self.do('[...document.querySelectorAll("#flows tbody tr:not(.space)")]'
                       '.map(row => [...row.cells].map(cell => cell.textContent))')

    def found(self):
        """How many flows the page says there are."""
        return int(self.do('document.getElementById("found").textContent.replace(/[^0-9 ].*/, "").replace(/\\u202f/g, "")'))

    def close(self):
        try:
            self.session = None
            self.call('Browser.close')
        except (OSError, EOFError, RuntimeError):
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def report(capture, path, *more):
    with open(path, 'wb') as f:
        subprocess.run([PFLOW, '-a', '-o', 'html', *more, '-r', capture], stdout=f, stderr=subprocess.DEVNULL, check=True)
    return path


def records(capture):
    run = subprocess.run([PFLOW, '-a', '-o', 'json', '-r', capture], capture_output=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def data_of(path):
    text = open(path).read()
    return json.loads(text.split('id="data">', 1)[1].split('</script>', 1)[0])


def check_csv():
    """Python's csv and SQLite read what -o csv prints as what -o json does."""
    capture = os.path.join(TESTDATA, CAPTURE)
    text = subprocess.run([PFLOW, '-a', '-o', 'csv', '-r', capture], capture_output=True, check=True).stdout.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=''), strict=True))
    plain = [{name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in one.items()}
             for one in records(capture)]
    assert [{name: value for name, value in row.items() if value != ''} for row in rows] == plain
    with sqlite3.connect(':memory:') as base:
        names = list(rows[0])
        base.execute('create table flows (%s)' % ', '.join('"%s"' % name for name in names))
        base.executemany('insert into flows values (%s)' % ','.join('?' * len(names)), [list(row.values()) for row in rows])
        octets, = base.execute('select sum(cast(octetDeltaCount as integer)) from flows').fetchone()
    assert octets == sum(one['octetDeltaCount'] for one in records(capture))
    print('csv: %d records as in json, by csv and SQLite' % len(rows))


def contrast(browser):
    """The least contrast of the colours of text with what is behind them (WCAG 2)."""
    return browser.do('''(() => {
      const light = name => {
        const canvas = document.createElement('canvas').getContext('2d');
        canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
          .map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return Math.min(...['--text', '--dim', '--q0', '--q1', '--q2'].flatMap(name =>
        ['--bg', '--box'].map(back => ratio(light(name), light(back)))));
    })()''')


def check_small(browser, directory):
    capture = os.path.join(TESTDATA, CAPTURE)
    path = report(capture, os.path.join(directory, 'report.html'))
    flows = records(capture)
    octets = sum(one['octetDeltaCount'] for one in flows)
    data = data_of(path)
    assert data['octets'] == octets and data['records'] == len(flows), (data['octets'], octets)
    assert sum(sum(one['octets']) for one in data['protocols']) == octets
    assert sum(map(sum, data['chart']['series'])) + data['chart']['before'] == octets
    assert sum(row[9] + row[10] for row in data['rows']) == octets

    pictures = {}
    for scheme in 'light', 'dark':
        for width in 1400, 800:
            browser.open(path, width, 1000, scheme)
            assert browser.found() == data['flows']
            assert contrast(browser) >= 4.5, (scheme, contrast(browser))
            assert browser.do('document.querySelector("#chart canvas").width') > width / 2
            wide = browser.do('document.documentElement.scrollWidth')
            assert wide <= width, '%d pixels at %d' % (wide, width)
            pictures[scheme, width] = browser.picture()
    assert pictures['light', 1400] != pictures['dark', 1400]

    browser.open(path)
    largest = max(row[9] + row[10] for row in data['rows'])
    assert browser.do('document.querySelector("#flows td:nth-child(7)").title.replace(/\\D/g, "")') == str(largest)
    # Sorting, both ways, by a click and by the keyboard.
    first = browser.rows()[0]
    browser.click('#flows th:nth-child(1) button')
    rows = [row[0] for row in browser.rows()]
    assert rows == sorted(rows) and browser.rows()[0] != first, rows
    browser.key('Enter', '\r')
    rows = [row[0] for row in browser.rows()]
    assert rows == sorted(rows, reverse=True) and len(set(rows)) > 1, rows
    assert browser.do('document.querySelector("#flows th").getAttribute("aria-sort")') == 'descending'
    # Filtering: / goes to the filter.
    browser.key('/', '/')
    assert browser.do('document.activeElement.id') == 'filter'
    browser.type('udp')
    udp = sum(row[2] == 'udp' for row in data['rows'])
    browser.wait('document.getElementById("found").textContent.startsWith("%d ")' % udp)
    assert {row[2] for row in browser.rows()} == {'udp'} and 0 < udp < data['flows']
    host = data['tops'][0]['rows'][0][0]
    browser.key('Escape')
    assert browser.found() == data['flows']
    # A click on the host with most octets shows its flows.
    browser.click('#tops .card li button')
    wanted = sum(host in (row[4], row[6]) for row in data['rows'])
    browser.wait('document.getElementById("found").textContent.startsWith("%d ")' % wanted)
    assert all(any(cell.startswith(host) for cell in row[3:5]) for row in browser.rows())
    # Light and dark by the button, whatever the system says.
    background = 'getComputedStyle(document.body).backgroundColor'
    seen = []
    for _ in range(3):
        seen.append((browser.do('document.getElementById("theme").textContent'), browser.do(background)))
        browser.click('#theme')
    assert len({color for _, color in seen}) == 2 and len({name for name, _ in seen}) == 3, seen
    return pictures


def check_large(browser, directory):
    capture = os.path.join(directory, 'large.pcap')
    subprocess.run([PFSIM, '-n', '130000', '-w', capture], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    path = report(capture, os.path.join(directory, 'large.html'), '-e', 'flush active')
    data = data_of(path)
    assert len(data['rows']) == 100_000 and data['left_out'][0] == data['flows'] - 100_000 > 0
    begun = time.monotonic()
    browser.open(path)
    opened = time.monotonic() - begun
    assert browser.do('document.querySelectorAll("#flows tr").length') < 100
    assert 'more' in browser.do('document.getElementById("kept").textContent')
    spent = {}
    for name, script in [
            ('sort', 'document.querySelector("#flows th:nth-child(4) button").click()'),
            ('filter', '(filter => { filter.value = "udp"; document.getElementById("search").requestSubmit(); })(document.getElementById("filter"))')]:
        spent[name] = browser.do('(() => { const begun = performance.now(); %s; return performance.now() - begun; })()' % script)
    assert all(row[2] == 'udp' for row in browser.rows())
    # The last row can be reached.
    browser.do('document.getElementById("flows").scrollTop = 1e9')
    browser.wait('[...document.querySelectorAll("#flows tbody tr")].some(row => row.getAttribute("aria-rowindex") =='
                 ' document.querySelector("#flows table").getAttribute("aria-rowcount"))')
    print('100 000 rows: %.1f MB, opened in %.1f s, sorted in %.0f ms, filtered in %.0f ms'
          % (os.path.getsize(path) / 1e6, opened, spent['sort'], spent['filter']))
    assert opened < 20 and max(spent.values()) < 5000


def main():
    check_csv()
    if not CHROMIUM:
        skip('no chromium')
    with tempfile.TemporaryDirectory() as directory:
        try:
            browser = Browser(os.path.join(directory, 'profile'))
        except (OSError, EOFError, TimeoutError, RuntimeError) as error:
            skip('chromium does not start: %s' % error)
        try:
            pictures = check_small(browser, directory)
            if PFSIM:
                check_large(browser, directory)
            outside = [url for url in browser.requests if not url.startswith(('file://' + directory, 'data:', 'about:'))]
            assert not outside, outside
            assert not browser.problems, browser.problems
        finally:
            browser.close()
    for (scheme, width), picture in pictures.items():
        if width == 1400:
            assert len(picture) < MOST_OCTETS, '%s: %d octets' % (scheme, len(picture))
            if SAVE:
                with open(os.path.join(SAVE, 'report-%s.png' % scheme), 'wb') as f:
                    f.write(picture)
    print('the page: %d screenshots, sorted, filtered, light and dark; nothing asked of the network' % len(pictures))


main()
