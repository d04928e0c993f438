// What scrolls can be reached by keyboard; the board of the ledger can be narrowed to one answer;
// guesses can be placed before an answer is opened, and all answers of a lesson opened at once.
function scrollable() {
  for (const one of document.querySelectorAll(".figure, .scroll, .pst-scrollable-table-container, table, pre, mjx-container[display=true]")) {
    const overflow = getComputedStyle(one).overflowX;
    if (one.scrollWidth > one.clientWidth + 1 && overflow !== "visible") {
      one.tabIndex = 0;
    }
  }
}

function narrowing(board) {
  const rows = [...board.querySelectorAll("tbody tr")];
  const answer = row => row.querySelector(".answer")?.dataset.answer;
  const present = [...new Set(rows.map(answer))];
  const bar = document.createElement("fieldset");
  bar.className = "narrow";
  bar.innerHTML = "<legend>Show</legend>";
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  const order = ["yes", "depends", "too small to matter", "the opposite", "not yet known", "not tested", "not run yet"];
  for (const word of ["all", ...order.filter(one => present.includes(one))]) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "narrow", value: word, checked: word === "all" });
    const n = word === "all" ? rows.length : rows.filter(row => answer(row) === word).length;
    const sign = board.querySelector(`.sign.${word.replaceAll(" ", "-")}`)?.cloneNode(true) ?? "";
    label.append(input, sign, ` ${word} `, Object.assign(document.createElement("span"), { textContent: n }));
    bar.append(label);
    input.addEventListener("change", () => {
      for (const row of rows) row.hidden = word !== "all" && answer(row) !== word;
      for (const part of board.querySelectorAll("section section")) part.hidden = ![...part.querySelectorAll("tbody tr")].some(row => !row.hidden);
      status.textContent = word === "all" ? `All ${n} claims.` : `${n} of ${rows.length} claims: ${word}.`;
    });
  }
  board.querySelector(".tally ul").remove(); // the choices count as well
  board.querySelector(".tally").after(bar, status);
}

document.querySelectorAll("article.bd-article").forEach(article => { if (article.querySelector(".tally.board")) narrowing(article); });
// A question takes a guess, which stands above its answer once that is open.
const NUMBER = /\s*\(a number from (\S+) to ([^\s)]+)\s*([^)]*)\)$/, CURVE = /\s*\(draw (.+)\)$/;
const read = text => Number(text.replace("\u2212", "-").replaceAll(",", ""));
function guessing(question, place) {
  const text = question.lastChild, list = question.nextElementSibling, told = question.textContent;
  const field = document.createElement(list?.matches("ul") ? "fieldset" : "p");
  let unit = "";
  field.className = "your-guess";
  if (list?.matches("ul")) {
    field.innerHTML = "<legend>Your guess</legend>";
    for (const item of list.querySelectorAll(":scope > li")) {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "radio", name: `guess-${place}` });
      const words = item.querySelector("p") ?? item;
      input.value = words.textContent;
      label.append(input, ...words.childNodes);
      field.append(label);
    }
    list.replaceWith(field);
  } else if (NUMBER.test(told)) {
    const [ending, low, high, words] = told.match(NUMBER);
    unit = words && ` ${words}`;
    text.textContent = text.textContent.slice(0, text.textContent.length - ending.length);
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "number", step: "any", min: read(low), max: read(high) });
    label.append("Your guess ", input, `${unit} (${low} to ${high})`);
    field.append(label);
    question.after(field);
  } else if (CURVE.test(told)) {
    const [ending, what] = told.match(CURVE);
    text.textContent = `${text.textContent.slice(0, text.textContent.length - ending.length)} Sketch it on paper: ${what}.`;
    return null;
  } else return null;
  return () => {
    const one = field.querySelector("input:checked, input[type=number]");
    return one?.value ? one.value + unit : "";
  };
}

const questions = [...document.querySelectorAll(".cell_output > p > strong:first-child")].filter(one => one.textContent === "Predict first:");
questions.forEach((strong, place) => {
  const guessed = guessing(strong.parentElement, place);
  let cell = strong.closest("div.cell");
  // The next answer, unless another question comes before it.
  do cell = cell.nextElementSibling;
  while (cell && !cell.matches(".tag_hide-output") && !questions.some(one => cell.contains(one)));
  const answer = cell?.matches(".tag_hide-output") && cell.querySelector("details.hide");
  if (!guessed || !answer) return;
  const line = Object.assign(document.createElement("p"), { className: "guessed", hidden: true });
  answer.querySelector(".cell_output").prepend(line);
  answer.addEventListener("toggle", () => {
    const own = guessed();
    line.hidden = !own;
    line.textContent = `Your guess: ${own}.`;
  });
});
// Whoever wants to read without guessing opens all answers at once.
document.querySelectorAll(".answers button").forEach(button => {
  const hunted = one => /^The (bug|fault)$/.test(one.querySelector("summary")?.textContent.trim());
  const answers = [...document.querySelectorAll("div.tag_hide-output > details.hide, article details")]
    .filter(one => one.matches("div.tag_hide-output > *") || hunted(one));
  const say = () => { button.textContent = `${answers.every(one => one.open) ? "Hide" : "Show"} all answers`; };
  button.parentElement.hidden = false; // nothing to press where no script runs
  button.addEventListener("click", () => {
    const open = !answers.every(one => one.open);
    answers.forEach(one => { one.open = open; });
    say();
  });
  document.addEventListener("toggle", say, true);
});
// The words of a fold say what it is; a label would hide them from whoever listens.
document.querySelectorAll("details.hide > summary").forEach(one => one.removeAttribute("aria-label"));
scrollable();
addEventListener("resize", scrollable);
addEventListener("load", scrollable);
document.addEventListener("toggle", scrollable, true);
