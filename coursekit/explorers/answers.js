// The map of answers: two weights, orthonormal inputs, and which of the weights a penalty sets to
// exactly zero, by where the least-squares solution lies. Plain module in anywidget's format.
import { calm, keeper, line, minus, onWidth, ownKeys, remembered, scale, stage, text } from "./kit.js";
export default { render };

// What minimizes (w - z)^2 / 2 + strength (ratio |w| + (1 - ratio) w^2 / 2), one weight at a time.
export const answer = (z, strength, ratio) => Math.sign(z) * Math.max(Math.abs(z) - strength * ratio, 0) / (1 + strength * (1 - ratio)) || 0;

// The penalty itself, of both weights.
export const penalty = (w, ratio) => ratio * (Math.abs(w[0]) + Math.abs(w[1])) + (1 - ratio) * (w[0] ** 2 + w[1] ** 2) / 2;

// The region of a solution: 0 both weights become zero, 1 only the first, 2 only the second, 3 none.
export const region = (z, strength, ratio) => { const [a, b] = z.map(v => answer(v, strength, ratio) === 0); return a && b ? 0 : a ? 1 : b ? 2 : 3; };

// Shares of the four regions from the shares of the map in which each weight alone becomes zero.
export const four = (a, b) => [a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)];
export const areas = ({ half }, strength, ratio) => four(...half.map(h => Math.min(1, strength * ratio / h)));

// Chances of the four regions if the solution is `center` plus normal noise.
const normal = x => { // Abramowitz and Stegun 26.2.17, off by at most 1e-7
  const k = 1 / (1 + 0.2316419 * Math.abs(x)), tail = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) * k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))));
  return x > 0 ? 1 - tail : tail;
};
export const chances = ({ sd }, center, strength, ratio) => four(...center.map(c => strength * ratio > 0 ? normal((strength * ratio - c) / sd) - normal((-strength * ratio - c) / sd) : 0));

// The thousand solutions: over the whole map, or around the dot.
export const solutions = (data, cloud, center) => cloud ? data.noise.map(([a, b]) => [center[0] + a, center[1] + b]) : data.even;

// 95 % interval of a share, Wilson's.
export function wilson(hits, n) {
  const z = 1.959964, p = hits / n, mid = (p + z * z / 2 / n) / (1 + z * z / n), half = z / (1 + z * z / n) * Math.sqrt(p * (1 - p) / n + z * z / 4 / n / n);
  return [Math.max(0, mid - half), Math.min(1, mid + half)];
}

// How far the budget reaches in each direction: all weights whose penalty is at most `most`.
export function budget(most, ratio, n = 96) {
  return Array.from({ length: n }, (_, i) => {
    const angle = 2 * Math.PI * i / n, c = Math.cos(angle), s = Math.sin(angle), b = ratio * (Math.abs(c) + Math.abs(s));
    const r = ratio === 1 ? most / b : (Math.sqrt(b * b + 2 * (1 - ratio) * most) - b) / (1 - ratio);
    return [r * c, r * s];
  });
}

const NAMES = ["both", "only w₁", "only w₂", "neither"];
const number = v => v === 0 ? "0" : minus(Math.abs(v) < 0.005 ? v.toPrecision(1) : v.toFixed(2));
const percent = v => v === 0 ? "0 %" : v < 0.0005 ? "&lt; 0.1 %" : (100 * v).toFixed(1) + " %";
const kind = ratio => ratio === 1 ? "L1" : ratio === 0 ? "L2" : "elastic net";

