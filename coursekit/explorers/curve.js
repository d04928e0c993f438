// A curve through twenty points: number of parameters, ridge, noise; where it errs, how long its
// weights are. Everything is computed here, in closed form; curve.py is the twin in Python.
import { keeper, line, minus, onWidth, ownKeys, random, remembered, scale, stage, text } from "./kit.js";
export default { render };

export const N = 20, N_DRAWS = 40, N_GRID = 401;
const GRID = Float64Array.from({ length: N_GRID }, (_, i) => -1 + 2 * i / (N_GRID - 1));
export const truth = t => Math.sin(3 * t);
const feature = (t, k) => Math.cos(k * Math.PI * (t + 1) / 2) / Math.max(1, k);
const TRUTH = GRID.map(truth);
let table; // features on the grid, computed once
const onGrid = k => (table ??= [])[k] ??= GRID.map(t => feature(t, k));
const dot = (a, b) => { let s = 0; for (let i = 0; i < a.length; i++) s += a[i] * b[i]; return s; };
const TRUTH_SIZE = dot(TRUTH, TRUTH) / N_GRID;

// Places and noise of a draw; the first set of noise is the reader's own, the others are the fan.
export function places(draw, even) {
  if (even) return Float64Array.from({ length: N }, (_, i) => (2 * i + 1) / N - 1);
  const rand = random(draw);
  return Float64Array.from({ length: N }, () => 2 * rand() - 1).sort();
}
export function draws(draw, sets) {
  const rand = random(100000 + draw);
  return Array.from({ length: sets }, () => Float64Array.from({ length: N }, () => { const u = rand(), v = rand(); return Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v); }));
}

// One-sided Jacobi: turns pairs of columns until all of them stand at right angles. It keeps the
// small singular values exact, which an eigenvalue routine for A'A would not.
export function svd(columns) {
  const a = columns.map(c => Float64Array.from(c)), n = a.length;
  const v = a.map((_, i) => { const e = new Float64Array(n); e[i] = 1; return e; });
  for (let sweep = 0, turned = true; turned && sweep < 40; sweep++) {
    turned = false;
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) {
      const g = dot(a[i], a[j]), p = dot(a[i], a[i]), q = dot(a[j], a[j]);
      if (Math.abs(g) <= 1e-15 * Math.sqrt(p * q)) continue;
      turned = true;
      const z = (q - p) / (2 * g), t = Math.sign(z || 1) / (Math.abs(z) + Math.hypot(1, z)), c = 1 / Math.hypot(1, t), s = c * t;
      for (const [x, y] of [[a[i], a[j]], [v[i], v[j]]])
        for (let k = 0; k < x.length; k++) { const b = x[k]; x[k] = c * b - s * y[k]; y[k] = s * b + c * y[k]; }
    }
  }
  const s = a.map(c => Math.sqrt(dot(c, c))), order = s.map((_, i) => i).sort((x, y) => s[y] - s[x]);
  return { s: order.map(i => s[i]), left: order.map(i => a[i].map(x => x / s[i])), right: order.map(i => v[i]) };
}
// Columns at right angles to each other, and what brings the old ones back: A = QR, by Gram and
// Schmidt, twice for every column, because once leaves rounding behind.
function straighten(columns) {
  const q = [], r = columns.map(() => new Float64Array(columns.length));
  columns.forEach((column, j) => {
    const a = Float64Array.from(column);
    for (let round = 0; round < 2; round++) q.forEach((b, i) => { const g = dot(a, b); r[j][i] += g; for (let k = 0; k < a.length; k++) a[k] -= g * b[k]; });
    const size = r[j][j] = Math.sqrt(dot(a, a));
    q.push(a.map(x => x / size));
  });
  return { q, r };
}
const mix = (columns, by) => by.map(own => { const out = new Float64Array(columns[0].length); columns.forEach((c, i) => { const w = own[i]; for (let k = 0; k < out.length; k++) out[k] += w * c[k]; }); return out; });
// A design taken apart: singular values, directions among the points, and what each does on the grid.
export function takeApart(t, parameters) {
  const columns = Array.from({ length: parameters }, (_, k) => t.map(x => feature(x, k)));
  let u, v, s;
  if (parameters <= t.length) ({ s, left: u, right: v } = svd(columns));
  else {
    const { q, r } = straighten(Array.from(t, (_, i) => Float64Array.from(columns, c => c[i]))), small = svd(r);
    s = small.s; u = small.right; v = mix(q, small.left);
  }
  const basis = mix(Array.from({ length: parameters }, (_, k) => onGrid(k)), v);
  return { s, u, basis, gram: basis.map(a => basis.map(b => dot(a, b) / N_GRID)), toTruth: basis.map(b => dot(b, TRUTH) / N_GRID) };
}
// Each direction's share of y is divided by s; with ridge, by s + ridge / s.
export const weights = (parts, y, ridge) => parts.s.map((s, j) => s / (s * s + ridge) * dot(parts.u[j], y));
export function curve(parts, y, ridge) {
  const w = weights(parts, y, ridge), out = new Float64Array(N_GRID);
  parts.basis.forEach((b, j) => { for (let g = 0; g < N_GRID; g++) out[g] += w[j] * b[g]; });
  return out;
}
// Mean squared error on the grid of the curve with these weights, without drawing it.
export const error = ({ gram, toTruth }, w) => TRUTH_SIZE + w.reduce((sum, a, i) => sum + a * (dot(gram[i], w) - 2 * toTruth[i]), 0);
export function biasVariance(parts, t, noise, ridge) {
  const variance = parts.s.reduce((sum, s, j) => sum + (s / (s * s + ridge)) ** 2 * parts.gram[j][j], 0);
  return { bias2: error(parts, weights(parts, t.map(truth), ridge)), variance: noise ** 2 * variance };
}

