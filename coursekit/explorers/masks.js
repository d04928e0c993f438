// A small trained network under dropout: one mask per click, what one unit receives over 1,000
// masks, and what three rules for test time make of it. Plain module in anywidget's format.
import { calm, keeper, line, mean, minus, onWidth, ownKeys, random, remembered, scale, stage, text } from "./kit.js";
export default { render };

export const MOST = 1000;
const dot = (w, v) => { let s = 0; for (let i = 0; i < w.length; i++) s += w[i] * v[i]; return s; };
const relu = v => Math.max(0, v);
const layer = ({ w, b }, h) => w.map((row, k) => dot(row, h) + b[k]);
export function softmax(z) { const top = Math.max(...z), e = z.map(v => Math.exp(v - top)), sum = e.reduce((a, b) => a + b, 0); return e.map(v => v / sum); }

// The whole network; `a` and `b` multiply the units of the two hidden layers: factors, or a mask.
export function forward(net, x, a, b = a) {
  const times = (h, f) => h.map((v, k) => relu(v) * (f.length ? f[k] : f));
  const first = layer(net[0], x), one = times(first, a), second = layer(net[1], one), two = times(second, b), z = layer(net[2], two);
  return { one, two, second, z, p: softmax(z) };
}
// Coins of all masks, the same at every rate: as the rate rises, units go one by one.
export function coins(units) { const rand = random(1); return Array.from({ length: MOST }, () => Array.from({ length: units }, rand)); }
export const alive = (tossed, rate) => tossed.map(c => (c >= rate ? 1 : 0));
// What one unit of the second layer receives under each mask of the first.
export function received(net, x, unit, tossed, rate) {
  const h = layer(net[0], x).map(relu), part = net[1].w[unit].map((w, j) => w * h[j]);
  return tossed.map(c => { let s = net[1].b[unit]; for (let j = 0; j < part.length; j++) if (c[j] >= rate) s += part[j]; return s; });
}
// The rules that are told apart at this rate: factor, words, color, dashes, width.
export function rules(rate) {
  if (rate === 0) return [{ factor: 1, name: "nothing to make up for", short: "every mask", tone: "var(--ink)", dash: "", wide: 3 }];
  const keep = 1 - rate;
  const right = { factor: keep, name: `times ${show(keep)} = 1 − rate`, short: `× ${show(keep)}`, tone: "var(--strong)", ink: "var(--strong-ink)", dash: "", wide: 3 };
  const other = { factor: rate, name: `times ${show(rate)} = rate`, short: `× ${show(rate)}`, tone: "var(--against)", ink: "var(--against-ink)", dash: "7 4", wide: 3 };
  const none = { factor: 1, name: "untouched", short: "untouched", tone: "var(--ink)", dash: "2 4", wide: 2.5 };
  return [none, right, other];
}
const show = v => String(Math.round(v * 10) / 10);
const two = v => minus(v.toFixed(2)), percent = v => { const p = 100 * v; return p > 99.5 ? "over 99" : p < 0.5 ? "under 1" : p.toFixed(0); };

const CSS = `<style>
.masks .top{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.6em 1.8em;align-items:end}
.masks .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em}
.masks .dial input{grid-column:1/3}.masks .dial output{font-size:1.75em;line-height:1}
.masks .acts{display:flex;flex-wrap:wrap;gap:.5em}
.masks .more{grid-column:1/3;display:flex;flex-wrap:wrap;gap:.3em 2em;align-items:center}
.masks .digits{display:flex;flex-wrap:wrap;gap:.1em .75em;align-items:baseline}
.masks .digits legend{float:left;margin-right:.2em}
.masks .watch{display:flex;gap:.6em;align-items:center;flex:1 1 15em;max-width:24em}.masks .watch label{white-space:nowrap}.masks .watch output{min-width:1.4em}
.masks .plot{min-width:0}.masks .plot svg{width:100%}
.masks .unit{cursor:pointer}
.masks .body,.masks .cross{transition:opacity .25s,fill-opacity .25s}
.masks .prob{transition:transform .25s;transform-box:fill-box;transform-origin:0 100%}
@container (max-width:620px){.masks .top{grid-template-columns:minmax(0,1fr)}.masks .more{grid-column:1}}
</style>`;

