// Everything on a page is there without this file. It adds: your GPU, remembered; tables that sort and filter, with a link that
// restores what you see; comparing; searching. No framework, nothing from elsewhere.
"use strict";

const root = new URL(document.querySelector('link[rel="stylesheet"]').href.replace(/css\/[^/]*$/, ""));
const query = new URLSearchParams(location.search);

function remember(name, value) {
  try {
    if (value) localStorage.setItem(name, value);
    else localStorage.removeItem(name);
  } catch { /* private windows may refuse; the choice then lasts as long as the page */ }
}

function recall(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function share(name, value) {
  if (value) query.set(name, value);
  else query.delete(name);
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}${location.hash}` : location.pathname + location.hash);
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const tag = (kind, word, mark = "") => make("span", { class: `tag ${kind}-${word}` }, word, mark);

// Who measured it: fitcard's own runners, a contributor, or others who published it.
const mark = (speed) => ({ measured: speed.recorded_by ? " ◐" : " ●", published: " ○" })[speed.evidence] ?? "";

function rate(number) {
  if (number >= 100) return Math.round(number).toLocaleString("en-US");
  return String(Number(number.toPrecision(3)));
}

const gb = (bytes, digits = 2) => (bytes / 1e9).toFixed(digits);

function speedCell(speed) {
  if (!speed) return [make("span", { class: "dim" }, "not known")];
  const range = speed.evidence === "predicted" ? make("span", { class: "dim" }, `(${rate(speed.low)}–${rate(speed.high)}) `) : "";
  return [`${rate(speed.per_second)} ${speed.unit} `, range, tag("evidence", speed.evidence, mark(speed))];
}

async function read(path) {
  const answer = await fetch(new URL(path, root));
  if (!answer.ok) throw new Error(`${path} could not be read (${answer.status})`);
  return answer.json();
}

function failed(place, error) {
  const hint = location.protocol === "file:" ? " Pages opened as files cannot read data: run `fitcard serve`." : "";
  place.replaceChildren(make("p", { class: "failed" }, `${error.message}.${hint}`));
}

// ---- Your GPU ----

const chooser = document.querySelector("[data-chooser]");

function chosenCard() {
  const given = query.get("card") ?? recall("fitcard.card") ?? "";
  return [...(chooser?.card.options ?? [])].some((option) => option.value === given) ? given : "";
}

function showOnModel(card, place) {
  for (const row of document.querySelectorAll("tr.yours")) row.classList.remove("yours");
  const row = card && document.querySelector(`tr[data-card="${CSS.escape(card)}"]`);
  if (!row) {
    place.replaceChildren();
    return;
  }
  row.classList.add("yours");
  const [name, pick, , memory, , batch, speed] = [...row.cells].map((cell) => cell.innerText.trim().replace(/\s+/g, " "));
  const verdict = row.dataset.verdict;
  const runs = verdict === "fits" || verdict === "tight";
  place.replaceChildren(
    make("p", {}, tag("verdict", verdict), ` ${name}: `, runs ? `${pick}, ${memory}, batches up to ${batch}; ${speed}.` : `needs ${memory}.`),
    make("p", {}, make("a", { href: new URL(`gpus/${card}/`, root) }, "All that this GPU runs")),
  );
}

async function showOnHome(card, place) {
  if (!card) {
    place.replaceChildren();
    return;
  }
  try {
    const answer = await read(`api/v1/gpus/${card}.json`);
    if (chooser.card.value !== card) return; // another was chosen meanwhile
    const runs = answer.rows.filter((row) => row.verdict === "fits" || row.verdict === "tight");
    const body = make("tbody");
    for (const row of [...answer.rows].sort((a, b) => a.name.localeCompare(b.name, "en"))) {
      const model = make("th", { scope: "row" }, make("a", { href: new URL(`models/${row.model}/?card=${card}`, root) }, row.name));
      const fits = row.verdict === "fits" || row.verdict === "tight";
      const number = (...parts) => make("td", { class: "num" }, ...parts);
      body.append(make("tr", {}, model, make("td", {}, row.tasks.join(", ")), make("td", {}, fits ? row.quantization : "none"),
        make("td", {}, tag("verdict", row.verdict)), number(`${gb(row.required_bytes)} of ${gb(row.available_bytes, 1)} GB`),
        number(row.max_batch.toLocaleString("en-US")), number(...speedCell(row.speed))));
    }
    const head = make("tr");
    for (const [name, right] of [["Model"], ["Task"], ["Pick"], ["Verdict"], ["Needed of free", 1], ["Largest batch", 1], ["Throughput", 1]]) {
      head.append(make("th", right ? { scope: "col", class: "num" } : { scope: "col" }, name));
    }
    const table = make("table", { "data-sortable": "" }, make("caption", {}, make("span", {}, `${runs.length} of ${answer.rows.length} models run on the ${answer.name}`)), make("thead", {}, head), body);
    sortable(table);
    place.replaceChildren(
      make("p", {}, `${runs.length} of ${answer.rows.length} models run on it. `, make("a", { href: new URL(`gpus/${card}/`, root) }, `Everything about the ${answer.name}`)),
      make("div", { class: "scroll", role: "region", "aria-label": "Table: models on this GPU", tabindex: "0" }, table),
    );
  } catch (error) {
    failed(place, error);
  }
}

if (chooser) {
  chooser.hidden = false;
  const place = document.querySelector("[data-chosen]");
  const show = chooser.dataset.chooser === "home" ? showOnHome : showOnModel;
  chooser.card.value = chosenCard();
  show(chooser.card.value, place);
  chooser.addEventListener("submit", (event) => event.preventDefault());
  chooser.card.addEventListener("change", () => {
    remember("fitcard.card", chooser.card.value);
    share("card", chooser.card.value);
    show(chooser.card.value, place);
  });
}

// ---- Tables that sort and filter ----

function valueOf(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number.parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function compareValues(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1; // what is not known comes last
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
  rows.sort(([a], [b]) => (typeof a === typeof b && descending ? -compareValues(a, b) : compareValues(a, b)));
  body.append(...rows.map(([, row]) => row));
  for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
    if (index === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function sortable(table) {
  for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      sortBy(table, index, descending);
      if (table.id) share(`sort-${table.id}`, `${index}${descending ? "-" : ""}`);
    });
  }
  const kept = table.id && query.get(`sort-${table.id}`);
  const found = kept && /^(\d+)(-?)$/.exec(kept);
  if (found && Number(found[1]) < table.tHead.rows[0].cells.length) sortBy(table, Number(found[1]), found[2] === "-");
}

for (const table of document.querySelectorAll("table[data-sortable]")) sortable(table);

for (const form of document.querySelectorAll("form[data-filters]")) {
  const table = document.getElementById(form.dataset.filters);
  const count = form.querySelector("output");
  form.hidden = false;
  const apply = () => {
    const words = (form.text?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const named = row.cells[0].textContent.toLowerCase();
      let visible = words.every((word) => named.includes(word));
      for (const field of form.querySelectorAll("select")) {
        if (!field.value) continue;
        const own = row.dataset[field.name] ?? "";
        visible &&= field.dataset.least === undefined ? own.split("|").includes(field.value) : Number(own) >= Number(field.value);
      }
      row.hidden = !visible;
      shown += visible;
    }
    count.textContent = `${shown} of ${table.tBodies[0].rows.length} shown`;
  };
  for (const field of form.querySelectorAll("select, input")) {
    const given = query.get(field.name);
    if (given && (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === given))) field.value = given;
    field.addEventListener("input", () => {
      share(field.name, field.value);
      apply();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    for (const field of form.querySelectorAll("select, input")) share(field.name, field.value);
    apply();
  }));
  apply();
}

// ---- Comparing ----

const MOST = 4;
const known = (value, text) => (value === null || value === undefined ? "not known" : text(value));

function factsOfModels(found) {
  const components = (row, text) => Object.entries(row).map(([name, value]) => `${name} ${text(value)}`).join(", ");
  const variant = (answer, label) => answer.variants.find((row) => row.quantization === label && row.component === answer.rows[0]?.component);
  const facts = [
    ["Family", (m) => m.family],
    ["Tasks", (m) => m.tasks.join(", ")],
    ["Licence", (m) => `${m.license.id}; commercial use ${m.license.commercial_use}`],
    ["Parameters", (m) => components(m.parameters, (n) => n.toLocaleString("en-US"))],
    ["Multiply-adds of one item", (m) => components(m.multiply_adds, (n) => `${rate(n / 1e9)} G`)],
    ["Image", (m) => (m.image_size ? `${m.image_size} px, ${m.image_tokens} patches` : "takes none")],
    ["Text", (m) => (m.text_tokens ? `${m.text_tokens} tokens` : "takes none")],
    ["Runs of our own", (m) => String(m.runs.length)],
  ];
  for (const label of ["FP32", "BF16", "Q8_0", "Q4_K_M"]) {
    facts.push([`${label}: bits, file, memory needed`, (m) => known(variant(m, label), (v) => `${v.bits_per_weight.toFixed(2)}, ${known(v.file_bytes, (n) => `${gb(n)} GB`)}, ${gb(v.required_bytes)} GB`)]);
  }
  const shared = found[0].rows.map((row) => row.gpu).filter((gpu) => ["rtx-3060", "rtx-4060", "rtx-4090", "rx-7900-xtx", "apple-m4-max-40-core-64gb"].includes(gpu));
  for (const gpu of shared) {
    const name = found[0].rows.find((row) => row.gpu === gpu).name;
    facts.push([name, (m) => known(m.rows.find((row) => row.gpu === gpu), (row) => fitText(row))]);
  }
  return facts;
}

function fitText(row) {
  if (row.verdict !== "fits" && row.verdict !== "tight") return row.verdict;
  return `${row.verdict} in ${row.quantization}, batches up to ${row.max_batch.toLocaleString("en-US")}, ${known(row.speed, (s) => `${rate(s.per_second)} ${s.unit} (${s.evidence}${mark(s)})`)}`;
}

function factsOfCards(found) {
  const facts = [
    ["Memory", (c) => `${c.memory_gib} GiB, ${gb(c.available_bytes, 1)} GB counted as free`],
    ["Bandwidth", (c) => known(c.bandwidth_bytes_per_s, (n) => `${Math.round(n / 1e9).toLocaleString("en-US")} GB/s`)],
    ["Board power", (c) => known(c.board_power_w, (n) => `${n} W`)],
  ];
  for (const row of found[0].rows) facts.push([row.name, (c) => known(c.rows.find((other) => other.model === row.model), fitText)]);
  return facts;
}

const comparing = document.querySelector("[data-compare]");

if (comparing) {
  const kinds = { models: factsOfModels, gpus: factsOfCards };
  const place = document.querySelector("[data-compared]");
  comparing.hidden = false;
  const kind = () => (comparing.kind.value === "gpus" ? "gpus" : "models");
  const fields = () => [...comparing.querySelectorAll(`select[data-of="${kind()}"]`)];
  const show = async () => {
    for (const group of comparing.querySelectorAll("fieldset[data-of]")) group.hidden = group.dataset.of !== kind();
    const ids = [...new Set(fields().map((field) => field.value).filter(Boolean))].slice(0, MOST);
    share("models", kind() === "models" ? ids.join(",") : "");
    share("gpus", kind() === "gpus" ? ids.join(",") : "");
    if (ids.length < 2) {
      place.replaceChildren(make("p", {}, "Choose two to four."));
      return;
    }
    try {
      const found = await Promise.all(ids.map((id) => read(`api/v1/${kind()}/${id}.json`)));
      const head = make("tr", {}, make("th", { scope: "col" }, "Fact"));
      for (const one of found) head.append(make("th", { scope: "col" }, make("a", { href: new URL(`${kind()}/${one.id}/`, root) }, one.name)));
      const body = make("tbody");
      for (const [name, fact] of kinds[kind()](found)) {
        const cells = found.map(fact);
        const row = make("tr", cells.every((cell) => cell === cells[0]) ? {} : { class: "differs" }, make("th", { scope: "row" }, name));
        for (const cell of cells) row.append(make("td", {}, cell));
        body.append(row);
      }
      const table = make("table", {}, make("caption", {}, make("span", {}, "Side by side; lines that differ are marked")), make("thead", {}, head), body);
      place.replaceChildren(make("div", { class: "scroll", role: "region", "aria-label": "Table: comparison", tabindex: "0" }, table));
    } catch (error) {
      failed(place, error);
    }
  };
  for (const name of ["models", "gpus"]) {
    const given = (query.get(name) ?? "").split(",").filter(Boolean).slice(0, MOST);
    if (given.length === 0) continue;
    comparing.kind.value = name;
    for (const [index, field] of fields().entries()) {
      if (given[index] && [...field.options].some((option) => option.value === given[index])) field.value = given[index];
    }
  }
  comparing.addEventListener("change", show);
  comparing.addEventListener("submit", (event) => event.preventDefault());
  show();
}

// ---- Searching ----

const searching = document.querySelector("[data-search]");

for (const form of document.querySelectorAll("form.find")) form.hidden = false;

if (searching) {
  const place = document.querySelector("[data-found]");
  const count = searching.querySelector("output");
  searching.hidden = false;
  let engine;
  let latest = 0;
  const run = async () => {
    const turn = ++latest;
    const filters = {};
    for (const field of searching.querySelectorAll("select")) {
      share(field.name, field.value);
      if (field.value) filters[field.name] = field.value;
    }
    const words = searching.q.value.trim();
    share("q", words);
    if (!words && Object.keys(filters).length === 0) {
      place.replaceChildren();
      count.textContent = "";
      return;
    }
    try {
      engine ??= await import(new URL("pagefind/pagefind.js", root).href);
      const answer = await engine.search(words || null, { filters });
      const shown = await Promise.all(answer.results.slice(0, 40).map((result) => result.data()));
      if (turn !== latest) return;
      count.textContent = answer.results.length === 1 ? "1 page found" : `${answer.results.length} pages found`;
      const list = make("ol", { class: "found" });
      for (const one of shown) {
        list.append(make("li", {}, make("a", { href: new URL(one.meta.path ?? one.url, root) }, one.meta.title), make("p", {}, one.meta.description ?? "")));
      }
      place.replaceChildren(list);
    } catch (error) {
      failed(place, error);
    }
  };
  for (const field of searching.querySelectorAll("select, input")) {
    const given = query.get(field.name);
    if (given && (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === given))) field.value = given;
    field.addEventListener("input", run);
  }
  searching.addEventListener("submit", (event) => event.preventDefault());
  run();
}

// ---- Paper: nothing stays folded ----

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.dataset.folded = "";
  }
});
addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-folded]")) {
    folded.open = false;
    delete folded.dataset.folded;
  }
});
