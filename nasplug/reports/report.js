// --- texts of a row ---

const STATES = { front: "on the front", met: "off the front", missed: "misses a limit" };

function figures(row, columns) {
  const list = el("dl", { class: "figures" });
  for (const k of columns) {
    const [value, rest] = row.cells[k][1].split(/ (?=\()/);
    if (value) list.append(el("div", {}, el("dt", {}, data.columns[k]), el("dd", {}, value, rest ? el("small", {}, rest) : null)));
  }
  return list;
}

function archCode(text) {
  // A line may break between the parts of an architecture.
  return el("code", {}, ...text.split(/(?<=[+,;/])/).flatMap((part) => [part, el("wbr")]));
}

function copied(text) {
  const code = archCode(text);
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Without leave to use the clipboard the text is selected, to be copied by hand.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  return [code, button];
}

// --- the front ---

const isSingle = axes.length === 1;
const chosen = { row: null, y: Math.max(axes.findIndex((axis) => axis.maximize), 0), x: null };
chosen.x = isSingle ? null : axes.findIndex((_, k) => k !== chosen.y);
const valueX = (row) => (isSingle ? row.trial : row.values[chosen.x]);
const valueY = (row) => row.values[chosen.y];
let front = null;

function bar(k) {
  const row = rows[k];
  const [px, py] = front.places[k];
  const ends = (axis, scale, at) => (axis === null || !row.ends[axis] ? [at, at] : row.ends[axis].map(scale));
  const [left, right] = ends(chosen.x, front.X, px);
  const [low, high] = ends(chosen.y, front.Y, py);
  return svg("path", { class: "bar", d: `M${left} ${py}H${right}M${px} ${low}V${high}` });
}

function drawFront() {
  const host = byId("front");
  const y = axes[chosen.y];
  const x = isSingle ? { label: "trial", scale: "linear", limits: [] } : axes[chosen.x];
  const onFront = rows.filter((row) => row.state === "front");
  const mostly = (axis, values, must) => {
    const [low, high] = rangeOf(axis.scale, values, must);
    // A limit is shown where it lies near the trials.
    const limits = axis.limits.map(([bound]) => bound).filter((bound) => {
      const at = HEIGHTS[axis.scale](bound);
      return at > low - 0.5 * (high - low) && at < high + 0.5 * (high - low);
    });
    return rangeOf(axis.scale, values, [...must, ...limits]);
  };
  const [xs, ys] = [rows.map(valueX), rows.map(valueY)];
  const withMeasured = (k, value) => onFront.flatMap((row) => [value(row), ...(row.measured && k !== null ? [row.measured[k]] : [])]);
  const xAxis = { ...x, range: isSingle ? rangeOf("linear", xs, xs) : mostly(x, xs, withMeasured(chosen.x, valueX)), whole: isSingle };
  const yAxis = { ...y, range: mostly(y, ys, withMeasured(chosen.y, valueY)) };
  const plot = picture(host.querySelector(".plot"), xAxis, yAxis, `${y.label} against ${x.label}; the table has all numbers`);
  const { content, X, Y, box } = plot;
  const entries = [];

  for (const [axis, across] of [[x, true], [y, false]])
    for (const [bound, text] of axis.limits) {
      const at = across ? X(bound) : Y(bound);
      content.append(svg("line", across ? { class: "limit", x1: at, x2: at, y1: box.top, y2: box.bottom } : { class: "limit", x1: box.left, x2: box.right, y1: at, y2: at }));
      entries.push([dash("limit"), text]);
    }
  if (isSingle && data.progress) {
    const { trials, values } = data.progress;
    const points = trials.map((trial, k) => [trial, values[k]]).filter(([, value]) => value !== null);
    content.append(svg("path", { class: "line thin", d: stairs(points, X, Y) }));
    entries.push([dash("line"), data.progress.label]);
  }
  const others = { met: 0, missed: 0 };
  let beyond = 0;
  const places = rows.map((row) => [X(valueX(row)), Y(valueY(row))]);
  rows.forEach((row, k) => {
    const [px, py] = places[k];
    beyond += px < box.left - 8 || px > box.right + 8 || py < box.top - 8 || py > box.bottom + 8;
    if (row.state === "front") return;
    others[row.state] += 1;
    content.append(row.state === "met" ? dot(px, py, "p-met", 3.2) : cross(px, py));
  });
  const order = onFront.map((row) => rows.indexOf(row)).sort((a, b) => valueX(rows[a]) - valueX(rows[b]));
  if (axes.length === 2 && order.length) {
    // The staircase passes through what the front dominates: worse in one value, equal in the other.
    const points = order.map((k) => [valueX(rows[k]), valueY(rows[k])]);
    content.append(svg("path", { class: "line thin", d: stairs(x.maximize ? points.reverse() : points, X, Y) }));
  }
  const bars = content.appendChild(svg("g"));
  const measured = isSingle ? [] : onFront.filter((row) => row.measured);
  for (const row of measured) content.append(diamond(X(row.measured[chosen.x]), Y(row.measured[chosen.y]), "p-measured"));
  const buttons = order.map((k) => {
    const words = data.columns.map((column, c) => `${column} ${rows[k].cells[c][1]}`).join(", ");
    const group = svg("g", { role: "button", tabindex: -1, "data-row": k, "aria-label": `trial ${rows[k].trial}: ${words}` }, dot(...places[k], "p-front", 5));
    content.append(group);
    return group;
  });

  if (order.length) entries.unshift([dot(8, 8, "p-front", 5), `${isSingle ? "best" : "front"}: ${order.length}`]);
  if (data.interval && order.length) entries.push([dash("bar"), `${data.interval} of the choices and the selected`]);
  if (measured.length) entries.push([diamond(8, 8, "p-measured"), "the front, measured"]);
  if (others.met) entries.push([dot(8, 8, "p-met", 3.5), `other trials: ${others.met}`]);
  if (others.missed) entries.push([cross(8, 8), `misses a limit: ${others.missed}`]);
  if (beyond) entries.push([svg("g"), `beyond the axes: ${beyond}`]);
  legend(host.querySelector(".legend"), entries);
  axisLabel(host.querySelector(".axis-label.y"), y.label, y.scale);
  axisLabel(host.querySelector(".axis-label.x"), x.label, x.scale);

  front = { ...plot, places, order, buttons, bars, marks: plot.root.appendChild(svg("g", { "aria-hidden": true })) };
  plot.root.addEventListener("pointermove", (event) => showTip(nearest(event), event));
  plot.root.addEventListener("pointerleave", () => showTip(null));
  plot.root.addEventListener("click", (event) => {
    const k = nearest(event);
    if (k !== null) select(k, true);
  });
  plot.root.addEventListener("keydown", moveAlong);
  markFront();
}

function nearest(event) {
  const frame = front.root.getBoundingClientRect();
  const factor = front.width / frame.width;
  const [x, y] = [(event.clientX - frame.left) * factor, (event.clientY - frame.top) * factor];
  let best = null;
  let least = 26;
  front.places.forEach(([px, py], k) => {
    // Networks on the front are what a reader looks for.
    const distance = Math.hypot(px - x, py - y) - (rows[k].state === "front" ? 4 : 0);
    if (distance < least) [best, least] = [k, distance];
  });
  return best;
}

function showTip(k, event) {
  const tip = byId("tip");
  tip.hidden = k === null;
  front.root.classList.toggle("near", k !== null);
  if (k === null) return;
  const row = rows[k];
  tip.replaceChildren(
    el("strong", {}, `trial ${row.trial}, ${STATES[row.state]}`),
    ...data.columns.map((column, c) => (row.cells[c][1] ? el("div", {}, `${column}: ${row.cells[c][1]}`) : null)).filter(Boolean),
    archCode(row.arch),
  );
  const left = Math.min(event.pageX + 14, scrollX + document.documentElement.clientWidth - tip.offsetWidth - 12);
  const above = event.clientY + tip.offsetHeight + 24 > innerHeight;
  tip.style.left = `${Math.max(left, scrollX + 12)}px`;
  tip.style.top = `${event.pageY + (above ? -tip.offsetHeight - 12 : 16)}px`;
}

function moveAlong(event) {
  const at = front.buttons.indexOf(document.activeElement);
  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  const here = event.key === "Enter" || event.key === " " ? 0 : step;
  const next = { Home: 0, End: front.buttons.length - 1 }[event.key] ?? at + here;
  if (at < 0 || !(next >= 0 && next < front.buttons.length)) return;
  event.preventDefault();
  front.buttons[next].focus();
  select(front.order[next], true);
}

function markFront() {
  front.marks.replaceChildren();
  // The bars of all networks would hide each other.
  const marked = new Set(data.choices.map((choice) => choice.row));
  if (chosen.row !== null) marked.add(chosen.row);
  front.bars.replaceChildren(...[...marked].map(bar));
  front.buttons.forEach((button, at) => {
    const on = front.order[at] === chosen.row;
    button.setAttribute("aria-pressed", on);
    button.setAttribute("tabindex", on || (at === 0 && !front.order.includes(chosen.row)) ? 0 : -1);
  });
  if (chosen.row !== null) front.marks.append(dot(...front.places[chosen.row], "ring", 9));
  const labels = new Map();
  data.choices.forEach((choice, k) => labels.set(choice.row, [...(labels.get(choice.row) ?? []), k + 1]));
  for (const [row, numbers] of labels) {
    const [x, y] = front.places[row];
    const width = 12 + 9 * numbers.length;
    const top = y < 40 ? y + 14 : y - 30;
    front.marks.append(
      svg("g", { class: "mark" },
        svg("rect", { x: x - width / 2, y: top, width, height: 16, rx: 8 }),
        svg("text", { x, y: top + 12 }, numbers.join(" "))),
    );
  }
}

// --- selection ---

function select(k, scrolls) {
  chosen.row = k;
  const row = rows[k];
  const number = data.choices.findIndex((choice) => choice.row === k);
  byId("selected").replaceChildren(
    el("h3", {}, number < 0 ? null : el("span", { class: "badge" }, number + 1), number < 0 ? null : " ", `Trial ${row.trial}, ${STATES[row.state]}`),
    figures(row, data.columns.map((_, c) => c)),
    ...(row.more ? [el("p", { class: "hint" }, row.more)] : []),
    el("div", { class: "copied" }, ...copied(row.arch)),
  );
  document.querySelectorAll(".card").forEach((card, c) => {
    const on = data.choices[c].row === k;
    card.classList.toggle("on", on);
    card.querySelector("button").setAttribute("aria-pressed", on);
  });
  markFront();
  if (row.state !== "front" && !table.all) table.show(true);
  table.mark(scrolls);
}

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
  const { content, X, Y, box } = picture(section.querySelector(".plot"), x, y, `${progress.label} after each trial`, 0.7);
  const points = [...trials.map((trial, k) => [trial, values[k]]), [last, values.at(-1)]];
  content.append(svg("path", { class: "line", d: stairs(points, X, Y) }));
  const entries = [[dash("line"), "after each trial"]];
  for (const [name, kind, text] of [["missed", "rug off", "misses a limit"], ["failed", "rug", "without values"]]) {
    for (const trial of progress[name]) content.append(svg("line", { class: kind, x1: X(trial), x2: X(trial), y1: box.bottom - 9, y2: box.bottom }));
    if (progress[`n_${name}`]) entries.push([svg("line", { class: kind, x1: 8, x2: 8, y1: 3, y2: 13 }), `${text}: ${progress[`n_${name}`]}`]);
  }
  legend(section.querySelector(".legend"), entries);
  axisLabel(section.querySelector(".axis-label.y"), progress.label, "linear");
  axisLabel(section.querySelector(".axis-label.x"), "trial", "linear");
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
      [dot(8, 8, "p-front", 4), `in its 90 % interval: ${inside}`],
      [diamond(8, 8, "p-outside", 5), `outside: ${n_points - inside}`],
      [dash("diagonal"), "equal"],
      ...(beyond ? [[svg("g"), `beyond the axes: ${beyond}`]] : []),
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
  drawProgress();
  drawComparisons();
}

buildTexts();
buildComparisons();
table.build();
draw();
if (data.choices.length) select(data.choices[0].row, false);
else byId("selected").append(el("p", { class: "hint" }, "Select a network in the picture or in the table."));
let drawnAt = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnAt) return;
  drawnAt = innerWidth;
  draw();
});
