// Prompts for predictions in JupyterLab: a number on an axis, a curve to draw, one of several
// words or pictures. `widgets.py` puts the explorers' kit in front of this text.
import { STYLE, line, minus, onWidth, ownKeys, scale, stage, text } from "./explorers/kit.js";

const OWN = `
.ex.guess{padding:2px 3px 8px}
.ex .q{font-weight:650;margin:0 0 .5em}.ex .q span{color:var(--strong-ink)}
.ex .told{margin:.4em 0 0;min-height:1.5em;color:var(--muted)}.ex .told b{color:var(--strong-ink)}
.ex .side{display:flex;flex-wrap:wrap;gap:.4em 1.4em;align-items:flex-start}
.ex .axis{flex:1 1 300px;min-width:0;max-width:620px}
.ex .ticks{position:relative;height:1.5em;margin:0 8px;font-size:.85em;color:var(--muted);font-variant-numeric:tabular-nums}
.ex .ticks span{position:absolute;transform:translateX(-50%);white-space:nowrap;padding-top:5px}
.ex .ticks span:before{content:"";position:absolute;left:50%;top:0;height:5px;border-left:1px solid var(--plain)}
.ex .unset input[type=range]{opacity:.5}
.ex input[type=number]{font:inherit;font-variant-numeric:tabular-nums;width:6.2em;padding:.25em .4em;color:var(--ink);
 background:var(--bg);border:1.5px solid var(--plain);border-radius:7px;min-height:36px}
.ex .draw{touch-action:none;cursor:crosshair;max-width:720px}
.ex .keys{display:grid;grid-template-columns:auto minmax(120px,420px) 4.5em;gap:.1em .8em;align-items:center;margin:.5em 0}
.ex .keys label{text-align:right;font-variant-numeric:tabular-nums}
.ex .choices{display:grid;gap:.35em}
.ex .choices.pictures{grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:.8em}
.ex .choices label{display:flex;align-items:baseline;padding:.3em .5em;border-radius:7px;border:1.5px solid transparent}
.ex .choices.pictures label{display:block;border-color:var(--grid);padding:.5em}
.ex .choices label:hover{border-color:var(--plain)}
.ex .choices label:has(input:checked){border-color:var(--strong);background:var(--band)}
.ex .choices img{display:block;width:100%;height:auto;margin:0 0 .4em;background:var(--bg)}
`;
const escaped = words => String(words).replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);
const decimals = step => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
const show = (v, digits) => minus(Number(v).toFixed(digits));
// Four to seven round numbers between two ends.
function ticks(low, high) {
  const raw = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find(m => m * ten >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9), n = Math.floor(high / step + 1e-9) - first;
  return { at: Array.from({ length: n + 1 }, (_, i) => (first + i) * step), digits: decimals(step) };
}

function askNumber(root, model, keep) {
  const [low, high, step, unit] = ["low", "high", "step", "unit"].map(k => model.get(k));
  const digits = decimals(step), { at, digits: places } = ticks(low, high), after = unit ? " " + unit : "";
  root.insertAdjacentHTML("beforeend", `<div class="side"><div class="axis">
<input type="range" min="${low}" max="${high}" step="${step}" aria-label="Your guess${escaped(after && ", in" + after)}">
<div class="ticks" aria-hidden="true">${at.map(v => `<span style="left:${(v - low) / (high - low) * 100}%">${show(v, places)}</span>`).join("")}</div></div>
<label><input type="number" min="${low}" max="${high}" step="${step}" aria-label="Your guess as a number"> ${escaped(unit)}</label></div>
<p class="told" aria-live="polite"></p>`);
  const [range, field, told] = ["[type=range]", "[type=number]", ".told"].map(s => root.querySelector(s));
  const axis = root.querySelector(".axis");
  const tell = value => {
    axis.classList.toggle("unset", value === null);
    told.innerHTML = value === null ? "Move the slider, or type a number." : `Your guess: <b>${show(value, digits)}${escaped(after)}</b>`;
  };
  const set = (value, from) => {
    value = Math.min(high, Math.max(low, +Number(value).toFixed(digits + 2)));
    if (from !== range) range.value = value;
    if (from !== field) field.value = Number(value).toFixed(digits);
    range.setAttribute("aria-valuetext", show(value, digits) + after);
    tell(value); keep(value);
  };
  range.addEventListener("input", () => set(+range.value, range));
  // A guess in the very middle moves nothing: a click or Enter there counts all the same. (On the
  // way up: `ownKeys` holds what goes down.)
  range.addEventListener("click", () => set(+range.value, range));
  range.addEventListener("keyup", e => { if (e.key === "Enter") set(+range.value, range); });
  field.addEventListener("input", () => { if (field.value !== "" && field.checkValidity()) set(+field.value, field); });
  field.addEventListener("change", () => { if (field.value !== "") set(+field.value); });
  range.value = (low + high) / 2;
  const start = model.get("value");
  if (start === null) tell(null);
  else { range.value = start; field.value = Number(start).toFixed(digits); tell(start); }
}

