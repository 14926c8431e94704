// --- fronts of three and more objectives: parallel coordinates, and pairs ---

const frontRows = rows.map((_, k) => k).filter((k) => rows[k].state === "front");
const hasMany = axes.length > 2 && frontRows.length > 0;
// Panels of more objectives than these would be too many to read.
const PAIRED = 4;

// Numbers of the choices that a row is, from 1.
const choiceNumbers = (k) => data.choices.flatMap((choice, c) => (choice.row === k ? [c + 1] : []));
const kindOfRow = (k) => {
  const [first] = choiceNumbers(k);
  return first === undefined ? "" : ` c${(first - 1) % 3}`;
};
const choiceLegend = () => data.choices.map((choice, c) => [badgeAt(8, 8, String(c + 1)), choice.title]);

function folded(text, x, y, most) {
  // Words of a label on lines of a number of characters.
  const lines = text.split(" ").reduce((all, word) => {
    const last = all.at(-1);
    return last !== undefined && (last + word).length < most ? [...all.slice(0, -1), `${last} ${word}`] : [...all, word];
  }, []);
  return svg("text", { class: "tick name", "text-anchor": "middle" }, ...lines.slice(0, 4).map((line, k) => svg("tspan", { x, y: y + 14 * k }, line)));
}

function upright(axis, k) {
  const values = frontRows.map((row) => [...rows[row].values, ...rows[row].limited][k]).filter((value) => typeof value === "number");
  const at = (values.length ? values : [0]).map(HEIGHTS[axis.scale]);
  const extent = Math.max(...at) - Math.min(...at) || 0.1 * Math.abs(at[0]) || 1;
  const near = axis.limits.map(([bound]) => HEIGHTS[axis.scale](bound)).filter((h) => h > Math.min(...at) - extent && h < Math.max(...at) + extent);
  let [low, high] = [Math.min(...at, ...near), Math.max(...at, ...near)];
  if (low === high) [low, high] = [low - extent / 2, high + extent / 2];
  return axis.maximize ? [low, high] : [high, low];
}

function drawParallel() {
  const host = byId("parallel");
  const all = [...axes, ...data.limited];
  // The columns are shorter than the labels of the axes.
  const labels = data.columns.slice(0, all.length);
  const plot = host.querySelector(".plot");
  // Names of more axes than a narrow screen has room for would cover each other; the picture scrolls.
  const width = Math.max(plot.clientWidth, 80 * all.length);
  const height = Math.round(Math.min(Math.max(width * 0.45, 300), 460));
  const step = width / all.length;
  const box = { left: 0, right: width, top: 22, bottom: height - 66 };
  const X = (k) => step * (k + 0.5);
  const spans = all.map(upright);
  const Y = (k, value) => box.bottom - ((HEIGHTS[all[k].scale](value) - spans[k][0]) / (spans[k][1] - spans[k][0])) * (box.bottom - box.top);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "front by parallel coordinates; the table has all values" });
  root.style.minWidth = `${width}px`;
  const pathOf = (k) => {
    const points = [...rows[k].values, ...rows[k].limited].map((value, c) => (typeof value === "number" ? [X(c), Y(c, value)] : null));
    return points.map((point, c) => (point ? `${points[c - 1] ? "L" : "M"}${point[0]} ${point[1]}` : "")).join("");
  };
  const opacity = Math.min(0.7, Math.max(0.2, 12 / frontRows.length));
  const isTold = (k) => choiceNumbers(k).length > 0 || k === chosen.row;
  const line = (k) => {
    const path = svg("path", { class: isTold(k) ? `line told${kindOfRow(k)}` : "line thin", d: pathOf(k), "stroke-opacity": isTold(k) ? null : opacity });
    path.append(svg("title", {}, `trial ${rows[k].trial}: ${data.columns.map((column, c) => `${column} ${rows[k].cells[c][1]}`).join(", ")}`));
    path.addEventListener("click", () => select(k, true));
    return path;
  };
  root.append(...frontRows.filter((k) => !isTold(k)).map(line));
  const marks = svg("g");
  const outside = [];
  all.forEach((axis, k) => {
    root.append(svg("line", { class: "upright", x1: X(k), x2: X(k), y1: box.top, y2: box.bottom }));
    const [low, high] = spans[k].map((h) => valueAt(axis.scale, h)).sort((a, b) => a - b);
    const bounds = axis.limits.map(([bound, text]) => [Y(k, bound), text]);
    const seen = bounds.filter(([y]) => y >= box.top - 4 && y <= box.bottom + 4);
    outside.push(...bounds.filter((bound) => !seen.includes(bound)).map(([, text]) => text));
    // The mark of a limit would hide a number, and its text tells it.
    for (const value of ticksOf(axis.scale, low, high, 6))
      if (value >= low && value <= high && seen.every(([y]) => Math.abs(y - Y(k, value)) > 9)) marks.append(
        svg("line", { class: "upright", x1: X(k) - 4, x2: X(k), y1: Y(k, value), y2: Y(k, value) }),
        svg("text", { class: "tick haloed", x: X(k) - 7, y: Y(k, value) + 4, "text-anchor": "end" }, short(value)));
    for (const [y, text] of seen) {
      // A label that would leave the picture stands on the other side of its axis.
      const isWide = 9 * text.length + 14 > width - X(k);
      marks.append(
        svg("line", { class: "limit bound", x1: X(k) - 12, x2: X(k) + 12, y1: y, y2: y }),
        svg("text", { class: "limit-text haloed", x: isWide ? width - 2 : X(k) + 14, y: y - 6, "text-anchor": isWide ? "end" : "start" }, text));
    }
    root.append(folded(labels[k], X(k), box.bottom + 20, Math.max(Math.floor(step / 7), 9)));
  });
  root.append(marks, ...frontRows.filter(isTold).map(line));
  root.append(...choiceMarks((k) => [X(0), Y(0, rows[k].values[0])], box, true));
  plot.replaceChildren(root);
  legend(host.querySelector(".legend"), [
    [dash("line thin"), `front: ${frontRows.length}`], ...choiceLegend(),
    ...(outside.length < all.flatMap((axis) => axis.limits).length ? [[dash("limit bound"), "limit"]] : []),
    ...outside.map((text) => [dash("limit bound"), `${text}, outside the axes`]),
  ]);
}

