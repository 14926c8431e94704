// --- the table of a comparison ---

const TEXTS = new Set(["network", "device", "run in", "learned from"]);

const narrow = matchMedia("screen and (max-width: 640px)");
// Rows on a narrow screen before a reader asks for all.
const FEW = 8;

const table = {
  column: null,
  down: false,
  whole: false,

  build() {
    this.heads = data.columns.map((name, c) => el("th", { class: TEXTS.has(name) ? "text" : "", scope: "col", role: "columnheader" },
      el("button", { type: "button", onclick: () => this.sort(c) }, name)));
    byId("table").tHead.append(el("tr", { role: "row" }, ...this.heads));
    this.lines = rows.map((row) => {
      const line = el("tr", { role: "row", class: row.measured ? "known" : "" }, ...row.cells.map(([, text], c) => {
        const name = data.columns[c];
        const [value, rest] = TEXTS.has(name) ? [text, null] : text.split(/ (?=\()/);
        return el("td", { role: "cell", class: name === "network" ? "text name" : TEXTS.has(name) ? "text" : name.startsWith("measured") && text ? "sure" : "", "data-label": name },
          ...(text ? [value, rest ? el("small", {}, ` ${rest}`) : ""] : []));
      }));
      return { line, row, text: row.cells.map(([, cell]) => cell).join(" ").toLowerCase() };
    });
    this.sorted = this.lines;
    byId("table").tBodies[0].append(...this.lines.map(({ line }) => line));
    byId("filter").addEventListener("input", () => this.filter());
    byId("more").addEventListener("click", () => {
      this.whole = true;
      this.filter();
    });
    narrow.addEventListener("change", () => this.filter());
    this.filter();
  },

  sort(column) {
    this.down = this.column === column && !this.down;
    this.column = column;
    const compare = ({ row: { cells: a } }, { row: { cells: b } }) => {
      const [left, right] = [a[column][0], b[column][0]];
      // What is not known comes last in both directions.
      if (left === null || right === null) return (left === null) - (right === null);
      return (this.down ? -1 : 1) * (typeof left === "string" ? left.localeCompare(right) : left - right);
    };
    this.sorted = [...this.lines].sort(compare);
    byId("table").tBodies[0].append(...this.sorted.map(({ line }) => line));
    this.heads.forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.filter();
  },

  filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = this.sorted.filter(({ text }) => words.every((word) => text.includes(word)));
    const few = new Set(narrow.matches && !this.whole ? fitting.slice(0, FEW) : fitting);
    for (const entry of this.lines) entry.line.hidden = !few.has(entry);
    byId("more").hidden = few.size === fitting.length;
    byId("more").textContent = `Show all ${fitting.length}`;
    const total = data.n_rows > rows.length ? `${rows.length} kept here of ${data.n_rows}` : rows.length;
    byId("count").textContent = `${few.size} shown of ${total} rows`;
  },
};

// --- the picture: latencies of the networks on all devices in one setting ---

const { points, devices } = data;
// An accuracy is the height of a network where it is known of at least two.
const accurate = new Set(points.filter(({ accuracy }) => accuracy !== null).map(({ network }) => network)).size > 1;
const COLOURS = 6;
const kindOf = (device) => `d${device % COLOURS}`;

function deviceMark(x, y, device) {
  // The same colour again has another form.
  const form = Math.floor(device / COLOURS) % 2;
  return form ? svg("rect", { class: kindOf(device), x: x - 4.5, y: y - 4.5, width: 9, height: 9 }) : dot(x, y, kindOf(device), 5);
}

function said({ network, device, latency: [mean, low, high], measured, accuracy }) {
  const parts = [`${network} on ${devices[device]}: ${short(mean)} ms (${short(low)}–${short(high)})`];
  if (measured !== null) parts.push(`measured ${short(measured)} ms`);
  if (accuracy !== null) parts.push(`top-1 ${accuracy} %`);
  return parts.join(", ");
}

