// A pool's charts, and decisions read in place. Without this file the page has tables, links and forms that do the same.
//
// The charts come as data: `/ui/pools/NAME/series` says which there are and what each draws. They share one time base, so
// that a cursor in one stands in all of them. A drag asks for that part of the past alone, in finer steps.
(function () {
  "use strict";
  const place = document.getElementById("charts");
  if (!place) return;
  const pool = place.dataset.pool, span = Number(place.dataset.span), everyMs = Number(place.dataset.every) * 1000;
  const reset = document.getElementById("reset"), hint = document.getElementById("hint");
  const problem = document.getElementById("chart-problem"), panel = document.getElementById("decision");
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const faint = (name, alpha) => colour(name) + Math.round(alpha * 255).toString(16).padStart(2, "0");
  let plots = [], data = null, shape = "", zoom = null, chosen = Number(panel.dataset.number) || null;
  let now = Number(document.body.dataset.at), asked = 0, askedAt = 0;

  // --- numbers and times, as the rest of the page writes them ----------------------------------------------------------
  const pad = (n) => String(n).padStart(2, "0");
  function moment(at, withDay, withSeconds) {
    const d = new Date(at * 1000);
    const clock = pad(d.getUTCHours()) + ":" + pad(d.getUTCMinutes()) + (withSeconds ? ":" + pad(d.getUTCSeconds()) : "");
    return withDay ? pad(d.getUTCMonth() + 1) + "-" + pad(d.getUTCDate()) + " " + clock : clock;
  }
  function number(v) {
    if (v == null) return "–";
    const size = Math.abs(v);
    if (size >= 1e6) return (v / 1e6).toPrecision(3) + "M";
    return size >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(4)));
  }

  // --- one chart -------------------------------------------------------------------------------------------------------
  const stepped = uPlot.paths.stepped({ align: 1 });
  function drawn(line) {
    const ahead = line.kind === "ahead", bound = line.kind === "bound", imagined = line.kind === "imagined";
    return {
      label: line.label, stroke: colour(line.colour), width: bound ? 1 : 1.6, value: (_, v) => number(v),
      dash: ahead || imagined ? [5, 4] : bound ? [2, 3] : undefined, points: { show: ahead, size: 5 },
      paths: line.kind === "step" || imagined ? stepped : undefined,
    };
  }
  function axes(unit) {
    const line = { stroke: colour("grid"), width: 1 };
    const far = () => (zoom ? zoom.until - zoom.since : span) > 86400;
    return [
      { stroke: colour("soft"), grid: line, ticks: line, space: 84, size: 32,
        values: (_, found) => found.map((at, n) => {
          const day = n === 0 || at % 86400 === 0, tight = found.length > 1 && found[1] - found[0] < 60;
          return far() && at % 86400 === 0 ? moment(at, true).slice(0, 5) : moment(at, far() && day, tight);
        }) },
      { stroke: colour("soft"), grid: line, ticks: line, size: 58, values: (_, found) => found.map(number) },
    ];
  }
  // A lower bound below zero says nothing where nothing is ever below it.
  const positive = (chart) => chart.lines.every(
    (line) => line.kind === "bound" || data.columns[line.column].every((v) => v == null || v >= 0));
  function options(chart, box) {
    const places = new Map(chart.lines.map((line, n) => [line.column, n + 1]));
    return {
      width: width(box), height: chart.id === "demand" ? 250 : chart.marks ? 220 : 170,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      series: [{ label: "UTC", value: (_, at) => at == null ? "–" : moment(at, true, true) }, ...chart.lines.map(drawn)],
      bands: chart.bands.map(([high, low]) => ({
        series: [places.get(high), places.get(low)], fill: faint(high.startsWith("q") ? "ahead" : "soft", 0.13),
      })),
      axes: axes(chart.unit),
      scales: { x: { time: true, range: () => [data.since, Math.max(data.until, data.at[data.at.length - 1] || 0)] },
                y: { range: (_, low, high) => [low < 0 && !positive(chart) ? low * 1.08 : 0, high > 0 ? high * 1.08 : 1] } },
      cursor: { sync: { key: "pool", setSeries: false }, points: { size: 6 }, drag: { x: true, y: false, setScale: false },
                bind: { dblclick: () => () => back() } },
      hooks: {
        // Without a cursor the legend says what is now.
        setCursor: [(u) => { if (u.cursor.idx == null) present(u); }],
        setData: [present],
        setSelect: [(u) => picked(u)],
        draw: [(u) => drawNow(u), ...(chart.marks ? [(u) => drawMarks(u)] : [])],
        ready: [present, (u) => quiet(u, chart), ...(chart.marks ? [clickable] : [])],
      },
    };
  }
  const width = (box) => Math.max(240, box.clientWidth);

  function present(u) {
    let row = u.data[0].length - 1;
    while (row > 0 && u.data[0][row] > data.until + 1e-3) row -= 1;
    // The newest value of each line: one that comes seldom has none in the very last row.
    const known = (rows) => {
      let at = row;
      while (at > 0 && row - at < 12 && rows[at] == null) at -= 1;
      return at;
    };
    u.setLegend({ idxs: u.data.map((rows, n) => n ? known(rows) : row) }, false);
  }
  // Bounds and what is foretold need no line of the legend each: their colour and the caption say what they are.
  function quiet(u, chart) {
    const rows = u.root.querySelectorAll(".u-legend .u-series");
    chart.lines.forEach((line, n) => { if (line.kind === "ahead") rows[n + 1].hidden = true; });
  }

  function drawNow(u) {
    if (!data.at.length || data.at[data.at.length - 1] <= data.now + 1) return;
    const x = u.valToPos(data.now, "x", true), ctx = u.ctx;
    ctx.save();
    ctx.strokeStyle = colour("soft");
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, u.bbox.top);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.restore();
  }
  function drawMarks(u) {
    const ctx = u.ctx, ratio = devicePixelRatio, many = data.marks.length;
    const half = (many > 200 ? 3 : many > 60 ? 4 : 6) * ratio, bottom = u.bbox.top + u.bbox.height - half;
    ctx.save();
    for (const mark of data.marks) {
      const x = u.valToPos(mark.at, "x", true), up = mark.after > mark.before ? -1 : 1;
      ctx.fillStyle = colour(up < 0 ? "wanted" : "demand");
      ctx.beginPath();
      ctx.moveTo(x, bottom + up * half);
      ctx.lineTo(x - half, bottom - up * half * 0.7);
      ctx.lineTo(x + half, bottom - up * half * 0.7);
      ctx.fill();
      if (mark.number === chosen) {
        ctx.strokeStyle = colour("ink");
        ctx.lineWidth = 1.5 * ratio;
        ctx.beginPath();
        ctx.moveTo(x, u.bbox.top);
        ctx.lineTo(x, bottom - half);
        ctx.stroke();
      }
    }
    ctx.restore();
  }
  function nearest(u, left) {
    let best = null, distance = 14;
    for (const mark of data.marks) {
      const away = Math.abs(u.valToPos(mark.at, "x") - left);
      if (away < distance) { best = mark; distance = away; }
    }
    return best;
  }
  function clickable(u) {
    let pressed = 0;
    const left = (e) => e.clientX - u.over.getBoundingClientRect().left;
    u.over.addEventListener("mousedown", (e) => { pressed = e.clientX; });
    u.over.addEventListener("click", (e) => {
      const mark = Math.abs(e.clientX - pressed) < 4 ? nearest(u, left(e)) : null;
      if (mark) choose(mark.number);
    });
    u.over.addEventListener("mousemove", (e) => {
      const mark = nearest(u, left(e));
      u.over.style.cursor = mark ? "pointer" : "";
      u.over.title = mark ? "decision " + mark.number + ": " + mark.before + " → " + mark.after : "";
    });
  }

  // --- all of them -----------------------------------------------------------------------------------------------------
  function build() {
    for (const u of plots) u.destroy();
    for (const old of place.querySelectorAll("figure")) old.remove();
    plots = data.charts.map((chart) => {
      const figure = document.createElement("figure"), title = document.createElement("figcaption");
      figure.className = "chart";
      figure.id = "chart-" + chart.id;
      title.textContent = chart.title;
      const unit = document.createElement("small");
      unit.textContent = (chart.unit ? " in " + chart.unit : "") + (chart.note ? ". " + chart.note : "");
      title.append(unit);
      const box = document.createElement("div");
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", "Chart: " + chart.title + ". Its numbers stand in a table below the charts.");
      figure.append(title, box);
      place.append(figure);
      return new uPlot(options(chart, box), columns(chart), box);
    });
  }
  const columns = (chart) => [data.at, ...chart.lines.map((line) => data.columns[line.column])];

  function show(found) {
    data = found;
    const next = JSON.stringify(data.charts);
    if (next === shape) {
      data.charts.forEach((chart, n) => plots[n].setData(columns(chart)));
    } else {
      shape = next;
      build();
    }
    hint.hidden = false;
    reset.hidden = !zoom;
    tell(data.empty.length ? "No value in this span: " + data.empty.join(", ") + "." : "", false);
  }
  function tell(text, wrong) {
    problem.textContent = text;
    problem.className = wrong ? "problem" : "soft";
    problem.hidden = !text;
  }

  async function load() {
    const mine = ++asked, until = zoom ? zoom.until : now, since = zoom ? zoom.since : now - span;
    askedAt = Date.now();
    const points = Math.min(1200, Math.max(200, Math.round(place.clientWidth)));
    try {
      const answer = await fetch(place.dataset.series + "?since=" + since + "&until=" + until + "&points=" + points,
        { headers: { Accept: "application/json" } });
      const found = await answer.json();
      if (mine !== asked) return;
      if (answer.ok) show(found);
      else if (answer.status === 401) location.reload();
      else tell("The charts cannot be drawn: " + (found.detail || answer.status), true);
    } catch {
      if (mine === asked && !data) tell("The charts could not be fetched; they come with the next change.", true);
    }
  }

  function picked(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const since = u.posToVal(left, "x"), until = Math.min(u.posToVal(left + width, "x"), now);
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    // Every chart hears of a drag in one of them; the first that says so is enough.
    if (until - since < 5 || (zoom && Math.abs(zoom.since - since) < 1e-3)) return;
    zoom = { since: since, until: until };
    load();
  }
  function back() {
    zoom = null;
    load();
  }
  reset.addEventListener("click", back);

  // --- decisions -------------------------------------------------------------------------------------------------------
  async function choose(wanted) {
    chosen = wanted;
    const address = new URL(location.href);
    address.searchParams.set("decision", wanted);
    address.searchParams.delete("notice");
    history.replaceState(null, "", address);
    current();
    for (const u of plots) u.redraw(false);
    await htmx.ajax("GET", panel.dataset.path + wanted, { source: panel, target: panel, swap: "innerHTML" });
    panel.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
  }
  function current() {
    for (const link of document.querySelectorAll("#decisions a[data-decision]")) {
      const it = Number(link.dataset.decision) === chosen;
      if (it && !link.hasAttribute("aria-current")) link.setAttribute("aria-current", "true");
      if (!it && link.hasAttribute("aria-current")) link.removeAttribute("aria-current");
    }
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-decision]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
    event.preventDefault();
    choose(Number(link.dataset.decision));
  });
  const list = document.getElementById("decisions");
  if (list) {
    new MutationObserver(current).observe(list, { childList: true, subtree: true, attributeFilter: ["aria-current"] });
  }

  // --- what keeps them fresh -------------------------------------------------------------------------------------------
  document.addEventListener("room:change", (event) => {
    now = event.detail.at;
    const mine = !event.detail.pools.length || event.detail.pools.includes(pool);
    if (mine && !zoom && !document.hidden && Date.now() - askedAt >= everyMs) load();
  });
  document.addEventListener("visibilitychange", () => document.hidden || zoom || load());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && build());
  new ResizeObserver(() => {
    for (const u of plots) {
      const box = u.root.parentElement;
      if (Math.abs(width(box) - u.width) > 1) u.setSize({ width: width(box), height: u.height });
    }
  }).observe(place);
  current();
  load();
})();
