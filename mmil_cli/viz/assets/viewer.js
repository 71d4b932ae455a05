/* The viewer: films on the left, a phrase above the film, its map over it. Words are set as text, never as HTML. */

const $ = (id) => document.getElementById(id);
const PAUSE = 150, PAGE = 60;
const shown = { film: null, map: null, asked: 0, listed: 0 };
const settings = readSliders(document, () => redraw());

async function fetched(path, body) {
  const options = body ? {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  } : {};
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The viewer no longer answers; start mmil view again.");
  }
  const content = await answer.json();
  if ("error" in content) throw new Error(content.error);
  return content;
}

function element(name, text, kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function redraw() {
  if (shown.map) drawMap($("map"), shown.map, settings);
}

function clearMap() {
  shown.map = null;
  $("map").width = $("map").width;
}

function say(...parts) {
  $("answer").replaceChildren(...parts);
}

function problem(error) {
  clearMap();
  say(element("span", error.message, "note problem"));
}

/* Films */

function entry(film) {
  const button = element("button", "");
  button.type = "button";
  button.dataset.row = film.row;
  const picture = element("img", "");
  picture.loading = "lazy";
  picture.alt = "";
  picture.src = `thumb/${film.row}.png`;
  const words = element("span", film.id);
  words.append(element("small", [film.view, film.split].filter(Boolean).join(", ")));
  button.append(picture, words);
  button.addEventListener("click", () => openFilm(film.row));
  const line = element("li", "");
  line.append(button);
  return line;
}

async function list(from) {
  const number = ++shown.listed;
  const query = new URLSearchParams({ find: $("find").value, split: $("split").value, from });
  try {
    const found = await fetched(`films?${query}`);
    if (number !== shown.listed) return;
    if (!from) $("list").replaceChildren();
    $("list").append(...found.films.map(entry));
    $("count").textContent = found.total === 1 ? "1 film" : `${found.total} films`;
    $("more").hidden = from + PAGE >= found.total;
    mark();
    if (shown.film === null && found.films.length) openFilm(found.films[0].row);
  } catch (error) {
    $("count").textContent = error.message;
  }
}

function mark() {
  for (const button of $("list").querySelectorAll("button")) {
    button.setAttribute("aria-current", +button.dataset.row === shown.film);
  }
}

async function openFilm(row) {
  shown.film = row;
  mark();
  clearMap();
  say();
  try {
    const film = await fetched(`film/${row}`);
    if (shown.film !== row) return;
    $("stage").style.aspectRatio = `${film.width} / ${film.height}`;
    $("film").src = `film/${row}.png`;
    $("film").alt = `Film ${film.id}`;
    $("about").textContent = film.about;
    $("report-title").hidden = !film.sentences.length;
    $("report").replaceChildren(...film.sentences.map(sentence));
    $("phrase").disabled = false;
    ask();
  } catch (error) {
    problem(error);
  }
}

function sentence(text) {
  const button = element("button", text);
  button.type = "button";
  button.title = "Look for this sentence";
  button.addEventListener("click", () => { $("phrase").value = text; ask(); });
  const line = element("li", "");
  line.append(button);
  return line;
}

/* Phrases: only the answer to the last question is shown */

async function ask() {
  const number = ++shown.asked, film = shown.film, phrase = $("phrase").value;
  if (film === null) return;
  if (!phrase.trim()) {
    clearMap();
    say(element("span", "Type what to look for, or choose a sentence of the report.", "note"));
    return;
  }
  try {
    const answer = await fetched("phrase", { film, phrase });
    if (number !== shown.asked) return;
    shown.map = { width: answer.width, height: answer.height, levels: bytesOf(answer.levels) };
    redraw();
    say(
      element("span", answer.verdict[0].toUpperCase() + answer.verdict.slice(1), `verdict ${answer.verdict}`),
      element("span", `score ${answer.score.toFixed(2)}`, "faint"),
      ...answer.notes.map((note) => element("span", note, "note")),
    );
  } catch (error) {
    if (number === shown.asked) problem(error);
  }
}

let waiting = 0;
function soon(todo) {
  clearTimeout(waiting);
  waiting = setTimeout(todo, PAUSE);
}

$("phrase").addEventListener("input", () => soon(ask));
$("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("find").addEventListener("input", () => soon(() => list(0)));
$("split").addEventListener("change", () => list(0));
$("more").addEventListener("click", () => list($("list").children.length));

for (const name of SPLITS) {
  const option = element("option", name || "all splits");
  option.value = name;
  $("split").append(option);
}
list(0);