const CSS = `<style>
.curve .top{display:grid;grid-template-columns:minmax(0,1fr);gap:.5em 1.8em;align-items:end}
.curve .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em}
.curve .dial input{grid-column:1/3}.curve .dial output{font-size:1.3em;line-height:1.1}
.curve .first output{font-size:1.9em;line-height:1}
.curve .more{display:grid;gap:.4em 1.8em;grid-template-columns:minmax(0,1fr);align-items:end}
@container (min-width:620px){.curve .more{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.curve .choices{display:flex;flex-wrap:wrap;gap:.35em 1.5em;align-items:center;grid-column:1/-1}
.curve .choices fieldset{display:flex;flex-wrap:wrap;gap:.2em 1em;align-items:baseline}
.curve .choices legend{float:left;margin-right:.1em}
.curve input[type=checkbox]{accent-color:var(--strong);width:1.05em;height:1.05em;margin:0 .4em 0 0;vertical-align:-.12em}
.curve .body{display:grid;gap:1em 1.8em;grid-template-columns:minmax(0,1fr)}
@container (min-width:820px){.curve .body{grid-template-columns:minmax(0,1fr) 372px}}
.curve .plot,.curve .side{min-width:0}.curve .plot svg,.curve .side svg{width:100%}
.curve .side p.name{margin:0}.curve .side svg+p.name{margin-top:.7em}.curve .side p.small{min-height:1.45em;margin:0 0 .1em}
.curve .key{display:inline-block;width:1.5em;height:0;border-top:3px solid;vertical-align:.25em;margin:0 .3em 0 0}
.curve .key.dots{border-top-style:dotted}.curve .key.dash{border-top-style:dashed}
.curve .side p.small span+span{margin-left:.9em}
</style>`;

