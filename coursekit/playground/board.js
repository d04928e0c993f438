// The playground: a form, curves that grow while networks train, three verdicts, and a list of
// what was tried. Plain module in anywidget's format; `board.py` answers what it asks for.
import { line, minus, onWidth, ownKeys, scale, signed, stage, text } from "../explorers/kit.js";
export default { render };

const CSS = `<style>
.play .cols{display:grid;grid-template-columns:minmax(210px,250px) minmax(0,1fr);gap:0 1.7em;align-items:start}
.play fieldset+fieldset{margin-top:1.05em}
.play .pick{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3em .7em;align-items:center;margin-top:.35em}
.play select{font:inherit;font-size:.92em;width:100%;min-width:0;color:var(--ink);background:var(--bg);border:1.5px solid var(--plain);border-radius:7px;padding:.18em .3em;min-height:32px}
.play .pick label,.play .dials label{font-size:.92em}
.play .dials{margin-top:.3em}
.play .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;column-gap:.6em;align-items:baseline}
.play .dial input[type=range]{grid-column:1/3;height:22px;margin-bottom:.12em}
.play .dial output{font-size:.92em}.play .dial.off output{color:var(--muted);font-weight:400}
.play .dial .why{grid-column:1/3;font-size:.8em;color:var(--muted);margin:0 0 .35em}
.play .dial input[type=checkbox]{accent-color:var(--strong);width:1.1em;height:1.1em;margin:0;justify-self:end}
.play .dial.fixed label{color:var(--muted)}
.play :disabled{opacity:.55;cursor:default}
.play .bar{display:flex;flex-wrap:wrap;gap:.5em .6em;align-items:center}
.play .bar .main{min-width:6.2em}.play .bar .main:disabled{opacity:.4}
.play .metric{display:flex;gap:.9em;margin-left:auto}.play .metric label{font-size:.92em;white-space:nowrap}
.play progress{width:100%;height:5px;display:block;margin:.6em 0 0;appearance:none;border:0;background:var(--band);border-radius:3px;overflow:hidden}
.play progress::-webkit-progress-bar{background:var(--band)}.play progress::-webkit-progress-value{background:var(--strong)}.play progress::-moz-progress-bar{background:var(--strong)}
.play .say{min-height:4.45em}
.play .plot svg{width:100%}
.play .acts{display:flex;flex-wrap:wrap;gap:.4em .7em;align-items:center;margin:.5em 0}
.play .acts button,.play td button{font-size:.88em;min-height:30px;padding:.1em .7em}
.play td button{min-height:26px;padding:0 .6em}
.play pre{font:.84em/1.5 ui-monospace,Menlo,Consolas,monospace;background:var(--band);color:var(--ink);padding:.7em .9em;border-radius:7px;overflow:auto;margin:.3em 0;white-space:pre}
.play .tries td,.play .tries th{white-space:normal;vertical-align:top;padding-right:.8em;min-width:3em}.play .tries td:nth-child(2),.play .tries td:nth-child(3){min-width:8em}.play .tries td:nth-child(n+6):not(:last-child){min-width:6em}.play .numbers thead th{white-space:normal;vertical-align:bottom;max-width:8em}
.play a{color:var(--strong-ink)}
@container (min-width:460px) and (max-width:600px){.play .pick{grid-template-columns:auto minmax(0,1fr) auto minmax(0,1fr)}}
@container (max-width:600px){.play .cols{grid-template-columns:minmax(0,1fr)}.play .view{margin-top:1.1em}.play .dials{display:grid;grid-template-columns:1fr 1fr;gap:0 1.2em}}
</style>`;
const escaped = words => String(words).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const plainly = v => (v !== 0 && Math.abs(v) < 0.001 ? minus(v.toExponential(0)) : String(v));
const NAMES = { "to the end": "At the last epoch", "both stopped": "Both stopped at their best epoch", "early stopping alone": "Early stopping alone, nothing else" };
const TONES = { helps: "strong", hurts: "against", "too small to matter": "ink", "not yet known": "plain", diverged: "plain", "the same": "plain" };
const LOSS = { acc: { name: "accuracy", unit: "points", smallest: 1, times: 100, digits: 1, better: "higher" }, loss: { name: "loss", unit: "nats", smallest: 0.02, times: 1, digits: 2, better: "lower" } };

