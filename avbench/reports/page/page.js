// The report's own script; it runs in one module behind DataTables, and after BokehJS if there are plots.
const data = JSON.parse(document.getElementById("data").textContent);

/** Make an element; texts among its children are never read as markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// ------------------------------------------------------------------ tables

// Cells without a figure come last in either direction.
for (const [direction, sign] of [["asc", 1], ["desc", -1]]) {
  DataTable.ext.type.order[`figure-${direction}`] = (a, b) => {
    const [x, y] = [a, b].map((value) => (value === "" ? Infinity : sign * Number(value)));
    return x === y ? 0 : x - y;
  };
}

for (const table of document.querySelectorAll("table.figures")) {
  const name = table.caption.textContent;
  // The caption stays in the scrolling region, and the search box outside it.
  const box = table.closest(".scroll");
  const shown = new DataTable(table, {
    paging: false, info: false, order: [], autoWidth: false, columnDefs: [{ targets: "_all", type: "figure" }],
    layout: { topEnd: null, topStart: null, bottomStart: null, bottomEnd: null },
  });
  const search = element("input", { type: "search", "aria-controls": table.id, "aria-label": `Filter rows of ${name}` });
  search.addEventListener("input", () => shown.search(search.value).draw());
  box.before(element("div", { class: "dt-search" }, element("label", {}, "Filter rows", search)));
}

const hint = document.getElementById("hint");
function point(event) {
  const cell = (event.type === "scroll" ? document.activeElement : event.target).closest?.("[data-hint]");
  hint.hidden = !cell;
  if (!cell) return;
  hint.textContent = cell.dataset.hint;
  cell.setAttribute("aria-describedby", "hint");
  const at = cell.getBoundingClientRect();
  hint.style.left = `${Math.max(4, Math.min(at.left, innerWidth - hint.offsetWidth - 4))}px`;
  const below = at.bottom + 6;
  hint.style.top = `${below + hint.offsetHeight < innerHeight ? below : at.top - hint.offsetHeight - 6}px`;
}
for (const kind of ["pointerover", "focusin", "scroll"]) document.addEventListener(kind, point, true);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hint.hidden = true; });

// ------------------------------------------------------------------ the origin of a cell

const dialog = document.getElementById("origin");
dialog.querySelector(".close").addEventListener("click", () => dialog.close());

/** List a stage and the stages that it read, each once, the nearest first. */
function chain(id, found = new Map()) {
  const stage = data.stages[id];
  if (!stage || found.has(id)) return found;
  found.set(id, stage);
  for (const parent of Object.values(stage.parents)) chain(parent, found);
  return found;
}

function stageDetails(stage) {
  const facts = element("dl", { class: "facts" });
  for (const [name, value] of Object.entries(stage.facts)) {
    facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  }
  const part = (title, text) => [element("h4", {}, title), element("pre", { tabindex: 0, "aria-label": title }, text)];
  return element("details", {},
    element("summary", {}, `${stage.kind}: ${stage.folder}, ${stage.status}`), facts,
    ...(stage.options ? part("Options", stage.options) : []),
    ...(stage.log ? part("End of the log", stage.log) : []));
}

function origin(figure, said) {
  document.getElementById("origin-title").textContent =
    [figure.label, figure.dataset, figure.metric].filter(Boolean).join(", ");
  const body = [element("p", {}, said)];
  const command = data.commands[figure.label];
  if (command) body.push(element("h3", {}, "Run it again"), element("pre", { tabindex: 0, "aria-label": "Command" }, command));
  for (const seed of figure.seeds) {
    const name = seed.seed === null ? "Figure" : `Seed ${seed.seed}`;
    body.push(element("h3", {}, `${name}: ${seed.value === null ? seed.status : seed.value}`));
    if (seed.reason) body.push(element("p", {}, seed.reason));
    if (seed.signature) body.push(element("p", { class: "soft" }, `Signature ${seed.signature}`));
    const stages = chain(seed.record);
    if (!stages.size && seed.record) body.push(element("p", {}, `Source: ${seed.record}`));
    for (const stage of stages.values()) body.push(stageDetails(stage));
  }
  const row = gallery ? gallery.rows.findIndex((r) => r.label === figure.label) : -1;
  if (row >= 0 && gallery.clips.some((c) => c.dataset === figure.dataset && row in c.captions)) {
    const open = element("button", { type: "button" }, "Show its captions");
    open.addEventListener("click", () => { dialog.close(); showCaptions(figure.dataset, row); });
    body.push(element("p", {}, open));
  }
  dialog.querySelector(".body").replaceChildren(...body);
  hint.hidden = true;
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  const cell = event.target.closest("[data-figure]");
  if (cell) origin(data.figures[cell.dataset.figure], cell.dataset.hint);
});