const CSS = `<style>
.answers .top{display:grid;grid-template-columns:minmax(0,1fr) 320px;gap:.6em 2.2em;align-items:end}
.answers .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em}
.answers .dial input{grid-column:1/3}.answers .dial output{font-size:1.75em;line-height:1}
.answers .kind{display:flex;flex-wrap:wrap;gap:.2em .95em;align-items:baseline}
.answers .kind legend{float:left;margin-right:.4em}
.answers .mix{display:grid;grid-template-columns:auto minmax(0,1fr) 3.6em;gap:.7em;align-items:center}.answers .mix output{text-align:right;white-space:nowrap}
.answers .body{display:grid;gap:1.2em 2.2em;grid-template-columns:minmax(0,1fr)}
@container (min-width:820px){.answers .body{grid-template-columns:minmax(0,1fr) 320px}}
.answers .plot,.answers .side{min-width:0}.answers .plot svg{width:100%;cursor:crosshair;user-select:none;-webkit-user-select:none}
.answers .grip{cursor:grab;touch-action:none}.answers .held,.answers .held .grip{cursor:grabbing}
.answers .two{display:grid;grid-template-columns:auto minmax(0,1fr) 3.7em;gap:.1em .8em;align-items:center;margin-top:.7em}
.answers .two output{text-align:right}.answers .two .small{grid-column:1/4}
.answers .cloud{margin:.9em 0 0}.answers .cloud label{display:inline-block;margin-right:1.1em}.answers .cloud legend{margin-bottom:.15em}
.answers .regions{width:100%;font-size:1em}.answers .regions th,.answers .regions td{padding:.12em 0 .12em .5em;border-bottom:0}.ex .answers .regions td{text-align:right!important}
.answers .regions thead th{color:var(--muted);font-weight:400;font-size:.88em}
.answers .regions th:first-child{padding-left:0}.answers .regions td b{font-weight:700}.answers .regions tr.none td{color:var(--muted)!important}
.answers .regions i{display:inline-block;width:15px;height:15px;border-radius:3px;margin-right:.5em;vertical-align:-.15em;border:1.5px solid var(--strong);position:relative;overflow:hidden}
.answers .piles{margin-top:.9em}.answers .piles svg{width:100%;max-width:420px}
@container (max-width:720px){.answers .top{grid-template-columns:minmax(0,1fr)}}
</style>`;

