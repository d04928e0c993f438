// What weight decay leaves of a weight, over the strength and the size of its gradients: one map per
// optimizer, with a quiet and a loud weight on it. Plain module in anywidget's format.
import { keeper, line, minus, onWidth, ownKeys, remembered, scale, stage, text } from "./kit.js";
export default { render };

export const KINDS = ["SGD", "Adam", "AdamW"];

// The share of a weight that is left. SGD and AdamW multiply it by 1 - lr * strength in each step,
// whatever its gradients are. Adam's table is over log10(size / strength), straight between entries.
export function share(data, kind, strength, size, steps) {
  if (kind !== "Adam") return (1 - data.lr * strength) ** steps;
  const row = data.adam[data.steps.indexOf(steps)], at = (Math.log10(size / strength) - data.low) * data.per;
  if (at <= 0) return row[0];
  if (at >= row.length - 1) return row[row.length - 1];
  const i = Math.floor(at);
  return row[i] + (at - i) * (row[i + 1] - row[i]);
}
// Where on its axis a share of `left` is reached: log10 of the strength, or of size / strength.
export function edge(data, kind, left, steps) {
  if (kind !== "Adam") return steps ? Math.log10((1 - left ** (1 / steps)) / data.lr) : Infinity;
  const row = data.adam[data.steps.indexOf(steps)], i = row.findIndex(v => v > left);
  return i > 0 ? data.low + (i - 1 + (left - row[i - 1]) / (row[i] - row[i - 1])) / data.per : -Infinity;
}
export const percent = v => { const p = 100 * v, round = p > 99 && p < 99.95 || p >= 0.05 && p < 1; return `${round ? p.toFixed(1) : Math.abs(p).toFixed(0)}\u00a0%`; };

const CSS = `<style>
.decay .top{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.35em 1.8em;align-items:end}
.decay .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:.8em}
.decay .dial input{grid-column:1/3}.decay .first{grid-column:1/-1}.decay .first output{font-size:1.75em;line-height:1}
.decay .dial svg{width:14px;height:14px;vertical-align:-.1em;margin-right:.35em}
.decay .plot{min-width:0}.decay .plot svg{width:100%}
.decay .grip{cursor:grab;touch-action:none}
.decay .ask{border-top:1px solid var(--grid);padding-top:.8em;margin-top:.9em}
.decay .ask .guess{display:grid;grid-template-columns:minmax(0,26em) auto;gap:.2em .9em;align-items:center;justify-content:start;margin:.35em 0 .5em}
.decay .ask output{font-size:1.1em;min-width:3.4em;text-align:right}
.decay .result:not(:empty){margin-top:.9em}
@container (max-width:720px){.decay .top{column-gap:1.1em}.decay .dial:not(.first) :is(label,output){grid-area:1/1/2/3}.decay .dial:not(.first) label{max-width:9.5em}.decay .dial output{justify-self:end}}
@container (max-width:519px){.decay .top{grid-template-columns:minmax(0,1fr)}.decay .dial:not(.first) label{max-width:none}}
</style>`;

const ASK = [
  "After 1,000 steps at strength 0.5, SGD and AdamW leave 61 % of both weights. How much does Adam leave of the <b>quiet</b> one, whose gradients are tiny?",
  "Now make the strength <b>500 times weaker</b>, 0.001. SGD and AdamW then leave 99.9 % of both weights. How much does Adam leave of the quiet one?",
];
const QUIET = '<circle r="5.5" fill="var(--bg)" stroke="var(--ink)" stroke-width="2"/>', LOUD = '<circle r="6.5" fill="var(--ink)"/>';
const POWER = { "-6": "10⁻⁶", "-4": "10⁻⁴", "-2": "0.01", 0: "1", 2: "100" };