function draw() {
  const host = byId("picture");
  const here = points.filter(({ setting, accuracy }) => setting === byId("setting").value && (!accurate || accuracy !== null));
  const figure = host.querySelector("figure");
  const used = [...new Set(here.map(({ device }) => device))].sort((a, b) => a - b);
  const networks = [...new Set(here.map(({ network }) => network))];
  if (!here.length) {
    figure.querySelector(".plot").replaceChildren();
    figure.querySelector(".hint").textContent = "No latency is known in this setting.";
    return;
  }
  const all = here.flatMap(({ latency, measured }) => [...latency, ...(measured === null ? [] : [measured])]);
  const x = { scale: "log", range: rangeOf("log", [], all) };
  // Each pair of network and device has a line of its own where no accuracy gives its height.
  const order = here.map((point) => networks.indexOf(point.network) * (devices.length + 1) + used.indexOf(point.device));
  const places = [...new Set(order)].sort((a, b) => a - b);
  const heightOf = (k) => (accurate ? here[k].accuracy : -places.indexOf(order[k]) - networks.indexOf(here[k].network));
  const heights = here.map((_, k) => heightOf(k));
  // Room for the name above the highest mark.
  const edges = [Math.min(...heights), Math.min(Math.max(...heights) + 0.12 * (101 - Math.max(...heights)), 100)];
  const y = accurate ? { scale: "error", range: rangeOf("error", [...heights, ...edges], edges) }
    : { scale: "linear", range: [Math.min(...heights) - 0.8, 1.2], bare: true };
  const ratio = accurate ? 0.5 : Math.max(0.3, (24 * (2 - Math.min(...heights)) + 40) / figure.clientWidth);
  const { content, X, Y, box } = picture(figure.querySelector(".plot"), x, y, "latencies of the networks", ratio);
  here.forEach((point, k) => {
    const { device, latency: [mean, low, high], measured } = point;
    const bar = svg("path", { class: `bar ${kindOf(device)}`, d: `M${X(low)} ${Y(heights[k])}H${X(high)}` });
    const mark = deviceMark(X(mean), Y(heights[k]), device);
    mark.append(svg("title", {}, said(point)));
    content.append(bar, mark);
    if (measured !== null) content.append(diamond(X(measured), Y(heights[k]), "p-measured"));
  });
  for (const network of networks) {
    const own = here.map((_, k) => k).filter((k) => here[k].network === network);
    const top = own.reduce((a, b) => (heights[b] > heights[a] ? b : a));
    // A network is named above its topmost line, or beside its leftmost point.
    const left = own.reduce((a, b) => (here[b].latency[1] < here[a].latency[1] ? b : a));
    const name = network.length > 46 ? `…${network.slice(-45)}` : network;
    const attributes = accurate
      ? { x: Math.min(X(here[left].latency[0]), box.right - 7 * name.length), y: Y(heights[left]) - 9 }
      : { x: box.left + 4, y: Y(heights[top]) - 10 };
    content.append(svg("text", { class: "tick name", ...attributes }, name));
  }
  legend(figure.querySelector(".legend"), [
    ...used.map((device) => [deviceMark(8, 8, device), devices[device]]),
    [dash("bar"), "90 % interval"],
    ...(here.some(({ measured }) => measured !== null) ? [[diamond(8, 8, "p-measured"), "measured"]] : []),
  ]);
  if (accurate) axisLabel(figure.querySelector(".axis-label.y"), "ImageNet top-1, %", "error");
  axisLabel(figure.querySelector(".axis-label.x"), "latency, ms", "log");
  const missing = new Set(rows.map((row) => row.cells[0][0])).size - networks.length;
  figure.querySelector(".hint").textContent = missing
    ? `${missing} ${missing > 1 ? "networks are" : "network is"} left out, without a latency${accurate ? " or an accuracy" : ""} that is known.` : "";
}

document.title = `${data.title} · nasplug`;
byId("title").textContent = data.title;
byId("heading").textContent = data.heading;
byId("notes").append(...data.notes.map((note) => el("li", {}, note)));
byId("command").hidden = !data.command;
if (data.command) byId("command").querySelector(".copied").append(...copied(data.command));
table.build();
if (points.length) {
  byId("picture").hidden = false;
  byId("picture-title").textContent = accurate ? "Accuracy and latency" : "Latency";
  const choose = byId("setting");
  choose.append(...data.settings.map((setting) => el("option", { value: setting }, setting)));
  choose.value = points[0].setting;
  choose.closest(".axes").hidden = data.settings.length < 2;
  choose.addEventListener("change", draw);
  draw();
  let drawnAt = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === drawnAt) return;
    drawnAt = innerWidth;
    draw();
  });
}