export function render({ model, el }) {
  const data = model.get("data"), rates = Object.keys(data.nets).map(Number).sort((a, b) => a - b);
  const n1 = data.nets[rates[0]][0].b.length, n2 = data.nets[rates[0]][1].b.length, pictures = data.digits.map(d => d.map(v => v / 16));
  const state = remembered(model), whole = (v, from, to) => Math.min(to, Math.max(from, Math.round(v) || from));
  if (!rates.includes(state.rate)) state.rate = rates[0];
  state.masks = whole(state.masks, 1, MOST); state.digit = whole(state.digit, 0, 9); state.unit = whole(state.unit, 1, n2);
  const tossed = coins(n1 + n2), id = "m" + Math.random().toString(36).slice(2, 8);

  const root = stage(el, "Explorer: a network in pieces", `${CSS}<div class="masks">
  <div class="top"><div class="dial"><label class="name" for="${id}r">Dropout rate</label><output for="${id}r"></output><input id="${id}r" class="rate" type="range" min="0" max="${rates.length - 1}" step="1"></div>
  <div class="acts"><button type="button" class="new main">New mask</button><button type="button" class="many">1,000 masks</button></div>
  <div class="more"><fieldset class="digits"><legend>Digit</legend>${pictures.map((_, d) => `<label><input type="radio" name="${id}d" value="${d}">${d}</label>`).join("")}</fieldset>
  <div class="watch"><label for="${id}u">Watched unit</label><input id="${id}u" class="which" type="range" min="1" max="${n2}" step="1"><output for="${id}u"></output></div></div></div>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the rules"></div></details>
  <details><summary>What was trained, and what is drawn</summary><p class="small">${data.recipe}. Versions: ${data.versions}; ${data.date}.
  Each rate has its own network. With all units there, times 1 − rate, they are right about ${rates.map((r, i) => `${Math.round(100 * data.right[i] / data.n_test)} %`).join(", ")} of ${data.n_test} test digits (rates ${rates.map(r => show(r / 100)).join(", ")}).
  A unit is silenced where its coin, a random number between 0 and 1, falls below the rate; the 1,000 masks use the same coins at every rate. A crossed-out unit is silenced; the darker a unit, the more it says; the stronger a line, the more of the watched unit's input (or of an output) comes this way. Units stand in the order of their activity. The interval is mean ± 1.96 <i>s</i>/√<i>n</i> over masks: this one network, this one digit.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook, with the rate in percent: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".rate"), which = $(".which"), radios = all(".digits input"), svg = $("[data-picture]");

  let now;
  function think() {
    const rate = state.rate / 100, net = data.nets[state.rate], x = pictures[state.digit], mask = alive(tossed[state.masks - 1], rate);
    const inputs = received(net, x, state.unit - 1, tossed, rate), drawn = inputs.slice(0, state.masks), m = mean(drawn);
    const sd = drawn.length > 1 ? Math.sqrt(drawn.reduce((a, v) => a + (v - m) ** 2, 0) / (drawn.length - 1)) : 0, half = 1.96 * sd / Math.sqrt(drawn.length);
    const tests = rules(rate).map(r => { const f = forward(net, x, r.factor), says = f.p.indexOf(Math.max(...f.p)); return { ...r, input: net[1].b[state.unit - 1] + r.factor * (f1(net, x) - net[1].b[state.unit - 1]), p: f.p, says }; });
    now = { rate, net, mask, inputs, drawn, mean: m, half, tests, thin: forward(net, x, mask.slice(0, n1), mask.slice(n1)) };
  }
  const f1 = (net, x) => forward(net, x, 1).second[state.unit - 1];

  // The picture: the network, what one unit receives, what the whole network says
  const STEP = 27, HEAD = 34, HIST = 150, ROW = 62;
  let G; // where things stand
  function build(w) {
    const wide = w >= 680, NW = wide ? Math.round(w * 0.53) : w, X0 = wide ? NW + 40 : 8, RW = w - X0 - 4, tall = HEAD + n2 * STEP, yR = wide ? 0 : tall + 30;
    const side = wide ? Math.min(112, NW * 0.22) : 72, xs = [side + (NW - side) * (wide ? 0.2 : 0.17), side + (NW - side) * (wide ? 0.54 : 0.52), NW - (wide ? 96 : 74)];
    const y = k => HEAD + STEP * (k + 0.5), yo = k => HEAD + n2 * STEP * (k + 0.5) / 10;
    const histTop = yR + 82, histBottom = histTop + HIST, softTop = histBottom + 86, height = Math.max(tall + 8, softTop + 3 * ROW + 14);
    G = { w, wide, X0, RW, xs, y, yo, side, histTop, histBottom, softTop, yR, bar: (NW - xs[2] - 30) };
    const mid = HEAD + n2 * STEP / 2, cell = side / 8;
    let s = text(side / 2, mid - side / 2 - 10, "a digit") + text((xs[0] + xs[1]) / 2, 16, "hidden units") + text(NW, 16, "this mask says", "end");
    s += `<g class="image" fill="var(--ink)"></g><rect x="0" y="${mid - side / 2}" width="${side}" height="${side}" fill="none" stroke="var(--plain)"/>`;
    s += `<g class="edges"></g>`;
    for (const [l, n] of [[0, n1], [1, n2]]) for (let k = 0; k < n; k++) s += `<g class="unit" data-layer="${l}" data-unit="${k + 1}" transform="translate(${xs[l]},${y(k)})"><circle r="13" fill="transparent"/><circle class="ring" r="12.5" fill="none" stroke="var(--strong)" stroke-width="3" opacity="0"/><circle r="8.5" fill="var(--bg)"/><circle class="body" r="8.5" fill="var(--ink)" stroke="var(--plain)" stroke-width="1.5"/><path class="cross" d="M-6-6 6 6M6-6-6 6" stroke="var(--plain)" stroke-width="2" opacity="0"/></g>`;
    for (let c = 0; c < 10; c++) s += `<rect x="${xs[2] - 2}" y="${yo(c) - 9}" width="20" height="18" fill="var(--bg)"/>` + text(xs[2] + 8, yo(c) + 4.5, c, "middle", "ink num") + `<rect class="out" x="${xs[2] + 22}" y="${yo(c) - 6}" width="${G.bar}" height="12" fill="var(--plain)"/>`;
    s += `<g class="hist"></g><g class="rules"></g>`;
    s += text(X0, softTop - 14, wide ? "The whole network, all units there, says" : "All units there, the network says", "start", "") + `<g class="axis">${Array.from({ length: 10 }, (_, c) => text(X0 + RW * (c + 0.5) / 10, 0, c)).join("")}</g>`;
    svg.setAttribute("viewBox", `0 0 ${w} ${height}`); svg.innerHTML = s;
    G.parts = { units: all(".unit"), outs: all(".out") };
    svg.querySelectorAll('.unit[data-layer="1"]').forEach(u => u.addEventListener("click", moved(() => { state.unit = +u.dataset.unit; })));
    svg.querySelectorAll('.unit[data-layer="0"]').forEach(u => { u.style.cursor = "default"; });
  }
  function rows(n) { // of ten bars each, one for each rule
    const { X0, RW, softTop } = G;
    $(".rules").innerHTML = Array.from({ length: n }, (_, r) => {
      const top = softTop + r * ROW, bar = c => `<rect class="prob" x="${(X0 + RW * (c + 0.12) / 10).toFixed(1)}" y="${top + 18}" width="${(RW * 0.076).toFixed(1)}" height="${ROW - 26}"/>`;
      return `<g class="rule">${text(X0, top + 12, "", "start", "ink bold")}${text(X0 + RW, top + 12, "", "end", "ink")}${line(X0, top + ROW - 8, X0 + RW, top + ROW - 8, "var(--plain)")}${Array.from({ length: 10 }, (_, c) => bar(c)).join("")}</g>`;
    }).join("");
    return all(".rule");
  }
  function ticks(from, to) { const raw = (to - from) / 4, base = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(m => m * base).find(v => v >= raw), out = []; for (let v = Math.ceil(from / step) * step; v <= to + 1e-9; v += step) out.push(Math.round(v / step) * step); return out.map(v => [v, minus(Number(v.toFixed(6)))]); }
  function paint() {
    const { rate, net, mask, inputs, drawn, tests, thin } = now, { parts, X0, RW, histTop, histBottom, softTop } = G, u = state.unit - 1;
    const mid = HEAD + n2 * STEP / 2, cell = G.side / 8, soft = (node, v) => { node.style.opacity = v; };
    $(".image").innerHTML = pictures[state.digit].map((v, i) => (v ? `<rect x="${(i % 8 * cell).toFixed(1)}" y="${(mid - G.side / 2 + Math.floor(i / 8) * cell).toFixed(1)}" width="${(cell + 0.3).toFixed(1)}" height="${(cell + 0.3).toFixed(1)}" fill-opacity="${v}"/>` : "")).join("");
    const on1 = mask.slice(0, n1), on2 = mask.slice(n1), most = h => Math.max(1e-9, ...h);
    const top1 = most(thin.one), top2 = most(thin.two);
    // Lines of like strength in one path: hundreds of elements would be slow and large
    const paths = {}, most2 = rows => most(rows.flat()), flow = (l, h) => net[l].w.map(row => row.map((w, j) => Math.abs(w * h[j])));
    const edge = (own, f, x1, y1, x2, y2) => { const level = Math.ceil(6 * f - 0.1); if (level > 0) (paths[`${+own}${level}`] ??= []).push(`M${Math.round(x1)} ${+y1.toFixed(1)} ${Math.round(x2)} ${+y2.toFixed(1)}`); };
    on1.forEach((on, j) => { if (on) edge(false, 0.3, G.side, mid - G.side / 2 + G.side * (j + 0.5) / n1, G.xs[0], G.y(j)); });
    const one = flow(1, thin.one), top = most2(one), last = flow(2, thin.two), end = most2(last);
    one.forEach((row, k) => row.forEach((f, j) => { if (on1[j] && (on2[k] || k === u)) edge(k === u, f / top, G.xs[0], G.y(j), G.xs[1], G.y(k)); }));
    last.forEach((row, c) => row.forEach((f, k) => { if (on2[k]) edge(false, f / end, G.xs[1], G.y(k), G.xs[2] - 2, G.yo(c)); }));
    $(".edges").innerHTML = Object.keys(paths).sort().map(key => { const own = key[0] === "1", f = key[1] / 6; return `<path d="${paths[key].join("")}" fill="none" stroke="var(--${own ? "strong" : "plain"})" stroke-width="${((own ? 1 : 0.6) + (own ? 5 : 3) * f).toFixed(1)}" stroke-opacity="${(own ? 0.3 + 0.7 * f : 0.12 + 0.5 * f).toFixed(2)}"/>`; }).join("");
    parts.units.forEach((g, i) => { const l = i < n1 ? 0 : 1, k = l ? i - n1 : i, on = mask[i], h = (l ? thin.two[k] / top2 : thin.one[k] / top1), [, ring, , body, cross] = g.children; body.style.fillOpacity = on ? (0.85 * h).toFixed(3) : 0; body.setAttribute("stroke-dasharray", on ? "" : "2 3"); soft(cross, on ? 0 : 1); ring.setAttribute("opacity", l && k === u ? 1 : 0); });
    parts.outs.forEach((r, c) => { r.setAttribute("width", (G.bar * thin.p[c]).toFixed(1)); });
    all(".num").forEach((t, c) => t.classList.toggle("bold", c === state.digit));

    // What the watched unit receives: a block per mask
    const spread = [...inputs, ...tests.map(t => t.input)], from = Math.min(...spread), to = Math.max(...spread), pad = rate ? Math.max(0.05 * (to - from), 0.5 - (to - from) / 2) : 1, HW = RW - 78;
    const a = from - pad, b = to + pad, x = scale(a, b, X0, X0 + HW), bins = 26, counts = Array(bins).fill(0), bin = v => Math.min(bins - 1, Math.floor((v - a) / (b - a) * bins));
    drawn.forEach(v => counts[bin(v)]++);
    const up = Math.min(9, HIST / Math.max(...counts)), bw = HW / bins;
    let s = text(X0, G.yR + 16, `What unit ${state.unit} receives, ${state.masks === 1 ? "one mask" : state.masks.toLocaleString("en") + " masks"}`, "start", "ink bold");
    counts.forEach((c, i) => { if (c) s += `<rect x="${(X0 + i * bw + 0.5).toFixed(1)}" y="${(histBottom - c * up).toFixed(1)}" width="${(bw - 1).toFixed(1)}" height="${(c * up).toFixed(1)}" fill="var(--soft)"/>`; });
    const latest = bin(drawn[drawn.length - 1]);
    s += `<rect x="${(X0 + latest * bw + 0.5).toFixed(1)}" y="${(histBottom - Math.max(up, 3)).toFixed(1)}" width="${(bw - 1).toFixed(1)}" height="${Math.max(up, 3).toFixed(1)}" fill="var(--ink)"/>`;
    s += line(X0, histBottom, X0 + HW, histBottom, "var(--plain)") + ticks(a, b).filter(([v]) => x(v) > X0 + 10).map(([v, word]) => text(x(v).toFixed(1), histBottom + 29, word)).join("");
    const lines = [...tests].sort((p, q) => p.input - q.input || p.factor - q.factor), same = Math.abs(rate - 0.5) < 1e-9;
    lines.forEach((t, i) => {
      const top = G.yR + 36 + 16 * i, twin = same && t.factor === rate;
      s += line(x(t.input).toFixed(1), top - 9, x(t.input).toFixed(1), histBottom, t.tone, `stroke-width="${t.wide}" stroke-dasharray="${t.dash}"`);
      if (!(twin && t.dash)) s += text((x(t.input) + 6).toFixed(1), top, twin ? "× 0.5, both" : t.short, "start", "halo bold rule-name").replace("<text", `<text style="fill:${t.ink || t.tone}"`);
    });
    if (rate) { // where the masks balance
      const m = x(now.mean), words = `mean of ${state.masks === 1 ? "one mask" : state.masks.toLocaleString("en")}`, at = Math.min(X0 + RW - 62, Math.max(X0 + 62, m));
      s += `<path d="M${m.toFixed(1)} ${histBottom + 2}l7 11h-14Z" fill="var(--ink)" stroke="var(--bg)" stroke-width="1"/>` + text(at.toFixed(1), histBottom + 46, words, "middle", "ink");
    }
    $(".hist").innerHTML = s;
    if (parts.rows?.length !== tests.length) parts.rows = rows(tests.length);
    parts.rows.forEach((g, r) => {
      const t = tests[r], [name, says, , ...bars] = g.children;
      name.textContent = t.name; name.style.fill = t.ink || t.tone;
      says.textContent = `${t.says}: ${percent(t.p[t.says])} %`;
      bars.forEach((b, c) => { b.style.transform = `scaleY(${Math.max(0.004, t.p[c]).toFixed(4)})`; b.setAttribute("fill", t.tone); });
    });
    $(".axis").setAttribute("transform", `translate(0,${softTop + tests.length * ROW + 8})`);
    const dead = mask.filter(v => !v).length;
    svg.setAttribute("aria-label", `A network with two hidden layers of ${n1} units reads a handwritten ${state.digit}; ${dead ? `${dead} of its ${n1 + n2} units are crossed out` : "none of its units is crossed out"}. Beside it what unit ${state.unit} receives over ${state.masks === 1 ? "one mask" : state.masks + " masks"}, and the ten probabilities of the whole network. ${$(".say").textContent}`);
  }

  function speak() {
    const { rate, tests, mean: m, half } = now, n = state.masks;
    let s;
    if (!rate) s = `Rate 0: nothing is dropped. Every mask gives unit ${state.unit} the same input, ${two(tests[0].input)}, and the network says ${tests[0].says} with ${percent(tests[0].p[tests[0].says])} %.`;
    else {
      const [none, right, other] = tests, says = t => `${t.says} with ${percent(t.p[t.says])} %`;
      const same = Math.abs(rate - 0.5) < 1e-9;
      s = `Rate ${show(rate)}: ${n === 1 ? `under this mask unit ${state.unit} receives ${two(m)}` : `over ${n.toLocaleString("en")} masks unit ${state.unit} receives ${two(m)} on average${n < 30 ? "" : ` (95 % interval ${two(m - half)} to ${two(m + half)})`}`}. With all units there it receives ${two(none.input)} untouched${same ? ` and ${two(right.input)} times 0.5, which is both rules` : `, ${two(right.input)} times ${show(1 - rate)} and ${two(other.input)} times ${show(rate)}`}; the network says ${same ? `${says(none)} and ${says(right)}` : `${says(none)}, ${says(right)} and ${says(other)}`}.`;
    }
    const right = data.right[rates.indexOf(state.rate)] / data.n_test;
    if (right < 0.6) s += ` (This network reads only ${Math.round(100 * right)} % of all test digits.)`;
    $(".say").textContent = s;
  }
  function table() {
    if (!$(".numbers").open) return;
    const rows = now.tests.map(t => `<tr><th scope="row" class="word">${t.name}</th><td>${two(t.input)}</td>${t.p.map(p => `<td>${(100 * p).toFixed(1)}</td>`).join("")}</tr>`);
    rows.push(`<tr><th scope="row" class="word">${state.masks === 1 ? "this mask" : `mean of ${state.masks} masks`}</th><td>${two(now.mean)}</td>${Array(10).fill("<td></td>").join("")}</tr>`);
    $(".scroll").innerHTML = `<table><caption>Rate ${show(now.rate)}: input of unit ${state.unit}, and what the whole network says of each digit, in percent</caption><thead><tr><th scope="col" class="word">all units there</th><th scope="col">input</th>${Array.from({ length: 10 }, (_, c) => `<th scope="col">${c}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    settle(); think();
    slider.value = rates.indexOf(state.rate); slider.setAttribute("aria-valuetext", show(state.rate / 100)); $(".dial output").textContent = show(state.rate / 100);
    which.value = state.unit; $(".watch output").textContent = state.unit;
    radios.forEach(r => { r.checked = +r.value === state.digit; });
    $(".line").textContent = `explorers.show("masks", rate=${state.rate}, masks=${state.masks}, digit=${state.digit}, unit=${state.unit})`;
    speak(); table();
    if (G) paint();
  }
  function moved(change) { return () => { change(); draw(); keep(state); }; }
  slider.addEventListener("input", moved(() => { state.rate = rates[slider.value]; }));
  which.addEventListener("input", moved(() => { state.unit = +which.value; }));
  radios.forEach(r => r.addEventListener("change", moved(() => { state.digit = +r.value; })));
  $(".new").addEventListener("click", moved(() => { state.masks = state.masks % MOST + 1; }));
  $(".many").addEventListener("click", moved(() => { state.masks = MOST; }));
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), w => { build(w); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
