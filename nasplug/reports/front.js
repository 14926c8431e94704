// --- texts of a row ---

const isSingle = axes.length === 1;
const STATES = { front: isSingle ? "the best" : "on the front", met: isSingle ? "not the best" : "off the front", missed: "violates a constraint" };

function figures(row, columns) {
  const list = el("dl", { class: "figures" });
  for (const k of columns) {
    const [value, rest] = row.cells[k][1].split(/ (?=\()/);
    if (value) list.append(el("div", {}, el("dt", {}, data.columns[k]), el("dd", {}, value, rest ? el("small", {}, rest) : null)));
  }
  return list;
}

// --- the front ---

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
  const behind = isSingle ? [] : data.scored.map((values) => [values[chosen.x], values[chosen.y]]);
  const [xs, ys] = [rows.map(valueX), rows.map(valueY)].map((of, k) => [...of, ...behind.map((pair) => pair[k])]);
  const withMeasured = (k, value) => onFront.flatMap((row) => [value(row), ...(row.measured && k !== null ? [row.measured[k]] : [])]);
  const xAxis = { ...x, range: isSingle ? rangeOf("linear", xs, xs) : mostly(x, xs, withMeasured(chosen.x, valueX)), whole: isSingle };
  const yAxis = { ...y, range: mostly(y, ys, withMeasured(chosen.y, valueY)) };
  const plot = picture(host.querySelector(".plot"), xAxis, yAxis, `${y.label} against ${x.label}; the table has all values`);
  const { content, X, Y, box } = plot;
  const entries = [];
  for (const [px, py] of behind) content.append(dot(X(px), Y(py), "p-scored", 1.6));

  for (const [axis, across] of [[x, true], [y, false]])
    for (const [bound, text] of axis.limits) {
      const at = across ? X(bound) : Y(bound);
      const isBeyond = across ? at < box.left || at > box.right : at < box.top || at > box.bottom;
      content.append(svg("line", across ? { class: "limit", x1: at, x2: at, y1: box.top, y2: box.bottom } : { class: "limit", x1: box.left, x2: box.right, y1: at, y2: at }));
      entries.push([dash("limit"), isBeyond ? `${text}, outside the axes` : text]);
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
  if (measured.length) entries.push([diamond(8, 8, "p-measured"), "measured front"]);
  if (others.met) entries.push([dot(8, 8, "p-met", 3.5), `other trials: ${others.met}`]);
  if (others.missed) entries.push([cross(8, 8), `violates a constraint: ${others.missed}`]);
  if (behind.length) entries.push([dot(8, 8, "p-scored", 2.2), `scored, not tried: ${data.n_scored.toLocaleString("en")}${behind.length < data.n_scored ? `, ${behind.length.toLocaleString("en")} of them drawn` : ""}`]);
  if (beyond) entries.push([svg("g"), `outside the axes: ${beyond}`]);
  legend(host.querySelector(".legend"), entries);
  axisLabel(host.querySelector(".axis-label.y"), y.label, y.scale);
  axisLabel(host.querySelector(".axis-label.x"), x.label, isSingle ? null : x.scale);

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
  front.marks.append(...choiceMarks((row) => front.places[row], front.box));
}

const badgeAt = (x, y, text) => {
  const width = 12 + 6 * text.length;
  return svg("g", { class: "mark" },
    svg("rect", { x: x - width / 2, y: y - 8, width, height: 16, rx: 8 }), svg("text", { x, y: y + 4 }, text));
};

function choiceMarks(place, box, isBeside = false) {
  // Numbers of the choices beside their points; none covers another one or the point of a choice.
  const labels = new Map();
  data.choices.forEach(({ row }, k) => labels.set(row, [...(labels.get(row) ?? []), k + 1]));
  const taken = [...labels.keys()].map((row) => [...place(row), 14]);
  return [...labels].map(([row, numbers]) => {
    const [x, y] = place(row);
    const text = numbers.join(" ");
    const width = 12 + 6 * text.length;
    const side = 14 + width / 2;
    const around = [[0, -22], [0, 22], [side, 0], [-side, 0], [side, -22], [-side, -22], [side, 22], [-side, 22]];
    const beside = [0, -18, 18, -36, 36].map((dy) => [side, dy]);
    const places = (isBeside ? beside : around).map(([dx, dy]) => [x + dx, y + dy]);
    const isFree = ([cx, cy]) => cy > 10 && cy < box.bottom && cx > box.left && cx < box.right && taken.every(([tx, ty, wide]) => Math.abs(tx - cx) > (wide + width) / 2 || Math.abs(ty - cy) > 16);
    const at = places.find(isFree) ?? places[0];
    taken.push([...at, width]);
    return badgeAt(...at, text);
  });
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
  drawObjectives();
  if (row.state !== "front" && !table.all) table.show(true);
  table.mark(scrolls);
}
