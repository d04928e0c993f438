// A residual network whose blocks are skipped at random: the network of a training step, the film
// of all steps, how deep it was, and the paths that were open. Plain module in anywidget's format.
import { calm, keeper, line, mean, minus, onWidth, ownKeys, random, remembered, scale, stage, text } from "./kit.js";
export default { render };

export const MOST = 1000, LONGEST = 24, SHOWN = 32;
const sum = v => v.reduce((a, b) => a + b, 0);

// Survival of each block: linear in depth, or all alike with the same mean depth.
export function keptBy(uniform, n, last) {
  const linear = Array.from({ length: n }, (_, i) => last + (1 - last) * (1 - (i + 1) / n));
  return uniform ? Array(n).fill(sum(linear) / n) : linear;
}
// Chance of 0, 1, ... blocks in a step: one block after the other is taken in.
export function law(kept) {
  let chance = [1];
  for (const p of kept) chance = [...chance, 0].map((c, d) => c * (1 - p) + (d ? chance[d - 1] * p : 0));
  return chance;
}
// Coins of all steps, the same at every survival: as it falls, blocks go one by one.
export function coins() { const rand = random(7); return Array.from({ length: MOST }, () => Array.from({ length: LONGEST }, rand)); }
export function depths(tossed, kept) { return tossed.map(c => { let k = 0; for (let i = 0; i < kept.length; i++) if (c[i] < kept[i]) k++; return k; }); }
export const alive = (tossed, kept) => kept.map((p, i) => (tossed[i] < p ? 1 : 0));
// Share of the paths that have passed 0, 1, ... branches, before each block and at the end.
export function paths(blocks) {
  const shares = [[1]];
  for (const there of blocks) { const s = shares[shares.length - 1]; shares.push([...s, 0].map((v, d) => there ? (v + (d ? s[d - 1] : 0)) / 2 : v)); }
  return shares;
}
const show = v => String(Number(v.toFixed(2))), count = v => Math.round(v).toLocaleString("en");

