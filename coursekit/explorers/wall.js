// The memorization wall: what a network answers on each of its 200 training digits, epoch by epoch,
// and what validation digits say about the moment to stop. Plain module in anywidget's format.
import { calm, keeper, line, minus, onWidth, ownKeys, remembered, scale, signed, stage, text } from "./kit.js";
export default { render };

// What an answer is to a digit whose label is `given` and which truly is `truth`.
export const OTHER = 0, AS_TOLD = 1, TRUE = 2, BY_HEART = 3;
export const state_of = (answer, given, truth) => given === truth ? (answer === truth ? AS_TOLD : OTHER) : answer === truth ? TRUE : answer === given ? BY_HEART : OTHER;

// How many of one network's digits are in each state: right labels first, then wrong ones.
export function tally({ given, truth, answers }, stop) {
  const right = [0, 0], wrong = [0, 0, 0, 0];
  for (let i = 0; i < given.length; i++) {
    const s = state_of(answers[stop][i], given[i], truth[i]);
    if (given[i] === truth[i]) right[s === AS_TOLD ? 1 : 0]++; else wrong[s]++;
  }
  return { told: right[1], right: right[0] + right[1], true: wrong[TRUE], heart: wrong[BY_HEART], wrong: wrong[0] + wrong[TRUE] + wrong[BY_HEART] };
}

const CSS = `<style>
.wall .top{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:.5em .8em;align-items:end}
.wall .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em;margin-right:.8em}
.wall .dial input{grid-column:1/3}.wall .dial output{font-size:1.75em;line-height:1}
.wall .nets{display:flex;flex-wrap:wrap;gap:.2em 1.1em;align-items:baseline;grid-column:1/4}
.wall .nets legend{float:left;margin-right:.2em}
.wall .plot{min-width:0}.wall .plot svg{width:100%}
.wall .say{min-height:4.5em}
.wall .tiles path{transition:stroke .15s,fill .15s}
.wall .flag{border-left:4px solid var(--ink);padding:.15em 0 .15em .8em;margin:0 0 .9em}
.wall .flag:empty{display:none}.wall button:disabled{opacity:.45;cursor:default}
.wall .one{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3em 1em;align-items:center;margin:.6em 0 0}
@container (max-width:520px){.wall .top{grid-template-columns:auto auto 1fr}.wall .dial{grid-column:1/4;margin:0}.wall .say{min-height:8.6em}}
@media print{.wall .say{min-height:0}}
</style>`;

// Words in a role's color; a style of its own, so that they keep it in the stored picture.
const tinted = (x, y, words, anchor, tone, cls = "") => text(x, y, words, anchor, cls).replace("<text ", `<text style="fill:var(${tone})" `);

