(() => {
'use strict';
// Everything off the wire goes into the page as text, never as markup.
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const QUALITIES = ['exact', 'estimated', 'partial'];
const ENDS = ['', 'timeout', 'active', 'ended', 'cleared', 'evicted'];
const ROW = 24; // height of a row in pixels, as in the style sheet

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

// 12.3M, cut and not rounded, as in the text.
function short(number) {
  if (number < 10000) return String(number);
  let unit = 1000, letter = 0;
  while (number / unit >= 1000) { unit *= 1000; letter++; }
  const value = number / unit;
  return (value < 100 ? (Math.floor(value * 10) / 10).toFixed(1) : String(Math.floor(value))) + 'kMGTPE'[letter];
}
const full = number => number.toLocaleString('en-US').replace(/,/g, '\u202f');
const percent = (part, all) => all && part ? (Math.floor(part * 1000 / all) / 10).toFixed(1) + '\u202f%' : '';

function span(seconds) {
  const days = Math.floor(seconds / 86400), two = n => String(n).padStart(2, '0');
  const clock = two(Math.floor(seconds / 3600) % 24) + ':' + two(Math.floor(seconds / 60) % 60) + ':' + two(seconds % 60);
  return days ? days + 'd ' + clock : clock;
}

// What a person chose is kept if the browser keeps anything for files.
function kept(key, value) {
  try {
    if (value !== undefined) localStorage.setItem('pflow-' + key, value);
    return localStorage.getItem('pflow-' + key);
  } catch { return value; }
}

let isUtc = kept('zone') === 'UTC';
function time(seconds, withSeconds = true) {
  const date = new Date(seconds * 1000), two = n => String(n).padStart(2, '0');
  if (isNaN(date)) return String(seconds);
  const [y, mo, d, h, mi, s] = isUtc
    ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getFullYear(), date.getMonth(), date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  return y + '-' + two(mo + 1) + '-' + two(d) + ' ' + two(h) + ':' + two(mi) + (withSeconds ? ':' + two(s) : '');
}
const zoneName = () => isUtc ? 'UTC' : Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time';

function totals() {
  document.title = data.title ? data.title + ' - pflow' : 'pflow';
  $('title').textContent = data.title || 'pflow';
  $('span').textContent = data.flows
    ? time(data.begin) + ' to ' + time(data.end) + ' ' + zoneName() + ', ' + span(data.end - data.begin)
    : 'No flows.';
  const list = $('totals');
  list.replaceChildren();
  for (const [name, number] of [['flows', data.flows], ['records', data.records], ['packets', data.packets], ['octets', data.octets]]) {
    const box = make('div');
    const value = make('dd', short(number));
    value.title = full(number);
    box.append(make('dt', name), value);
    list.append(box);
  }
  const body = document.querySelector('#quality tbody');
  body.replaceChildren();
  for (const protocol of data.protocols) {
    const octets = protocol.octets.reduce((a, b) => a + b, 0), flows = protocol.flows.reduce((a, b) => a + b, 0);
    const row = make('tr'), bar = make('div', undefined, 'bar'), cell = make('td');
    protocol.octets.forEach((part, quality) => {
      const piece = make('i', undefined, 'q' + quality);
      piece.style.width = (octets ? 100 * part / octets : 0) + '%';
      bar.append(piece);
    });
    bar.title = QUALITIES.map((name, q) => name + ': ' + full(protocol.flows[q]) + ' flows, ' + full(protocol.octets[q]) + ' octets').join('\n');
    cell.append(bar);
    row.append(make('td', protocol.name), make('td', full(flows), 'n'), make('td', short(protocol.packets), 'n'), make('td', short(octets), 'n'), cell);
    protocol.octets.forEach((part, quality) => row.append(make('td', percent(part, octets) || '\u2013', 'n q' + quality)));
    body.append(row);
  }
  $('made').textContent = 'Made by ' + data.program + '. This file is complete in itself and asks the network for nothing. The chart is drawn by uPlot (MIT licence).';
}

let plot;
function chart() {
  const {start, step, series, before} = data.chart;
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shown = data.protocols.map((protocol, n) => [n, protocol.name]).filter(([n]) => series[n].some(value => value));
  if (plot) { plot.destroy(); plot = undefined; }
  const notes = ['Each flow is spread evenly over its time; a step is ' + (step < 60 ? step + ' s' : span(step)) + '.'];
  if (before) notes.push(full(before) + ' octets are of flows that began before the capture, and are told to have passed before it: they are not in the chart.');
  $('chart-note').textContent = notes.join(' ');
  if (!shown.length) { $('chart').textContent = 'There is nothing to draw.'; return; }
  const xs = series[0].map((_, n) => start + n * step);
  // Stacked: each line is the sum of those below it, and the topmost is drawn first.
  const sums = [];
  shown.forEach(([n], at) => sums.push(series[n].map((value, x) => value * 8 / step + (at ? sums[at - 1][x] : 0))));
  const rate = value => value == null ? '' : short(Math.floor(value)).replace(/([a-zA-Z]?)$/, '\u202f$1bit/s');
  const lines = shown.map(([n, name], at) => ({
    label: name, fill: () => color('--p' + n), stroke: () => color('--p' + n), width: 1, points: {show: false},
    paths: uPlot.paths.stepped({align: 1}),
    value: (_, value, index, x) => x == null ? '' : rate(series[n][x] * 8 / step),
    sums: sums[at],
  })).reverse();
  const axis = {stroke: () => color('--dim'), grid: {stroke: () => color('--line'), width: 1}, ticks: {stroke: () => color('--line')}};
  const wanted = {
    width: $('chart').clientWidth, height: 300,
    tzDate: stamp => isUtc ? uPlot.tzDate(new Date(stamp * 1000), 'Etc/UTC') : new Date(stamp * 1000),
    scales: {y: {range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1]}},
    series: [{label: 'time', value: (_, x) => x == null ? '' : time(x)}, ...lines],
    axes: [{...axis, space: 90, values: [
      [86400, '{YYYY}-{MM}-{DD}', null, null, null, null, null, null, 1],
      [60, '{HH}:{mm}', '\n{YYYY}-{MM}-{DD}', null, '\n{YYYY}-{MM}-{DD}', null, null, null, 1],
      [1, '{HH}:{mm}:{ss}', '\n{YYYY}-{MM}-{DD}', null, '\n{YYYY}-{MM}-{DD}', null, null, null, 1]]},
      {...axis, size: 80, values: (_, values) => values.map(rate)}],
    cursor: {drag: {x: true, y: false}},
  };
  plot = new uPlot(wanted, [xs, ...lines.map(line => line.sums)], $('chart'));
}

function search(words) {
  $('filter').value = words;
  refilter();
  $('search').scrollIntoView({block: 'nearest'});
  $('filter').focus();
}

function card(name, lines, most, note) {
  const box = make('div', undefined, 'card'), list = make('ol');
  box.append(make('h3', name));
  for (const [label, number, title, words] of lines) {
    const item = make('li'), bar = make('i'), button = make('button', label);
    button.type = 'button';
    button.title = title;
    button.addEventListener('click', () => search(words));
    bar.style.width = (most ? 100 * number[0] / most : 0) + '%';
    item.append(bar, button, make('span', number[1]));
    list.append(item);
  }
  box.append(list);
  if (!lines.length) box.append(make('p', 'None.'));
  if (note) box.append(make('p', note));
  return box;
}

function cards() {
  const tops = $('tops');
  tops.replaceChildren();
  for (const top of data.tops) {
    const lines = top.rows.map(([key, flows, packets, octets, exact]) => [key,
      [octets, short(octets) + '\u2002' + percent(octets, data.octets)],
      full(flows) + ' flows, ' + full(packets) + ' packets, ' + full(octets) + ' octets, ' + percent(exact, octets) + ' exact',
      top.prefix + key]);
    const notes = [];
    if (top.others[0]) notes.push(full(top.others[0]) + ' others: ' + short(top.others[1]));
    if (top.keyless) notes.push((top.name === 'Addresses after translation' ? 'not translated: ' : 'not told: ') + short(top.keyless));
    if (top.lacking) notes.push('a line may lack ' + short(top.lacking));
    tops.append(card(top.name, lines, lines.length ? lines[0][1][0] : 0, notes.join('; ')));
  }
  const both = row => row[4] + ' > ' + row[6];
  const words = row => '=' + end(row[4], row[5]) + ' =' + end(row[6], row[7]);
  const whole = row => time(row[0]) + ', ' + span(row[1]) + ', ' + full(row[9] + row[10]) + ' octets';
  const largest = data.rows.slice(0, 10), longest = data.longest;
  $('extremes').replaceChildren(
    card('Largest flows', largest.map(row => [row[2] + ' ' + both(row), [row[9] + row[10], short(row[9] + row[10])], whole(row), words(row)]), largest.length ? largest[0][9] + largest[0][10] : 0),
    card('Longest flows', longest.map(row => [row[2] + ' ' + both(row), [row[1], span(row[1])], whole(row), words(row)]), longest.length ? longest[0][1] : 0));
}

// A row: 0 begin, 1 seconds, 2 protocol, 3 direction, 4 initiator, 5 its port, 6 responder, 7 its port, 8 after translation,
// 9 octets, 10 octets back, 11 packets, 12 packets back, 13 interface, 14 rule, 15 firewall, 16 quality, 17 end.
const end = (address, port) => !port ? address : address.includes(':') ? address + '[' + port + ']' : address + ':' + port;
const total = row => row[9] + row[10];
const COLUMNS = [
  ['Begin', 158, row => time(row[0]), row => row[0]],
  ['Seconds', 70, row => row[1], row => row[1], 1],
  ['Protocol', 66, row => row[2], row => row[2]],
  ['Initiator', 158, row => end(row[4], row[5]), row => end(row[4], row[5])],
  ['Responder', 158, row => end(row[6], row[7]), row => end(row[6], row[7])],
  ['Translated', 158, row => row[8], row => row[8]],
  ['Octets', 76, row => short(total(row)), total, 1],
  ['Back', 64, row => short(row[10]), row => row[10], 1],
  ['Packets', 68, row => short(row[11] + row[12]), row => row[11] + row[12], 1],
  ['Interface', 74, row => row[13], row => row[13]],
  ['Rule', 46, row => row[14], row => /^\d+$/.test(row[14]) ? Number(row[14]) : row[14]],
  ['Firewall', 98, row => row[15], row => row[15]],
  ['Counters', 76, row => QUALITIES[row[16]], row => row[16]],
  ['End', 66, row => ENDS[row[17]], row => row[17]],
];
let order = [6, -1], view = data.rows.map((_, n) => n);
const texts = [];
const textOf = n => texts[n] ??= (row => (' ' + [row[2], row[3], row[4], end(row[4], row[5]), row[6], end(row[6], row[7]),
  ':' + row[7] + '/' + row[2], row[8], row[13], 'rule:' + row[14], row[15], QUALITIES[row[16]], ENDS[row[17]]].join(' ') + ' ').toLowerCase())(data.rows[n]);
const has = (text, word) => text.includes(word[0] === '=' ? ' ' + word.slice(1) + ' ' : word);

function sort() {
  const [column, sign] = order;
  const keys = data.rows.map(COLUMNS[column][3]);
  const collator = new Intl.Collator('en', {numeric: true});
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(a, b);
  view.sort((a, b) => sign * compare(keys[a], keys[b]) || a - b);
}

function refilter() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(word => /[^=-]/.test(word));
  const wanted = words.filter(word => word[0] !== '-'), unwanted = words.filter(word => word[0] === '-').map(word => word.slice(1));
  view = [];
  let octets = 0;
  data.rows.forEach((row, n) => {
    const text = words.length ? textOf(n) : '';
    if (wanted.every(word => has(text, word)) && !unwanted.some(word => has(text, word))) {
      view.push(n);
      octets += total(row);
    }
  });
  $('found').textContent = full(view.length) + (words.length ? ' of ' + full(data.rows.length) : '') + ' flows, ' + short(octets) + ' octets';
  sort();
  $('flows').scrollTop = 0;
  draw(true);
}