const UP = { 4: "⁴", 6: "⁶", 8: "⁸", 10: "¹⁰" };
// A number for a reader: two figures, and words for the very large ones.
export function told(v) {
  if (!(v >= 1e-4)) return v > 0 ? "less than 0.0001" : "0";
  if (v >= 999.5e9) return `10 to the power of ${Math.round(Math.log10(v))}`;
  for (const [size, word] of [[1e9, " billion"], [1e6, " million"], [1e3, " thousand"]])
    if (v >= 0.9995 * size) return Number((v / size).toPrecision(2)) + word;
  return String(Number(v.toPrecision(2)));
}

export function render({ model, el }) {
  const data = model.get("data"), state = remembered(model), stops = data.parameters;
  const closest = (list, v) => list.reduce((a, b) => Math.abs(b - v) < Math.abs(a - v) ? b : a);
  for (const key of ["parameters", "noise", "ridge"]) state[key] = closest(data[key], state[key]);
  state.even = state.even ? 1 : 0; state.fan = state.fan ? 1 : 0;
  state.draw = Math.min(999, Math.max(1, Math.round(state.draw) || 1));
  const id = "c" + Math.random().toString(36).slice(2, 8), visited = new Set();
  const dial = (name, label, cls, list) => `<div class="dial ${cls}"><label class="name" for="${id}${name}">${label}</label><output for="${id}${name}"></output><input id="${id}${name}" class="${name}" type="range" min="0" max="${list.length - 1}" step="1"></div>`;

  const root = stage(el, "Explorer: a curve through twenty points", `${CSS}<div class="curve">
  <div class="top">${dial("parameters", "Parameters of the curve", "first", stops)}
  <div class="more">${dial("ridge", "Strength of the ridge penalty", "", data.ridge)}${dial("noise", "Noise in the points", "", data.noise)}
  <div class="choices"><button type="button" class="again">New points</button>
  <fieldset class="even"><legend>Places</legend>${["at random", "evenly spaced"].map((w, i) => `<label><input type="radio" name="${id}e" value="${i}"> ${w}</label>`).join("")}</fieldset>
  <label><input type="checkbox" class="fan">${N_DRAWS} other draws of the noise</label></div></div></div>
  <p class="say" aria-live="polite"></p>
  <div class="body"><div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <div class="side"><p class="name">Error at new points</p><p class="small keys"></p><svg class="chart error" role="img"></svg>
  <p class="name">Length of the weights</p><svg class="chart length" role="img"></svg></div></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the places where you have been"></div></details>
  <details><summary>What is fitted, and where the bars come from</summary><p class="small">${data.recipe}. With as many parameters as points or more, many curves pass through all of them; the one drawn has the shortest weights. The penalty is ridge times the sum of the squared weights, added to the sum of squared misses. A gray bar is the middle 80 % of ${data.sets} other sets of twenty points, with the same number of parameters, noise and penalty. Versions: ${data.versions}; ${data.date}.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), svg = $("[data-picture]"), sliders = ["parameters", "ridge", "noise"];

  // What belongs to one set of places, and does not change with noise or penalty
  let owner = "", t, e, parts = {};
  function gather() {
    const now = `${state.draw} ${state.even}`;
    if (now !== owner) { owner = now; t = places(state.draw, state.even); e = draws(state.draw, 1 + N_DRAWS); parts = {}; }
  }
  const design = p => parts[p] ??= takeApart(t, p);
  const points = set => t.map((x, i) => truth(x) + state.noise * e[set][i]);
  let looks = new Map(), looked = ""; // at one set of points
  function look(p, ridge) {
    const key = `${p} ${ridge}`, set = `${owner} ${state.noise}`;
    if (looked !== set) { looks = new Map(); looked = set; }
    if (!looks.has(key)) looks.set(key, lookAgain(p, ridge));
    return looks.get(key);
  }
  function lookAgain(p, ridge) {
    const y = points(0), own = design(p), w = weights(own, y, ridge);
    return { p, error: error(own, w), length: Math.sqrt(dot(w, w)), small: own.s[own.s.length - 1], ...biasVariance(own, t, state.noise, ridge) };
  }
  const band = (p, ridge = state.ridge) => data.bands[state.even][`${state.noise} ${ridge}`].map(v => 10 ** (v[stops.indexOf(p)] / 100));

  // The curve
  const HEIGHT = 452, TOP = 44, BOTTOM = HEIGHT - 26, LEFT = 26, RIGHT = 8;
  let width = 0, sideWidth = 372;
  function paint() {
    const x = scale(-1.03, 1.03, LEFT, width - RIGHT), y = scale(2.3, -2.3, TOP, BOTTOM), own = design(state.parameters);
    const far = v => v > 9e3 ? 9e3 : v < -9e3 ? -9e3 : v, tone = state.ridge ? "var(--strong)" : "var(--plain)";
    const tenth = v => Math.round(10 * v) / 10, across = Array.from(GRID, v => tenth(x(v)));
    const path = (values, step = 1) => { let d = "M"; for (let g = 0; g < N_GRID; g += step) d += across[g] + " " + tenth(far(y(values[g]))) + " "; return d; };
    let s = `<clipPath id="${id}p"><rect x="${LEFT}" y="${TOP}" width="${width - LEFT - RIGHT}" height="${BOTTOM - TOP}"/></clipPath>`;
    for (const v of [-2, -1, 0, 1, 2]) s += line(LEFT, y(v), width - RIGHT, y(v)) + text(LEFT - 6, y(v) + 4.5, minus(v), "end");
    for (const v of [-1, -0.5, 0, 0.5, 1]) s += text(x(v), BOTTOM + 18, minus(v));
    s += `<g clip-path="url(#${id}p)" fill="none" stroke-linejoin="round">`;
    if (state.fan) {
      for (let set = 1; set <= N_DRAWS; set++) s += `<path d="${path(curve(own, points(set), state.ridge), 2)}" stroke="${tone}" stroke-width="1" opacity=".4"/>`;
      s += `<path d="${path(curve(own, t.map(truth), state.ridge))}" stroke="var(--bg)" stroke-width="6"/><path d="${path(curve(own, t.map(truth), state.ridge))}" stroke="var(--against)" stroke-width="3"/>`;
    }
    s += `<path d="${path(TRUTH)}" stroke="var(--ink)" stroke-width="2" stroke-dasharray="7 5"/>`;
    if (!state.fan) s += `<path class="fit" d="${path(curve(own, points(0), state.ridge))}" stroke="${tone}" stroke-width="3"/>`;
    s += "</g>";
    const seen = points(0);
    s += `<g clip-path="url(#${id}p)" stroke="var(--bg)" stroke-width="1.5" fill="var(--ink)">` + Array.from(seen, (v, i) => `<circle cx="${x(t[i]).toFixed(1)}" cy="${y(v).toFixed(1)}" r="5.2"/>`).join("") + "</g>";
    const narrow = width < 520, mark = (color, more) => line(0, -4.5, 19, -4.5, color, more);
    const labels = [[`<circle cx="9" cy="-4.5" r="5" fill="var(--ink)"/>`, "twenty points", "points"], [mark("var(--ink)", 'stroke-width="2" stroke-dasharray="7 5"'), "the truth", "truth"]];
    labels.push(...state.fan ? [[mark(tone, 'stroke-width="1"'), `${N_DRAWS} other draws`, "draws"], [mark("var(--against)", 'stroke-width="3"'), "their mean", "mean"]] : [[mark(tone, 'stroke-width="3"'), "the fitted curve", "fitted curve"]]);
    let at = LEFT;
    for (const [sign, long, short] of labels) { const words = narrow ? short : long; s += `<g transform="translate(${at} 24)">${sign}${text(25, 0, words, "start", "ink")}</g>`; at += 25 + 7 * words.length + (narrow ? 10 : 20); }
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`); svg.innerHTML = s;
    svg.setAttribute("aria-label", `Twenty points around a wave, and ${state.fan ? `${N_DRAWS} curves, one for each draw of the noise` : "a curve fitted to them"}. ${$(".say").textContent}`);
  }

  // Below it: where the reader has been
  function trail(node, name, [from, to], ticks, rows, extra = "") {
    const W = Math.max(240, sideWidth), H = name === "error" ? 226 : 168, L = 40, x = scale(Math.log(4), Math.log(400), L + 6, W - 8), y = scale(from, to, H - 38, 8);
    const px = p => x(Math.log(p)), py = v => y(Math.max(from, Math.min(to, Math.log10(v))));
    let s = "";
    for (const v of ticks) if (v <= to && (to < 3 || v % 2 === 0)) s += line(L, y(v), W, y(v)) + text(L - 6, y(v) + 4.5, UP[v] ? "10" + UP[v] : Number((10 ** v).toPrecision(1)), "end");
    for (const p of [4, 10, 20, 50, 100, 400]) s += line(px(p), H - 38, px(p), H - 34, "var(--plain)") + text(p === 400 ? W : px(p), H - 20, p, p === 400 ? "end" : "middle");
    s += text((L + W) / 2, H - 3, "parameters (where you have been)");
    s += extra && extra(px, py);
    for (const [list, tone, key, more] of rows)
      s += `<polyline points="${list.map(r => px(r.p).toFixed(1) + "," + py(r[key]).toFixed(1)).join(" ")}" fill="none" stroke="${tone}" stroke-width="2" ${more || ""}/>` +
        (more ? "" : `<path d="${list.map(r => `M${px(r.p).toFixed(1)} ${py(r[key]).toFixed(1)}h0`).join("")}" stroke="${tone}" stroke-width="6.4" stroke-linecap="round"/>` + list.filter(r => r.p === state.parameters).map(r => `<circle cx="${px(r.p).toFixed(1)}" cy="${py(r[key]).toFixed(1)}" r="6.5" fill="${tone}"/>`).join(""));
    node.setAttribute("viewBox", `0 0 ${W} ${H}`); node.innerHTML = s;
  }
  const upTo = (rows, keys, ...ends) => ends.find(end => rows.every(r => keys.every(k => r[k] <= 10 ** end))) ?? ends[ends.length - 1];
  function trails(been, plain) {
    const tone = state.ridge ? "var(--strong)" : "var(--plain)", bars = (px, py) => `<path d="${been.map(r => { const [low, , high] = band(r.p); return `M${px(r.p).toFixed(1)} ${py(low).toFixed(1)}V${py(high).toFixed(1)}`; }).join("")}" stroke="var(--band)" stroke-width="7" stroke-linecap="round"/>`;
    const split = state.fan ? [[been, "var(--against)", "bias2", 'stroke-dasharray="6 4"'], [been, "var(--ink)", "variance", 'stroke-dasharray="1.5 4" stroke-linecap="round"']] : [];
    const before = state.ridge ? [[plain, "var(--plain)"]] : [];
    trail($(".error"), "error", [-3, upTo([...been, ...plain], state.fan ? ["error", "variance"] : ["error"], 1, 4, 10)], [-2, -1, 0, 1, 2, 4, 6, 8, 10], [...before.map(r => [...r, "error"]), ...split, [been, tone, "error"]], bars);
    trail($(".length"), "length", [-0.5, upTo([...been, ...plain], ["length"], 2, 4, 8)], [0, 1, 2, 4, 6, 8], [...before.map(r => [...r, "length"]), [been, tone, "length"]]);
    $(".keys").innerHTML = state.fan ? `<span><i class="key" style="border-color:${tone}"></i>this curve</span><span><i class="key dash" style="border-color:var(--against)"></i>bias²</span><span><i class="key dots" style="border-color:var(--ink)"></i>variance</span>` : state.ridge ? `<span><i class="key" style="border-color:var(--strong)"></i>with ridge</span><span><i class="key" style="border-color:var(--plain)"></i>without</span>` : "mean square; bars: other sets of points";
    const list = key => been.map(r => `${r.p} parameters ${told(r[key])}`).join(", ");
    $(".error").setAttribute("aria-label", `Squared error at new points where you have been: ${list("error")}.`);
    $(".length").setAttribute("aria-label", `Length of the weights where you have been: ${list("length")}.`);
  }
  function speak(now) {
    const [low, , high] = band(state.parameters), y = points(0), fit = design(state.parameters), kept = fit.s.map(s => s * s / (s * s + state.ridge));
    // Misses at the twenty points: what is not kept of each direction, and what no direction holds.
    const rest = dot(y, y) - fit.u.reduce((a, u) => a + dot(u, y) ** 2, 0), own = (Math.max(0, rest) + fit.u.reduce((a, u, j) => a + ((1 - kept[j]) * dot(u, y)) ** 2, 0)) / N;
    const through = !state.ridge && state.parameters >= N;
    let s = `${state.parameters} parameters, ${state.ridge ? `ridge ${state.ridge}` : "no penalty"}: the curve ${through ? "passes through all twenty points" : `misses its own twenty points by ${told(own)}`} and ${through ? "misses " : ""}the truth by ${told(now.error)} (mean squares). `;
    s += state.fan ? `Over all draws of the noise at these places, bias² is ${told(now.bias2)} and the variance ${told(now.variance)}.` : `Of ${data.sets} other sets of twenty points, the middle 80 % miss the truth by ${told(low)} to ${told(high)}.`;
    $(".say").textContent = s;
  }
  function numbers(been, plain) {
    if (!$(".numbers").open) return;
    const head = ["parameters", "error", "error without penalty", "80 % of others, from", "to", "bias²", "variance", "length of weights", "smallest singular value"];
    const rows = been.map((r, i) => `<tr><th scope="row">${r.p}</th>` + [r.error, plain[i].error, band(r.p)[0], band(r.p)[2], r.bias2, r.variance, r.length, r.small].map(v => `<td>${v.toPrecision(3).replace("e+", "e")}</td>`).join("") + "</tr>");
    $(".scroll").innerHTML = `<table><caption>Where you have been: noise ${state.noise}, ridge ${state.ridge}, places ${state.even ? "evenly spaced" : "at random"}</caption><thead><tr>${head.map(h => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    gather();
    visited.add(state.parameters);
    const order = [...visited].sort((a, b) => a - b), been = order.map(p => look(p, state.ridge)), plain = state.ridge ? order.map(p => look(p, 0)) : been;
    for (const name of sliders) {
      const slider = $("input." + name);
      slider.value = data[name].indexOf(state[name]);
      slider.setAttribute("aria-valuetext", name === "ridge" && !state.ridge ? "no penalty" : String(state[name]));
      slider.previousElementSibling.textContent = state[name];
    }
    all(".even input").forEach(r => { r.checked = +r.value === state.even; });
    $(".fan").checked = !!state.fan;
    $(".line").textContent = `explorers.show("curve", ${Object.entries(state).map(([k, v]) => `${k}=${v}`).join(", ")})`;
    speak(been.find(r => r.p === state.parameters));
    if (width) { paint(); trails(been, plain); }
    numbers(been, plain);
  }
  const moved = change => () => { change(); draw(); keep(state); };
  for (const name of sliders) $("input." + name).addEventListener("input", moved(() => { state[name] = data[name][$("input." + name).value]; }));
  $(".again").addEventListener("click", moved(() => { state.draw = state.draw % 999 + 1; }));
  all(".even input").forEach(r => r.addEventListener("change", moved(() => { state.even = +r.value; })));
  $(".fan").addEventListener("change", moved(() => { state.fan = $(".fan").checked ? 1 : 0; }));
  $(".numbers").addEventListener("toggle", draw);
  draw();
  const ends = [onWidth($(".plot"), now => { width = now; sideWidth = $(".side").clientWidth; draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