export function render({ model, el }) {
  const data = model.get("data"), { strengths, sizes, lr } = data, state = remembered(model);
  const lists = { steps: data.steps, strength: strengths, quiet: sizes, loud: sizes, guessed: [0, 1, 2] };
  const first = { steps: 0, strength: 0.5, quiet: 1e-4, loud: 10, guessed: 0 };
  for (const key in first) if (!lists[key].includes(state[key])) state[key] = first[key];
  const guesses = [], id = "w" + Math.random().toString(36).slice(2, 8);
  const dial = (key, name, cls = "") => `<div class="dial ${cls}"><label class="name" for="${id}${key}">${name}</label><output for="${id}${key}"></output><input id="${id}${key}" class="${key}" type="range" min="0" max="${lists[key].length - 1}" step="1"></div>`;
  const icon = shape => `<svg viewBox="-8 -8 16 16" aria-hidden="true">${shape}</svg>`;

  const root = stage(el, "Explorer: what weight decay leaves of a weight", `${CSS}<div class="decay">
  <div class="top">${dial("steps", "Steps of training", "first")}${dial("strength", "Strength of the decay, λ")}${dial("quiet", icon(QUIET) + "Quiet weight’s gradients")}${dial("loud", icon(LOUD) + "Loud weight’s gradients")}</div>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <p class="result"></p><div class="teams"></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the shares that are left"></div></details>
  <details><summary>What was computed</summary><p class="small">${data.recipe}. Versions: ${data.versions}; ${data.date}. For SGD and AdamW the picture is the formula (1 − ${lr} λ)<sup>steps</sup>. For Adam it was run: only the ratio of s to λ counts, as Adam divides by the size of what it is given (until that size comes near its ε, 10⁻⁸). Between the stored ratios, ${data.per} per decade, lines are straight. Nothing is drawn at random.</p></details>
  <p class="small">This picture in Python: <code class="line"></code></p></div>`);
  const $ = s => root.querySelector(s), svg = $(".plot svg"), teams = $(".teams"), keep = keeper(model);
  const sliders = ["steps", "strength", "quiet", "loud"].map(key => [key, $(`.dial .${key}`)]);
  const number = v => v >= 1000 ? v.toLocaleString("en") : String(v);
  // Adam stays covered; after one guess its answer is shown at the strength that was asked about.
  const bare = kind => kind !== "Adam" || state.guessed === 2;
  const known = kind => bare(kind) || state.guessed === 1 && state.strength === first.strength && state.quiet === first.quiet && state.loud === first.loud;
  const left = (kind, size) => share(data, kind, state.strength, size, state.steps);

  // The picture: three maps, the two weights as bars below each
  let panels = [], width = 0;
  const LEFT = 44, ABREAST = 520; // narrower than this, the maps stand below each other
  function place(w) {
    const narrow = w < ABREAST, gap = w < 640 ? 24 : 34, pw = narrow ? w - LEFT - 8 : (w - LEFT - 2 * gap - 8) / 3, ph = narrow ? 190 : Math.min(300, Math.max(200, pw * 0.92));
    const tight = !narrow && pw < 185; // too little for a name and “size of the gradients” on one line
    const block = ph + 132, top = tight ? 78 : 60;
    panels = KINDS.map((kind, i) => {
      const x0 = narrow ? LEFT : LEFT + i * (pw + gap), y0 = top + (narrow ? i * block : 0);
      return { kind, x0, y0, pw, ph, x: scale(-6, 1, x0, x0 + pw), y: scale(-6, 2, y0 + ph, y0), lead: narrow || i === 0, tight };
    });
    width = w;
    svg.setAttribute("viewBox", `0 0 ${w} ${top + (narrow ? 3 * block : block) - 50}`);
  }
  function colors({ kind, x0, y0, pw, ph, x, y }, gradient) {
    const at = Array.from({ length: kind === "Adam" ? 46 : 36 }, (_, i) => (kind === "Adam" ? -3 : -6) + i * 0.2);
    const stops = at.map((v, i) => `<stop offset="${(i / (at.length - 1)).toFixed(4)}" stop-color="var(--strong)" stop-opacity="${Math.min(1, Math.max(0, 1 - share(data, kind, kind === "Adam" ? 1 : 10 ** v, 10 ** v, state.steps))).toFixed(3)}"/>`).join("");
    let ends = `x1="${x0}" y1="0" x2="${x0 + pw}" y2="0"`;
    if (kind === "Adam") { // along the normal of the lines of one ratio, from 0.001 to a million
      const ux = pw / 7, uy = ph / 8, n = 9 * ux * uy / (ux * ux + uy * uy), x1 = x(-1.5), y1 = y(-4.5);
      ends = `x1="${x1}" y1="${y1}" x2="${x1 - n * uy}" y2="${y1 - n * ux}"`;
    }
    return `<linearGradient id="${gradient}" gradientUnits="userSpaceOnUse" ${ends}>${stops}</linearGradient><rect x="${x0}" y="${y0}" width="${pw}" height="${ph}" fill="url(#${gradient})"/>`;
  }
  function half({ kind, x0, y0, pw, ph, x, y }) { // the border where half of the weight is left
    const v = edge(data, kind, 0.5, state.steps), look = 'stroke-width="1.5" stroke-dasharray="5 4"';
    if (kind !== "Adam") return v > -6 && v < 0.95 ? line(x(v), y0, x(v), y0 + ph, "var(--ink)", look) + text(x(v) - 5, y0 + ph - 9, "half left", "end", "ink halo") : "";
    if (!Number.isFinite(v)) return "";
    const from = Math.max(-6, -6 - v), to = Math.min(1, 2 - v), by = from + 0.45 * (to - from); // strengths at which the line is inside
    return line(x(from), y(from + v), x(to), y(to + v), "var(--ink)", look) + text(x(by) - 10, y(by + v) - 4, "half left", "end", "ink halo");
  }
  function maps() { // what strength and sizes do not change
    const wide = width >= ABREAST, gx = panels[0].x0 + (wide ? 250 : 34), gy = wide ? 5 : 22;
    let s = text(panels[0].x0, 15, "color: the share that decay has taken", "start");
    s += `<linearGradient id="${id}k"><stop offset="0" stop-color="var(--strong)" stop-opacity="0"/><stop offset="1" stop-color="var(--strong)"/></linearGradient>` + (wide ? text(gx + 36, 15, "none", "end") : text(gx - 34, 33, "none", "start")) + `<rect x="${gx + 42}" y="${gy}" width="90" height="12" fill="url(#${id}k)" stroke="var(--grid)"/>` + text(gx + 140, gy + 10, "all", "start");
    for (const panel of panels) {
      const { kind, x0, y0, pw, ph, x, y, lead, tight } = panel;
      s += text(x0, y0 - 9, kind, "start", "ink bold");
      if (bare(kind)) {
        s += colors(panel, `${id}${kind}`) + half(panel);
        if (kind === "Adam" && state.steps >= 100) s += text(x0 + pw - 8, y0 + ph - 26, "here the strength", "end", "ink halo bold") + text(x0 + pw - 8, y0 + ph - 9, "does not count", "end", "ink halo bold");
      } else s += `<rect x="${x0}" y="${y0}" width="${pw}" height="${ph}" fill="var(--band)"/><text x="${x0 + pw * 0.42}" y="${y0 + ph / 2 + (tight ? -4 : 14)}" text-anchor="middle" style="font-size:64px" class="bold">?</text>` + text(x0 + pw * 0.42, y0 + ph / 2 + (tight ? 32 : 50), "guess first, below");
      s += `<rect x="${x0}" y="${y0}" width="${pw}" height="${ph}" fill="none" stroke="var(--soft)"/>`;
      for (const d of [-6, -4, -2, 0, 2]) {
        if (d < 2) s += line(x(d), y0 + ph, x(d), y0 + ph + 4, "var(--soft)") + text(x(d), y0 + ph + 17, POWER[d], d === -6 && !tight ? "start" : "middle");
        s += line(x0 - 4, y(d), x0, y(d), "var(--soft)") + (lead ? text(x0 - 7, y(d) + (d === -6 ? 0 : d === 2 ? 9 : 4.5), POWER[d], "end") : "");
      }
      s += text(x0 + pw, y0 + ph + 33, "strength λ →", "end") + (lead ? text(x0 + pw, y0 - (tight ? 27 : 9), "↑ size of the gradients", "end") : "");
    }
    return s;
  }
  function weights() { // two dots on each map, two bars below it
    const l = Math.log10(state.strength);
    return panels.map(({ kind, x0, y0, pw, ph, x, y }, i) => line(x(l), y0, x(l), y0 + ph, "var(--ink)", 'stroke-width="1" opacity=".55"') + [["quiet", QUIET], ["loud", LOUD]].map(([name, shape], k) => {
      const cy = y(Math.log10(state[name])), by = y0 + ph + 55 + 22 * k, bx = x0 + 46, bw = pw - 98, own = known(kind), value = left(kind, state[name]);
      return `<g transform="translate(${x(l).toFixed(1)},${cy.toFixed(1)})">${shape}</g><circle class="grip" data-weight="${name}" data-panel="${i}" cx="${x(l)}" cy="${cy}" r="17" fill="transparent"/>` + text(x0, by, name, "start", "ink") + `<rect x="${bx}" y="${by - 11}" width="${bw}" height="13" rx="2" fill="${own ? "none" : "var(--band)"}" stroke="var(--soft)"/>` + (own ? `<rect x="${bx}" y="${by - 11}" width="${Math.max(0, bw * value).toFixed(1)}" height="13" rx="2" fill="var(--plain)"/>` : "") + text(x0 + pw, by, own ? percent(value) : "?", "end", "ink bold");
    }).join("")).join("");
  }
  let drawn;
  function paint() {
    const now = `${width} ${state.steps} ${state.guessed}`;
    if (drawn !== now) { drawn = now; svg.innerHTML = `<g>${maps()}</g><g></g>`; }
    svg.lastChild.innerHTML = weights();
    svg.setAttribute("aria-label", `Three maps, of SGD, Adam and AdamW: the share of a weight that decay has taken, over the strength of the decay and the size of the weight’s gradients. ${$(".say").textContent}`);
  }
  const where = event => { const box = svg.getBoundingClientRect(); return [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * width / box.width]; };
  const nearest = (list, v) => list.reduce((a, b) => Math.abs(Math.log10(b) - v) < Math.abs(Math.log10(a) - v) ? b : a);
  let held;
  svg.addEventListener("pointerdown", event => {
    const grip = event.target.closest(".grip");
    if (!grip) return;
    held = [grip.dataset.weight, panels[grip.dataset.panel]];
    svg.setPointerCapture(event.pointerId); event.preventDefault();
  });
  svg.addEventListener("pointermove", event => {
    if (!held) return;
    const [px, py] = where(event), [name, { x0, y0, pw, ph }] = held;
    const strength = nearest(strengths, (px - x0) / pw * 7 - 6), size = nearest(sizes, (y0 + ph - py) / ph * 8 - 6);
    if (strength !== state.strength || size !== state[name]) { state.strength = strength; state[name] = size; draw(); keep(state); }
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = undefined; });

  function speak() {
    const both = kind => { const [q, l] = [state.quiet, state.loud].map(size => percent(left(kind, size))); return q === l ? `${q} of both weights` : `${q} of the quiet weight and ${l} of the loud one`; };
    const { steps, strength } = state;
    $(".say").textContent = steps === 0
      ? `No step has been taken: all weights are whole. The strength is ${strength}; the gradients of the quiet weight have size ${state.quiet}, those of the loud one ${state.loud}.`
      : `After ${number(steps)} steps at strength ${strength}, SGD and AdamW leave ${both("SGD")}. ${known("Adam") ? `Adam leaves ${both("Adam")}.` : "Adam is covered until you have guessed."} No chance is involved, so the numbers have no interval.`;
  }
  let asked;
  function ask() {
    if (asked === state.guessed) return;
    asked = state.guessed;
    const told = i => guesses[i] === undefined ? "" : ` You guessed ${guesses[i]} %.`;
    const of = (strength, size) => percent(share(data, "Adam", strength, size, 1000));
    $(".result").innerHTML = asked === 0 ? "" : asked === 1
      ? `After 1,000 steps at strength 0.5, Adam leaves <b>${of(0.5, 1e-4)}</b> of the quiet weight, and ${of(0.5, 10)} of the loud one.${told(0)}`
      : `After 1,000 steps at strength 0.001, Adam leaves <b>${of(0.001, 1e-4)}</b> of the quiet weight, as at a strength 500 times larger.${told(1)} Move the strength up and down and watch its bar; then make its gradients larger.`;
    teams.innerHTML = asked === 2 ? "" : `<fieldset class="ask"><legend class="small">${asked ? "And again" : "Predict first"}</legend><label for="${id}g">${ASK[asked]}</label>
    <div class="guess"><input id="${id}g" type="range" min="0" max="100" step="1" value="50" aria-valuetext="50 %"><output for="${id}g">50 %</output></div><button type="button" class="main uncover">Uncover</button></fieldset>`;
    const guess = teams.querySelector("input");
    if (!guess) return;
    guess.addEventListener("input", () => { const t = `${guess.value} %`; guess.setAttribute("aria-valuetext", t); teams.querySelector("output").textContent = t; });
    teams.querySelector(".uncover").addEventListener("click", () => {
      guesses[state.guessed] = +guess.value;
      Object.assign(state, first, { steps: 1000, guessed: state.guessed + 1 });
      if (state.guessed === 2) state.strength = 0.001;
      draw(); keep(state);
      (teams.querySelector("input") || sliders[1][1]).focus({ preventScroll: true });
    });
  }
  function table() {
    if (!$(".numbers").open) return;
    const cell = (kind, strength, size) => bare(kind) || state.guessed === 1 && strength === first.strength && known(kind) ? minus((100 * share(data, kind, strength, size, state.steps)).toFixed(1)) : "?";
    const rows = [...strengths].reverse().map(v => `<tr><th scope="row">${v}</th><td>${cell("SGD", v, 1)}</td><td>${cell("Adam", v, state.quiet)}</td><td>${cell("Adam", v, state.loud)}</td></tr>`);
    $(".scroll").innerHTML = `<table><caption>Percent left after ${number(state.steps)} steps; gradients of size ${state.quiet} (quiet) and ${state.loud} (loud)</caption><thead><tr><th scope="col">strength</th><th scope="col">SGD, AdamW</th><th scope="col">Adam, quiet</th><th scope="col">Adam, loud</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    for (const [key, slider] of sliders) {
      slider.value = lists[key].indexOf(state[key]);
      slider.setAttribute("aria-valuetext", String(state[key]));
      slider.parentNode.querySelector("output").textContent = number(state[key]);
    }
    $(".line").textContent = `explorers.show("decay", ${Object.keys(first).map(key => `${key}=${state[key]}`).join(", ")})`;
    speak(); ask(); table();
    if (width) paint();
  }
  for (const [key, slider] of sliders) slider.addEventListener("input", () => { state[key] = lists[key][slider.value]; draw(); keep(state); });
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), now => { place(now); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