let drawn = '';
function draw(isNew) {
  const box = $('flows'), body = box.querySelector('tbody');
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 10) & ~1;
  const last = Math.min(view.length, first + Math.ceil(box.clientHeight / ROW) + 22);
  const now = first + ' ' + last;
  if (!isNew && now === drawn) return;
  drawn = now;
  const space = rows => {
    const row = make('tr', undefined, 'space'), cell = make('td');
    row.setAttribute('aria-hidden', 'true');
    cell.colSpan = COLUMNS.length;
    cell.style.height = rows * ROW + 'px';
    row.append(cell);
    return row;
  };
  const rows = [space(first)];
  for (let at = first; at < last; at++) {
    const data_row = data.rows[view[at]], row = make('tr');
    row.setAttribute('aria-rowindex', at + 2);
    COLUMNS.forEach(([name, , show, , isNumber]) => {
      const text = show(data_row);
      const cell = make('td', text, isNumber ? 'n' : name === 'Counters' ? 'q' + data_row[16] : '');
      if (!isNumber) cell.title = text;
      row.append(cell);
    });
    row.cells[6].title = full(total(data_row));
    rows.push(row);
  }
  rows.push(space(view.length - last));
  body.replaceChildren(...rows);
  box.querySelector('table').setAttribute('aria-rowcount', view.length + 1);
}

