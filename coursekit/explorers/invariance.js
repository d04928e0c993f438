// Trained with this, tested on that: how many digits networks read that were trained on changed
// pictures, and what one of them answers. Plain module in anywidget's format.
import { calm, keeper, onWidth, ownKeys, remembered, signed, stage, text } from "./kit.js";
export default { render };

// One cell of the table: percent read rightly, half width, change against the first row, half width.
export const cell = (data, row, column, strength) => data.rows[Object.keys(data.rows)[row]][row ? strength : 0].cells[column];
// Whether a change is told from nothing: its interval does not hold zero.
export const sure = ([, , change, half]) => Math.abs(change) > half;
// How many of the twenty digits one network reads rightly.
export function tally(data, row, column, strength) {
  const said = data.rows[Object.keys(data.rows)[row]][row ? strength : 0].answers[column];
  return [...said].filter((answer, i) => answer === data.truth[i]).length;
}

const CSS = `<style>
.inv .top{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:.5em .8em;align-items:end}
.inv .dial{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:end;column-gap:1em;margin-right:.8em}
.inv .dial input{grid-column:1/3}.inv .dial output{font-size:1.75em;line-height:1}
.inv fieldset{display:flex;flex-wrap:wrap;gap:.1em 1em;align-items:baseline;grid-column:1/4}
.inv fieldset legend{float:left;min-width:6.2em}
.inv .plot{min-width:0}.inv .plot svg{width:100%}
.inv .say{min-height:4.6em}
.inv [data-cell]{cursor:pointer}
.inv button:disabled{opacity:.45;cursor:default}
@container (max-width:560px){.inv .top{grid-template-columns:auto auto 1fr}.inv .dial{grid-column:1/4;margin:0}.inv .say{min-height:8.8em}.inv fieldset legend{float:none;width:100%}.inv fieldset{gap:.1em .75em}}
@media print{.inv .say{min-height:0}}
</style>`;
const UNITS = { shift: " px", turn: "\u00b0", mirror: "", "half turn": "", noise: "", hole: " px" };
const tinted = (x, y, words, anchor, tone, cls = "", size = "") => text(x, y, words, anchor, cls).replace("<text ", `<text style="${size ? `font-size:${size}px;` : ""}${tone ? `fill:var(${tone})` : ""}" `);