// ------------------------------------------------------------------ captions

const PAGE = 12;
const gallery = data.gallery;
const form = document.getElementById("filters");
const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}'’]+/gu) ?? [];
let chosen = [];
let drawn = 0;

/** Return a caption whose words that no reference has are marked. */
function marked(caption, known) {
  const made = element("span");
  for (const part of caption.split(/([\p{L}\p{N}'’]+)/gu)) {
    const strange = /[\p{L}\p{N}]/u.test(part) && !known.has(part.toLowerCase());
    made.append(strange ? element("mark", {}, part) : part);
  }
  return made;
}

/** Return the share of words that one of two captions has and the other lacks. */
function disagreement(first, second) {
  const [a, b] = [new Set(words(first)), new Set(words(second))];
  const all = new Set([...a, ...b]);
  return all.size ? [...all].filter((word) => a.has(word) !== b.has(word)).length / all.size : 0;
}

/** Return the rows to show: A and B or all, each with its variant of the chosen streams. */
function rowsShown(asked) {
  const picked = [asked.a, asked.b].filter(Boolean).map(Number);
  const bases = picked.length ? picked : gallery.rows.flatMap((row, i) => (row.base === null ? [i] : []));
  if (!asked.altered) return bases;
  return bases.flatMap((base) => [base, ...gallery.rows.flatMap((r, i) => (r.base === base && r.altered === asked.altered ? [i] : []))]);
}

function scoreOf(clip, asked) {
  if (asked.a) return clip.scores[asked.a];
  const known = Object.values(clip.scores);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : undefined;
}

function choose() {
  const asked = Object.fromEntries(new FormData(form));
  const rows = rowsShown(asked);
  const differ = (clip) => disagreement(clip.captions[asked.a] ?? "", clip.captions[asked.b] ?? "");
  const word = (asked.word ?? "").toLowerCase();
  chosen = gallery.clips.filter((clip) => {
    if (asked.set && clip.dataset !== asked.set) return false;
    if (!rows.some((row) => row in clip.captions)) return false;
    const score = scoreOf(clip, asked);
    if (asked.least && !(score >= Number(asked.least))) return false;
    if (asked.most && !(score <= Number(asked.most))) return false;
    const texts = [clip.id, ...clip.references, ...rows.map((row) => clip.captions[row] ?? "")];
    return !word || texts.some((text) => text.toLowerCase().includes(word));
  });
  const by = {
    differ: (x, y) => differ(y) - differ(x),
    low: (x, y) => (scoreOf(x, asked) ?? Infinity) - (scoreOf(y, asked) ?? Infinity),
    high: (x, y) => (scoreOf(y, asked) ?? -Infinity) - (scoreOf(x, asked) ?? -Infinity),
  }[asked.order];
  if (by) chosen.sort(by);
  if (asked.a && asked.b && asked.order === "differ") chosen = chosen.filter((clip) => differ(clip) > 0);
  drawn = 0;
  document.getElementById("clips").replaceChildren();
  more();
}

function more() {
  const rows = rowsShown(Object.fromEntries(new FormData(form)));
  const next = chosen.slice(drawn, drawn + PAGE);
  document.getElementById("clips").append(...next.map((clip) => card(clip, rows)));
  drawn += next.length;
  document.getElementById("shown").textContent = `${drawn} of ${chosen.length} chosen clips shown; the page holds ${gallery.clips.length}.`;
  document.getElementById("more").hidden = drawn >= chosen.length;
}

function card(clip, rows) {
  const known = new Set(clip.references.flatMap(words));
  const made = element("article", { class: "clip" }, element("h3", {}, `${clip.dataset}: ${clip.id}`));
  if (clip.strip) made.append(element("img", { src: clip.strip, alt: `Frames of ${clip.id}`, loading: "lazy" }));
  if (clip.sound) made.append(element("audio", { src: clip.sound, controls: "", preload: "metadata", "aria-label": `Sound of ${clip.id}` }));
  const [first, ...others] = clip.references;
  made.append(element("p", {}, element("strong", {}, "Ground truth: "), first ?? "none"));
  if (others.length) {
    const list = element("ul", {}, ...others.map((text) => element("li", {}, text)));
    made.append(element("details", {}, element("summary", {}, `${others.length} more references`), list));
  }
  if (clip.speech) made.append(element("p", { class: "soft" }, `Speech: ${clip.speech}`));
  const list = element("dl");
  for (const row of rows.filter((i) => i in clip.captions)) {
    const { name } = gallery.rows[row];
    const score = clip.scores[row] === undefined ? "" : ` · ${gallery.score} ${clip.scores[row].toFixed(1)}`;
    list.append(element("div", {}, element("dt", {}, name + score), element("dd", {}, marked(clip.captions[row], known))));
  }
  made.append(element("div", { class: "said", tabindex: 0, role: "group", "aria-label": `Captions of ${clip.id}` }, list));
  return made;
}

function showCaptions(dataset, row) {
  form.reset();
  const { base, altered } = gallery.rows[row];
  form.elements.set.value = dataset;
  form.elements.a.value = base ?? row;
  form.elements.altered.value = altered;
  choose();
  document.getElementById("captions").scrollIntoView();
}

if (gallery) {
  const option = (value, text) => element("option", { value }, text);
  form.elements.set.append(...[...new Set(gallery.clips.map((c) => c.dataset))].map((set) => option(set, set)));
  gallery.rows.forEach((row, i) => {
    if (row.base !== null) return;
    form.elements.a.append(option(i, row.name));
    form.elements.b.append(option(i, row.name));
  });
  const altered = new Set(gallery.rows.map((row) => row.altered).filter(Boolean));
  form.elements.altered.append(...[...altered].map((name) => option(name, `also ${name}`)));
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", more);
  choose();
}
document.documentElement.dataset.ready = Math.round(performance.now());

// ------------------------------------------------------------------ plots

function draw(place) {
  const { plot, css } = { plot: data.plots[place.dataset.plot], css: getComputedStyle(document.documentElement) };
  const [ink, rule] = ["--ink", "--rule"].map((name) => css.getPropertyValue(name).trim());
  const longest = Math.max(...plot.series.map((series) => series.name.length));
  const columns = Math.max(1, Math.min(plot.series.length, Math.floor(place.clientWidth / (7 * longest + 36))));
  const made = Bokeh.Plotting.figure({
    width: place.clientWidth, height: 320 + 18 * Math.ceil(plot.series.length / columns), toolbar_location: null, tools: "pan,box_zoom,reset,save",
    ...(plot.categories.length ? { x_range: plot.categories } : {}),
    background_fill_color: null, border_fill_color: null, outline_line_color: null,
  });
  const legend = [];
  for (const series of plot.series) {
    const color = css.getPropertyValue(`--line${series.colour % 7}`).trim();
    const names = series.names.length ? series.names : series.x.map(() => series.name);
    const source = new Bokeh.ColumnDataSource({ data: { x: series.x, y: series.y, names, ...(series.low.length ? { low: series.low, high: series.high } : {}) } });
    const renderers = [];
    if (series.low.length) renderers.push(made.varea({ x: { field: "x" }, y1: { field: "low" }, y2: { field: "high" }, source, fill_color: color, fill_alpha: 0.15 }));
    if (series.dash) renderers.push(made.line({ x: { field: "x" }, y: { field: "y" }, source, line_color: color, line_dash: series.dash, line_width: 2 }));
    const dots = made.scatter({ x: { field: "x" }, y: { field: "y" }, source, fill_color: color, line_color: color, size: series.dash ? 4 : 9 });
    made.add_tools(new Bokeh.HoverTool({ renderers: [dots], tooltips: [["", "@names"], [plot.x, "@x"], [plot.y, "@y"]] }));
    legend.push(new Bokeh.LegendItem({ label: { value: series.name }, renderers: [...renderers, dots] }));
  }
  const key = new Bokeh.Legend({
    items: legend, click_policy: "hide", orientation: "horizontal", ncols: columns, label_text_color: ink, label_text_font_size: "11px",
    background_fill_color: null, border_line_color: null, spacing: 2, padding: 4, margin: 4,
  });
  made.add_layout(key, "above");
  for (const [axis, title] of [[made.xaxis, plot.x], [made.yaxis, plot.y]]) {
    Object.assign(axis, {
      axis_label: title, axis_label_text_color: ink, major_label_text_color: ink, axis_label_text_font_style: "normal",
      axis_line_color: ink, major_tick_line_color: ink, minor_tick_line_color: null,
    });
  }
  if (110 * plot.categories.length > place.clientWidth) made.xaxis.major_label_orientation = 0.5;
  for (const grid of [made.xgrid, made.ygrid]) grid.grid_line_color = rule;
  const box = element("div");
  place.replaceChildren(box);
  return Bokeh.Plotting.show(made, box);
}

globalThis.Bokeh?.logger.set_level("warn");
const places = [...document.querySelectorAll(".plot")];
let turn = 0;

/** Draw the plots one after the other; a later call ends this one. */
async function drawAll() {
  const own = ++turn;
  for (const place of places) {
    await new Promise((resume) => setTimeout(resume));
    if (own !== turn) return;
    await draw(place);
  }
}
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

// Plots have a fixed size: one that adapts would be blank on paper.
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width || matchMedia("print").matches) return;
  width = innerWidth;
  drawAll();
});
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("main details")) each.open = true;
});