export function render({ model, el }) {
  const data = model.get("data"), state = remembered(model), [hx, hy] = data.half, n = data.even.length;
  const within = (v, low, high, other, parts = 100) => Number.isFinite(v) ? Math.min(high, Math.max(low, Math.round(v * parts) / parts)) : other;
  const mend = () => {
    state.strength = within(state.strength, 0, data.strongest, 0, 20); state.ratio = within(state.ratio, 0, 1, 1, 20);
    state.w1 = within(state.w1, 0.1 - hx, hx - 0.1, 1.7); state.w2 = within(state.w2, 0.1 - hy, hy - 0.1, 0.6); state.cloud = state.cloud ? 1 : 0;
  };
  mend();
  let mixed = state.ratio > 0 && state.ratio < 1 ? state.ratio : 0.5; // where the elastic net was left
  const id = "a" + Math.random().toString(36).slice(2, 8);
  const root = stage(el, "Explorer: the map of answers", `${CSS}<div class="answers">
  <div class="top"><div class="dial"><label class="name" for="${id}s">Strength of the penalty</label><output for="${id}s"></output><input id="${id}s" class="strength" type="range" min="0" max="${data.strongest}" step="0.05"></div>
  <div><fieldset class="kind"><legend>Penalty</legend>${[[1, "L1"], [0.5, "elastic net"], [0, "L2"]].map(([v, word]) => `<label><input type="radio" name="${id}k" value="${v}"> ${word}</label>`).join("")}</fieldset>
  <div class="mix"><label for="${id}r">share of L1</label><input id="${id}r" class="ratio" type="range" min="0" max="1" step="0.05"><output for="${id}r"></output></div></div></div>
  <p class="say" aria-live="polite"></p>
  <div class="body"><div class="plot"><svg class="chart" data-picture role="img"></svg>
  <div class="two"><label for="${id}x">w₁ by least squares</label><input id="${id}x" class="w1" type="range" min="${0.1 - hx}" max="${hx - 0.1}" step="0.05"><output for="${id}x"></output>
  <label for="${id}y">w₂ by least squares</label><input id="${id}y" class="w2" type="range" min="${0.1 - hy}" max="${hy - 0.1}" step="0.05"><output for="${id}y"></output>
  <p class="small">Or drag the ring on the map.</p></div></div>
  <div class="side"><table class="regions"><thead><tr><th scope="col" class="word">Exactly zero</th><th scope="col">of ${n.toLocaleString("en")}</th><th scope="col" class="area"></th></tr></thead><tbody></tbody></table>
  <div class="piles"><p class="name">Their ${n.toLocaleString("en")} answers</p><svg class="chart" role="img"></svg></div>
  <fieldset class="cloud"><legend>A thousand solutions</legend><label><input type="radio" name="${id}c" value="0"> over the whole map</label> <label><input type="radio" name="${id}c" value="1"> around the ring</label></fieldset></div></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the four regions and of the ring"></div></details>
  <details><summary>What is drawn, and how it is computed</summary><p class="small">The inputs are orthonormal, so the loss is half the squared distance to the least-squares solution <i>z</i>, plus a constant, and its contours are circles around the ring. Added is strength × (share × (|w₁| + |w₂|) + (1 − share) × (w₁² + w₂²) / 2): L1 has the share 1, L2 the share 0. Each weight then has its own answer, sign(<i>z</i>) max(|<i>z</i>| − strength × share, 0) / (1 + strength × (1 − share)), and all that is drawn follows from it. The gray shape is the budget: all weights whose penalty is no larger than the answer’s.
  ${data.recipe} ${data.versions}; ${data.date}.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), svg = $("[data-picture]"), piles = $(".piles svg");

  let width = 0, height = 0, side = 320, x, y, points, regions, counts, w, now;
  const PAD = { left: 26, right: 8, top: 8, bottom: 24 };
  function think() {
    const { strength, ratio } = state, z = [state.w1, state.w2];
    w = z.map(v => answer(v, strength, ratio));
    points = solutions(data, state.cloud, z);
    regions = points.map(p => region(p, strength, ratio));
    counts = [0, 0, 0, 0]; regions.forEach(r => counts[r]++);
    now = state.cloud ? chances(data, z, strength, ratio) : areas(data, strength, ratio);
  }
  const inside = ([a, b]) => Math.abs(a) <= hx && Math.abs(b) <= hy;
  function cloud(list, x, y, size) { // gray where no weight is zero, green where one is
    const part = ["", ""];
    list.forEach((p, i) => { if (inside(p)) part[+(regions[i] < 3)] += `M${Math.round(x(p[0]) * 10) / 10} ${Math.round(y(p[1]) * 10) / 10}h0`; });
    return `<path d="${part[0]}" stroke="var(--soft)" stroke-width="${size}" style="stroke-linecap:round"/><path d="${part[1]}" stroke="var(--strong)" stroke-width="${size * 1.15}" style="stroke-linecap:round"/>`;
  }
  function strips(x, y) { // where the penalty makes a weight zero
    const h = state.strength * state.ratio, [l, r, t, b] = [x(-hx), x(hx), y(hy), y(-hy)];
    if (!h) return line(l, y(0), r, y(0), "var(--strong)", 'stroke-width="2"') + line(x(0), t, x(0), b, "var(--strong)", 'stroke-width="2"');
    const fill = 'fill="var(--strong)" fill-opacity=".17" stroke="none"', edge = 'stroke-width="1" stroke-opacity=".6"', hh = Math.min(h, hy);
    return `<rect x="${x(-h)}" y="${t}" width="${x(h) - x(-h)}" height="${b - t}" ${fill}/><rect x="${l}" y="${y(hh)}" width="${r - l}" height="${y(-hh) - y(hh)}" ${fill}/>` +
      [-h, h].map(v => line(x(v), t, x(v), b, "var(--strong)", edge) + line(l, y(v), r, y(v), "var(--strong)", edge)).join("") +
      line(l, y(0), r, y(0), "var(--plain)") + line(x(0), t, x(0), b, "var(--plain)");
  }
  let drawn = "", px, py;
  function build() { // what changes with the width alone
    height = Math.round(hy / hx * (width - PAD.left - PAD.right) + PAD.top + PAD.bottom); drawn = "";
    x = scale(-hx, hx, PAD.left, width - PAD.right); y = scale(-hy, hy, height - PAD.bottom, PAD.top);
    const clip = `<clipPath id="${id}m"><rect x="${PAD.left}" y="${PAD.top}" width="${width - PAD.left - PAD.right}" height="${height - PAD.top - PAD.bottom}"/></clipPath>`;
    let s = "";
    for (let v = -Math.floor(hx); v <= hx; v++) s += text(x(v), height - 6, minus(v)) + (v ? line(x(v), PAD.top, x(v), height - PAD.bottom) : "");
    for (let v = -Math.floor(hy); v <= hy; v++) s += text(PAD.left - 7, y(v) + 4.5, minus(v), "end") + (v ? line(PAD.left, y(v), width - PAD.right, y(v)) : "");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.innerHTML = `<style>.chart .zero{fill:var(--strong-ink)}</style>${clip}${s}<g clip-path="url(#${id}m)"><g class="strips"></g><g class="cloud"></g></g><g class="marks"></g>`;
    const H = Math.round(side * hy / hx);
    px = scale(-hx, hx, 1, side - 1); py = scale(-hy, hy, H - 1, 1);
    piles.setAttribute("viewBox", `0 0 ${side} ${H}`);
    piles.innerHTML = `<rect x=".5" y=".5" width="${side - 1}" height="${H - 1}" fill="none" stroke="var(--grid)"/>` + line(px(-hx), py(0), px(hx), py(0)) + line(px(0), py(hy), px(0), py(-hy)) + `<g></g>`;
  }
  function scatter() { // a thousand dots twice, only where they have moved
    const { strength, ratio, cloud: around, w1, w2 } = state, now = [strength, ratio, around, ...(around ? [w1, w2] : [])].join();
    if (now === drawn) return;
    drawn = now;
    svg.querySelector(".strips").innerHTML = strips(x, y);
    svg.querySelector(".cloud").innerHTML = cloud(points, x, y, width < 520 ? 2 : 3);
    piles.querySelector("g").innerHTML = cloud(points.map(p => p.map(v => answer(v, strength, ratio))), px, py, 2.4);
    piles.setAttribute("aria-label", `The answers: ${counts[0]} at the origin, ${counts[1]} on the axis where w1 is zero, ${counts[2]} on the axis where w2 is zero, ${counts[3]} on neither.`);
  }
  function paint() {
    scatter();
    const unit = x(1) - x(0), z = [state.w1, state.w2], [zx, zy, wx, wy] = [x(z[0]), y(z[1]), x(w[0]), y(w[1])], gap = Math.hypot(zx - wx, zy - wy);
    let s = `<g clip-path="url(#${id}m)">`;
    const shape = state.strength && budget(penalty(w, state.ratio), state.ratio).map(p => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ");
    if (shape) s += `<polygon class="budget" points="${shape}" fill="var(--plain)" fill-opacity=".22" stroke="var(--ink)" stroke-width="1.6" stroke-linejoin="round"/>`;
    s += [0.25, 0.5].map(r => `<circle cx="${zx}" cy="${zy}" r="${r * unit}" fill="none" stroke="var(--ink)" stroke-opacity=".28"/>`).join("");
    if (gap > 1) s += `<circle class="touch" cx="${zx}" cy="${zy}" r="${gap}" fill="none" stroke="var(--ink)" stroke-width="1.6" stroke-dasharray="5 4"/>`;
    s += `</g>`;
    if (gap > 24) { // the arrow of shrinkage, from the ring to the answer
      const [ux, uy] = [(wx - zx) / gap, (wy - zy) / gap], [ax, ay, bx, by] = [zx + 11 * ux, zy + 11 * uy, wx - 9 * ux, wy - 9 * uy];
      s += line(ax, ay, bx - 6 * ux, by - 6 * uy, "var(--against)", 'stroke-width="3"') + `<path d="M${bx} ${by}L${bx - 11 * ux - 5.5 * uy} ${by - 11 * uy + 5.5 * ux}L${bx - 11 * ux + 5.5 * uy} ${by - 11 * uy - 5.5 * ux}Z" fill="var(--against)"/>`;
    }
    s += `<circle class="end" cx="${wx}" cy="${wy}" r="6.5" fill="var(--ink)" stroke="var(--bg)" stroke-width="1.5"/><circle cx="${zx}" cy="${zy}" r="9.5" fill="${gap > 16 ? "var(--bg)" : "none"}" fill-opacity=".75" stroke="var(--against)" stroke-width="3.5"/><circle class="grip" cx="${zx}" cy="${zy}" r="24" fill="transparent"/>`;
    // Names: the ring's on the far side of the answer, the answer's on the far side of the ring.
    const put = (px, py, words, right, below, cls) => {
      const wide = 7.2 * words.length, fits = right ? px + 15 + wide < width - PAD.right : px - 15 - wide > PAD.left, to = fits ? right : !right;
      return text(to ? px + 15 : px - 15, Math.min(height - PAD.bottom - 6, Math.max(PAD.top + 14, py + (below ? 18 : -9))), words, to ? "start" : "end", cls);
    };
    if (gap > 24) s += put(zx, zy, "least squares", z[0] >= 0, wy < zy, "ink halo bold") + put(wx, wy, "answer", wx > zx || (w[0] === 0 && z[0] < 0), wy >= zy, "ink halo bold");
    else s += put(zx, zy, gap > 1 ? "answer" : "least squares, answer", z[0] >= 0, false, "ink halo bold");
    const h = state.strength * state.ratio, tall = y(0) - y(h) > 14;
    s += text(x(0), z[1] > 0 ? height - PAD.bottom - 9 : PAD.top + 16, "w₁ = 0", "middle", "halo zero bold");
    s += text(z[0] > 0 ? PAD.left + 8 : width - PAD.right - 8, tall ? y(0) - 5 : y(0) - 8, "w₂ = 0", z[0] > 0 ? "start" : "end", "halo zero bold");
    svg.querySelector(".marks").innerHTML = s;
    svg.setAttribute("aria-label", `A map of two weights, with ${n.toLocaleString("en")} least-squares solutions as dots, ${state.cloud ? "around the ring" : "spread evenly"}. ${$(".say").textContent}`);
  }

  const named = () => kind(state.ratio) === "elastic net" ? `Elastic net with ${Math.round(100 * state.ratio)} % L1` : kind(state.ratio);
  function speak() {
    const hits = n - counts[3], [low, high] = wilson(hits, n), share = 1 - now[3], zero = w.map(v => v === 0), where = state.cloud ? "around the ring" : "over the map";
    const tell = zero[0] && zero[1] ? "both weights are exactly zero" : zero[0] || zero[1] ? `${zero[0] ? "w₁" : "w₂"} is exactly zero` : "no weight is exactly zero";
    const pair = v => `(${number(v[0])}, ${number(v[1])})`;
    let s = state.strength ? `${named()}, strength ${state.strength.toFixed(2)}: ${pair([state.w1, state.w2])} becomes ${pair(w)}; ${tell}. ` : `Strength zero, no penalty: the answer is the least-squares solution ${pair(w)}. `;
    s += `Of ${n.toLocaleString("en")} solutions ${where}, ${hits} lose a weight (${(100 * hits / n).toFixed(0)} %, 95\u00a0% interval ${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;
    s += share ? `; ${state.cloud ? "their chance" : "the green area"} is ${(100 * share).toFixed(1)} %.` : ": the green lines have no area.";
    $(".say").textContent = s;
  }
  function tally() {
    $(".area").textContent = state.cloud ? "chance" : "area";
    const tone = [0.31, 0.17, 0.17, 0], swatch = i => `<i${i === 3 ? ' style="border-color:var(--soft)"' : ` style="background:color-mix(in srgb,var(--strong) ${100 * tone[i]}%,var(--bg))"`}></i>`;
    $(".regions tbody").innerHTML = NAMES.map((name, i) => `<tr${counts[i] ? "" : ' class="none"'}><th scope="row" class="word">${swatch(i)}${name}</th><td><b>${counts[i].toLocaleString("en")}</b></td><td>${percent(now[i])}</td></tr>`).join("");
  }
  function table() {
    if (!$(".numbers").open) return;
    const rows = NAMES.map((name, i) => { const [low, high] = wilson(counts[i], n); return `<tr><th scope="row" class="word">${name}</th><td>${counts[i]}</td><td>${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)} %</td><td>${percent(now[i])}</td></tr>`; }).join("");
    const ring = [state.w1, state.w2].map((z, i) => `<tr><th scope="row" class="word">${["w₁", "w₂"][i]}</th><td>${number(z)}</td><td>${number(w[i])}</td></tr>`).join("");
    $(".scroll").innerHTML = `<table><caption>Which weights become exactly zero: ${n.toLocaleString("en")} solutions ${state.cloud ? "around the ring" : "over the whole map"}</caption><thead><tr><th scope="col" class="word">exactly zero</th><th scope="col">solutions</th><th scope="col">95 % interval</th><th scope="col">${state.cloud ? "chance" : "share of the area"}</th></tr></thead><tbody>${rows}</tbody></table>
    <table style="margin-top:.8em"><caption>The ring</caption><thead><tr><th scope="col" class="word">weight</th><th scope="col">least squares</th><th scope="col">answer</th></tr></thead><tbody>${ring}</tbody></table>`;
  }
  const show = (q, value, words) => { const input = $(q); input.value = value; input.setAttribute("aria-valuetext", words); $(`output[for="${input.id}"]`).textContent = words; };
  function draw() {
    settle(); mend(); think();
    show(".strength", state.strength, state.strength.toFixed(2));
    show(".w1", state.w1, number(state.w1)); show(".w2", state.w2, number(state.w2));
    const mixing = state.ratio > 0 && state.ratio < 1;
    if (mixing) mixed = state.ratio;
    show(".ratio", state.ratio, Math.round(100 * state.ratio) + "\u00a0%");
    all(".kind input").forEach(r => { r.checked = mixing ? r.value === "0.5" : +r.value === state.ratio; });
    all(".cloud input").forEach(r => { r.checked = +r.value === state.cloud; });
    $(".line").textContent = `explorers.show("answers", strength=${state.strength}, ratio=${state.ratio}, w1=${state.w1}, w2=${state.w2}, cloud=${state.cloud})`;
    speak(); tally(); table();
    if (width) paint();
  }
  const moved = change => event => { change(event.target); draw(); keep(state); };
  for (const key of ["strength", "ratio", "w1", "w2"]) $("." + key).addEventListener("input", moved(input => { state[key] = +input.value; }));
  all(".kind input").forEach(r => r.addEventListener("change", moved(input => { state.ratio = input.value === "0.5" ? mixed : +input.value; })));
  all(".cloud input").forEach(r => r.addEventListener("change", moved(input => { state.cloud = +input.value; })));
  $(".numbers").addEventListener("toggle", table);

  // The ring: by mouse from anywhere on the map, by finger from the ring, so that a page still scrolls.
  let held = false;
  const follow = event => {
    const box = svg.getBoundingClientRect(), k = width / box.width;
    state.w1 = scale(x(0), x(1), 0, 1)((event.clientX - box.left) * k); state.w2 = scale(y(0), y(1), 0, 1)((event.clientY - box.top) * k);
    draw(); keep(state);
  };
  svg.addEventListener("pointerdown", event => {
    if (event.pointerType === "mouse" ? event.button : !event.target.closest(".grip")) return;
    event.preventDefault(); held = true; svg.classList.add("held"); svg.setPointerCapture(event.pointerId); follow(event);
  });
  svg.addEventListener("pointermove", event => { if (held) follow(event); });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = false; svg.classList.remove("held"); });
  draw();
  const ends = [onWidth($(".plot"), v => { width = v; side = Math.min(420, $(".side").clientWidth); build(); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