// Values that are missing break a line in two.
export function path(values, x, y) {
  let d = "", pen = false;
  values.forEach((v, i) => { if (v === null || v === undefined) { pen = false; return; } d += `${pen ? "L" : "M"}${x(i + 1).toFixed(1)} ${y(v).toFixed(1)}`; pen = true; });
  return d;
}
export function band(low, high, x, y) {
  const at = low.map((v, i) => i).filter(i => low[i] !== null && high[i] !== null);
  if (at.length < 2) return "";
  const side = (values, order) => order.map(i => `${x(i + 1).toFixed(1)} ${y(values[i]).toFixed(1)}`).join("L");
  return `M${side(high, at)}L${side(low, [...at].reverse())}Z`;
}
// Moves labels apart, as little as can be: wanted heights to heights with room between them.
export function apart(wanted, gap, top, bottom) {
  const order = wanted.map((v, i) => i).sort((a, b) => wanted[a] - wanted[b]), out = [...wanted];
  order.forEach((i, k) => { out[i] = Math.max(out[i], k ? out[order[k - 1]] + gap : top); });
  [...order].reverse().forEach((i, k, all) => { out[i] = Math.min(out[i], k ? out[all[k - 1]] - gap : bottom); });
  return out;
}
export function steps(low, high, n = 4) {
  const raw = (high - low) / n, ten = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(m => m * ten).find(m => m >= raw * 0.999), out = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9; v += step) out.push(Number(v.toFixed(6)));
  return out;
}

