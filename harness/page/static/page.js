"use strict";
// Draws the plots on the rows that the controls choose, and shows where every figure comes from.
(async () => {
  const page = JSON.parse(document.getElementById("page").textContent);
  const root = document.documentElement;
  const state = { ...page.choices };
  const views = new Map();
  const drawer = document.getElementById("drawer");

  const element = (tag, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  const unpacked = async () => {
    const letters = atob(document.getElementById("packed").textContent);
    const bytes = new Uint8Array(letters.length);
    for (let place = 0; place < letters.length; place++) bytes[place] = letters.charCodeAt(place);
    return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
  };
  // Rows stay columns until they are shown: a hundred thousand objects take longer to make than all plots to draw.
  const asDataset = ({ count, columns }) => ({
    count,
    columns: Object.fromEntries(
      Object.entries(columns).map(([name, one]) => [name, Array.isArray(one) ? one : one.at.map((place) => one.of[place])]),
    ),
  });
  const asRow = ({ columns }, place) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[place]]));

  // --- figures as roofcast prints them: three significant digits, no exponent ---

  const figure = (value) => {
    if (value === null || value === undefined) return "-";
    if (value === 0) return "0";
    const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
    return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  };
  const shown = (value, percent) => {
    if (typeof value !== "number") return value === null || value === undefined || value === "" ? "-" : String(value);
    if (percent) return `${(100 * value).toFixed(Math.abs(value) < 0.1 ? 1 : 0)} %`;
    return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : figure(value);
  };
  const cell = (row, column) => {
    const point = shown(row[column.field], column.percent);
    const ends = (column.ends ?? []).map((name) => row[name]);
    return ends.length && ends.every((one) => typeof one === "number")
      ? `${point} (${ends.map((one) => shown(one, column.percent)).join(" to ")})`
      : point;
  };

  // --- rows under the choices ---

  const isKnown = (value) => value !== null && value !== undefined;
  const chosenPlaces = (source) => {
    const { count, columns } = data.datasets[source.dataset];
    const needs = source.needs.map((name) => columns[name] ?? []);
    const chosen = Object.entries(source.chosen)
      .filter(([, control]) => state[control] !== page.any)
      .map(([name, control]) => [columns[name] ?? [], [state[control], ...(state[source.also[name]] ?? [])]]);
    const places = [];
    for (let place = 0; place < count; place++) {
      const isChosen = chosen.every(([values, wanted]) => wanted.includes(values[place]));
      if (isChosen && needs.every((values) => isKnown(values[place]))) places.push(place);
    }
    return places;
  };
  const rowsAt = (source, places) => places.map((place) => asRow(data.datasets[source.dataset], place));

  // --- plots ---

  const draw = async (name) => {
    const plot = page.plots[name];
    const frame = document.getElementById(name);
    const [place, given, table] = [".chart", "[data-given]", ".scroll"].map((one) => frame.querySelector(one));
    const places = Object.fromEntries(Object.entries(plot.sources).map(([key, source]) => [key, chosenPlaces(source)]));
    const [first] = Object.keys(plot.sources);
    const all = places[first];
    if (plot.most) places[first] = all.slice(-plot.most);
    const rows = Object.fromEntries(Object.entries(plot.sources).map(([key, source]) => [key, rowsAt(source, places[key])]));
    given.textContent = describe(plot, all.length, rows[first].length);
    fill(table, plot, all);
    const before = views.get(name);
    if (!rows[first].length) {
      place.replaceChildren(element("p", { textContent: plot.empty }));
      views.delete(name);
    } else {
      const spec = { ...plot.spec, datasets: { ...plot.spec.datasets, ...rows }, width: "container", height: heightOf(plot, rows), autosize: { type: "fit-x", contains: "padding" } };
      const done = await window.vegaEmbed(place, spec, {
        actions: false,
        // A layer without rows, such as a model of which nothing is published, is worth no warning.
        logLevel: 1,
        renderer: all.length > 2500 ? "canvas" : "svg",
        config: dressed(place),
        tooltip: (_, event, __, row) => tip(plot, event, row),
      });
      // The frame names the plot, and the table says its values: what Vega names itself has no words.
      place.querySelector("svg")?.setAttribute("aria-hidden", "true");
      done.view.addEventListener("click", (_, item) => item?.datum?.from && open(item.datum));
      views.set(name, done);
    }
    before?.finalize();
    for (const one of frame.querySelectorAll("[data-save]")) one.disabled = !views.has(name);
    frame.dataset.drawn = rows[first].length;
  };

  // One after the other, each on the choices as they then are, with a rest in which the reader may choose again.
  const waiting = new Set();
  const redraw = async (names) => {
    names.forEach((name) => waiting.add(name));
    if ("drawing" in root.dataset) return;
    root.dataset.drawing = "";
    for (const name of waiting) {
      waiting.delete(name);
      await draw(name);
      await new Promise((resolve) => setTimeout(resolve));
    }
    delete root.dataset.drawing;
  };

  const dressed = (place) => {
    const theme = page.themes[root.dataset.theme];
    return { ...theme, legend: { ...theme.legend, columns: place.clientWidth < 480 ? 2 : 3 } };
  };

  const heightOf = (plot, rows) =>
    plot.per.length
      ? plot.height * new Set(Object.values(rows).flat().map((row) => JSON.stringify(plot.per.map((name) => row[name])))).size
      : plot.height;

  const describe = (plot, all, drawn) => {
    const controls = new Set(Object.values(Object.values(plot.sources)[0].chosen));
    const said = page.controls.filter((one) => controls.has(one.name) && state[one.name] !== page.any && state[one.name] !== null);
    const words = said.map((one) => (one.name === "context" ? `context ${state.context}` : String(state[one.name])));
    if (drawn < all) words.push(`${drawn} of ${all}`);
    return words.join(", ");
  };

  const TABLE_ROWS = 200;
  const fill = (place, plot, places) => {
    const details = place.closest("details");
    // A table nobody looks at costs as much as one that somebody does.
    const build = () => details.open && place.replaceChildren(...tableOf(plot, places));
    details.ontoggle = build;
    place.replaceChildren();
    build();
  };
  const tableOf = (plot, places) => {
    const head = element("tr", {}, ...[...plot.columns.map((one) => one.name), "source"].map((name) => header(name)));
    const [source] = Object.values(plot.sources);
    const body = rowsAt(source, places.slice(0, TABLE_ROWS)).map((row) => {
      const cells = plot.columns.map((one) =>
        element("td", { className: typeof row[one.field] === "number" ? "number" : "", textContent: cell(row, one) }),
      );
      const button = element("button", { type: "button", textContent: "Source", onclick: () => open(row) });
      button.setAttribute("aria-label", `Source of ${cells.map((one) => one.textContent).slice(0, 2).join(", ")}`);
      return element("tr", {}, ...cells, element("td", {}, button));
    });
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
    const rest = places.length - body.length;
    return rest > 0 ? [table, element("p", { textContent: `and ${rest} more: choose fewer above` })] : [table];
  };
  const header = (name) => {
    const made = element("th", { textContent: name });
    made.scope = "col";
    return made;
  };

  // --- what is under the pointer ---

  const hint = element("div", { id: "tip", hidden: true });
  hint.setAttribute("role", "presentation");
  document.body.append(hint);
  const tip = (plot, event, row) => {
    hint.hidden = !(row && typeof row === "object" && row.from);
    if (hint.hidden) return;
    const columns = row.published !== undefined && plot.sources.known ? page.plots.published.columns : plot.columns;
    hint.replaceChildren(list(columns.map((one) => [one.name, cell(row, one)])), element("p", { textContent: "Press for its source" }));
    const { width, height } = hint.getBoundingClientRect();
    hint.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    hint.style.top = `${event.clientY + height + 18 > innerHeight ? Math.max(4, event.clientY - height - 12) : event.clientY + 14}px`;
  };
  addEventListener("scroll", () => (hint.hidden = true), { passive: true });

  const list = (pairs) =>
    element("dl", {}, ...pairs.filter(([, value]) => value !== "-").map(([name, value]) =>
      element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));

  // --- the provenance drawer ---

  const HIDDEN = new Set(["from", "newest", "series", "nominal_bits", "name"]);
  const open = (row) => {
    hint.hidden = true;
    const [kind, key] = [row.from.slice(0, row.from.indexOf(":")), row.from.slice(row.from.indexOf(":") + 1)];
    const pairs = Object.entries(row).filter(([name]) => !HIDDEN.has(name));
    const content = [element("p", { textContent: WHERE[kind] }), ...MORE[kind](key, row)];
    content.push(element("h3", { textContent: "All of its figures" }), list(pairs.map(([name, value]) => [name.replaceAll("_", " "), shown(value)])));
    document.getElementById("origin").replaceChildren(...content);
    drawer.showModal();
    drawer.scrollTop = 0;
  };
  const WHERE = {
    record: "Measured with roofcast and kept in its store.",
    kernel: "Measured by others and published; part of the project's evidence.",
    device: "A machine's specification.",
    predict: "Predicted by the decode model, which was fitted to published speeds. It rests on these figures of the machine.",
    published: "Published by others; part of the project's evidence. The prediction is of a fit that has not seen it.",
    validation: "Counted over the published speeds that stand under Predicted against published.",
  };
  const MORE = {
    record: (_, row) => [list([["date", row.date], ["commit", row.commit || "-"], ["machine", row.envelope], ["stopped by", row.stop_reason ?? "-"]]),
      element("h3", { textContent: "Repeat it" }), element("p", {}, element("code", { textContent: `roofcast bench ${row.overrides ?? ""}` }))],
    kernel: (_, row) => [list([["source", row.source], ["date", row.date]])],
    device: (key) => machine(key),
    predict: (key) => {
      const asked = askedAt(Number(key));
      return [element("p", {}, element("code", { textContent: command(asked) })),
        list([["model's shape", data.shapes[asked.model]]]), ...machine(asked.device)];
    },
    published: (_, row) => [list([["source", row.source], ["date", row.date], ["confidence", row.confidence]])],
    validation: () => [element("p", {}, element("code", { textContent: "roofcast validate" }))],
  };
  const machine = (name) => {
    const known = data.machines[name];
    const figures = known.figures.map((one) => [`${one.figure.replace(/[._]/g, "$&\u200b")} ${one.value}`, [one.basis, one.source, one.date, one.note].filter(Boolean).join("; ")]);
    return [element("h3", { textContent: `Figures of ${name}` }), list(figures)];
  };
  document.getElementById("close").onclick = () => drawer.close();
  drawer.onclick = (event) => event.target === drawer && drawer.close();

  // --- what if: cells lie in the order of the axes, the last one fastest ---

  const AXES = ["model", "device", "format", "context", "devices"];
  const placeOf = (asked) => AXES.reduce((place, name) => place * data.axes[name].length + data.axes[name].indexOf(asked[name]), 0);
  const askedAt = (place) => {
    const asked = {};
    for (const name of AXES.toReversed()) {
      asked[name] = data.axes[name][place % data.axes[name].length];
      place = Math.floor(place / data.axes[name].length);
    }
    return asked;
  };
  const command = (asked) => {
    const words = [`model=${asked.model}`, `device=${asked.device}`, `format=${asked.format}`, `context=${asked.context}`];
    if (asked.devices !== page.fewest) words.push(`devices=${asked.devices}`);
    words.push(`prompt=${data.prompt}`, ...(data.price === null ? [] : [`price=${data.price}`]));
    return `roofcast predict ${words.join(" ")}`;
  };
  const answer = () => {
    const place = document.getElementById("answer");
    const text = data.words.cells[placeOf(state)];
    const title = element("h3", { textContent: `${state.model} in ${state.format}, batch 1, context ${state.context}, on ${state.device}` });
    const asked = element("p", {}, element("code", { textContent: command(state) }));
    const source = element("button", { type: "button", textContent: "Where these figures come from", onclick: () => open({ from: `predict:${placeOf(state)}`, ...state, compare: null }) });
    if (text.startsWith("!")) {
      place.replaceChildren(title, element("p", { className: "refusal", textContent: data.words.texts[Number(text.slice(1))] }), asked);
      return;
    }
    const [names, how, doubts, ...values] = text.split("|");
    const speed = data.words.figures[Number(names)].findIndex(([name]) => name === "decode");
    const [low, point, high] = values.slice(3 * speed, 3 * speed + 3);
    const headline = element("p", { className: "headline" }, element("strong", { textContent: point }), ` tokens per second; with 80 % probability ${low} to ${high}`);
    const body = data.words.figures[Number(names)].map(([name, unit], row) => {
      const first = element("th", { textContent: `${name} (${unit})` });
      first.scope = "row";
      const ends = values.slice(3 * row, 3 * row + 3).map((one) => element("td", { className: "number", textContent: one }));
      return element("tr", {}, first, ...ends);
    });
    const heads = ["figure", "low", "point", "high"].map((name, at) => Object.assign(header(name), { className: at > 0 ? "number" : "" }));
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...body));
    const holder = element("div", { className: "scroll", tabIndex: 0 }, table);
    holder.setAttribute("role", "region");
    holder.setAttribute("aria-label", "The answer");
    const said = [how, doubts].map((at) => element("p", { textContent: data.words.texts[Number(at)] }));
    place.replaceChildren(title, headline, holder, ...said, asked, source);
  };

  // --- controls ---

  // Nobody reads ten thousand options, and laying them out takes longer than all plots.
  const MOST_OPTIONS = 200;
  const optionsOf = (control) => {
    if (!control.dataset) return { options: data.axes[control.name], rest: 0 };
    const { columns } = data.datasets[control.dataset];
    const counted = new Map();
    (columns[control.field] ?? []).forEach((value, place) => {
      const isWithin = !control.within || columns[control.within][place] === state[control.within];
      if (isWithin && isKnown(value) && value !== "") counted.set(value, (counted.get(value) ?? 0) + 1);
    });
    const weight = (value) => (value === state[control.name] ? Infinity : counted.get(value));
    const most = [...counted.keys()].sort((one, other) => weight(other) - weight(one)).slice(0, MOST_OPTIONS);
    most.sort((one, other) => (typeof one === "number" ? one - other : one.localeCompare(other)));
    return { options: control.any ? [page.any, ...most] : most, rest: counted.size - most.length };
  };
  const offer = (control) => {
    const select = document.querySelector(`select[name="${control.name}"]`);
    const { options, rest } = optionsOf(control);
    if (!options.includes(state[control.name])) state[control.name] = options[0] ?? null;
    select.replaceChildren(...options.map((one, at) => element("option", { value: at, textContent: String(one) })));
    select.value = options.indexOf(state[control.name]);
    if (rest) select.append(element("option", { textContent: `and ${rest} that were measured less often`, disabled: true }));
    if (!options.length) select.append(element("option", { textContent: "none yet" }));
    select.disabled = options.length < 2;
    select.onchange = () => choose(control, options[Number(select.value)]);
  };
  const choose = async (control, value) => {
    state[control.name] = value;
    state.bits = page.bits[state.format];
    page.controls.filter((one) => one.within === control.name).forEach(offer);
    if (control.section === "predictions") answer();
    const touched = new Set([control.name, ...page.controls.filter((one) => one.within === control.name).map((one) => one.name)]);
    if (control.name === "format") touched.add("bits");
    const follows = (plot) => Object.values(plot.sources).some((source) => Object.values(source.chosen).some((one) => touched.has(one)));
    await redraw(Object.keys(page.plots).filter((name) => follows(page.plots[name])));
  };

  // --- light and dark ---

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const dress = async (theme) => {
    root.dataset.theme = theme;
    button.setAttribute("aria-pressed", String(theme === "dark"));
    await redraw([...views.keys()]);
  };
  button.onclick = () => dress(root.dataset.theme === "dark" ? "light" : "dark");
  dark.onchange = () => dress(dark.matches ? "dark" : "light");
  dress(dark.matches ? "dark" : "light");

  // --- saving a plot ---

  for (const one of document.querySelectorAll("[data-save]")) {
    one.onclick = async () => {
      const name = one.closest(".plot").id;
      const url = await views.get(name)?.view.toImageURL(one.dataset.save, 2);
      if (url) element("a", { href: url, download: `${name}.${one.dataset.save}` }).click();
    };
  }

  // --- start: what is seen first comes first, the rest when the page is idle ---

  const data = await unpacked();
  data.datasets = Object.fromEntries(Object.entries(data.datasets).map(([name, packed]) => [name, asDataset(packed)]));
  page.controls.forEach(offer);
  answer();
  root.dataset.ready = Math.round(performance.now());
  await redraw(Object.keys(page.plots));
  root.dataset.drawn = Math.round(performance.now());
})();