export function render({ model, el }) {
  const data = model.get("data"), names = Object.keys(data.rows), tests = data.tests, N = names.length;
  const state = remembered(model);
  const among = (key, low, high, first) => { if (!(Number.isInteger(state[key]) && state[key] >= low && state[key] <= high)) state[key] = first; };
  among("strength", 0, 3, 0); among("trained", 1, N, 2); among("tested", 1, N, 2); among("open", 0, 1, 0);
  const shown = new Set(), id = "v" + Math.random().toString(36).slice(2, 8);

  const radios = (key, words) => words.map((w, i) => `<label><input type="radio" name="${id}${key}" value="${i + 1}"> ${w}</label>`).join("");
  const root = stage(el, "Explorer: trained with this, tested on that", `${CSS}<div class="inv">
  <div class="top"><div class="dial"><label class="name" for="${id}s">Strength of the changes in training</label><output for="${id}s"></output><input id="${id}s" class="strength" type="range" min="0" max="3" step="1"></div>
  <button type="button" class="main reveal">Show its answers</button><button type="button" class="every">Uncover all</button>
  <fieldset class="rows"><legend>Trained with</legend>${radios("r", names)}</fieldset>
  <fieldset class="columns"><legend>Tested on</legend>${radios("c", tests)}</fieldset></div>
  <p class="say" aria-live="polite"></p>
  <div class="plot"><svg class="chart" data-picture role="img"></svg></div>
  <details class="numbers"><summary>The numbers behind the picture</summary><div class="scroll" tabindex="0" role="region" aria-label="Table of all tests"></div></details>
  <details class="origin"><summary>What was trained, and what the numbers are</summary><p class="small">${data.recipe}. Versions: ${data.versions}; ${data.date}.
  Numbers are means over ${data.n_seeds} networks and ${data.n_test} test digits, which are the same for all; intervals (95\u00a0%) add the chance of other test digits to that of other networks. Every cell is one of many: none was picked beforehand, so take single small changes with care. Test digits are ${tests.map(t => `<i>${t}</i>: ${data.tested[t]}`).join("; ")}.
  The twenty digits are the first two of each class in the test set, and the answers are those of network 1. Dashed frames mark the test that a row was trained for; strength 2 is that of the tests.</p></details>
  <p class="small" style="margin-top:.6em">The same in a notebook: <code class="line"></code></p></div>`);
  const $ = q => root.querySelector(q), all = q => [...root.querySelectorAll(q)];
  const keep = keeper(model), settle = calm(root), slider = $(".strength"), svg = $("[data-picture]");
  const bare = () => state.strength === 0 || state.open === 1;
  const seen = (r, c) => bare() || r === 0 || shown.has(`${r},${c}`);
  const here = () => [state.trained - 1, state.tested - 1];

  // Pictures, bright on dark: a mask lets the page's ink through. Side by side with a gap.
  const cache = {};
  function picture(signs, n, gap) {
    const key = `${n} ${gap} ${signs}`;
    if (cache[key]) return cache[key];
    const c = document.createElement("canvas"), side = 12;
    c.width = n * side + (n - 1) * gap; c.height = side;
    const g = c.getContext("2d"), one = g.createImageData(side, side);
    g.fillStyle = "#000"; g.fillRect(0, 0, c.width, side);
    for (let k = 0; k < n; k++) {
      for (let p = 0; p < 144; p++) { const v = Math.round(parseInt(signs[144 * k + p], 17) * 255 / 16); one.data.set([v, v, v, 255], 4 * p); }
      g.putImageData(one, k * (side + gap), 0);
    }
    return (cache[key] = c.toDataURL());
  }
  const GAP = 2;
  const image = (signs, n, x, y, w, h) => `<image href="${picture(signs, n, GAP)}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}" preserveAspectRatio="none"/>`;
  const frame = (x, y, t, stroke, width) => `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${t.toFixed(1)}" height="${t.toFixed(1)}" fill="none" stroke="${stroke}" stroke-width="${width}"/>`;

  // Where everything is: the table, and twenty digits beside or below it.
  let width = 0, at = {};
  function place(w) {
    const wide = w >= 880, small = w < 520, mw = wide ? w * 0.57 : w;
    const pictures = small ? 1 : 3, thumb = small ? 26 : 30, head = small ? 74 : 84 + pictures * thumb + 2 * 5 + 12;
    const step = (mw - head) / N, high = small ? 42 : 46, top = (small ? 44 : 46) + Math.min(step - 8, 44) + 26;
    const foot = top + N * high;
    const across = wide ? 5 : w >= 640 ? 10 : 5, left = wide ? mw + 34 : 0, room = w - left;
    const tile = Math.min(room / across, 92), y = wide ? 52 : foot + 60, under = 24;
    const bottom = y + (20 / across) * (tile + under);
    return { wide, small, mw, pictures, thumb, head, step, high, top, foot, across, left, tile, y, under, height: Math.max(foot + 6, bottom) };
  }
  const short = (name, k) => k ? data.told[name][k - 1].match(/[\d.]+( %)?/)[0] + UNITS[name] : "";

  function paint() {
    const [r, c] = here(), k = state.strength, { small, head, step, high, top, thumb, pictures } = at;
    const font = small ? 11 : 13;
    let s = text(0, 12, "percent of test digits read rightly", "start", "ink bold") + text(0, 30, small ? "below: points more or less than the first row" : "below it: points more or less than in the first row", "start");
    // Column heads: the same four, as it is tested.
    const t = Math.min(step - 8, 44), y0 = top - 26 - t;
    s += `<mask id="${id}h" maskUnits="userSpaceOnUse" x="0" y="0" width="${at.mw}" height="${at.foot}">`;
    tests.forEach((_, j) => { s += image(data.pixels[j].slice(8 * 144, 9 * 144), 1, head + (j + 0.5) * step - t / 2, y0, t, t); });
    names.forEach((name, i) => {
      const signs = data.trained[name][i ? k : 0], y = top + i * high + (high - thumb) / 2;
      if (small) s += image(signs.slice(144 * (N > 1 ? 2 : 0)), 1, 0, y + 7, thumb - 2, thumb - 2);
      else s += image(signs, pictures, 84, y, pictures * thumb + (pictures - 1) * (thumb * GAP / 12), thumb);
    });
    s += `</mask><rect x="0" y="0" width="${at.mw}" height="${at.foot}" fill="var(--ink)" mask="url(#${id}h)"/>`;
    tests.forEach((name, j) => {
      const x = head + (j + 0.5) * step, two = (small || step < 60) && name.includes(" ");
      s += frame(x - t / 2, y0, t, "var(--grid)", 1);
      s += two ? name.split(" ").map((word, q) => tinted(x, top - 16 + (small ? 11 : 12.5) * q, word, "middle", "", j === c ? "ink bold" : "", font)).join("") : tinted(x, top - 9, name, "middle", "", j === c ? "ink bold" : "", font);
    });
    names.forEach((name, i) => {
      const y = top + i * high, cy = y + high / 2;
      if (small) {
        s += tinted(0, y + 10, name, "start", "", i === r ? "ink bold" : "ink", 12);
        s += frame(0, y + (high - thumb) / 2 + 7, thumb - 2, "var(--grid)", 1);
        if (i && k) s += tinted(thumb + 2, cy + 12, short(name, k), "start", "", "", 11);
      } else {
        s += text(0, i && k ? cy - 2 : cy + 5, name, "start", i === r ? "ink bold" : "ink");
        if (i && k) s += text(0, cy + 14, short(name, k), "start");
        for (let q = 0; q < pictures; q++) s += frame(84 + q * thumb * (12 + GAP) / 12, y + (high - thumb) / 2, thumb, "var(--grid)", 1);
      }
      tests.forEach((_, j) => {
        const x = head + j * step, v = cell(data, i, j, k), open = seen(i, j), own = i > 0 && i === j;
        const tone = open ? `fill="var(--strong)" fill-opacity="${(0.03 + 0.42 * Math.max(0, v[0] - 10) / 85).toFixed(3)}"` : 'fill="var(--band)"';
        s += `<g data-cell="${i},${j}"><rect x="${(x + 1.5).toFixed(1)}" y="${y + 1.5}" width="${(step - 3).toFixed(1)}" height="${high - 3}" rx="3" ${tone}/>`;
        if (own) s += `<rect x="${(x + 1.5).toFixed(1)}" y="${y + 1.5}" width="${(step - 3).toFixed(1)}" height="${high - 3}" rx="3" fill="none" stroke="var(--plain)" stroke-width="1.2" stroke-dasharray="3 3"/>`;
        const mid = x + step / 2;
        if (!open) s += text(mid, cy + 5, "?", "middle", "bold");
        else if (i === 0 || k === 0) s += tinted(mid, cy + 5, v[0].toFixed(0), "middle", "", "ink bold", 15);
        else s += tinted(mid, cy - 1, v[0].toFixed(0), "middle", "", "ink bold", 15) + tinted(mid, cy + 15, signed(v[2], 0), "middle", !sure(v) ? "--ink" : v[2] > 0 ? "--strong-ink" : "--against-ink", sure(v) ? "bold" : "", 12);
        s += `</g>`;
      });
    });
    s += `<rect x="${(head + c * step + 1).toFixed(1)}" y="${top + r * high + 1}" width="${(step - 2).toFixed(1)}" height="${high - 2}" rx="4" fill="none" stroke="var(--ink)" stroke-width="3"/>`;

    // Twenty digits, and what one network says about them.
    const open = seen(r, c), said = data.rows[names[r]][r ? k : 0].answers[c], side = at.tile - 8, right = tally(data, r, c, k);
    s += text(at.left, at.y - 34, `twenty test digits, ${tests[c] === "plain" ? "as they are" : tests[c]}`, "start", "ink bold");
    s += text(at.left, at.y - 14, open ? `network 1 reads ${right} of them rightly` : "what will network 1 say? Guess first", "start");
    s += `<mask id="${id}t" maskUnits="userSpaceOnUse" x="${at.left}" y="${at.y}" width="${at.across * at.tile}" height="${at.height - at.y}">`;
    const spot = i => [at.left + (i % at.across) * at.tile + 3, at.y + Math.floor(i / at.across) * (at.tile + at.under) + 3];
    for (let i = 0; i < 20; i++) { const [x, y] = spot(i); s += image(data.pixels[c].slice(144 * i, 144 * (i + 1)), 1, x, y, side, side); }
    s += `</mask><rect x="${at.left}" y="${at.y}" width="${at.across * at.tile}" height="${at.height - at.y}" fill="var(--ink)" mask="url(#${id}t)"/>`;
    for (let i = 0; i < 20; i++) {
      const [x, y] = spot(i), good = said[i] === data.truth[i], mid = x + side / 2;
      if (!open) { s += frame(x, y, side, "var(--grid)", 1.5) + text(mid, y + side + 17, "?"); continue; }
      s += frame(x, y, side, good ? "var(--strong)" : "var(--against)", 2.6);
      if (!good) s += `<path d="M${x.toFixed(1)} ${(y + side).toFixed(1)}v-${(side * 0.28).toFixed(1)}l${(side * 0.28).toFixed(1)} ${(side * 0.28).toFixed(1)}Z" fill="var(--against)"/>`;
      s += good ? tinted(mid, y + side + 17, `\u2713 ${said[i]}`, "middle", "--strong-ink", "bold") : tinted(mid, y + side + 17, `\u2717 ${said[i]}, is ${data.truth[i]}`, "middle", "--against-ink", "bold");
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${at.height.toFixed(0)}`);
    svg.innerHTML = s;
    svg.setAttribute("aria-label", `A table of ${N} trainings by ${N} tests, and twenty test digits of the chosen test${k && !state.open ? "; what is still covered shows a question mark" : ""}. ${$(".say").textContent}`);
  }
  const pm = (v, half) => `${v.toFixed(1)}\u00a0±\u00a0${half.toFixed(1)}`;
  function speak() {
    const [r, c] = here(), k = state.strength, v = cell(data, r, c, k), plain = cell(data, 0, c, 0), tested = data.tested[tests[c]];
    const who = r && k ? `Trained with digits ${data.told[names[r]][k - 1]}` : "Trained with digits as they are";
    let words;
    if (!seen(r, c)) words = `${who}, tested on digits ${tested}: covered. Guess, and then press “Show its answers”. Without such training, ${pm(plain[0], plain[1])}\u00a0% of them are read rightly.`;
    else {
      words = `${who}, ${data.n_seeds} networks read ${pm(v[0], v[1])}\u00a0% of the test digits rightly if these are ${tested}.`;
      if (r && k) words += ` That is ${signed(v[2])} points (95\u00a0% interval ${signed(v[2] - v[3])} to ${signed(v[2] + v[3])}) against networks trained with digits as they are.`;
      else if (!k) words += " At strength 0 nothing is changed in training, so that all rows are the same networks.";
      words += ` Of the twenty digits in the picture, network 1 reads ${tally(data, r, c, k)} rightly.`;
    }
    $(".say").textContent = words;
  }
  function table() {
    if (!$(".numbers").open) return;
    const rows = names.map((name, i) => `<tr><th scope="row" class="word">${name}${i && state.strength ? `, ${short(name, state.strength)}` : ""}</th>${tests.map((_, j) => { const v = cell(data, i, j, state.strength); return `<td>${!seen(i, j) ? "covered" : pm(v[0], v[1]) + (i && state.strength ? ` (${signed(v[2])}\u00a0±\u00a0${v[3].toFixed(1)})` : "")}</td>`; }).join("")}</tr>`);
    $(".scroll").innerHTML = `<table><caption>Percent of ${data.n_test} test digits read rightly by ${data.n_seeds} networks, with half width of the 95\u00a0% interval; in brackets the change against the first row, in points</caption><thead><tr><th scope="col" class="word">trained with</th>${tests.map(t => `<th scope="col">${t}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }
  function draw() {
    settle();
    slider.value = state.strength;
    slider.setAttribute("aria-valuetext", ["0, nothing is changed", "1, half as strong as in the tests or less", "2, as strong as in the tests", "3, stronger than in the tests"][state.strength]);
    $(".dial output").textContent = state.strength;
    all(".rows input").forEach((one, i) => { one.checked = i === state.trained - 1; });
    all(".columns input").forEach((one, i) => { one.checked = i === state.tested - 1; });
    $(".reveal").disabled = seen(...here());
    $(".every").textContent = state.open ? "Cover again" : "Uncover all";
    $(".line").textContent = `explorers.show("invariance", strength=${state.strength}, trained=${state.trained}, tested=${state.tested}, open=${state.open})`;
    speak(); table();
    if (width) paint();
  }
  const moved = change => event => { change(event); draw(); keep(state); };
  const reveal = () => shown.add(here().join(","));
  slider.addEventListener("input", moved(() => { state.strength = +slider.value; }));
  all(".rows input").forEach(one => one.addEventListener("change", moved(() => { state.trained = +one.value; })));
  all(".columns input").forEach(one => one.addEventListener("change", moved(() => { state.tested = +one.value; })));
  $(".reveal").addEventListener("click", moved(reveal));
  $(".every").addEventListener("click", moved(() => { state.open = 1 - state.open; if (!state.open) shown.clear(); }));
  svg.addEventListener("click", moved(event => {
    const one = event.target.closest("[data-cell]");
    if (!one) return;
    const [r, c] = one.dataset.cell.split(",").map(Number), [a, b] = here();
    if (r === a && c === b) reveal(); // a second click uncovers
    state.trained = r + 1; state.tested = c + 1;
  }));
  $(".numbers").addEventListener("toggle", table);
  draw();
  const ends = [onWidth($(".plot"), now => { width = now; at = place(now); draw(); }), ownKeys(root)];
  return () => ends.forEach(f => f());
}