export function render({ model, el }) {
  const data = model.get("data"), stops = data.stops, last = stops.length - 1;
  const nets = data.networks.map(n => ({ ...n, given: [...n.given].map(Number), truth: [...n.truth].map(Number), answers: n.answers.map(a => [...a].map(Number)) }));
  const state = remembered(model);
  if (!stops.includes(state.epoch)) state.epoch = stops[0];
  if (!(state.network >= 1 && state.network <= nets.length && Number.isInteger(state.network))) state.network = 1;
  let seen = stops.indexOf(state.epoch), flag = null, first = null, playing = null;
  const id = "w" + Math.random().toString(36).slice(2, 8);

  const root = stage(el, "Explorer: the memorization wall", `${CSS}<div class="wall">
  <div class="top"><div class="dial"><label class="name" for="${id}e">Epoch</label><output for="${id}e"></output><input id="${id}e" class="epoch" type="range" min="0" max="${last}" step="1"></div>
  <button type="button" class="play">Play</button><button type="button" class="main stop">Stop here</button>
  <fieldset class="nets"><legend>Network</legend>${nets.map((_, i) => `<label><input type="radio" name="${id}n" value="${i + 1}"> ${i + 1}</label>`).join("")}</fieldset></div>
  <p class="say" aria-live="polite"></p><p class="flag" role="status"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table by epoch"></div></details>
  <details class="origin"><summary>What was trained, and what the bands are</summary><p class="small">${data.recipe}. Versions: ${data.versions}; ${data.date}.
  Lines are means over the ${data.n_seeds} networks, bands their 95\u00a0% intervals (Student’s, over networks); thin gray lines are the one network of the wall, which has only ${data.n_val} digits to validate. The digits of the wall are sorted by the digit that they truly are.
  What a stop is worth is judged on ${data.n_test} test digits, as the difference to the same networks after ${stops[last]} epochs; its interval adds the chance of other test digits to that of other networks. Only your first stop is a fair guess: every further one has seen test digits.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".epoch"), radios = all(".nets input"), svg = $("[data-picture]");

  // Where everything is: two walls, side by side or one above the other, and three charts below
  let width = 0, at = {}, drawnNet = 0, shown = [], painted = [];
  function place(w) {
    const wide = w >= 780, some = w >= 560, n = nets[state.network - 1], right = tally(n, 0).right, wrong = n.given.length - right;
    const gap = 26, HEAD = 46, columns = wide ? [15, 10] : some ? [20, 20] : [13, 10], steps = columns.map(c => wide ? (w - gap) / 25 : w / c);
    const walls = [right, wrong].map((m, k) => ({ n: m, first: k ? right : 0, columns: columns[k], rows: Math.ceil(m / columns[k]), step: steps[k], w: columns[k] * steps[k], x: 0, y: HEAD }));
    const [a, b] = walls, foot = wall => wall.y + wall.rows * wall.step;
    if (wide) b.x = w - b.w; else b.y = foot(a) + 14 + HEAD;
    const under = Math.max(foot(a), foot(b)) + 26, three = w >= 700, high = 176, wd = three ? (w - 2 * 30) / 3 : w;
    const charts = [0, 1, 2].map(i => ({ x: three ? i * (wd + 30) : 0, y: under + (three ? 0 : i * (high + 40)), w: wd, h: high }));
    const spot = i => { const wall = walls[i < right ? 0 : 1], j = i - wall.first; return [wall.x + (j % wall.columns) * wall.step, wall.y + Math.floor(j / wall.columns) * wall.step, wall.step]; };
    return { right, wrong, walls, charts, height: charts[2].y + high + 6, spot, HEAD };
  }
  // The digits of a wall as one picture, bright on dark: a mask lets the page's ink through.
  function picture(n, wall) {
    const c = document.createElement("canvas");
    c.width = wall.columns * 10; c.height = wall.rows * 10;
    const g = c.getContext("2d"), one = g.createImageData(8, 8);
    g.fillStyle = "#000"; g.fillRect(0, 0, c.width, c.height);
    for (let j = 0; j < wall.n; j++) {
      for (let p = 0; p < 64; p++) { const v = Math.round(parseInt(n.pixels[64 * (wall.first + j) + p], 17) * 255 / 16); one.data.set([v, v, v, 255], 4 * p); }
      g.putImageData(one, (j % wall.columns) * 10 + 1, Math.floor(j / wall.columns) * 10 + 1);
    }
    return c.toDataURL();
  }

  // The charts: epochs close together at the end, as the stops of the slider are
  const squeeze = e => Math.log(1 + e / 5);
  const CHARTS = [
    { name: "wrongly labeled digits", unit: "%", low: 0, high: 100, ticks: [0, 50, 100], lines: [["true", "var(--strong)"], ["wrong", "var(--against)"]] },
    { name: "validation accuracy", unit: "%", low: 0, high: 100, ticks: [0, 50, 100], lines: [["val_acc", "var(--ink)"]] },
    { name: "validation loss", unit: "nats", low: 0.5, high: 2.5, ticks: [0.5, 1, 1.5, 2, 2.5], lines: [["val_loss", "var(--ink)"]] },
  ];
  const axes = i => { const c = at.charts[i], k = CHARTS[i]; const x = scale(squeeze(0), squeeze(stops[last]), c.x + 30, c.x + c.w - 12); return [e => x(squeeze(e)), scale(k.low, k.high, c.y + c.h - 36, c.y + 26)]; };
  const path = pairs => pairs.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
  function own(name) { // the one network of the wall
    const n = nets[state.network - 1];
    if (name === "val_acc" || name === "val_loss") return n[name];
    return stops.map((_, i) => { const t = tally(n, i); return 100 * (name === "true" ? t.true : t.heart) / t.wrong; });
  }

  function build(w) { // what does not move
    width = w; at = place(w); drawnNet = state.network; shown = []; painted = [];
    const n = nets[state.network - 1], [a, b] = at.walls;
    let s = text(a.x + a.step * 0.06, 15, `${at.right} digits with their right label`, "start", "ink bold") + text(b.x + b.step * 0.06, b.y - at.HEAD + 15, `${at.wrong} with a wrong label`, "start", "ink bold");
    s += `<g class="bars"></g>`;
    s += `<g class="tiles" stroke="var(--grid)" fill="none" stroke-width="2.4" stroke-linejoin="round">${n.given.map((_, i) => { const [x, y, t] = at.spot(i), side = (t * 0.88).toFixed(1); return `<path d="M${(x + t * 0.06).toFixed(1)} ${(y + t * 0.06).toFixed(1)}h${side}v${side}h-${side}z"/>`; }).join("")}</g>`;
    at.walls.forEach((wall, k) => {
      const area = `x="${wall.x}" y="${wall.y}" width="${wall.w}" height="${wall.rows * wall.step}"`;
      s += `<mask id="${id}m${k}" maskUnits="userSpaceOnUse" ${area}><image href="${picture(n, wall)}" ${area} preserveAspectRatio="none"/></mask><rect ${area} fill="var(--ink)" mask="url(#${id}m${k})"/>`;
    });
    // The label it was told, in the corner of each wrongly labeled digit: one text, a place per sign.
    const told = n.given.map((g, i) => [g, ...at.spot(i)]).filter((_, i) => n.given[i] !== n.truth[i]);
    const [xs, ys] = [told.map(([, x, , t]) => (x + t * 0.91).toFixed(1)), told.map(([, , y, t]) => (y + t * 0.35).toFixed(1))];
    s += tinted(xs.join(" "), ys.join(" "), told.map(v => v[0]).join(""), "end", "--against-ink", "halo").replace('style="', 'style="font-size:11px;font-weight:650;');
    s += `<g class="marks"></g>`;
    at.charts.forEach((c, i) => {
      const k = CHARTS[i], [x, y] = axes(i);
      s += text(c.x, c.y + 10, k.name, "start", "ink bold") + text(c.x + c.w - 12, c.y + 10, k.unit, "end");
      for (const v of k.ticks) s += line(c.x + 30, y(v), c.x + c.w - 12, y(v), "var(--grid)") + text(c.x + 25, y(v) + 4, v, "end");
      for (const e of c.w < 270 ? [0, 5, 20, 40, 120] : [0, 5, 10, 20, 40, 80, 120]) s += text(x(e), c.y + c.h - 19, e);
      s += text(c.x + c.w - 12, c.y + c.h - 3, "epoch", "end") + text(c.x + 30, c.y + c.h - 3, `thin: network ${state.network}`, "start");
    });
    s += `<g class="curves"></g><g class="now"></g>`;
    svg.setAttribute("viewBox", `0 0 ${w} ${at.height}`);
    svg.innerHTML = s;
  }
  function paint() {
    const n = nets[state.network - 1], stop = stops.indexOf(state.epoch), t = tally(n, stop);
    const tiles = svg.querySelector(".tiles").children, marks = [];
    for (let i = 0; i < n.given.length; i++) {
      const s = state_of(n.answers[stop][i], n.given[i], n.truth[i]);
      if (painted[i] !== s) {
        painted[i] = s;
        const tone = ["", "var(--strong)", "var(--strong)", "var(--against)"][s];
        for (const [key, value] of [["stroke", tone], ["fill", tone], ["fill-opacity", [0, 0.1, 0.28, 0.28][s]]])
          if (s) tiles[i].setAttribute(key, value); else tiles[i].removeAttribute(key);
      }
      if (s === BY_HEART) { const [x, y, t] = at.spot(i), o = t * 0.06, q = t * 0.3; marks.push(`M${(x + o).toFixed(1)} ${(y + t - o).toFixed(1)}v${-q.toFixed(1)}l${q.toFixed(1)} ${q.toFixed(1)}Z`); }
    }
    svg.querySelector(".marks").innerHTML = `<path d="${marks.join("")}" fill="var(--against)"/>`;
    // A bar above each wall counts what the wall shows.
    const [a, b] = at.walls, edge = wall => wall.step * 0.06, bar = (wall, y, parts, n) => { const o = edge(wall); let x = wall.x + o, s = ""; const full = wall.w - 2 * o; for (const [m, tone] of parts) { const l = full * m / n; s += `<rect x="${x.toFixed(1)}" y="${y}" width="${l.toFixed(1)}" height="7" fill="${tone}"/>`; x += l; } return `<rect x="${(wall.x + o).toFixed(1)}" y="${y}" width="${full.toFixed(1)}" height="7" fill="var(--band)"/>` + s; };
    const y1 = a.y - 12, y2 = b.y - 12;
    let s = bar(a, y1, [[t.told, "var(--strong)"]], t.right) + tinted(a.x + edge(a), y1 - 5, `${t.told} answered as told`, "start", "--strong-ink");
    s += bar(b, y2, [[t.true, "var(--strong)"], [t.wrong - t.true - t.heart, "none"], [t.heart, "var(--against)"]], t.wrong);
    s += tinted(b.x + edge(b), y2 - 5, b.w < 320 ? `${t.true} truly` : `${t.true} answered truly`, "start", "--strong-ink") + tinted(b.x + b.w - edge(b), y2 - 5, b.w < 320 ? `${t.heart} as told` : `${t.heart} with the wrong label`, "end", "--against-ink");
    svg.querySelector(".bars").innerHTML = s;
    if (shown[0] !== seen) { shown = [seen]; curves(); }
    let now = "";
    at.charts.forEach((c, i) => {
      const [x] = axes(i), top = c.y + 20, foot = c.y + c.h - 36;
      if (flag !== null) { const X = x(stops[flag]); now += line(X, top, X, foot, "var(--ink)", 'stroke-width="1.5" stroke-dasharray="2 3"') + `<path d="M${X} ${top}h11l-3 4.5 3 4.5h-11Z" fill="var(--ink)"/>`; }
      now += line(x(state.epoch), top, x(state.epoch), foot, "var(--strong-ink)", 'stroke-width="2"');
      for (const [name] of CHARTS[i].lines) { const [, y] = axes(i); now += `<circle cx="${x(state.epoch).toFixed(1)}" cy="${y(data[name][stop][0]).toFixed(1)}" r="4.5" fill="var(--bg)" stroke="var(--ink)" stroke-width="2"/>`; }
    });
    svg.querySelector(".now").innerHTML = now;
    svg.setAttribute("aria-label", `Two walls of training digits, ${t.right} with their right label and ${t.wrong} with a wrong one, framed by what a network answers; below, curves by epoch${seen < last ? ", drawn as far as epoch " + stops[seen] : ""}. ${$(".say").textContent}`);
  }
  function curves() { // as far as the reader has been
    let s = "";
    at.charts.forEach((c, i) => {
      const [x, y] = axes(i), k = CHARTS[i], cut = v => Math.max(k.low, Math.min(k.high, v));
      for (const [name, tone] of k.lines) {
        const pts = data[name].slice(0, seen + 1), mine = own(name).slice(0, seen + 1);
        s += `<path d="${path(mine.map((v, j) => [x(stops[j]), y(cut(v))]))}" fill="none" stroke="var(--soft)" stroke-width="1"/>`;
        s += `<path d="${path(pts.map(([m, h], j) => [x(stops[j]), y(cut(m + h))]))}${path(pts.map(([m, h], j) => [x(stops[j]), y(cut(m - h))]).reverse()).replace("M", "L")}Z" fill="${tone}" fill-opacity=".2"/>`;
        s += `<path d="${path(pts.map(([m], j) => [x(stops[j]), y(m)]))}" fill="none" stroke="${tone}" stroke-width="2.5" stroke-linejoin="round"/>`;
      }
      if (seen < last) {
        const X = x(stops[seen]) + (seen ? 3 : 3), W = c.x + c.w - 12 - X;
        s += `<rect x="${X.toFixed(1)}" y="${c.y + 20}" width="${W.toFixed(1)}" height="${c.h - 56}" fill="var(--band)"/>`;
        if (W > 190) s += text(X + W / 2, c.y + c.h / 2 - 2, "covered until you go there");
      }
      if (i === 0 && seen >= 8) {
        const here = x(stops[Math.min(seen, stops.indexOf(24))]), top = Math.max(...data.true.slice(0, seen + 1).map(p => p[0]));
        s += tinted(here, y(Math.min(92, top + 9)), "true digit", "end", "--strong-ink", "halo") + tinted(here, y(22), "wrong label", "end", "--against-ink", "halo");
      }
    });
    svg.querySelector(".curves").innerHTML = s;
  }
  const pm = ([m, h], digits = 0) => `${m.toFixed(digits)}\u00a0±\u00a0${h.toFixed(digits)}`;
  function speak() {
    const stop = stops.indexOf(state.epoch), t = tally(nets[state.network - 1], stop), e = state.epoch;
    const when = e === 0 ? "Before the first step" : e === 1 ? "After one epoch" : `After ${e} epochs`;
    $(".say").textContent = `${when}, network ${state.network} answers ${t.told} of the ${t.right} rightly labeled digits as it was told. Of the ${t.wrong} wrongly labeled ones it calls ${t.true} by their true name, against what it was told, and ${t.heart} by the wrong one. Over ${data.n_seeds} networks, in percent with 95\u00a0% intervals: ${pm(data.true[stop])} by the true name, ${pm(data.wrong[stop])} by the wrong one; of the validation digits they read ${pm(data.val_acc[stop])} rightly.`;
  }
  function judge() {
    if (flag === null) return;
    const e = stops[flag], [m, h] = data.worth[flag], own = data.lowest, told = v => `${signed(v[0])} points (95\u00a0% interval ${signed(v[0] - v[1])} to ${signed(v[0] + v[1])})`;
    $(".flag").innerHTML = `You stop all networks after <b>${e === 1 ? "one epoch" : e + " epochs"}</b>. Of ${data.n_test} test digits they then read ${data.test[flag].toFixed(0)}\u00a0%, and ${data.test[last].toFixed(0)}\u00a0% after all ${stops[last]} epochs: ` + (flag === last ? "you have not stopped them." : `your stop is worth ${told([m, h])}.`) + ` Each stopped at the lowest loss on its own ${data.n_val} validation digits, the networks gain on average ${told(own.worth)}; four in five of them stop between epoch ${own.epochs[0]} and ${own.epochs[2]}.` + (first !== flag ? ` Your first stop was epoch ${stops[first]}.` : "");
  }
  function table() {
    if (!$(".numbers").open) return;
    const head = ["epoch", "right labels answered", "true digit", "wrong label", "validation digits", "loss, nats"], n = nets[state.network - 1];
    const rows = stops.slice(0, seen + 1).map((e, i) => `<tr><th scope="row">${e}</th><td>${pm(data.right[i], 1)}</td><td>${pm(data.true[i], 1)}</td><td>${pm(data.wrong[i], 1)}</td><td>${pm(data.val_acc[i], 1)}</td><td>${pm(data.val_loss[i], 3)}</td></tr>`);
    $(".scroll").innerHTML = `<table><caption>${data.n_seeds} networks, percent where no unit is named: mean ± half width of the 95\u00a0% interval${seen < last ? `; as far as epoch ${stops[seen]}` : ""}</caption><thead><tr>${head.map(h => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    settle();
    const stop = stops.indexOf(state.epoch);
    seen = Math.max(seen, stop, flag === null ? 0 : last);
    slider.value = stop;
    slider.setAttribute("aria-valuetext", `epoch ${state.epoch}`);
    $(".dial output").textContent = state.epoch;
    radios.forEach(r => { r.checked = +r.value === state.network; });
    $(".stop").disabled = stop === 0;
    $(".line").textContent = `explorers.show("wall", epoch=${state.epoch}, network=${state.network})`;
    speak(); judge(); table();
    if (width) { if (drawnNet !== state.network || !svg.childElementCount) build(width); paint(); }
  }
  function halt() { clearInterval(playing); playing = null; $(".play").textContent = "Play"; }
  const moved = change => () => { change(); draw(); keep(state); };
  slider.addEventListener("input", moved(() => { halt(); state.epoch = stops[slider.value]; }));
  radios.forEach(r => r.addEventListener("change", moved(() => { state.network = +r.value; })));
  $(".stop").addEventListener("click", moved(() => { halt(); flag = stops.indexOf(state.epoch); first ??= flag; }));
  $(".play").addEventListener("click", () => {
    if (playing) { halt(); keep(state); return; }
    if (state.epoch === stops[last]) state.epoch = stops[0];
    $(".play").textContent = "Pause";
    $(".say").setAttribute("aria-live", "off"); // a sentence per step would never be heard to its end
    playing = setInterval(() => {
      state.epoch = stops[Math.min(last, stops.indexOf(state.epoch) + 1)];
      if (state.epoch === stops[last]) halt();
      $(".say").setAttribute("aria-live", playing ? "off" : "polite");
      draw(); keep(state);
    }, 260);
  });
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), now => { build(now); draw(); }), ownKeys(root), halt];
  return () => ends.forEach(f => f());
}