function askCurve(root, model, keep) {
  const [x, low, high, xlabel, ylabel, log] = ["x", "low", "high", "xlabel", "ylabel", "log"].map(k => model.get(k));
  const n = x.length, unit = (high - low) / 100, digits = decimals(unit), place = log ? Math.log : v => v;
  const values = [...(model.get("value") || x.map(() => null))];
  const short = v => minus(String(+Number(v).toPrecision(4)));
  root.insertAdjacentHTML("beforeend", `<svg class="chart draw" role="img"></svg>
<p class="told" aria-live="polite"></p>
<div class="side"><button type="button">Start again</button><details><summary>Set the points by keys</summary><div class="keys"><span class="small">${escaped(xlabel)}</span><span></span><span class="small">${escaped(ylabel)}</span>${x.map((v, i) =>
    `<label for="${root.id}-${i}">${short(v)}</label><input id="${root.id}-${i}" type="range" min="${low}" max="${high}" step="${unit}" aria-label="${escaped(`${ylabel || "value"} at ${xlabel || "x"} ${short(v)}`)}"><output for="${root.id}-${i}"></output>`).join("")}</div></details></div>`);
  const svg = root.querySelector("svg"), told = root.querySelector(".told");
  const ranges = [...root.querySelectorAll(".keys input")], outs = [...root.querySelectorAll(".keys output")];
  let width = 640, X, Y;
  const draw = () => {
    const w = Math.max(240, Math.min(width, 720)), h = Math.round(Math.min(330, Math.max(230, w * 0.55)));
    const yTicks = ticks(low, high), left = 24 + 8 * Math.max(...yTicks.at.map(v => show(v, yTicks.digits).length));
    const right = w - 16, top = 12, bottom = h - 44;
    X = scale(place(x[0]), place(x[n - 1]), left + 12, right - 12);
    Y = scale(low, high, bottom, top);
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`); svg.setAttribute("width", w); svg.setAttribute("height", h);
    const known = values.flatMap((v, i) => v === null ? [] : [i]);
    let s = `<rect x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" fill="var(--bg)" stroke="var(--grid)"/>`;
    for (const v of yTicks.at) s += line(left, Y(v), right, Y(v)) + text(left - 6, Y(v) + 4, show(v, yTicks.digits), "end");
    let free = -1e9;
    x.forEach((v, i) => {
      const at = X(place(v)), words = short(v), half = 4 * words.length + 4;
      s += line(at, top, at, bottom + 4, "var(--grid)", 'stroke-dasharray="2 4"');
      if (at - half > free) { s += text(at, bottom + 18, words); free = at + half; }
    });
    s += text((left + right) / 2, h - 6, escaped(xlabel), "middle", "ink");
    s += `<text transform="translate(12 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle" class="ink">${escaped(ylabel)}</text>`;
    for (let k = 1; k < known.length; k++) {
      const [a, b] = [known[k - 1], known[k]];
      s += line(X(place(x[a])), Y(values[a]), X(place(x[b])), Y(values[b]), "var(--against)", `stroke-width="3" stroke-linecap="round"${b - a > 1 ? ' stroke-dasharray="2 7"' : ""}`);
    }
    for (const i of known) s += `<circle cx="${X(place(x[i]))}" cy="${Y(values[i])}" r="5.5" fill="var(--against)" stroke="var(--bg)" stroke-width="1.5"/>`;
    if (!known.length) s += text((left + right) / 2, (top + bottom) / 2, "Draw your curve here, from left to right.", "middle", "ink halo");
    svg.innerHTML = s;
    const open = n - known.length;
    const words = open === n ? "Nothing drawn yet." : open ? `${known.length} of ${n} points are set. ${open} are still open.`
      : `Your curve: ${show(values[0], digits)} at ${short(x[0])}, ${show(values[n >> 1], digits)} at ${short(x[n >> 1])}, ${show(values[n - 1], digits)} at ${short(x[n - 1])}.`;
    if (told.textContent !== words) told.textContent = words;
    svg.setAttribute("aria-label", `A frame to draw in: ${ylabel} over ${xlabel}. ${words}`);
    ranges.forEach((range, i) => { range.value = values[i] ?? (low + high) / 2; outs[i].textContent = values[i] === null ? "\u2013" : show(values[i], digits); });
  };
  const change = () => { draw(); keep([...values]); };
  let last = null;
  const point = event => {
    const box = svg.getBoundingClientRect(), px = (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width;
    const py = (event.clientY - box.top) * svg.viewBox.baseVal.height / box.height;
    const value = Math.min(high, Math.max(low, low + (py - Y(low)) / (Y(high) - Y(low)) * (high - low)));
    let i = 0;
    x.forEach((v, k) => { if (Math.abs(X(place(v)) - px) < Math.abs(X(place(x[i])) - px)) i = k; });
    // A fast hand skips points: those between are set along the straight line of the stroke.
    if (last && last.i !== i) {
      const way = Math.sign(i - last.i);
      for (let k = last.i + way; k !== i; k += way)
        values[k] = last.value + (value - last.value) * (k - last.i) / (i - last.i);
    }
    values[i] = value;
    last = { i, value };
    draw();
  };
  svg.addEventListener("pointerdown", event => { svg.setPointerCapture(event.pointerId); last = null; point(event); event.preventDefault(); });
  svg.addEventListener("pointermove", event => { if (last) point(event); });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { if (last) { last = null; change(); } });
  ranges.forEach((range, i) => {
    range.addEventListener("input", () => { values[i] = +range.value; change(); });
    range.addEventListener("click", () => { values[i] = +range.value; change(); });
    range.addEventListener("keyup", e => { if (e.key === "Enter") { values[i] = +range.value; change(); } });
  });
  root.querySelector("button").addEventListener("click", () => { values.fill(null); change(); });
  draw();
  return onWidth(root, w => { width = w - 6; draw(); });
}

