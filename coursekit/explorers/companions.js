// The companions: a trained network with batch norm reads one digit, and what it says depends on
// the other digits of the batch. The whole network is computed here, as in companions.py.
// Plain module in anywidget's format.
import { calm, keeper, line, minus, onWidth, ownKeys, random, remembered, scale, signed, stage, text } from "./kit.js";
export default { render };

const EPS = 1e-5, MIXED = 10;
const flat = layer => ({ ...layer, n: layer.w.length, m: layer.w[0].length, W: Float64Array.from(layer.w.flat()) });
export const prepared = net => ({ hidden: net.hidden.map(flat), out: flat({ w: net.w, b: net.b }) });

// Products (rows x units) of a batch of rows with a layer's weights.
function times(h, rows, { W, n, m }) {
  const z = new Float64Array(rows * n);
  for (let i = 0; i < rows; i++) for (let k = 0; k < n; k++) {
    let s = 0;
    for (let j = 0; j < m; j++) s += W[k * m + j] * h[i * m + j];
    z[i * n + k] = s;
  }
  return z;
}
// Mean and spread per unit: of the batch, or stored in training.
export function statistics(z, rows, layer, stored) {
  const mean = new Float64Array(layer.n), spread = new Float64Array(layer.n);
  for (let k = 0; k < layer.n; k++) {
    let m = layer.mean[k], v = layer.var[k];
    if (!stored) {
      m = 0; v = 0;
      for (let i = 0; i < rows; i++) m += z[i * layer.n + k] / rows;
      for (let i = 0; i < rows; i++) v += (z[i * layer.n + k] - m) ** 2 / rows;
    }
    mean[k] = m; spread[k] = Math.sqrt(v + EPS);
  }
  return { mean, spread };
}
function normalized(z, rows, layer, { mean, spread }) {
  const h = new Float64Array(z.length);
  for (let i = 0, at = 0; i < rows; i++) for (let k = 0; k < layer.n; k++, at++) h[at] = Math.max(0, layer.gain[k] * (z[at] - mean[k]) / spread[k] + layer.shift[k]);
  return h;
}
// Probabilities of the first example of a batch, given the first layer's products (rows x units).
export function read(net, first, rows, stored) {
  const [one, two] = net.hidden, s = statistics(first, rows, one, stored);
  const z = times(normalized(first, rows, one, s), rows, two);
  const h = normalized(z, rows, two, statistics(z, rows, two, stored));
  const logits = [...times(h, 1, net.out)].map((v, c) => v + net.out.b[c]), top = Math.max(...logits), e = logits.map(v => Math.exp(v - top)), sum = e.reduce((a, b) => a + b);
  return { p: e.map(v => v / sum), mean: s.mean, spread: s.spread };
}
// Rows of a batch: the digit, then its companions; a larger batch keeps those of a smaller one.
export function company(kinds, own, kind, size, draw) {
  const others = [], rand = random(draw);
  kinds.forEach((c, i) => { if (i !== own && (kind === MIXED || c === kind)) others.push(i); });
  for (let i = 0; i < size - 1; i++) { const j = i + Math.floor((others.length - i) * rand()); [others[i], others[j]] = [others[j], others[i]]; }
  return [own, ...others.slice(0, size - 1)];
}
// First products of the whole pool, once; a batch picks its rows.
export const products = (net, pixels, n) => times(pixels, n, net.hidden[0]);
export function batch(all, rows, n) { const z = new Float64Array(rows.length * n); rows.forEach((r, i) => z.set(all.subarray(r * n, r * n + n), i * n)); return z; }
// Wilson's 95 % interval of a share.
export function wilson(k, n) { const z = 1.96, p = k / n, c = (p + z * z / (2 * n)) / (1 + z * z / n), h = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n); return [Math.max(0, c - h), Math.min(1, c + h)]; }

