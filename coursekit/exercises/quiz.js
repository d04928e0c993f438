import { STYLE, ownKeys } from "../explorers/kit.js";

const OWN = `
.quiz .question{border-top:1px solid var(--grid);padding:1em 0 1.1em}
.ex.quiz p,.ex.quiz ul{margin:0 0 .6em;line-height:1.5}
.ex.quiz p,.ex.quiz legend{max-width:46em}
.ex.quiz legend{float:none;width:auto;font-size:1em;font-weight:400;line-height:1.5;margin:0 0 .5em;border:0}
.ex.quiz label{display:flex;gap:.6em;align-items:flex-start;max-width:46em;margin:.35em 0;padding:.4em .7em;line-height:1.45;
 border:1.5px solid var(--grid);border-radius:8px;font-weight:400;color:var(--ink)}
.ex.quiz label:hover{border-color:var(--plain)}
.ex.quiz label:has(:checked){border-color:var(--strong)}
.ex.quiz label input{flex:none;margin:.2em 0 0}
.ex.quiz label span{min-width:0;overflow-wrap:anywhere}
.ex.quiz button{margin:.4em 0 0}
.ex.quiz pre{background:var(--band);color:var(--ink);padding:.7em .9em;border:0;border-radius:6px;margin:0 0 .8em;overflow-x:auto;max-width:min(100%,52em)}
.ex.quiz pre code{background:none;padding:0;overflow-wrap:normal}
.ex.quiz .say{min-height:0;max-width:46em;margin:.9em 0 0}
.ex.quiz .say:empty{display:none}
.ex.quiz .say.wrong{border-color:var(--against)}
.ex.quiz .say strong{color:var(--strong-ink)}.ex.quiz .say.wrong>p:first-child strong{color:var(--against-ink)}
.ex.quiz .say p{margin:0 0 .4em}.ex.quiz .say p:last-child{margin:0}
.ex.quiz .tally{border-top:1px solid var(--grid);padding:.8em 0 0;font-weight:650;min-height:2.4em}
@media print{.ex.quiz .question{break-inside:avoid}}`;

let count = 0;

// Turns the folds of a quiz into radio buttons. Nothing is kept: a new look begins anew.
export function quiz(root) {
  const style = document.createElement("style"), tally = document.createElement("p");
  style.textContent = STYLE + OWN;
  tally.className = "tally";
  tally.setAttribute("role", "status");
  root.classList.add("ex");
  root.prepend(style);
  root.append(tally);
  const questions = [...root.querySelectorAll(".question")], firsts = new Map();

  // What may be wider than a telephone is moved by keyboard, too.
  root.querySelectorAll("pre").forEach(code => { code.tabIndex = 0; });
  for (const question of questions) {
    const name = `quiz${Date.now()}-${count++}`;
    const folds = [...question.querySelectorAll(".options > li > details")];
    const asked = question.querySelector(".asked"), list = question.querySelector(".options");
    const field = document.createElement("fieldset");
    field.innerHTML = `<legend>${asked.innerHTML}</legend>` + folds.map((fold, i) =>
      `<label><input type="radio" name="${name}" value="${i}"><span>${fold.firstElementChild.innerHTML}</span></label>`).join("");
    const button = document.createElement("button"), say = document.createElement("div");
    button.type = "button";
    button.textContent = "Check";
    say.className = "say";
    say.setAttribute("aria-live", "polite");
    asked.remove();
    list.replaceWith(field, button, say);

    field.addEventListener("change", () => say.replaceChildren());
    button.addEventListener("click", () => {
      const chosen = field.querySelector(":checked");
      if (!chosen) {
        say.className = "say";
        say.textContent = "Choose an answer first.";
        return;
      }
      const fold = folds[chosen.value], right = "right" in fold.dataset;
      say.className = right ? "say" : "say wrong";
      say.replaceChildren(...[...fold.children].slice(1).map(part => part.cloneNode(true)));
      if (!firsts.has(question)) firsts.set(question, right);
      if (firsts.size === questions.length)
        tally.textContent = `${[...firsts.values()].filter(Boolean).length} of ${questions.length} at first try.`;
    });
  }
  ownKeys(root);
}
