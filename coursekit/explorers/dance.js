// The dance of the intervals: real paired trainings as dots, fifty studies drawn from them, and
// what the course's rule lets each of them say. Plain module in anywidget's format.
import { calm, keeper, line, mean, median, minus, onWidth, ownKeys, random, remembered, scale, shuffled, signed, stage, text } from "./kit.js";
export default { render };

// Draw 1 is the tenth of its generator: the first in which Ada and Ben, of one seed, disagree.
export const N_STUDIES = 50, N_PAIRS = 10000, FIRST_DRAW = 10;
export const WORDS = ["helps", "helps, size open", "too small to matter", "not yet known", "hurts, size open", "hurts"];

// Differences in right answers, with dropout minus without, one whole number per seed.
export const differences = (data, epochs) => { const [without, dropout] = data.right[epochs]; return dropout.map((r, i) => r - without[i]); };

// What one study may say. The interval and the words are those of coursekit/ledger/rule.py.
export function study(points, { t, skew, smallest }) {
  const n = points.length, m = mean(points);
  if (n < 2) return { mean: m };
  const squares = points.reduce((a, v) => a + (v - m) ** 2, 0), cubes = points.reduce((a, v) => a + (v - m) ** 3, 0);
  const skewness = squares > 0 ? Math.abs(cubes / n / (squares / n) ** 1.5) : 0;
  const half = t[n - 2] * (1 + skewness * skew / Math.sqrt(n)) * Math.sqrt(squares / (n - 1) / n);
  const low = m - half, high = m + half;
  const word = half < 1e-9 ? 3 : low > smallest ? 0 : high < -smallest ? 5 : low > -smallest && high < smallest ? 2 : low > 0 ? 1 : high < 0 ? 4 : 3;
  return { mean: m, half, low, high, word };
}

// Which seeds the fifty teams train, in which order: a larger study goes on with its own seeds.
export function orders(size, most, draw) {
  const rand = random(draw + FIRST_DRAW - 1);
  return Array.from({ length: N_STUDIES }, () => shuffled(size, most, rand));
}

// Of 10,000 pairs of teams without a common seed: the share that disagrees about whether the mean
// difference is above zero, by seeds per team.
export function disagreement(counts, stops) {
  const rand = random(1), most = stops[stops.length - 1], hits = stops.map(() => 0);
  const order = Int32Array.from(counts.keys());
  for (let pair = 0; pair < N_PAIRS; pair++) {
    let ada = 0, ben = 0, stop = 0;
    for (let n = 0; n < most; n++) {
      for (const k of [2 * n, 2 * n + 1]) { const j = k + Math.floor(rand() * (order.length - k)), v = order[j]; order[j] = order[k]; order[k] = v; }
      ada += counts[order[2 * n]]; ben += counts[order[2 * n + 1]];
      if (n + 1 === stops[stop]) hits[stop++] += (ada > 0) !== (ben > 0);
    }
  }
  return hits.map(h => h / N_PAIRS);
}

// Marks differ in shape as well as in color: filled for a size that is known, hollow for one that is not.
const MARK = [
  'd="M-4-5 6 0-4 5Z" fill="var(--strong)" stroke="var(--strong)"', 'd="M-4-5 6 0-4 5Z" fill="var(--bg)" stroke="var(--strong)"',
  'd="M-4-4H4V4H-4Z" fill="var(--ink)" stroke="var(--ink)"', 'd="M-9 0H9M0-4.5V4.5" stroke="var(--soft)" fill="none"',
  'd="M4-5-6 0 4 5Z" fill="var(--bg)" stroke="var(--against)"', 'd="M4-5-6 0 4 5Z" fill="var(--against)" stroke="var(--against)"',
];
const TONE = ["var(--strong)", "var(--strong)", "var(--ink)", "var(--soft)", "var(--against)", "var(--against)"];
const ONE = ['d="M-4 0A4 4 0 1 1 4 0A4 4 0 1 1-4 0Z" fill="var(--plain)" stroke="var(--plain)"', 'd="M-4 0A4 4 0 1 1 4 0A4 4 0 1 1-4 0Z" fill="var(--bg)" stroke="var(--plain)"'];