const CSS = `<style>
.comp .top{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:.5em .8em;align-items:end}
.comp .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em;margin-right:.8em}
.comp .dial input{grid-column:1/3}.comp .dial output{font-size:1.75em;line-height:1}
.comp .row{display:flex;flex-wrap:wrap;gap:.35em 2em;margin:.35em 0 0}
.comp .row fieldset{display:flex;flex-wrap:wrap;gap:.2em .85em;align-items:baseline}.comp .row legend{float:left;min-width:6.6em}
.comp .plot{min-width:0}.comp .plot svg{width:100%}
.comp .watch{display:flex;gap:.8em;align-items:center;max-width:26em;margin:.3em 0 0}.comp .watch label{white-space:nowrap}.comp .watch input{flex:1}.comp .watch output{min-width:1.4em}
.comp button{white-space:nowrap}
.comp .say{min-height:3.1em}
.comp .bar,.comp .move,.comp .fan{transition:all .25s}
@container (max-width:560px){.comp .top{grid-template-columns:auto auto 1fr}.comp .dial{grid-column:1/4;margin:0}.comp .say{min-height:7.4em}.comp .top{column-gap:.4em}.comp button{padding:.3em .5em}.comp .row legend{min-width:0;margin-right:.3em}}
@media print{.comp .say{min-height:0}}
</style>`;
const percent = p => (p > 0.995 && p < 1 ? "over 99" : p < 0.005 && p > 0 ? "under 1" : `${Math.round(100 * p)}`);
const two = v => minus(v.toFixed(2));