function head() {
  const row = document.querySelector('#flows thead tr'), widths = document.querySelector('#flows colgroup');
  COLUMNS.forEach(([name, width, , , isNumber], column) => {
    const cell = make('th', undefined, isNumber ? 'n' : ''), button = make('button', name), col = make('col');
    cell.scope = 'col';
    button.type = 'button';
    button.addEventListener('click', () => {
      order = order[0] === column ? [column, -order[1]] : [column, isNumber ? -1 : 1];
      sort();
      $('flows').scrollTop = 0;
      marks();
      draw(true);
    });
    col.style.width = width + 'px';
    cell.append(button);
    row.append(cell);
    widths.append(col);
  });
  marks();
}

function marks() {
  document.querySelectorAll('#flows th').forEach((cell, column) => {
    const isSorted = order[0] === column;
    cell.setAttribute('aria-sort', isSorted ? (order[1] < 0 ? 'descending' : 'ascending') : 'none');
    cell.firstChild.textContent = COLUMNS[column][0] + (isSorted ? (order[1] < 0 ? ' \u25bc' : ' \u25b2') : '');
  });
}

const THEMES = ['system', 'light', 'dark'];
function theme(name) {
  if (name === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $('theme').textContent = 'Colours: ' + name;
  if (plot) plot.redraw(false);
}
let themed = THEMES.includes(kept('theme')) ? kept('theme') : 'system';
$('theme').addEventListener('click', () => {
  themed = THEMES[(THEMES.indexOf(themed) + 1) % THEMES.length];
  kept('theme', themed);
  theme(themed);
});

function zone() {
  $('zone').textContent = 'Times: ' + (isUtc ? 'UTC' : 'local');
  totals();
  chart();
  cards();
  draw(true);
}
$('zone').addEventListener('click', () => {
  isUtc = !isUtc;
  kept('zone', isUtc ? 'UTC' : 'local');
  zone();
});

let waits;
$('filter').addEventListener('input', () => { clearTimeout(waits); waits = setTimeout(refilter, data.rows.length > 20000 ? 200 : 0); });
$('search').addEventListener('submit', event => { event.preventDefault(); refilter(); });
$('flows').addEventListener('scroll', () => requestAnimationFrame(() => draw(false)), {passive: true});
document.addEventListener('keydown', event => {
  if (event.key === '/' && document.activeElement !== $('filter') && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $('filter').focus();
    $('filter').select();
  } else if (event.key === 'Escape' && document.activeElement === $('filter')) {
    search('');
  }
});
addEventListener('resize', () => { if (plot) plot.setSize({width: $('chart').clientWidth, height: 300}); draw(true); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plot && plot.redraw(false));

$('kept').textContent = data.left_out[0]
  ? 'Here are the ' + full(data.rows.length) + ' flows with most octets; ' + full(data.left_out[0]) + ' more, of ' + full(data.left_out[1]) + ' octets, are in the sums above only.'
  : '';
theme(themed);
head();
zone();
refilter();
document.documentElement.dataset.ready = 'yes';
})();