const CSS = `<style>
.dance .top{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.5em 1.6em;align-items:end}
.dance .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em}
.dance .dial input{grid-column:1/3}.dance .dial output{font-size:1.75em;line-height:1}
.dance .budget{display:flex;flex-wrap:wrap;gap:.2em 1.1em;align-items:baseline;grid-column:1/3}
.dance .budget legend{float:left;margin-right:.2em}
.dance .budget label[data-closed]{color:var(--muted);cursor:default}
.dance .body{display:grid;gap:1.4em 2.2em;grid-template-columns:minmax(0,1fr)}
@container (min-width:820px){.dance .body{grid-template-columns:minmax(0,1fr) 320px}}
.dance .pile path,.dance .own path{stroke-linecap:round} /* a drawing of matplotlib beside it sets "butt" for the whole page */
.dance .scroll table{min-width:min(100%,27em)}
.dance .plot{min-width:0}.dance .plot svg{width:100%}
.dance .row{transition:transform .22s cubic-bezier(.3,.7,.3,1)}.dance .row .bar{transition:transform .22s cubic-bezier(.3,.7,.3,1)}
.dance .words{list-style:none;margin:0 0 1.6em;padding:0}
.dance .words li{display:grid;grid-template-columns:20px minmax(0,10.2em) 2em minmax(0,1fr);gap:.45em;align-items:center;margin:0;padding:.1em 0;min-height:27px}
.dance .words b{text-align:right;font-variant-numeric:tabular-nums}
.dance .words i{display:block;height:11px;border-radius:2px;min-width:0;transition:width .22s}
.dance .words li.none{color:var(--muted)}
.dance .words svg{width:20px;height:18px;overflow:visible}
.dance .meaning{margin:.3em 0 .3em 1.2em;padding:0}.dance .meaning b{color:var(--ink)}
.dance .ask{border-top:1px solid var(--grid);padding-top:.8em;margin-top:.8em}
.dance .ask .guess{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.2em .9em;align-items:center;margin:.35em 0 .5em}
.dance .trail{margin-top:.7em}.dance .result{margin-top:.35em}
.dance .ask output{font-size:1.1em;min-width:4.6em;text-align:right}
@container (max-width:520px){.dance .top{grid-template-columns:minmax(0,1fr)}.dance .budget{grid-column:1}.dance .again{justify-self:start;order:3}}
</style>`;

const QUESTION = {
  40: "Ada and Ben each train <b>one seed</b>, with dropout and without, and look which is better. In how many of 100 such pairs do they <b>disagree</b>?",
  80: "Now both train <b>twice as long</b>, 80 epochs, with everything else as before. One seed each: in how many of 100 pairs do they disagree?",
};

