// What all explorers share. `explorers.bundle` puts this text in front of each module, so that
// one script without imports reaches the reader; names here are therefore the names there.

// One color per role, as in coursekit.plots; text gets darker shades of the same hues.
export const LIGHT = `--bg:#fff;--ink:#1c1c1c;--muted:#595959;--grid:#dedede;--band:#ececec;
--plain:#8a8a8a;--soft:#a6a6a6;--strong:#008a64;--strong-ink:#00704f;--against:#c85200;--against-ink:#a84400;`;
export const DARK = `--bg:#161616;--ink:#ededed;--muted:#b4b4b4;--grid:#393939;--band:#2b2b2b;
--plain:#a6a6a6;--soft:#757575;--strong:#2fc796;--strong-ink:#4fd9ac;--against:#ff8b3d;--against-ink:#ffa468;`;

// Drawings: these rules also travel inside the stored picture.
export const CHART = `
.chart{font:13px system-ui,"Segoe UI",Helvetica,Arial,sans-serif;display:block;overflow:hidden}
.chart text{fill:var(--muted);font-variant-numeric:tabular-nums}
.chart .ink{fill:var(--ink)}.chart .bold{font-weight:650}
.chart .halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}`;

export const STYLE = `
.ex{${LIGHT}container-type:inline-size;box-sizing:border-box;max-width:1080px;margin:0;text-align:left;
 font:16px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif;color:var(--ink)}
@media (prefers-color-scheme:dark){html:not([data-theme=light]) body:not([data-jp-theme-light]) .ex{${DARK}}}
html[data-theme=dark] body .ex,body[data-jp-theme-light=false] .ex{${DARK}}
@media print{html body .ex.ex.ex.ex{${LIGHT}}.ex button,.ex .ask{display:none!important}.ex{break-inside:avoid}}
.ex *{box-sizing:border-box}
.ex fieldset{border:0;margin:0;padding:0;min-width:0}
.ex legend,.ex .name{font-weight:650;padding:0;margin:0;font-size:1em;color:var(--ink)}
.ex p{margin:0;max-width:none;color:inherit}
.ex p.name{font-weight:650;margin:0 0 .25em}
.ex label{cursor:pointer}
.ex input[type=range]{width:100%;min-width:0;height:28px;margin:0;accent-color:var(--strong);cursor:pointer}
.ex input[type=radio]{accent-color:var(--strong);margin:0 .35em 0 0;width:1.05em;height:1.05em;vertical-align:-.12em}
.ex output{font-variant-numeric:tabular-nums;font-weight:700;color:var(--strong-ink)}
.ex button{font:inherit;font-weight:600;color:var(--ink);background:var(--bg);border:1.5px solid var(--plain);
 border-radius:7px;padding:.3em .85em;cursor:pointer;min-height:36px}
.ex button:hover{border-color:var(--strong);color:var(--strong-ink)}
.ex button.main{background:var(--strong-ink);border-color:var(--strong-ink);color:var(--bg)}
.ex .say{border-left:4px solid var(--strong);padding:.15em 0 .15em .8em;margin:.75em 0 .9em;min-height:3.1em}
.ex details{margin:.5em 0 0}.ex summary{cursor:pointer;color:var(--muted)}
.ex .scroll{overflow:auto;max-height:22em;margin:.4em 0}
.ex table{border-collapse:collapse;font-size:.9em;font-variant-numeric:tabular-nums;margin:0;color:var(--ink)}
.ex th,.ex td{padding:.15em .9em .15em 0;text-align:right;border:0;border-bottom:1px solid var(--grid);font-weight:400;white-space:nowrap}
.ex thead th{font-weight:650}.ex th.word,.ex td.word{text-align:left}.ex tr,.ex th,.ex td,.ex thead{background:none!important;color:var(--ink)}
.ex caption{text-align:left;color:var(--muted);padding:0 0 .3em;caption-side:top}
.ex code{font:.88em ui-monospace,Menlo,Consolas,monospace;background:var(--band);color:var(--ink);padding:.1em .35em;border-radius:4px;overflow-wrap:anywhere}
.ex .small{font-size:.88em;color:var(--muted)}
.ex :focus-visible{outline:3px solid var(--strong);outline-offset:2px}
.ex input[type=range]:focus-visible{outline-width:2px;outline-offset:-1px;border-radius:7px}
.ex.quick *{transition:none!important}
@media (prefers-reduced-motion:reduce){.ex *{transition:none!important;animation:none!important}}
${CHART}`;