function askChoice(root, model, keep) {
  const options = model.get("options"), pictures = options.some(o => o.svg);
  const source = svg => "data:image/svg+xml," + encodeURIComponent(svg);
  root.insertAdjacentHTML("beforeend", `<fieldset><legend class="q"><span>Predict first:</span> ${escaped(model.get("question"))}</legend>
<div class="choices${pictures ? " pictures" : ""}">${options.map((o, i) => `<label>${o.svg ? `<img src="${escaped(source(o.svg))}" alt="${escaped(o.alt)}">` : ""}
<span><input type="radio" name="${root.id}" value="${i}"> ${escaped(o.label)}</span></label>`).join("")}</div></fieldset><p class="told" aria-live="polite"></p>`);
  const told = root.querySelector(".told");
  const tell = label => { told.innerHTML = label === null ? "Choose one." : `Your guess: <b>${escaped(label)}</b>`; };
  root.querySelectorAll("input").forEach((input, i) => {
    input.checked = options[i].label === model.get("value");
    input.addEventListener("change", () => { tell(options[i].label); keep(options[i].label); });
  });
  tell(model.get("value"));
}

const ASK = { number: askNumber, curve: askCurve, choice: askChoice };
export function render({ model, el }) {
  const kind = model.get("kind"), question = escaped(model.get("question"));
  const own = kind === "choice" ? "" : `<p class="q"><span>Predict first:</span> ${question}</p>`;
  const root = stage(el, question, own);
  root.insertAdjacentHTML("beforebegin", `<style>${OWN}</style>`);
  root.classList.add("guess");
  root.id = "guess-" + Math.random().toString(36).slice(2);
  // A tenth of a second after the last move: every value is written to the reader's file.
  let later;
  const keep = value => { clearTimeout(later); later = setTimeout(() => { model.set("value", value); model.save_changes(); }, 100); };
  const release = ownKeys(root), stop = ASK[kind](root, model, keep);
  return () => { release(); stop?.(); };
}
export default { render };