export function render({ model, el }) {
  const data = model.get("data"), stops = data.stops, per = 100 / data.n_test; // points per right answer
  const budgets = Object.keys(data.right).map(Number), size = data.right[budgets[0]][0].length;
  const state = remembered(model), guesses = {};
  if (!stops.includes(state.seeds)) state.seeds = stops[0];
  if (!budgets.includes(state.epochs)) state.epochs = budgets[0];
  state.draw = Math.min(999, Math.max(1, Math.round(state.draw) || 1));
  let open = state.epochs === 80 ? 2 : 0; // how many of the two questions are answered
  const counts = Object.fromEntries(budgets.map(e => [e, differences(data, e)]));
  const whole = Object.fromEntries(budgets.map(e => { // the mean over all seeds, Student's interval
    const d = counts[e].map(v => v * per), m = mean(d), sd = Math.sqrt(d.reduce((a, v) => a + (v - m) ** 2, 0) / (d.length - 1));
    return [e, { mean: m, half: 1.9624 * sd / Math.sqrt(d.length) }];
  }));
  const shares = {}; // of pairs of teams that disagree, when somebody asks
  const share = e => shares[e] ??= disagreement(counts[e], stops);
  const seen = Object.fromEntries(budgets.map(e => [e, new Set()]));
  const id = "d" + Math.random().toString(36).slice(2, 8);

  const root = stage(el, "Explorer: the dance of the intervals", `${CSS}<div class="dance">
  <div class="top"><div class="dial"><label class="name" for="${id}s">Seeds per study</label><output for="${id}s"></output><input id="${id}s" class="seeds" type="range" min="0" max="${stops.length - 1}" step="1"></div>
  <button type="button" class="again">Draw again</button>
  <fieldset class="budget"><legend>Trained for</legend>${budgets.map(e => `<label><input type="radio" name="${id}e" value="${e}"> ${e} epochs<span></span></label>`).join("")}</fieldset></div>
  <p class="say" aria-live="polite"></p>
  <div class="body"><div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <div class="side"><p class="name" id="${id}w"></p><ul class="words" aria-labelledby="${id}w"></ul>
  <p class="name">Two of these teams: Ada and Ben</p><p class="pair"></p><div class="teams"></div></div></div>
  <details><summary>What the words mean</summary><ul class="meaning small"><li><b>helps</b>: the whole interval lies beyond +${data.smallest} point, the smallest difference that matters here</li><li><b>helps, size open</b>: it lies above zero, begins inside the gray band and ends beyond it</li><li><b>too small to matter</b>: it lies within the gray band</li><li><b>hurts</b> and <b>hurts, size open</b>: the same to the left of zero</li><li><b>not yet known</b>: anything else; it speaks about the study, never about dropout</li></ul></details>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the fifty studies"></div></details>
  <details><summary>What was trained, and how the intervals are made</summary><p class="small">${data.recipe}. Versions: ${data.versions}; ${data.date}.
  A study draws its seeds without replacement. Its interval is the one of the course's ledger: mean ± <i>t s</i>/√<i>n</i> at 95.5 %, made a little wider where a few seeds stand far out. It speaks for new seeds and these ${data.n_test} test digits. Other digits have a chance of their own, which the ledger adds: a standard error of ${budgets.map(e => `${data.examples[e].toFixed(2)} points after ${e} epochs`).join(" and ")}, which no number of seeds makes smaller.
  Ada and Ben disagree if the mean difference is above zero for one and not for the other; the picture opens on a draw in which, with one seed each, they do. Shares are counted over ${N_PAIRS.toLocaleString("en")} pairs of teams without a common seed (± 1 point).</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".seeds"), radios = all(".budget input"), svg = $("[data-picture]"), teams = $(".teams");

  let studies, drawn, teamsOf = "", sideWidth = 320;
  function think() {
    if (drawn?.draw !== state.draw) drawn = { draw: state.draw, orders: orders(size, stops[stops.length - 1], state.draw) };
    studies = drawn.orders.map(o => ({ ...study(o.slice(0, state.seeds).map(i => counts[state.epochs][i] * per), data), seeds: o.slice(0, state.seeds) }));
    if (open > budgets.indexOf(state.epochs)) seen[state.epochs].add(stops.indexOf(state.seeds));
  }

  // The picture: all seeds above, the studies below, one axis
  const TOP = 44, PILE = 118, GAP = 40, ROW = 7.2, LEAD = 15, AXIS = 44, LEFT = 34, RIGHT = 18;
  const rowY = i => TOP + PILE + GAP + (i < 2 ? LEAD * (i + 0.5) : 2 * LEAD + 4 + ROW * (i - 1.5));
  const BOTTOM = rowY(N_STUDIES - 1) + 8, HEIGHT = BOTTOM + AXIS;
  let x, width = 0, spots = {}, spot = 3, built = 0;
  function place() { // dots in columns; where the page is narrow, of two right answers each
    const step = width < 520 ? 2 : 1, tallest = Math.max(...budgets.map(e => { const c = {}; counts[e].forEach(v => { const b = Math.floor(v / step); c[b] = (c[b] || 0) + 1; }); return Math.max(...Object.values(c)); }));
    const up = PILE / tallest;
    spot = Math.max(2, Math.min(up, x(step * per) - x(0)) * 0.86);
    spots = Object.fromEntries(budgets.map(e => { const c = {}; return [e, counts[e].map(v => { const b = Math.floor(v / step); c[b] = (c[b] || 0) + 1; return [x((b * step + (step - 1) / 2) * per), TOP + PILE - up * (c[b] - 0.5)]; })]; }));
  }
  const dots = list => list.map(([a, b]) => `M${a.toFixed(1)} ${b.toFixed(1)}h0`).join("");
  function build(w) { // what does not move
    width = w; x = scale(-8, 16, LEFT, w - RIGHT); place();
    const m = data.smallest, narrow = w < 520;
    let s = `<rect x="${x(-m)}" y="24" width="${x(m) - x(-m)}" height="${BOTTOM - 24}" fill="var(--band)"/>`;
    s += text(x(0), 16, "too small to matter");
    for (let v = -8; v <= 16; v += 2) s += line(x(v), TOP, x(v), BOTTOM, v ? "var(--grid)" : "var(--plain)", v ? "" : 'stroke-width="1.5"') + (narrow && v % 4 ? "" : text(x(v), BOTTOM + 17, signed(v, 0)));
    s += text(LEFT, BOTTOM + 37, narrow ? "← worse" : "← worse with dropout", "start") + text(w - RIGHT, BOTTOM + 37, narrow ? "better →" : "better with dropout →", "end") + text(narrow ? (LEFT + w - RIGHT) / 2 : x(3), BOTTOM + 37, "points of accuracy");
    s += `<g class="pile"></g><g class="own"></g><clipPath id="${id}c"><rect x="${LEFT}" y="0" width="${w - RIGHT - LEFT}" height="${HEIGHT}"/></clipPath>`;
    s += `<g class="whole"></g>` + ["Ada", "Ben"].map((name, i) => text(0, rowY(i) + 4.5, name, "start", "ink bold")).join("");
    s += `<g clip-path="url(#${id}c)">${studies.map((_, i) => `<g class="row"><line class="bar" x1="-1" x2="1" vector-effect="non-scaling-stroke"/><path class="mark" stroke-width="1.4"/></g>`).join("")}</g>`;
    svg.setAttribute("viewBox", `0 0 ${w} ${HEIGHT}`);
    svg.innerHTML = s; built = 0;
  }
  function paint() {
    const { seeds, epochs } = state, one = seeds === 1, [ada, ben] = studies;
    if (built !== epochs) {
      const told = width < 520 ? text(width - RIGHT, 37, `${size} seeds; large: Ada’s, Ben’s`, "end", "ink halo") : text(width - RIGHT, 16, `${size} seeds, a dot each`, "end", "ink bold") + text(width - RIGHT, 34, "large: Ada’s and Ben’s", "end");
      $(".pile").innerHTML = `<path d="${dots(spots[epochs])}" stroke="var(--soft)" stroke-width="${spot.toFixed(1)}" stroke-linecap="round"/>` + told;
      built = epochs;
    }
    $(".own").innerHTML = `<path d="${dots([...ada.seeds, ...ben.seeds].map(i => spots[epochs][i]))}" stroke="var(--ink)" stroke-width="${one ? 8 : 5}" stroke-linecap="round"/>`;
    const all = whole[epochs];
    $(".whole").innerHTML = one ? "" : line(x(all.mean), TOP + PILE, x(all.mean), BOTTOM, "var(--ink)", 'stroke-dasharray="2 4" stroke-width="1.5"') + text(x(all.mean) + (all.mean < 3 ? 7 : -7), TOP + PILE + 24, `mean of all ${size}: ${signed(all.mean)}`, all.mean < 3 ? "start" : "end", "halo ink");
    root.querySelectorAll(".row").forEach((g, i) => {
      const v = studies[i], [bar, mark] = g.children, lead = i < 2;
      g.style.transform = `translate(${x(v.mean).toFixed(2)}px,${rowY(i)}px)`;
      bar.style.transform = `scaleX(${one ? 0 : Math.max(0.001, x(v.half) - x(0)).toFixed(2)})`;
      bar.setAttribute("stroke", one ? "none" : TONE[v.word]); bar.setAttribute("stroke-width", lead ? 4 : 2.4);
      const shape = one ? ONE[v.mean > 0 ? 0 : 1] : MARK[v.word];
      if (mark.dataset.shape !== shape) { mark.dataset.shape = shape; for (const [, k, value] of shape.matchAll(/(\w+)="([^"]*)"/g)) mark.setAttribute(k, value); }
      mark.setAttribute("transform", `scale(${lead ? 1.25 : 0.72})`);
    });
    svg.setAttribute("aria-label", `${size} differences between a network with dropout and one without, as dots, around ${signed(all.mean)} points; below, ${N_STUDIES} studies of ${seeds} ${one ? "seed" : "seeds"} each. ${$(".say").textContent}`);
  }

  function tally() {
    const one = state.seeds === 1, c = one ? [0, 0] : WORDS.map(() => 0);
    for (const v of studies) c[one ? (v.mean > 0 ? 0 : 1) : v.word]++;
    const rows = one ? ["dropout was better", "it was not"] : WORDS, marks = one ? ONE : MARK, tones = one ? ["var(--plain)", "var(--soft)"] : TONE;
    $(".side .name").textContent = one ? "What fifty single seeds say" : "What the rule lets fifty studies say";
    $(".words").innerHTML = rows.map((word, i) => `<li${c[i] ? "" : ' class="none"'}><svg viewBox="-10 -9 20 18" aria-hidden="true"><path ${marks[i]} stroke-width="1.6"/></svg><span>${word}</span><b>${c[i]}</b><i style="width:${2 * c[i]}%;background:${tones[i]}"></i></li>`).join("");
    return c;
  }
  function speak(c) {
    const { seeds, epochs } = state, all = whole[epochs], seedsEach = seeds === 1 ? "One seed" : `${seeds} seeds`;
    let s = `${seedsEach} per study, ${epochs} epochs: `;
    if (seeds === 1) s += `${c[0]} of ${N_STUDIES} studies find dropout better, ${c[1]} do not. A single number has no interval, so none of them can tell how far to trust it.`;
    else {
      const told = WORDS.map((word, i) => [c[i], word]).filter(p => p[0]).map(([n, word], i) => `${n} ${i ? "" : n === 1 ? "says " : "say "}“${word}”`);
      const hold = studies.filter(v => v.low <= all.mean && all.mean <= v.high).length;
      s += `of ${N_STUDIES} studies ${told.length > 1 ? told.slice(0, -1).join(", ") + " and " + told[told.length - 1] : told[0]}. A typical interval is the mean ±\u00a0${median(studies.map(v => v.half)).toFixed(1)} points; ${hold} of ${N_STUDIES} hold the mean of all ${size} seeds, ${signed(all.mean)} (95 % interval ${signed(all.mean - all.half)} to ${signed(all.mean + all.half)}).`;
    }
    $(".say").textContent = s;
    const [ada, ben] = studies, differ = (ada.mean > 0) !== (ben.mean > 0);
    $(".pair").innerHTML = `Ada finds ${signed(ada.mean)} points, Ben ${signed(ben.mean)}: this time they <b>${differ ? "disagree" : "agree"}</b> about which is better.`;
  }

  // Two teams: covered until the reader has placed a guess
  function ask(e) {
    return `<fieldset class="ask"><legend class="small">${e === 40 ? "Predict first" : "And again"}</legend><label for="${id}g">${QUESTION[e]}</label>
    <div class="guess"><input id="${id}g" type="range" min="0" max="100" step="1" value="50"><output for="${id}g">50 of 100</output></div><button type="button" class="main uncover">Uncover</button></fieldset>`;
  }
  function compare() {
    if (teamsOf !== String(open)) {
      teamsOf = String(open);
      teams.innerHTML = (open ? `<svg class="chart trail" role="img"></svg>` : "") + `<p class="small result"></p>` + (open < 2 ? ask(budgets[open]) : "");
      const guess = teams.querySelector(".guess input");
      if (guess) {
        guess.setAttribute("aria-valuetext", "50 of 100");
        guess.addEventListener("input", () => { const t = `${guess.value} of 100`; guess.setAttribute("aria-valuetext", t); teams.querySelector("output").textContent = t; });
        teams.querySelector(".uncover").addEventListener("click", () => uncover(+guess.value));
      }
    }
    radios.forEach(r => { const closed = budgets.indexOf(+r.value) >= Math.max(1, open); r.disabled = closed; r.checked = +r.value === state.epochs; r.parentNode.toggleAttribute("data-closed", closed); r.nextElementSibling.textContent = closed ? " (guess first)" : ""; });
    if (!open) return;
    const at = stops.indexOf(state.seeds), now = share(state.epochs)[at], told = now > 0 && now < 0.005 ? "fewer than 1" : Math.round(100 * now);
    $(".result").innerHTML = `With ${state.seeds === 1 ? "one seed" : state.seeds + " seeds"} each and ${state.epochs} epochs, <b>${told} of 100</b> pairs of teams disagree.` + (state.seeds === 1 && guesses[state.epochs] !== undefined ? ` You guessed ${guesses[state.epochs]}.` : "") + (open === 2 ? " You may now move between 40 and 80 epochs." : "");
    const chart = $(".trail"), W = Math.max(220, sideWidth), H = 170, tx = scale(0, stops.length - 1, 34, W - 12), ty = scale(0, 60, H - 38, 10);
    let s = "";
    for (const v of [0, 25, 50]) s += line(34, ty(v), W, ty(v), v ? "var(--grid)" : "var(--plain)") + text(28, ty(v) + 4, v, "end");
    s += text(W, ty(50) - 5, "50: tossing a coin", "end");
    for (const n of [1, 2, 4, 8, 16, 32, 96]) s += text(tx(stops.indexOf(n)), H - 20, n);
    s += text((34 + W) / 2, H - 3, "seeds each (where you have been)");
    for (const e of budgets.slice(0, open)) {
      const tone = e === state.epochs ? "var(--strong)" : "var(--plain)", points = [...seen[e]].sort((a, b) => a - b).map(i => [tx(i), ty(100 * share(e)[i]), i]);
      s += `<polyline points="${points.map(p => p.slice(0, 2).map(v => v.toFixed(1)).join()).join(" ")}" fill="none" stroke="${tone}" stroke-width="1.5" opacity=".5"/>` + points.map(([a, b, i]) => `<circle cx="${a.toFixed(1)}" cy="${b.toFixed(1)}" r="${e === state.epochs && i === at ? 6.5 : 3.8}" fill="${tone}"/>`).join("");
    }
    chart.setAttribute("viewBox", `0 0 ${W} ${H}`); chart.innerHTML = s;
    chart.setAttribute("aria-label", "Pairs of teams that disagree, of 100, where you have been. " + budgets.slice(0, open).map(e => `${e} epochs: ` + [...seen[e]].sort((a, b) => a - b).map(i => `${stops[i]} seeds ${Math.round(100 * share(e)[i])}`).join(", ")).join(". ") + ".");
  }
  function uncover(guess) {
    state.epochs = budgets[open]; guesses[state.epochs] = guess; open++; state.seeds = 1;
    draw(); keep(state);
    (teams.querySelector(".guess input") || radios[radios.length - 1]).focus({ preventScroll: true });
  }

  function table() {
    if (!$(".numbers").open) return;
    const one = state.seeds === 1, rows = studies.map((v, i) => `<tr><th scope="row">${["Ada", "Ben"][i] || i + 1}</th><td>${signed(v.mean, 2)}</td>${one ? "" : `<td>${signed(v.low, 2)}</td><td>${signed(v.high, 2)}</td><td class="word">${WORDS[v.word]}</td>`}</tr>`);
    $(".scroll").innerHTML = `<table><caption>Fifty studies of ${one ? "one seed" : state.seeds + " seeds"}, ${state.epochs} epochs: difference in points of accuracy</caption><thead><tr><th scope="col">study</th><th scope="col">mean</th>${one ? "" : '<th scope="col">from</th><th scope="col">to</th><th scope="col" class="word">the rule says</th>'}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    settle();
    think();
    slider.value = stops.indexOf(state.seeds);
    slider.setAttribute("aria-valuetext", state.seeds === 1 ? "one seed" : state.seeds + " seeds");
    $(".dial output").textContent = state.seeds;
    $(".line").textContent = `explorers.show("dance", seeds=${state.seeds}, epochs=${state.epochs}, draw=${state.draw})`;
    speak(tally()); compare(); table();
    if (width) { if (!svg.childElementCount) build(width); paint(); }
  }
  const moved = change => () => { change(); draw(); keep(state); };
  slider.addEventListener("input", moved(() => { state.seeds = stops[slider.value]; }));
  $(".again").addEventListener("click", moved(() => { state.draw = state.draw % 999 + 1; }));
  radios.forEach(r => r.addEventListener("change", moved(() => { state.epochs = +r.value; })));
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), now => { sideWidth = teams.clientWidth; build(now); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