export const scale = (a, b, from, to) => v => from + (v - a) / (b - a) * (to - from);
export const mean = v => v.reduce((a, b) => a + b, 0) / v.length;
export const median = v => { const s = [...v].sort((a, b) => a - b), h = s.length >> 1; return s.length % 2 ? s[h] : (s[h - 1] + s[h]) / 2; };
export const minus = text => String(text).replace("-", "\u2212");
export const signed = (v, digits = 1) => { const s = v.toFixed(digits); return Number(s) > 0 ? "+" + s : minus(Number(s) === 0 ? s.replace("-", "") : s); };

// Random numbers in [0, 1) that are the same in every browser (Mulberry32).
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
// The first `n` of a random order of `size` things.
export function shuffled(size, n, rand) {
  const order = Array.from({ length: size }, (_, i) => i);
  for (let i = 0; i < n; i++) {
    const j = i + Math.floor(rand() * (size - i));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order.slice(0, n);
}

export const line = (x1, y1, x2, y2, stroke = "var(--grid)", more = "") => `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${stroke}" ${more}/>`;
export const text = (x, y, words, anchor = "middle", cls = "") => `<text x="${x}" y="${y}" text-anchor="${anchor}" class="${cls}">${words}</text>`;

// Puts style and markup into `el` and returns the explorer's root.
export function stage(el, label, markup) {
  el.innerHTML = `<style>${STYLE}</style><div class="ex" role="group" aria-label="${label}">${markup}</div>`;
  return el.querySelector(".ex");
}

// The state that `show` or the page's address asks for; `keeper` writes it back to both.
export function remembered(model) {
  const state = { ...model.get("state") };
  if (model.get("linked"))
    for (const [key, value] of new URLSearchParams(location.hash.slice(1)))
      if (key in state && Number.isFinite(+value)) state[key] = +value;
  return state;
}
// A tenth of a second after the last move: browsers and kernels are slowed down by every step.
export function keeper(model) {
  let later;
  const write = state => {
    model.set("state", state);
    model.save_changes();
    if (model.get("linked")) history.replaceState(null, "", "#" + new URLSearchParams(state));
  };
  return state => { clearTimeout(later); later = setTimeout(write, 100, { ...state }); };
}

// JupyterLab listens to keys in the document's capture phase; the window comes before it.
export function ownKeys(root) {
  const hold = event => { if (root.contains(event.target) && event.key !== "Escape" && !event.ctrlKey && !event.metaKey) event.stopImmediatePropagation(); };
  window.addEventListener("keydown", hold, true);
  return () => window.removeEventListener("keydown", hold, true);
}
// Motion helps to see one step, and only lags behind a slider that is dragged.
export function calm(root) {
  let last = -1e9;
  return () => { const now = performance.now(); root.classList.toggle("quick", now - last < 250); last = now; };
}
// Calls `draw` whenever the width of `node` changes; drawings are made in real pixels, so that
// letters keep their size on a telephone.
export function onWidth(node, draw) {
  let last = 0;
  const watch = new ResizeObserver(() => { const w = Math.round(node.clientWidth); if (w && w !== last) { last = w; draw(w); } });
  watch.observe(node);
  return () => watch.disconnect();
}

// A drawing as a file of its own: the stored picture for pages without scripts.
export function standalone(svg) {
  const copy = svg.cloneNode(true), { width, height } = svg.viewBox.baseVal;
  for (const [key, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height })) copy.setAttribute(key, value);
  copy.removeAttribute("style");
  const style = `<style>svg{${LIGHT}}@media (prefers-color-scheme:dark){svg{${DARK}}}${CHART}</style>`;
  copy.innerHTML = `<title>${svg.getAttribute("aria-label")}</title>${style}<rect width="100%" height="100%" fill="var(--bg)"/>` + copy.innerHTML;
  return new XMLSerializer().serializeToString(copy);
}