function buildPairs() {
  byId("parallel").hidden = byId("pairs").hidden = !hasMany;
  if (!hasMany) return;
  const count = Math.min(axes.length, PAIRED);
  const pairs = [];
  for (let y = 0; y < count; y++) for (let x = y + 1; x < count; x++) pairs.push([x, y]);
  byId("pairs").querySelector(".panels").append(...pairs.map(([x, y]) => el("figure", { "data-x": x, "data-y": y },
    el("p", { class: "axis-label y" }), el("div", { class: "plot" }), el("p", { class: "axis-label x" }))));
}

function drawPairs() {
  const host = byId("pairs");
  const limits = new Set();
  for (const figure of host.querySelectorAll("figure")) {
    const [x, y] = [Number(figure.dataset.x), Number(figure.dataset.y)];
    const rangeFor = (k) => {
      const values = rows.filter((row) => row.state !== "missed").map((row) => row.values[k]);
      const must = frontRows.map((row) => rows[row].values[k]);
      const [low, high] = rangeOf(axes[k].scale, values, must);
      const near = axes[k].limits.map(([bound]) => bound).filter((bound) => {
        const at = HEIGHTS[axes[k].scale](bound);
        return at > low - 0.5 * (high - low) && at < high + 0.5 * (high - low);
      });
      return { ...axes[k], range: rangeOf(axes[k].scale, values, [...must, ...near]) };
    };
    const [xAxis, yAxis] = [rangeFor(x), rangeFor(y)];
    const { content, X, Y, box } = picture(figure.querySelector(".plot"), xAxis, yAxis, `${yAxis.label} against ${xAxis.label}`, 0.75);
    for (const values of data.scored) content.append(dot(X(values[x]), Y(values[y]), "p-scored", 1.4));
    for (const [axis, across] of [[xAxis, true], [yAxis, false]])
      for (const [bound, text] of axis.limits) {
        const at = HEIGHTS[axis.scale](bound);
        limits.add(at >= axis.range[0] && at <= axis.range[1] ? text : `${text}, outside the axes`);
        content.append(svg("line", across ? { class: "limit", x1: X(bound), x2: X(bound), y1: box.top, y2: box.bottom } : { class: "limit", x1: box.left, x2: box.right, y1: Y(bound), y2: Y(bound) }));
      }
    const place = (k) => [X(rows[k].values[x]), Y(rows[k].values[y])];
    rows.forEach((row, k) => {
      if (row.state !== "front") content.append(row.state === "met" ? dot(...place(k), "p-met", 2.8) : cross(...place(k), 3));
    });
    for (const k of frontRows) {
      const mark = dot(...place(k), "p-front", 4);
      mark.append(svg("title", {}, `trial ${rows[k].trial}`));
      mark.addEventListener("click", () => select(k, true));
      content.append(mark);
    }
    if (chosen.row !== null) content.append(dot(...place(chosen.row), "ring", 8));
    content.append(...choiceMarks(place, box));
    axisLabel(figure.querySelector(".axis-label.y"), yAxis.label, yAxis.scale);
    axisLabel(figure.querySelector(".axis-label.x"), xAxis.label, xAxis.scale);
  }
  const states = rows.map((row) => row.state);
  const counted = (state) => states.filter((one) => one === state).length;
  legend(host.querySelector(".legend"), [
    [dot(8, 8, "p-front", 4), `front: ${frontRows.length}`], ...choiceLegend(),
    ...(counted("met") ? [[dot(8, 8, "p-met", 3), `other trials: ${counted("met")}`]] : []),
    ...(counted("missed") ? [[cross(8, 8), `violates a constraint: ${counted("missed")}`]] : []),
    ...(data.scored.length ? [[dot(8, 8, "p-scored", 2), "scored, not tried"]] : []),
    ...[...limits].map((text) => [dash("limit"), text]),
  ]);
}

function drawObjectives() {
  if (!hasMany) return;
  drawParallel();
  drawPairs();
}
