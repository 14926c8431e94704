// --- the table ---

const narrow = matchMedia("screen and (max-width: 640px)");
// Rows on a narrow screen before a reader asks for all.
const FEW = 8;

const table = {
  all: true,
  whole: false,
  column: null,
  down: false,
  lines: [],

  build() {
    const keys = [
      ["trial", (row) => row.trial, ""],
      ...data.columns.map((column, c) => [column, (row) => row.cells[c][0], ""]),
      ["status", (row) => ["front", "met", "missed"].indexOf(row.state), "text status"],
      ["architecture", (row) => row.arch, "text"],
    ];
    const cells = keys.map(([name, key, kind], k) => {
      const button = el("button", { type: "button", onclick: () => this.sort(k) }, name);
      return el("th", { class: kind, scope: "col", role: "columnheader" }, button);
    });
    byId("table").tHead.append(el("tr", { role: "row" }, ...cells));
    this.keys = keys.map(([, key]) => key);
    this.heads = cells;
    this.lines = rows.map((row, k) => {
      const number = el("button", { type: "button", "aria-label": `select trial ${row.trial}` }, row.trial);
      const line = el("tr", { role: "row", onclick: () => select(k, false) },
        el("td", { role: "cell", "data-label": "trial" }, number),
        ...row.cells.map(([, text], c) => {
          const [value, rest] = text.split(/ (?=\()/);
          return el("td", { role: "cell", "data-label": data.columns[c] }, ...(text ? [value, rest ? el("small", {}, ` ${rest}`) : ""] : []));
        }),
        el("td", { role: "cell", class: "text status", "data-label": "status" }, STATES[row.state]),
        el("td", { role: "cell", class: "text arch", "data-label": "architecture" }, archCode(row.arch)));
      return { line, row, text: row.arch.toLowerCase() };
    });
    byId("table").tBodies[0].append(...this.lines.map(({ line }) => line));
    byId("filter").addEventListener("input", () => this.filter());
    byId("show-front").addEventListener("click", () => this.show(false));
    byId("show-all").addEventListener("click", () => this.show(true));
    byId("more").addEventListener("click", () => {
      this.whole = true;
      this.filter();
    });
    narrow.addEventListener("change", () => this.filter());
    this.sort(isSingle ? 1 + chosen.y : 1 + chosen.x, isSingle && axes[0].maximize);
    this.show(!rows.some((row) => row.state === "front"));
  },

  sort(column, down = this.column === column && !this.down) {
    [this.column, this.down] = [column, down];
    const key = this.keys[column];
    const sign = down ? -1 : 1;
    const compare = (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
    };
    this.sorted = [...this.lines].sort((a, b) => compare(key(a.row), key(b.row)));
    byId("table").tBodies[0].append(...this.sorted.map(({ line }) => line));
    this.heads.forEach((head, k) => {
      if (k === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    this.filter();
  },

  show(all) {
    this.all = all;
    byId("show-front").setAttribute("aria-pressed", !all);
    byId("show-all").setAttribute("aria-pressed", all);
    byId("table").classList.toggle("fronts", !all);
    this.filter();
  },

  filter() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ row, text }) => (this.all || row.state === "front") && words.every((word) => text.includes(word));
    const fitting = new Set(this.sorted.filter(fits));
    const most = narrow.matches && !this.whole ? FEW : Infinity;
    let count = 0;
    for (const entry of this.sorted) {
      entry.line.hidden = !fitting.has(entry) || (count >= most && rows.indexOf(entry.row) !== chosen.row);
      count += !entry.line.hidden;
    }
    byId("more").hidden = count === fitting.size;
    byId("more").textContent = `Show all ${fitting.size}`;
    const total = data.n_rows > rows.length ? `${rows.length} kept here of ${data.n_rows}` : rows.length;
    byId("count").textContent = `${count} shown of ${total} trials`;
  },

  mark(scrolls) {
    this.lines.forEach(({ line }, k) => line.classList.toggle("on", k === chosen.row));
    const { line } = this.lines[chosen.row];
    const frame = line.closest(".scroll");
    // Only the table scrolls: the reader's eyes are on the front.
    if (scrolls) frame.scrollTop = line.offsetTop - frame.clientHeight / 2;
  },
};

// --- progress, and predicted against observed ---

function drawProgress() {
  const { progress } = data;
  if (!progress || isSingle) return;
  const section = byId("progress");
  section.hidden = false;
  const { trials, values } = progress;
  const last = Math.max(trials.at(-1), ...progress.missed, ...progress.failed);
  const x = { scale: "linear", range: [-0.02 * last - 0.5, 1.02 * last + 0.5], whole: true };
  const y = { scale: "linear", range: [0, 1.06 * Math.max(...values) || 1] };
  const { content, X, Y, box } = picture(section.querySelector(".plot"), x, y, `${progress.label} after each trial`, 0.3);
  const points = [...trials.map((trial, k) => [trial, values[k]]), [last, values.at(-1)]];
  content.append(svg("path", { class: "line", d: stairs(points, X, Y) }));
  const entries = [[dash("line"), "after each trial"]];
  for (const [name, kind, text] of [["missed", "rug off", "violates a constraint"], ["failed", "rug", "without values"]]) {
    for (const trial of progress[name]) content.append(svg("line", { class: kind, x1: X(trial), x2: X(trial), y1: box.bottom - 9, y2: box.bottom }));
    if (progress[`n_${name}`]) entries.push([svg("line", { class: kind, x1: 8, x2: 8, y1: 3, y2: 13 }), `${text}: ${progress[`n_${name}`]}`]);
  }
  legend(section.querySelector(".legend"), entries);
  axisLabel(section.querySelector(".axis-label.y"), progress.label, "linear");
  section.querySelector(".hint").textContent = progress.note;
}

function buildComparisons() {
  if (!data.comparisons.length) return;
  const { predicted, observed } = data.comparisons[0];
  byId("compared").hidden = false;
  byId("compared-title").textContent = `${predicted[0].toUpperCase()}${predicted.slice(1)} against ${observed}`;
  byId("compared").querySelector(".panels").append(...data.comparisons.map(() => el("figure", {},
    el("figcaption", { class: "legend" }), el("p", { class: "axis-label y" }), el("div", { class: "plot" }),
    el("p", { class: "axis-label x" }), el("p", { class: "hint" }))));
}

function drawComparisons() {
  byId("compared").querySelectorAll("figure").forEach((figure, k) => {
    const { name, scale, predicted, observed, points, inside, n_points } = data.comparisons[k];
    // Both axes have the same range, so that equal values lie on the diagonal.
    const both = points.flatMap(([, seen, mean]) => [seen, mean]);
    const range = rangeOf(scale, both, []);
    const axis = { scale, range };
    const beyond = points.filter(([, ...pair]) => pair.slice(0, 2).some((v) => HEIGHTS[scale](v) < range[0] || HEIGHTS[scale](v) > range[1])).length;
    const { content, X, Y, box } = picture(figure.querySelector(".plot"), axis, axis, `${name}: ${predicted} against ${observed}`, 0.7);
    content.append(svg("line", { class: "diagonal", x1: box.left, x2: box.right, y1: box.bottom, y2: box.top }));
    for (const [trial, seen, mean, low, high] of points) {
      const isInside = low <= seen && seen <= high;
      const mark = isInside ? dot(X(seen), Y(mean), "p-front", 4) : diamond(X(seen), Y(mean), "p-outside", 5);
      mark.append(svg("title", {}, `trial ${trial}: ${observed} ${short(seen)}, ${predicted} ${short(mean)} (${short(low)}–${short(high)})`));
      mark.addEventListener("click", () => {
        const row = rows.findIndex((one) => one.trial === trial);
        if (row >= 0) select(row, true);
      });
      content.append(svg("path", { class: isInside ? "bar" : "bar off", d: `M${X(seen)} ${Y(low)}V${Y(high)}` }), mark);
    }
    legend(figure.querySelector(".legend"), [
      [dot(8, 8, "p-front", 4), `inside its 90 % interval: ${inside}`],
      [diamond(8, 8, "p-outside", 5), `outside: ${n_points - inside}`],
      [dash("diagonal"), "equal"],
      ...(beyond ? [[svg("g"), `outside the axes: ${beyond}`]] : []),
    ]);
    axisLabel(figure.querySelector(".axis-label.y"), `${name}, ${predicted}`, scale);
    axisLabel(figure.querySelector(".axis-label.x"), `${name}, ${observed}`, scale);
    figure.querySelector(".hint").textContent = `${inside} of ${n_points} values lie in their 90 % intervals (${Math.round((100 * inside) / n_points)} %).`;
  });
}

// --- the rest of the page ---

function buildTexts() {
  document.title = `${data.title} · nasplug report`;
  byId("title").textContent = data.title;
  byId("heading").textContent = data.heading;
  if (isSingle) {
    byId("front-title").textContent = "All trials";
    byId("show-front").textContent = "Best";
  }
  byId("nothing").hidden = rows.some((row) => row.state === "front");
  byId("choices").hidden = !data.choices.length;
  byId("choices").querySelector(".cards").append(...data.choices.map(({ title, row, reason }, k) => el("article", { class: "card" },
    el("h3", {}, el("button", { type: "button", onclick: () => select(row, true) }, el("span", { class: "badge" }, k + 1), el("span", {}, title))),
    figures(rows[row], axes.map((_, c) => c)),
    el("p", { class: "reason" }, reason),
    archCode(rows[row].arch))));
  byId("notes").append(...data.notes.map((note) => el("li", {}, note)));
  byId("facts").append(...data.facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
  byId("command").hidden = !data.command;
  if (data.command) byId("command").querySelector(".copied").append(...copied(data.command));
  if (axes.length > 2)
    for (const name of ["y", "x"]) {
      const choose = byId(`axis-${name}`);
      choose.closest(".axes").hidden = false;
      choose.append(...axes.map((axis, k) => el("option", { value: k }, axis.label)));
      choose.value = chosen[name];
      choose.addEventListener("change", () => {
        chosen[name] = Number(choose.value);
        drawFront();
      });
    }
}

function draw() {
  drawFront();
  drawObjectives();
  drawProgress();
  drawComparisons();
}

buildTexts();
buildComparisons();
buildPairs();
table.build();
draw();
if (data.choices.length) select(data.choices[0].row, false);
else byId("selected").append(el("p", { class: "hint" }, "Select an architecture in the plot or in the table."));
let drawnAt = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnAt) return;
  drawnAt = innerWidth;
  draw();
});