const CSS = `<style>
.filmstrip .top{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:.6em 2em;align-items:end}
.filmstrip .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em}
.filmstrip .dial input{grid-column:1/3}.filmstrip .dial output{font-size:1.75em;line-height:1}
.filmstrip .more{grid-column:1/3;display:flex;flex-wrap:wrap;gap:.4em 2em;align-items:center}
.filmstrip .set{display:flex;flex-wrap:wrap;gap:.1em .85em;align-items:baseline}
.filmstrip .set legend{float:left;margin-right:.2em}
.filmstrip .acts{display:flex;flex-wrap:wrap;gap:.5em}
.filmstrip button[aria-pressed=true]{background:var(--band);border-color:var(--strong)}
.filmstrip .plot{min-width:0}.filmstrip .plot svg{width:100%}
.filmstrip .say{min-height:4.5em}
.filmstrip .lit{transition:opacity .25s}
@container (max-width:520px){.filmstrip .top{grid-template-columns:minmax(0,1fr)}.filmstrip .more{grid-column:1}.filmstrip .say{min-height:7.5em}}
@media print{.filmstrip .say{min-height:0}}
</style>`;
const tinted = (x, y, words, anchor, tone, cls = "") => text(x, y, words, anchor, cls).replace("<text ", `<text style="fill:var(${tone})" `);
const path = pairs => pairs.map(([a, b], i) => `${i ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
const NIGHT = "#141414";

export function render({ model, el }) {
  const data = model.get("data"), sizes = Object.keys(data.depths).map(Number).sort((a, b) => a - b);
  const lasts = [100, 90, 80, 70, 60, 50, 40, 30, 20], state = remembered(model), flag = v => (v === 1 ? 1 : 0);
  if (!lasts.includes(state.survival)) state.survival = lasts[0];
  if (!sizes.includes(state.blocks)) state.blocks = 12;
  state.step = Math.min(MOST, Math.max(1, Math.round(state.step) || SHOWN));
  for (const key of ["rule", "test", "trained"]) state[key] = flag(state[key]);
  const tossed = coins(), id = "f" + Math.random().toString(36).slice(2, 8);

  const root = stage(el, "Explorer: the film strip", `${CSS}<div class="filmstrip">
  <div class="top"><div class="dial"><label class="name" for="${id}s"></label><output for="${id}s"></output><input id="${id}s" class="survival" type="range" min="0" max="${lasts.length - 1}" step="1"></div>
  <div class="dial"><label class="name" for="${id}t">Training step</label><output for="${id}t"></output><input id="${id}t" class="step" type="range" min="1" max="${MOST}" step="1"></div>
  <div class="more"><div class="acts"><button type="button" class="next main">Next step</button><button type="button" class="test">At test time</button><button type="button" class="trained">Trained networks</button></div>
  <fieldset class="set blocks"><legend>Blocks</legend>${sizes.map(n => `<label><input type="radio" name="${id}n" value="${n}">${n}</label>`).join("")}</fieldset>
  <fieldset class="set rule"><legend>Skipped</legend><label><input type="radio" name="${id}r" value="0">the later the more often</label><label><input type="radio" name="${id}r" value="1">all alike</label></fieldset></div></div>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table by depth"></div></details>
  <details class="origin"><summary>What is drawn, and what was trained</summary><p class="small">A block is skipped where its coin, a random number between 0 and 1, is not below its survival; the coins are the same at every survival. “All alike” gives every block the survival that has the same mean depth. A path passes each block through its branch or beside it: a step with <i>k</i> blocks has 2<sup><i>k</i></sup> of them, and the darker a line, the more of them pass here. Dots are the exact chances of each depth. The interval of the mean depth is mean ± 1.96 <i>s</i>/√<i>n</i> over steps.
  Trained networks: ${data.recipe}. Bands: 95 % intervals over ${data.n_seeds} networks and ${data.n_test} test digits. Versions: ${data.versions}; ${data.date}.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".survival"), clock = $(".step"), svg = $("[data-picture]");

  let now = {}, G = null;
  function think() {
    const n = state.blocks, kept = keptBy(state.rule, n, state.survival / 100), steps = tossed.slice(0, state.step);
    const depth = depths(steps, kept), film = steps.slice(-SHOWN).reverse().map(c => alive(c, kept)), m = mean(depth), s = Math.sqrt(sum(depth.map(d => (d - m) ** 2)) / Math.max(1, depth.length - 1));
    const counts = Array(n + 1).fill(0);
    depth.forEach(d => counts[d]++);
    const curve = key => data.curves[`${n} ${key}`];
    now = { n, kept, film, depth, counts, mean: m, half: 1.96 * s / Math.sqrt(depth.length), chance: law(kept), expected: sum(kept), blocks: film[0], plain: curve("linear 100"), treated: state.survival === 100 ? null : curve(`${state.rule ? "uniform" : "linear"} ${state.survival}`), depths: data.depths[n] };
  }

  function place(w) {
    const wide = w >= 700, LW = wide ? Math.round(w * 0.57) : w, X = wide ? LW + 34 : 0, RW = w - X, edge = 22;
    const chain = 22, film = 92, rows = SHOWN, rh = wide ? 8 : 6, under = film + rows * rh;
    const below = wide ? 8 : under + 52, hist = { x: X, y: below, w: RW, h: wide ? 262 : 206 };
    const read = { x: X, y: hist.y + hist.h + (wide ? 46 : 40), w: RW, h: wide ? 246 : 206 };
    const fan = { y: wide ? under + 46 : read.y + read.h + 22, h: wide ? 150 : 130 };
    return { w, wide, LW, edge, chain, film, rows, rh, under, hist, read, fan, height: Math.max(read.y + read.h, fan.y + fan.h + 56) + 4 };
  }
  function paint() {
    const { n, kept, film, counts, chance, blocks, expected } = now, { LW, edge, rows, rh } = G, cw = (LW - 2 * edge) / n, at = i => edge + i * cw, last = state.step;
    const k = sum(blocks);
    // The network of this step, or of test time
    let s = text(0, 13, state.test ? "At test time: every block, times its survival" : `Step ${count(last)}: ${k} of ${n} blocks`, "start", "ink bold");
    const y0 = G.chain + 50, bw = Math.min(34, cw * 0.62), bh = 24;
    s += line(2, y0, LW - 8, y0, "var(--plain)", 'stroke-width="2.5"') + `<path d="M${LW} ${y0}l-9 -5v10Z" fill="var(--plain)"/>`;
    blocks.forEach((on, i) => {
      const x = at(i) + cw / 2, a = at(i) + cw * 0.06, b = at(i + 1) - cw * 0.06, top = G.chain, mid = top + bh / 2, lit = state.test ? kept[i] : on;
      const wire = cw < 22 ? `M${(x - bw / 2).toFixed(1)} ${y0}V${mid}M${(x + bw / 2).toFixed(1)} ${y0}V${mid}` : `M${a.toFixed(1)} ${y0}C${a.toFixed(1)} ${mid + 6} ${a.toFixed(1)} ${mid} ${(x - bw / 2).toFixed(1)} ${mid}M${(x + bw / 2).toFixed(1)} ${mid}C${b.toFixed(1)} ${mid} ${b.toFixed(1)} ${mid + 6} ${b.toFixed(1)} ${y0}`;
      s += `<path d="${wire}" fill="none" stroke="var(${lit ? "--strong" : "--grid"})" stroke-width="${lit ? 2 : 1.5}"/>`;
      s += `<rect x="${(x - bw / 2).toFixed(1)}" y="${top}" width="${bw.toFixed(1)}" height="${bh}" rx="3" fill="${lit ? "var(--bg)" : NIGHT}" stroke="var(${lit ? "--strong" : "--plain"})" stroke-width="1.5"/>`;
      if (lit) s += `<rect x="${(x - bw / 2 + 1).toFixed(1)}" y="${(top + 1 + (bh - 2) * (1 - lit)).toFixed(1)}" width="${(bw - 2).toFixed(1)}" height="${((bh - 2) * lit).toFixed(1)}" rx="2" fill="var(--strong)"/>`;
      if (lit) s += `<circle cx="${(cw < 22 ? x + bw / 2 : b).toFixed(1)}" cy="${y0}" r="${cw < 22 ? 2 : 3}" fill="var(--strong)"/>`;
    });
    // The film: newest step on top, perforated edges
    const top = G.film, shot = Math.min(rows, last), h = shot * rh;
    s += `<rect x="0.5" y="${top - 5}" width="${LW - 1}" height="${rows * rh + 10}" rx="4" fill="none" stroke="var(--grid)"/><rect x="0" y="${top - 5}" width="${LW}" height="${h + 10}" rx="4" fill="${NIGHT}" stroke="var(--grid)"/>`;
    let holes = "", frames = "";
    for (let y = top + 3; y < top + h - 4; y += 16) for (const x of [5, LW - 12]) holes += `M${x} ${y}h7v8h-7Z`;
    const thick = Math.max(2, rh - 1.6), gap = Math.min(2, cw * 0.1);
    for (let r = 0; r < shot; r++) film[r].forEach((on, i) => { if (on) frames += `M${(at(i) + gap).toFixed(1)} ${(top + r * rh + 0.8).toFixed(1)}h${(cw - 2 * gap).toFixed(1)}v${thick.toFixed(1)}h${(2 * gap - cw).toFixed(1)}Z`; });
    s += `<path d="${holes}" fill="var(--grid)"/><path class="frames" d="${frames}" fill="#35c296"/>`;
    s += `<rect x="${edge - 3}" y="${top - 1.2}" width="${LW - 2 * edge + 6}" height="${rh + 1.6}" rx="2" fill="none" stroke="#fff" stroke-width="1.6"/>`;
    s += text(at(0), G.under + 21, "block 1", "start") + text(at(n), G.under + 21, `block ${n}`, "end") + text(LW / 2, G.under + 21, G.w < 500 || shot === 1 ? "newest step on top" : `the last ${shot} steps, newest on top`);
    s += fan(at, cw, k) + histogram() + trained();
    svg.setAttribute("viewBox", `0 0 ${G.w} ${G.height}`);
    svg.innerHTML = s;
    svg.setAttribute("aria-label", `A residual network of ${n} blocks; ${k === n ? "all" : k} of them are computed in training step ${last}. Below it the film of ${shot === 1 ? "this step" : `the last ${shot} steps`} with skipped blocks in black, and the open paths; beside it how deep the network was in all steps. ${$(".say").textContent}`);
  }
  // Unrolled: to the right block by block, up with every branch that a path has passed
  function fan(at, cw, k) {
    const { y, h } = G.fan, { n, blocks } = now, up = h / n, base = y + 36 + h, groups = {}, shares = paths(blocks);
    const edge = (share, most, d) => { const level = Math.max(1, Math.ceil(6 * Math.sqrt(share / most))); (groups[level] ??= []).push(d); };
    blocks.forEach((there, i) => {
      const most = Math.max(...shares[i]);
      shares[i].forEach((share, d) => {
        if (share < 1e-9) return;
        const x = at(i), yy = base - d * up;
        edge(share, most, `M${x.toFixed(1)} ${yy.toFixed(1)}h${cw.toFixed(1)}`);
        if (there) edge(share, most, `M${x.toFixed(1)} ${yy.toFixed(1)}l${cw.toFixed(1)} ${(-up).toFixed(1)}`);
      });
    });
    let s = text(0, y + 8, `Open paths of step ${count(state.step)}: ${count(2 ** k)} of ${count(2 ** n)}`, "start", "ink bold");
    for (const key of Object.keys(groups).sort()) s += `<path d="${groups[key].join("")}" fill="none" stroke="var(--strong)" stroke-width="${(0.5 + 0.32 * key).toFixed(2)}" stroke-opacity="${(0.12 + 0.14 * key).toFixed(2)}"/>`;
    const tall = base - k * up;
    s += `<circle cx="${at(0)}" cy="${base}" r="3.5" fill="var(--strong)"/>`;
    s += text(at(n), base + 17, "through no branch", "end") + text(at(n), tall - 7, k ? `through ${k}` : "", "end", "halo");
    return s;
  }
  function histogram() {
    const { x: X, y: Y, w, h } = G.hist, { n, counts, chance, depth } = now, a = X + 8, b = X + w - 8, step = (b - a) / (n + 1), x = d => a + (d + 0.5) * step, base = Y + h - 40;
    const top = Y + 82, most = Math.max(...chance, ...counts.map(c => c / depth.length)), up = (base - top) / most;
    let s = text(X, Y + 5, `How deep it was, ${depth.length === 1 ? "one step" : count(depth.length) + " steps"}`, "start", "ink bold") + text(X, Y + 23, "bars: steps so far · dots: exact chance", "start");
    counts.forEach((c, d) => { if (c) s += `<rect x="${(x(d) - step * 0.42).toFixed(1)}" y="${(base - up * c / depth.length).toFixed(1)}" width="${(step * 0.84).toFixed(1)}" height="${(up * c / depth.length).toFixed(1)}" fill="var(--soft)"/>`; });
    chance.forEach((p, d) => { if (up * p > 0.5) s += `<circle class="law" cx="${x(d).toFixed(1)}" cy="${(base - up * p).toFixed(1)}" r="${n > 12 ? 3 : 4}" fill="var(--ink)" stroke="var(--bg)" stroke-width="1"/>`; });
    const ticks = n > 12 ? 4 : n > 6 ? 2 : 1;
    s += line(a, base, b, base, "var(--plain)");
    for (let d = 0; d <= n; d += ticks) s += text(x(d).toFixed(1), base + 27, d);
    const spread = scale(0, n, x(0), x(n)), m = spread(now.mean);
    s += `<path d="M${m.toFixed(1)} ${base + 2}l7 11h-14Z" fill="var(--ink)" stroke="var(--bg)"/>` + text(X + w, base + 44, "blocks in a step (▲ mean)", "end");
    if (state.test) {
      const e = spread(now.expected), f = spread(n), same = n - now.expected < 1e-9;
      s += line(e.toFixed(1), Y + 69, e.toFixed(1), base, "var(--strong)", 'stroke-width="3"');
      s += tinted(e.toFixed(1), Y + 64, `${same ? "both rules" : "× survival"}: ${show(now.expected)}`, same || e > X + w - 60 ? "end" : "middle", "--strong-ink", "halo bold rule-name");
      if (!same) { s += line(f.toFixed(1), Y + 34, f.toFixed(1), base, "var(--against)", 'stroke-width="3" stroke-dasharray="7 4"') + tinted((f - 6).toFixed(1), Y + 41, `as they are: ${n}`, "end", "--against-ink", "halo bold rule-name"); }
    }
    return s;
  }
  function trained() {
    const { x: X, y: Y, w, h } = G.read, { n, depths, plain, treated } = now, a = X + 8, b = X + w - 8, step = (b - a) / (n + 1), x = d => a + (d + 0.5) * step, y = scale(0, 100, Y + h - 32, Y + 52);
    let s = text(X, Y + 5, "New digits read with so many blocks", "start", "ink bold");
    if (!state.trained) {
      s += `<rect x="${X + 1}" y="${Y + 18}" width="${w - 2}" height="${h - 24}" rx="8" fill="var(--band)" stroke="var(--plain)" stroke-dasharray="5 5"/>` + text(X + w / 2, Y + h / 2 + 2, "covered", "middle", "ink bold") + text(X + w / 2, Y + h / 2 + 22, "guess, then “Trained networks”");
      return s;
    }
    s += tinted(X, Y + 23, "trained with all", "start", "--muted", "bold");
    if (treated) s += tinted(X + w, Y + 23, `with survival ${label()}`, "end", "--strong-ink", "bold");
    for (const v of [0, 50, 100]) s += line(a, y(v), b, y(v)) + text(b - 2, y(v) - 3, v + (v ? " %" : ""), "end");
    for (const [rows, tone] of [[plain, "--plain"], [treated, "--strong"]]) if (rows) {
      s += `<path d="${path([...rows.map((r, i) => [x(depths[i]), y(r[2])]), ...rows.map((r, i) => [x(depths[i]), y(r[1])]).reverse()])}Z" fill="var(${tone})" fill-opacity=".2"/>`;
      s += `<path d="${path(rows.map((r, i) => [x(depths[i]), y(r[0])]))}" fill="none" stroke="var(${tone})" stroke-width="2.5"${tone === "--plain" ? ' stroke-dasharray="6 4"' : ""}/>`;
    }
    const ticks = n > 12 ? 4 : n > 6 ? 2 : 1;
    for (let d = 0; d <= n; d += ticks) s += text(x(d).toFixed(1), Y + h - 14, d);
    return s + text(X + w, Y + h + 3, "blocks kept, others taken out", "end");
  }

  const label = () => show(state.rule ? now.kept[0] : state.survival / 100);
  const told = r => `${Math.round(r[0])} % (95 % interval ${Math.round(r[1])} to ${Math.round(r[2])})`;
  function speak() {
    const { n, blocks, mean: m, half, expected, chance, depth } = now, k = sum(blocks), e = show(expected);
    let s;
    if (state.survival === 100) s = `Survival 1: nothing is skipped. Every step computes all ${n} blocks, and ${count(2 ** n)} paths lead through them.`;
    else {
      s = `Step ${count(depth.length)} computes ${k} of ${n} blocks, and ${count(2 ** k)} of ${count(2 ** n)} paths are open. `;
      if (state.test) s += `If every branch added 1, all blocks as they are would give ${n} at test time, which one step in ${count(1 / chance[n])} does; each times its survival gives ${e}, the mean.`;
      else if (!state.trained) s += depth.length === 1 ? `The coins’ own mean is ${e} blocks.` : `Over ${count(depth.length)} steps the mean depth is ${m.toFixed(2)} blocks (95 % interval ${(m - half).toFixed(2)} to ${(m + half).toFixed(2)}); the coins’ own mean is ${e}.`;
    }
    if (state.trained) {
      const i = now.depths.indexOf(n / 2);
      s += `${s.endsWith(" ") ? "" : " "}With ${n / 2} of ${n} blocks, networks trained with all of them read ${told(now.plain[i])} of new digits${now.treated ? `, those trained like this ${told(now.treated[i])}` : ""}.`;
    }
    $(".say").textContent = s;
  }
  function table() {
    if (!$(".numbers").open) return;
    const { n, counts, chance, depths, plain, treated } = now, cell = r => (r ? `<td>${r[0].toFixed(1)} (${r[1].toFixed(1)} to ${r[2].toFixed(1)})</td>` : "<td></td>");
    const more = state.trained ? [["trained with all", plain], ...(treated ? [["trained like this", treated]] : [])] : [];
    const rows = counts.map((c, d) => `<tr><th scope="row">${d}</th><td>${c}</td><td>${(100 * chance[d]).toFixed(chance[d] < 0.001 ? 5 : 2)}</td>${more.map(([, r]) => cell(r[depths.indexOf(d)])).join("")}</tr>`);
    $(".scroll").innerHTML = `<table><caption>${n} blocks, survival ${now.kept.map(show).join(", ")}</caption><thead><tr><th scope="col">blocks</th><th scope="col">steps</th><th scope="col">chance, %</th>${more.map(([name]) => `<th scope="col">${name}, %</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    settle(); think();
    $(".dial label").textContent = state.rule ? "Survival of every block" : "Survival of the last block";
    const [one, two] = all(".dial output");
    one.textContent = label(); two.textContent = count(state.step);
    slider.value = lasts.indexOf(state.survival); slider.setAttribute("aria-valuetext", label()); clock.value = state.step;
    all(".blocks input").forEach(r => { r.checked = +r.value === state.blocks; });
    all(".rule input").forEach(r => { r.checked = +r.value === state.rule; });
    for (const key of ["test", "trained"]) $(`.${key}`).setAttribute("aria-pressed", state[key] === 1);
    $(".line").textContent = `explorers.show("filmstrip", survival=${state.survival}, rule=${state.rule}, blocks=${state.blocks}, step=${state.step}, test=${state.test}, trained=${state.trained})`;
    speak(); table();
    if (G) paint();
  }
  const moved = change => () => { change(); draw(); keep(state); };
  slider.addEventListener("input", moved(() => { state.survival = lasts[slider.value]; }));
  clock.addEventListener("input", moved(() => { state.step = +clock.value; }));
  $(".next").addEventListener("click", moved(() => { state.step = state.step % MOST + 1; }));
  for (const key of ["test", "trained"]) $(`.${key}`).addEventListener("click", moved(() => { state[key] = 1 - state[key]; }));
  all(".blocks input").forEach(r => r.addEventListener("change", moved(() => { state.blocks = +r.value; })));
  all(".rule input").forEach(r => r.addEventListener("change", moved(() => { state.rule = +r.value; })));
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), w => { G = place(w); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