export function render({ model, el }) {
  const data = model.get("data"), net = prepared(data.net), [one] = net.hidden, n = one.n;
  const pixels = Float64Array.from(data.pixels, v => parseInt(v, 17) / 16), P = pixels.length / 64;
  const kinds = Array.from({ length: P }, (_, i) => Math.floor(i / data.of_each)), all1 = products(net, pixels, P);
  const sizes = [2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 64], MOST = data.draws;
  const state = remembered(model), whole = (v, a, b) => Number.isInteger(v) && v >= a && v <= b;
  if (!sizes.includes(state.size)) state.size = 10;
  if (!whole(state.company, 0, 10)) state.company = MIXED;
  if (!whole(state.stored, 0, 1)) state.stored = 0;
  if (!whole(state.draw, 1, MOST)) state.draw = 1;
  if (!whole(state.digit, 0, 9)) state.digit = 4;
  if (!whole(state.unit, 1, n)) state.unit = 1;
  const id = "c" + Math.random().toString(36).slice(2, 8);
  const choice = (name, value, word) => `<label><input type="radio" name="${id}${name}" value="${value}">${word}</label>`;

  const root = stage(el, "Explorer: a digit and its companions", `${CSS}<div class="comp">
  <div class="top"><div class="dial"><label class="name" for="${id}s">Batch size</label><output for="${id}s"></output><input id="${id}s" class="size" type="range" min="0" max="${sizes.length - 1}" step="1"></div>
  <button type="button" class="main new">Other companions</button><button type="button" class="many">${MOST} companies</button></div>
  <div class="row"><fieldset class="company"><legend>Companions</legend>${choice("k", 10, "of all kinds")}${kinds.slice(0, 10).map((_, d) => choice("k", d, d)).join("")}</fieldset>
  <fieldset class="digit"><legend>Asked about</legend>${Array.from({ length: 10 }, (_, d) => choice("d", d, d)).join("")}</fieldset></div>
  <div class="row"><fieldset class="stored"><legend>Normalize by</legend>${choice("m", 0, "this batch, as in training")}${choice("m", 1, "what training stored")}</fieldset></div>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <div class="watch"><label for="${id}u">Watched unit</label><input id="${id}u" class="which" type="range" min="1" max="${n}" step="1"><output for="${id}u"></output></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the ten classes"></div></details>
  <details class="origin"><summary>What was trained, and what is drawn</summary><p class="small">${data.recipe}. With stored statistics it reads ${data.right} of ${data.n_test} test digits correctly. Versions: ${data.versions}; ${data.date}.
  Its weights never change here. A company is drawn without replacement; a larger batch keeps the companions of a smaller one. Below, the upper line is what the watched unit of the first hidden layer receives from each digit of the batch, the lower line the same after normalization: the mean goes to 0, one standard deviation to each side to −1 and +1. Gain and shift, a ReLU, and a second such layer follow. Small dots and ticks are the companies drawn so far. The interval of a share over companies is Wilson’s, 95&nbsp;%; it speaks of other companies of this kind, for this one network and digit.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), every = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".size"), which = $(".which"), svg = $("[data-picture]");
  const groups = ["company", "digit", "stored"].map(name => [name, every(`.${name} input`)]);

  let now;
  function think() {
    const own = data.shown[state.digit], u = state.unit - 1, stored = state.stored === 1, past = [];
    let rows, last;
    for (let d = stored ? state.draw : 1; d <= state.draw; d++) {
      rows = company(kinds, own, state.company, state.size, d);
      last = read(net, batch(all1, rows, n), rows.length, stored);
      past.push({ p: last.p, says: last.p.indexOf(Math.max(...last.p)), at: (all1[own * n + u] - last.mean[u]) / last.spread[u] });
    }
    const shares = Array.from({ length: 10 }, (_, c) => past.filter(v => v.says === c).length / past.length);
    now = { own, u, stored, rows, past, shares, ...past[past.length - 1], mean: last.mean[u], spread: last.spread[u], z: rows.map(r => all1[r * n + u]) };
  }

  // Drawings of digits: squares of like darkness in one path
  function ink(tiles) {
    const paths = {};
    for (const [r, x, y, side] of tiles) for (let p = 0; p < 64; p++) {
      const level = Math.ceil(pixels[r * 64 + p] * 8);
      if (level) { const q = side / 8, a = Math.round(x + (p % 8) * q), b = Math.round(y + (p >> 3) * q), c = Math.round(x + (p % 8 + 1) * q), d = Math.round(y + ((p >> 3) + 1) * q); (paths[level] ??= []).push(`M${a} ${b}h${c - a}v${d - b}h${a - c}z`); }
    }
    return Object.entries(paths).map(([level, d]) => `<path d="${d.join("")}" fill-opacity="${level / 8}"/>`).join("");
  }
  // Where everything is: the batch, the ten bars, the two lines of the watched unit
  let G;
  const TOP = 34, HIGH = 196;
  function build(w) {
    const wide = w >= 760, LW = wide ? Math.round(w * 0.43) : w, big = wide ? 120 : 96;
    const room = { x: big + 24, y: TOP, w: LW - big - 24, h: wide ? HIGH + 12 : 168 };
    const BX = wide ? LW + 62 : 34, BW = w - BX - 4, BY = wide ? TOP : TOP + room.h + 52, foot = BY + HIGH + 44;
    const UX = 10, UW = w - 20, y1 = foot + 54, y2 = y1 + 96, height = y2 + 44;
    const zs = Array.from({ length: n }, (_, u) => { const v = Array.from({ length: P }, (_, i) => all1[i * n + u]); return [Math.min(...v), Math.max(...v)]; });
    G = { w, wide, big, room, BX, BW, BY, UX, UW, y1, y2, zs };
    let s = text(0, 16, "the digit", "start", "ink bold") + `<rect x="1.5" y="${TOP}" width="${big + 8}" height="${big + 8}" fill="none" stroke="var(--ink)" stroke-width="3" rx="3"/><g class="image" fill="var(--ink)"></g>`;
    s += text(room.x, 16, "its companions", "start", "ink bold") + `<g class="frames" fill="none" stroke="var(--grid)" stroke-width="1.5"></g><g class="crowd" fill="var(--ink)"></g>`;
    s += text(BX - 28, BY - TOP + 16, "", "start", "ink bold head");
    for (const v of [0, 50, 100]) { const y = BY + HIGH * (1 - v / 100); s += line(BX, y, BX + BW, y, "var(--grid)") + text(BX - 6, y + 4, v === 100 ? "100 %" : v, "end").replace('class=""', `class="${v === 100 ? "wide" : ""}"`); }
    for (let c = 0; c < 10; c++) s += `<rect class="bar" x="${(BX + BW * (c + 0.16) / 10).toFixed(1)}" width="${(BW * 0.068).toFixed(1)}" y="${BY}" height="${HIGH}" style="transform-origin:0 ${BY + HIGH}px"/>` + text((BX + BW * (c + 0.5) / 10).toFixed(1), BY + HIGH + 18, c, "middle", "ink num");
    s += `<path class="dots" fill="none" stroke="var(--ink)" stroke-opacity="0.38" stroke-width="3.6" stroke-linecap="round"/>`;
    s += text(0, foot + 8, "", "start", "ink bold unit-name") + text(0, foot + 26, "", "start", "unit-word");
    s += `<g class="fan"></g>` + line(UX, y1, UX + UW, y1, "var(--plain)") + line(UX, y2, UX + UW, y2, "var(--plain)") + `<g class="lines"></g>`;
    for (const v of [-3, -2, -1, 0, 1, 2, 3]) s += line(X2(v), y2, X2(v), y2 + 5, "var(--plain)") + text(X2(v).toFixed(1), y2 + 20, v > 0 ? "+" + v : minus(v));
    s += text(0, y2 + 38, w >= 480 ? "after normalization, in standard deviations from the mean" : "after normalization, in standard deviations", "start");
    svg.setAttribute("viewBox", `0 0 ${w} ${height}`); svg.innerHTML = s;
    if (!wide) every(".wide").forEach(t => { t.textContent = "100"; });
  }
  const X2 = v => scale(-3.4, 3.4, G.UX, G.UX + G.UW)(Math.max(-3.4, Math.min(3.4, v)));
  function paint() {
    const { own, u, stored, rows, past, p, at, mean, spread, z } = now, { room, big, BX, BW, BY, UX, UW, y1, y2 } = G;
    $(".image").innerHTML = ink([[own, 5.5, TOP + 4, big]]);
    const m = rows.length - 1;
    let step = 72;
    while (Math.floor(room.w / step) * Math.floor(room.h / step) < m) step -= 1;
    const across = Math.ceil(m / Math.floor(room.h / step)), side = step - Math.max(3, Math.round(step / 9)), spot = i => [room.x + (i % across) * step, TOP + 1 + Math.floor(i / across) * step];
    $(".crowd").innerHTML = ink(rows.slice(1).map((r, i) => [r, spot(i)[0] + 1, spot(i)[1] + 1, side - 2]));
    $(".frames").innerHTML = `<path d="${rows.slice(1).map((_, i) => { const [x, y] = spot(i); return `M${x} ${y}h${side}v${side}h${-side}z`; }).join("")}"/>`;
    $(".crowd").setAttribute("fill-opacity", stored ? 0.35 : 1);
    $(".head").textContent = stored ? "The network says, in any company" : `In this company the network says`;
    every(".bar").forEach((b, c) => { b.style.transform = `scaleY(${Math.max(0.004, p[c]).toFixed(4)})`; b.setAttribute("fill", stored ? "var(--plain)" : "var(--strong)"); });
    every(".num").forEach((t, c) => t.classList.toggle("bold", c === state.digit));
    const dots = [];
    if (past.length > 1) past.forEach((v, d) => v.p.forEach((q, c) => dots.push(`M${(BX + BW * (c + 0.5 + 0.5 * ((d * 0.618034) % 1 - 0.5)) / 10).toFixed(1)} ${(BY + HIGH * (1 - q)).toFixed(1)}h0`)));
    $(".dots").setAttribute("d", dots.join(""));
    // The watched unit: from what it receives to what it passes on
    const [low, high] = G.zs[u], pad = 0.05 * (high - low), x = scale(low - pad, high + pad, UX, UX + UW), X1 = v => Math.max(UX, Math.min(UX + UW, x(v)));
    $(".unit-name").textContent = `Unit ${state.unit} of the first layer`;
    $(".unit-word").textContent = G.w >= 960 ? "what it receives from the digit (large) and from its companions; the band is the mean of all of them and one standard deviation to each side" : G.w >= 620 ? "what it receives from the digit (large) and its companions; band: mean and spread" : "what it receives; band: mean and spread";
    const a = [-1, 0, 1].map(v => X1(mean + v * spread).toFixed(1)), b = [-1, 0, 1].map(v => X2(v).toFixed(1)), tone = stored ? "var(--plain)" : "var(--strong)";
    $(".fan").innerHTML = `<path d="M${a[0]} ${y1}L${a[2]} ${y1}L${b[2]} ${y2}L${b[0]} ${y2}Z" fill="${tone}" fill-opacity="0.16"/><path d="M${a[1]} ${y1}L${b[1]} ${y2}" stroke="${tone}" stroke-width="2" stroke-dasharray="5 4"/>`;
    const trail = past.length > 1 ? `<path d="${past.map(v => `M${X2(v.at).toFixed(1)} ${y2 - 14}v11`).join("")}" stroke="var(--ink)" stroke-opacity="0.45" stroke-width="1.4"/>` : "";
    const gray = z.slice(1).map(v => `M${X1(v).toFixed(1)} ${y1}h0`).join(""), below = z.slice(1).map(v => `M${X2((v - mean) / spread).toFixed(1)} ${y2}h0`).join("");
    const [d1, d2] = [X1(z[0]).toFixed(1), X2(at).toFixed(1)], right = +d2 < UX + UW - 70;
    $(".lines").innerHTML = `<path d="${gray}${below}" stroke="var(--plain)" stroke-width="9" stroke-linecap="round" stroke-opacity="${stored ? 0.35 : 0.75}" fill="none"/>` + trail +
      `<path d="M${d1} ${y1}L${d2} ${y2}" stroke="var(--ink)" stroke-width="2.2"/><circle cx="${d1}" cy="${y1}" r="8" fill="var(--ink)" stroke="var(--bg)" stroke-width="1.5"/><circle cx="${d2}" cy="${y2}" r="8" fill="var(--ink)" stroke="var(--bg)" stroke-width="1.5"/>` +
      text(right ? +d2 + 13 : d2 - 13, y2 - 18, signed(at, 2), right ? "start" : "end", "ink bold halo");
    svg.setAttribute("aria-label", `A handwritten ${state.digit} and the ${m} other digits of its batch, drawn as images; bars for the ten classes, the highest at ${now.says} with ${percent(p[now.says])} %; and two number lines for unit ${state.unit}, which show how the batch’s mean and spread carry what it receives from the digit to ${signed(at, 2)} standard deviations from the mean.`);
  }

  const kindWord = () => (state.company === MIXED ? "" : state.size > 2 ? ` (all ${state.company}s)` : ` (a ${state.company})`);
  function speak() {
    const { p, says, past, shares, stored } = now, others = state.size - 1;
    let s;
    if (stored) s = `Normalized by what training stored, the network says ${says} with ${percent(p[says])} % to this ${state.digit}, and would say so in any company: no other digit has a part in it.`;
    else {
      s = `${others > 1 ? `Among these ${others} companions` : "Beside this one companion"}${kindWord()} the network says ${says} with ${percent(p[says])} %; the digit is a ${state.digit}.`;
      if (past.length > 1) {
        const order = shares.map((v, c) => [v, c]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).filter(v => v[0] > 0), [low, high] = wilson(Math.round(order[0][0] * past.length), past.length);
        s += ` Over ${past.length} companies it answers ${order[0][1]} in ${Math.round(100 * order[0][0])} % (95 % interval ${Math.round(100 * low)} to ${Math.round(100 * high)} %)${order.length > 1 ? `, ${order.slice(1, 4).map(([v, c]) => `${c} in ${percent(v)} %`).join(", ")}${order.length > 4 ? " and others" : ""}` : ", and nothing else"}.`;
      }
    }
    $(".say").textContent = s;
  }
  function table() {
    if (!$(".numbers").open) return;
    const { past, p, shares, stored } = now, q = v => (100 * v).toFixed(1);
    const body = p.map((v, c) => `<tr><th scope="row" class="word">${c}</th><td>${q(v)}</td>${stored ? "" : `<td>${q(Math.min(...past.map(t => t.p[c])))}</td><td>${q(Math.max(...past.map(t => t.p[c])))}</td><td>${q(shares[c])}</td>`}</tr>`).join("");
    $(".scroll").innerHTML = `<table><caption>What the network says to this ${state.digit}, in percent; unit ${state.unit} stands at ${two(now.at)}</caption><thead><tr><th scope="col" class="word">class</th><th scope="col">${stored ? "any company" : "this company"}</th>${stored ? "" : `<th scope="col">lowest of ${past.length}</th><th scope="col">highest of ${past.length}</th><th scope="col">answered</th>`}</tr></thead><tbody>${body}</tbody></table>`;
  }
  function draw() {
    settle(); think();
    slider.value = sizes.indexOf(state.size); slider.setAttribute("aria-valuetext", `${state.size} digits`); $(".dial output").textContent = state.size;
    which.value = state.unit; $(".watch output").textContent = state.unit;
    for (const [name, radios] of groups) for (const r of radios) r.checked = +r.value === state[name];
    $(".line").textContent = `explorers.show("companions", size=${state.size}, company=${state.company}, stored=${state.stored}, draw=${state.draw}, digit=${state.digit}, unit=${state.unit})`;
    speak(); table();
    if (G) paint();
  }
  function moved(change) { return () => { change(); draw(); keep(state); }; }
  slider.addEventListener("input", moved(() => { state.size = sizes[slider.value]; }));
  which.addEventListener("input", moved(() => { state.unit = +which.value; }));
  for (const [name, radios] of groups) for (const r of radios) r.addEventListener("change", moved(() => { state[name] = +r.value; }));
  $(".new").addEventListener("click", moved(() => { state.draw = state.draw % MOST + 1; }));
  $(".many").addEventListener("click", moved(() => { state.draw = MOST; }));
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), w => { build(w); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