export function render({ model, el }) {
  const facts = model.get("facts"), form = { ...model.get("form") }, id = "p" + Math.random().toString(36).slice(2, 8);
  let metric = "acc", codeOf = null;
  const options = (values, own, words = String) => values.map(v => `<option value="${v}"${v === own ? " selected" : ""}>${escaped(words(v))}</option>`).join("");
  const pick = (name, label, inner) => `<label for="${id}${name}">${label}</label><select id="${id}${name}" data-name="${name}">${inner}</select>`;
  const dials = Object.entries(facts.strengths).map(([name, own]) => `<div class="dial" data-dial="${name}"><label for="${id}${name}">${own.words}</label>${name === "batch_norm"
    ? `<input id="${id}${name}" type="checkbox" data-name="${name}">`
    : `<output for="${id}${name}"></output><input id="${id}${name}" type="range" min="0" max="${own.stops.length - 1}" step="1" data-name="${name}">`}<p class="why" hidden></p></div>`).join("");
  const root = stage(el, "Playground: train with any regularizer", `${CSS}<div class="play"><div class="cols">
  <form class="side" autocomplete="off"><fieldset><legend>The question</legend><div class="pick">
  ${pick("data", "Data", options(Object.keys(facts.pools), form.data, v => facts.pools[v].words))}
  ${pick("n_train", "Examples", "")}${pick("label_noise", "Wrong labels", options(facts.label_noise, form.label_noise, v => `${Math.round(100 * v)} % redrawn`))}
  ${pick("model", "Network", "")}${pick("epochs", "Epochs", options(facts.epochs, form.epochs))}${pick("n_seeds", "Seeds", options(facts.n_seeds, form.n_seeds))}
  </div><div class="acts"><span class="small which"></span><button type="button" class="fresh">New seeds</button></div></fieldset>
  <fieldset><legend>What is switched on</legend><div class="dials">${dials}</div><div class="acts"><button type="button" class="none">All off</button></div></fieldset></form>
  <div class="view"><div class="bar"><button type="button" class="main go">Train</button><button type="button" class="halt">Stop</button>
  <fieldset class="metric" aria-label="What is drawn"><label><input type="radio" name="${id}m" value="acc" checked>accuracy</label><label><input type="radio" name="${id}m" value="loss">loss</label></fieldset></div>
  <progress max="1" value="0" aria-label="Epochs trained"></progress>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart curves" data-picture role="img"></svg><svg class="chart gap" role="img"></svg><svg class="chart verdicts" role="img"></svg></div>
  <p class="small changes"></p></div></div>
  <details class="tries"><summary>What you tried</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of what was tried"></div>
  <p class="small many"></p><div class="acts"><a class="file" download="playground.csv">Download the table</a><button type="button" class="forget">Empty the list</button></div></details>
  <details class="lines"><summary>The lines of code that do the same</summary><pre tabindex="0" aria-label="Code"></pre><div class="acts"><button type="button" class="copy">Copy</button><span class="small copied" role="status"></span></div></details>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of the curves"></div></details>
  <details><summary>What is drawn, and what it does not say</summary><p class="small">Each seed has its own examples, initial weights and order of batches, and both sides share them. Lines are means over the seeds; around validation, a shade from the lowest to the highest seed. A dot marks the epoch at which the validation loss was lowest, in the middle of the seeds. Differences are paired by seed, with Student's 95 % interval for each epoch on its own; they cover the chance of seeds, not that of having only these data.
  Where a side is stopped at its best epoch, the same examples choose the epoch and judge it, so both look a little better than they are. The shaded strip around zero is too small to matter: one point of accuracy, or 0.02 nats.</p></details></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)], input = name => $(`[data-name="${name}"]`), live = $(".say");
  const send = (what, more = {}) => model.send({ do: what, ...more });
  const busy = () => model.get("busy");

  // The form
  const closest = (stops, v) => stops.reduce((best, own, i) => (Math.abs(own - v) < Math.abs(stops[best] - v) ? i : best), 0);
  const wrong = () => facts.pools[form.data].models[form.model];
  const shown = (name, v) => (name === "survival" ? (v === 1 ? "off" : `last kept ${Math.round(100 * v)} %`) : v === 0 ? "off" : plainly(v));
  function offer() { // what goes with the data and the network
    const pool = facts.pools[form.data];
    if (!pool.models[form.model]) form.model = Object.keys(pool.models)[0];
    if (!pool.n_train.includes(form.n_train)) form.n_train = pool.usual;
    input("n_train").innerHTML = options(pool.n_train, form.n_train); input("model").innerHTML = options(Object.keys(pool.models), form.model, v => facts.models[v]);
    for (const [name, own] of Object.entries(facts.strengths)) if (wrong()[name]) form[name] = name === "batch_norm" ? false : own.off;
  }
  function fill() {
    const trains = busy();
    for (const name of ["data", "n_train", "label_noise", "model", "epochs", "n_seeds"]) { input(name).value = String(form[name]); input(name).disabled = trains; }
    $(".which").textContent = `Seeds ${form.first_seed} to ${form.first_seed + form.n_seeds - 1}`;
    $(".fresh").disabled = trains;
    for (const [name, own] of Object.entries(facts.strengths)) {
      const dial = $(`[data-dial="${name}"]`), node = input(name), why = wrong()[name], out = dial.querySelector("output"), words = dial.querySelector(".why");
      const note = why || (trains && !own.live ? "fixed while it trains" : "");
      node.disabled = Boolean(why) || (trains && !own.live);
      if (out) { node.value = closest(own.stops, form[name]); out.textContent = why ? "" : shown(name, form[name]); node.setAttribute("aria-valuetext", shown(name, form[name])); node.hidden = Boolean(why); } else node.checked = form[name];
      dial.classList.toggle("off", form[name] === own.off || form[name] === false); dial.classList.toggle("fixed", node.disabled);
      words.hidden = !note; words.textContent = note;
    }
    $(".go").disabled = trains; $(".halt").disabled = !trains; $(".forget").disabled = trains;
  }
  let later, wishes = {};
  const asked = () => { clearTimeout(later); later = setTimeout(() => { later = null; if (!busy()) send("form", { form: { ...form } }); }, 120); };
  // While it trains, the last position of every slider is sent, whatever comes in between.
  const wish = (name, value) => { wishes[name] = value; clearTimeout(later); later = setTimeout(flush, 80); };
  const flush = () => { later = null; if (Object.keys(wishes).length) send("change", { strengths: wishes }); wishes = {}; };
  function set(name, value) {
    form[name] = value;
    if (["data", "model"].includes(name)) { if (name === "data") form.n_train = facts.pools[value].usual; offer(); }
    if (busy()) { if (facts.strengths[name]?.live) wish(name, value); } else { codeOf = null; asked(); }
    fill();
  }
  all(".side select").forEach(node => node.addEventListener("change", () => set(node.dataset.name, ["data", "model"].includes(node.dataset.name) ? node.value : Number(node.value))));
  all(".dial input[type=range]").forEach(node => node.addEventListener("input", () => set(node.dataset.name, facts.strengths[node.dataset.name].stops[Number(node.value)])));
  all(".dial input[type=checkbox]").forEach(node => node.addEventListener("change", () => set(node.dataset.name, node.checked)));
  $(".side").addEventListener("submit", event => event.preventDefault());
  $(".fresh").addEventListener("click", () => set("first_seed", form.first_seed + form.n_seeds));
  $(".none").addEventListener("click", () => { for (const [name, own] of Object.entries(facts.strengths)) { const off = name === "batch_norm" ? false : own.off; if (form[name] !== off && !input(name).disabled) set(name, off); } });
  $(".go").addEventListener("click", () => { clearTimeout(later); later = null; send("train", { form: { ...form } }); });
  $(".halt").addEventListener("click", () => { flush(); send("stop"); });
  $(".forget").addEventListener("click", () => send("forget"));
  all(".metric input").forEach(node => node.addEventListener("change", () => { metric = node.value; draw(); }));
  $(".copy").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(model.get("code")); $(".copied").textContent = "Copied."; }
    catch { const range = document.createRange(); range.selectNodeContents($("pre")); getSelection().removeAllRanges(); getSelection().addRange(range); $(".copied").textContent = "Marked: press Ctrl + C."; }
    setTimeout(() => { $(".copied").textContent = ""; }, 4000);
  });

  // The pictures
  let width = 0, frame = 0;
  const has = run => run.treated && run.done > 0;
  const last = (values, n = values.length) => { for (let i = Math.min(n, values.length) - 1; i >= 0; i--) if (values[i] !== null) return [i + 1, values[i]]; return null; };
  function draw() {
    if (!width) return;
    const run = model.get("run"), m = LOSS[metric];
    drawCurves(run, m); drawGap(run, m); drawVerdicts(run, m); drawNumbers(run, m);
    $("progress").value = run.epochs ? run.done / run.epochs : 0;
    $(".changes").textContent = (run.changes || []).map(([epoch, words]) => `From epoch ${epoch}: ${words}.`).join(" ");
  }
  const L = 50, R = 84;
  function axes(run, top, bottom, x, ticks, y, unit, named) {
    const epochs = run.epochs || form.epochs;
    let s = ticks.map(v => line(L, y(v), width - R, y(v)) + text(L - 7, y(v) + 4.5, minus(v) + unit, "end")).join("");
    const every = steps(0, epochs, width < 460 ? 3 : 6).filter(v => v >= 1 && Number.isInteger(v));
    s += every.map(v => text(x(v), bottom + 17, v)).join("");
    if (named) s += text(width - R + 16, bottom + 17, "epochs", "start");
    return s;
  }
  const across = run => scale(1, Math.max(2, run.epochs || form.epochs), L + 2, width - R);
  // The first epochs climb steeply: axes are chosen by what comes after them.
  const settledFrom = run => Math.ceil(0.15 * (run.epochs || form.epochs));
  const marks = (run, x, top, bottom) => (run.changes || []).map(([epoch]) => line(x(epoch), top, x(epoch), bottom, "var(--ink)", 'stroke-dasharray="2 4"')).join("");
  function drawCurves(run, m) {
    const svg = $(".curves"), H = 262, top = 30, bottom = H - 26, x = across(run), sides = has(run) ? [["plain", run.plain], ["treated", run.treated]] : [];
    const name = metric === "acc" ? "acc" : "loss", values = part => sides.flatMap(([, side]) => side[`${part}_${name}`].flat().filter(v => v !== null));
    let low, high;
    const from = settledFrom(run);
    if (metric === "acc") {
      const seen = sides.flatMap(([, side]) => side.val_acc[0].slice(from).filter(v => v !== null));
      low = seen.length ? Math.max(0, Math.floor(10 * Math.min(...seen) - 0.5) / 10) : 0; high = 1;
    } else {
      const v = [...sides.flatMap(([, side]) => side.val_loss[2].slice(from)), ...sides.flatMap(([, side]) => side.val_loss[0])].filter(v => v !== null);
      low = 0; high = v.length ? Math.max(0.2, Math.min(Math.max(...v), 4 * Math.min(...v) + 1)) : 2.5;
      high = steps(0, high).at(-1) >= high ? high : steps(0, high).at(-1) + (steps(0, high)[1] - 0);
    }
    const y = scale(low, high, bottom, top), times = m.times, ticks = steps(low * times, high * times).map(v => v / times);
    let s = text(0, 15, metric === "acc" ? "Accuracy: solid on validation, dashed on training" : "Loss in nats: solid on validation, dashed on training", "start", "ink bold");
    s += axes(run, top, bottom, x, ticks.map(v => Number((v * times).toFixed(6))), v => y(v / times), metric === "acc" ? " %" : "", true);
    s += `<clipPath id="${id}c"><rect x="${L}" y="${top - 3}" width="${width - L}" height="${bottom - top + 6}"/></clipPath>`;
    s += marks(run, x, top, bottom);
    const labels = [];
    for (const [role, side] of sides) {
      const tone = role === "plain" ? "plain" : "strong", val = side[`val_${name}`], train = side[`train_${name}`];
      s += `<g clip-path="url(#${id}c)"><path d="${band(val[1], val[2], x, y)}" fill="var(--${tone})" opacity=".16"/>`;
      s += `<path d="${path(train[0], x, y)}" fill="none" stroke="var(--${tone})" stroke-width="1.6" stroke-dasharray="5 4"/>`;
      s += `<path d="${path(val[0], x, y)}" fill="none" stroke="var(--${tone})" stroke-width="3"/></g>`;
      const best = Math.round(side.best[0]), at = val[0][best - 1];
      if (at !== null && at !== undefined && best < val[0].length) s += `<circle cx="${x(best).toFixed(1)}" cy="${y(at).toFixed(1)}" r="5.5" fill="var(--bg)" stroke="var(--${tone})" stroke-width="2.5"/>`;
      const end = last(val[0]);
      if (end) labels.push([role === "plain" ? "without" : "with it", x(end[0]), y(end[1]), tone]);
    }
    const wanted = labels.map(([, , v]) => Math.min(bottom - 2, Math.max(top + 4, v))), near = labels.length > 1 && Math.abs(labels[0][1] - labels[1][1]) < 72;
    const ys = near ? apart(wanted, 17, top + 4, bottom - 2) : wanted;
    labels.forEach(([words, at, , tone], k) => { s += `<text x="${(at + 9).toFixed(1)}" y="${(ys[k] + 4.5).toFixed(1)}" class="bold halo" style="fill:var(--${tone === "plain" ? "muted" : "strong-ink"})">${words}</text>`; });
    if (!sides.length) s += text((L + width - R) / 2, (top + bottom) / 2, "curves appear here", "middle");
    show(svg, H, s, sides.length ? curvesInWords(run, name) : "Empty axes: curves appear while networks train.");
  }
  const percent = v => (metric === "acc" ? `${(100 * v).toFixed(0)} %` : v.toFixed(2));
  function curvesInWords(run, name) {
    const end = (side, part) => { const v = last(side[`${part}_${name}`][0], run.done); return v ? percent(v[1]) : "not finite"; };
    return `Curves of ${LOSS[metric].name} after ${run.done} of ${run.epochs} epochs. Without: ${end(run.plain, "val")} on validation, ${end(run.plain, "train")} on training. With ${run.words}: ${end(run.treated, "val")} on validation, ${end(run.treated, "train")} on training.`;
  }
  function drawGap(run, m) {
    const svg = $(".gap"), H = 172, top = 30, bottom = H - 26, x = across(run), d = has(run) ? run.difference[metric] : [[], [], []];
    const from = settledFrom(run), settled = [...d[1].slice(from), ...d[2].slice(from)].filter(v => v !== null), reach = Math.max(3 * m.smallest, ...settled.map(Math.abs)) * 1.08;
    const y = scale(-reach, reach, bottom, top), ticks = steps(-reach, reach, 4);
    let s = text(0, 15, width < 480 ? `With minus without, in ${m.unit}` : `With minus without on validation, in ${m.unit} (${m.better} is better)`, "start", "ink bold");
    s += `<rect x="${L}" y="${y(m.smallest).toFixed(1)}" width="${width - R - L}" height="${(y(-m.smallest) - y(m.smallest)).toFixed(1)}" fill="var(--band)"/>`;
    s += axes(run, top, bottom, x, ticks, y, "", true) + line(L, y(0), width - R, y(0), "var(--plain)") + marks(run, x, top, bottom);
    s += `<clipPath id="${id}g"><rect x="${L}" y="${top - 3}" width="${width - L}" height="${bottom - top + 6}"/></clipPath><g clip-path="url(#${id}g)"><path d="${band(d[1], d[2], x, y)}" fill="var(--strong)" opacity=".22"/><path d="${path(d[0], x, y)}" fill="none" stroke="var(--strong)" stroke-width="2.5"/></g>`;
    const end = last(d[0]);
    if (end) s += `<text x="${(x(end[0]) + 9).toFixed(1)}" y="${(Math.min(bottom, Math.max(top + 6, y(end[1]))) + 4.5).toFixed(1)}" class="bold halo" style="fill:var(--strong-ink)">${signed(end[1], m.digits)}</text>`;
    const low = last(d[1]), high = last(d[2]);
    show(svg, H, s, end ? `Difference on validation data at epoch ${end[0]}: ${signed(end[1], m.digits)} ${m.unit}, 95 % interval ${signed(low[1], m.digits)} to ${signed(high[1], m.digits)}.` : "Empty axes: the difference appears while networks train.");
  }
  function drawVerdicts(run, m) {
    const svg = $(".verdicts"), rows = run.verdicts?.[metric];
    if (!rows) { svg.style.display = "none"; svg.innerHTML = ""; return; }
    svg.style.display = "";
    const ROW = 50, top = 32, H = top + ROW * rows.length + 24, W = width - 168, ends = rows.flatMap(r => r.effect || []), reach = Math.max(2 * m.smallest, ...ends.map(Math.abs)) * 1.08, x = scale(-reach, reach, 8, W);
    const axisY = top + ROW * rows.length, numbers = e => `${signed(e[0], m.digits)} (${signed(e[1], m.digits)} to ${signed(e[2], m.digits)})`;
    let s = text(0, 15, `What came out, in ${m.unit} (${m.better} is better)`, "start", "ink bold");
    s += `<rect x="${x(-m.smallest).toFixed(1)}" y="${top - 4}" width="${(x(m.smallest) - x(-m.smallest)).toFixed(1)}" height="${axisY - top + 4}" fill="var(--band)"/>` + line(x(0), top - 4, x(0), axisY, "var(--plain)");
    s += steps(-reach, reach, width < 520 ? 4 : 6).filter(v => x(v) > 16 && x(v) < W - 12).map(v => text(x(v), axisY + 16, v === 0 ? "0" : signed(v, v % 1 ? m.digits : 0))).join("");
    rows.forEach((row, k) => {
      const y0 = top + ROW * k, y = y0 + 32, base = row.word.replace(", size open", ""), tone = TONES[base], hollow = base === "not yet known" || base !== row.word;
      s += text(0, y0 + 13, NAMES[row.name], "start", "ink halo") + `<text x="${width - 158}" y="${y0 + 22}" class="bold" style="fill:var(--${{ plain: "muted", ink: "ink" }[tone] || tone + "-ink"})">${row.word}</text>`;
      if (!row.effect) return;
      s += text(width - 158, y0 + 38, numbers(row.effect), "start");
      const [mean, low, high] = row.effect, at = x(mean), r = 6, color = `var(--${tone})`, look = `fill="${hollow ? "var(--bg)" : color}" stroke="${color}" stroke-width="2.5"`;
      s += line(x(low).toFixed(1), y, x(high).toFixed(1), y, color, 'stroke-width="3.5" stroke-linecap="round"');
      const up = mean > 0 ? 1 : -1;
      s += base === "not yet known" ? `<circle cx="${at}" cy="${y}" r="${r}" ${look}/>` : base === "too small to matter" ? `<rect x="${at - 5}" y="${y - 5}" width="10" height="10" ${look}/>` : `<path d="M${at + up * 8} ${y}l${-up * 13} -7v14z" ${look} stroke-linejoin="round"/>`;
    });
    const said = rows.map(r => `${NAMES[r.name]}: ${r.word}${r.effect ? `, ${numbers(r.effect)} ${m.unit}` : ""}`);
    show(svg, H, s, `Verdicts with 95 % intervals over the seeds. ${said.join("; ")}.`);
  }
  function show(svg, height, inner, words) {
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`); svg.setAttribute("aria-label", words); svg.innerHTML = inner;
  }
  function drawNumbers(run, m) {
    const box = $(".numbers");
    if (!box.open) return;
    if (!has(run)) { box.querySelector(".scroll").innerHTML = "<p class='small'>Nothing was trained yet.</p>"; return; }
    const n = metric, show = v => (v === null || v === undefined ? "–" : metric === "acc" ? (100 * v).toFixed(1) : v.toFixed(3)), d = run.difference[metric];
    const rows = Array.from({ length: run.done }, (_, i) => `<tr><th scope="row">${i + 1}</th>${[run.plain, run.treated].map(s => `<td>${show(s[`train_${n}`][0][i])}</td><td>${show(s[`val_${n}`][0][i])}</td>`).join("")}<td>${d[0][i] === null ? "–" : `${signed(d[0][i], m.digits)} (${signed(d[1][i], m.digits)} to ${signed(d[2][i], m.digits)})`}</td></tr>`);
    box.querySelector(".scroll").innerHTML = `<table><caption>Means over seeds ${run.seeds}${metric === "acc" ? ", in percent" : ", in nats"}</caption><thead><tr>${["epoch", "training, without", "validation, without", "training, with it", "validation, with it", "difference on validation (95 % interval)"].map(h => `<th scope="col">${h}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  $(".numbers").addEventListener("toggle", draw);

  // The list
  const COLUMNS = ["try", "with", "data", "n_train", "label_noise", "model", "epochs", "seeds", "plain_accuracy", "accuracy", "difference", "low", "high", "word", "accuracy_stopped", "stopped_difference", "stopped_low", "stopped_high", "stopped_word", "best_epoch", "diverged", "tries_on_these_seeds", "together_low", "together_high", "together_word"];
  let file = null;
  const where = r => `${r.n_train} ${facts.pools[r.data]?.words ?? r.data}, ${Math.round(100 * r.label_noise)} % of labels redrawn; ${facts.models[r.model] ?? r.model}; ${r.epochs} epochs`;
  function list() {
    const rows = model.get("tried"), ends = (r, p) => `${signed(r[`${p}low`])} to ${signed(r[`${p}high`])}`;
    $(".tries summary").textContent = rows.length ? `What you tried (${rows.length})` : "What you tried";
    $(".tries .acts").style.display = rows.length ? "" : "none";
    if (!rows.length) { $(".tries .scroll").innerHTML = "<p class='small'>Every training leaves a row here.</p>"; $(".many").textContent = ""; return; }
    const head = ["try", "with", "on", "seeds", "without and with it, %", "difference, points", "both stopped", "counted with all tries on these seeds", "again"];
    $(".tries .scroll").innerHTML = `<table><caption>Validation accuracy at the end of training, newest first</caption><thead><tr>${head.map(h => `<th scope="col" class="word">${h}</th>`).join("")}</tr></thead><tbody>${rows.map((r, i) => `<tr><th scope="row">${r.try}</th>${[r.with, where(r), r.seeds, `${r.plain_accuracy.toFixed(1)} and ${r.accuracy.toFixed(1)}`, `${r.word}: ${signed(r.difference)} (${ends(r, "")})`, `${r.stopped_word}: ${signed(r.stopped_difference)}`, r.tries_on_these_seeds === 1 ? "the only one" : `${r.together_word} (${ends(r, "together_")}), among ${r.tries_on_these_seeds}`].map(v => `<td class="word">${escaped(v)}</td>`).join("")}<td class="word"><button type="button" data-row="${i}" aria-label="Use the setting of try ${r.try}">Use</button></td></tr>`).reverse().join("")}</tbody></table>`;
    const most = Math.max(...rows.map(r => r.tries_on_these_seeds));
    $(".many").textContent = most > 1 ? `Of ${most} tries on the same seeds, the best looks better than it is. The last column widens each interval so that all of them hold together; even that is too kind, because you chose each try after seeing the one before. Choose one, press New seeds, and ask once more.` : "";
    all("[data-row]").forEach(node => { node.disabled = busy(); node.addEventListener("click", () => { Object.assign(form, rows[Number(node.dataset.row)].setting); offer(); fill(); codeOf = Number(node.dataset.row); send("form", { form: { ...form } }); send("code", { row: codeOf }); }); });
    const quoted = v => `"${String(v ?? "").replaceAll('"', '""')}"`, csv = [COLUMNS, ...rows.map(r => COLUMNS.map(c => r[c]))].map(r => r.map(quoted).join(",")).join("\r\n");
    if (file) URL.revokeObjectURL(file);
    file = URL.createObjectURL(new Blob([csv], { type: "text/csv" })); $(".file").href = file;
  }

  const code = () => { $("pre").textContent = model.get("code"); };
  const say = () => { if (live.textContent !== model.get("say")) live.textContent = model.get("say"); };
  const soon = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); };
  const heard = { "change:run": soon, "change:say": say, "change:code": code, "change:tried": list, "change:busy": () => { fill(); list(); soon(); } };
  for (const [name, act] of Object.entries(heard)) model.on(name, act);
  const drop = onWidth($(".plot"), w => { width = w; draw(); }), free = ownKeys(root);
  offer(); fill(); say(); code(); list();
  return () => { for (const [name, act] of Object.entries(heard)) model.off(name, act); drop(); free(); clearTimeout(later); cancelAnimationFrame(frame); if (file) URL.revokeObjectURL(file); };
}
