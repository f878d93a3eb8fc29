(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const why = document.getElementById("why");
  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const faint = (name, alpha) => colour(name) + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const pad = (n) => String(n).padStart(2, "0");
  const first = data.at[0], last = data.end;
  let plots = [], pinned = -1, zoom = { min: first, max: last };

  // Times are those of the trace: day and time of day since its time 0.
  function moment(t, seconds) {
    const s = Math.round(t), day = Math.floor(s / 86400), rest = s - day * 86400;
    const clock = pad(Math.floor(rest / 3600)) + ":" + pad(Math.floor(rest % 3600 / 60));
    return "day " + day + " " + clock + (seconds ? ":" + pad(rest % 60) : "");
  }
  function number(v) {
    if (v == null) return "–";
    const digits = Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2;
    return Number(v.toFixed(digits)).toLocaleString("en");
  }
  const value = (_, v) => number(v);
  const STEPS = [15, 60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];

  function axes(label) {
    const line = { stroke: colour("grid"), width: 1 };
    return [
      { stroke: colour("soft"), grid: line, ticks: line, incrs: STEPS, space: 90,
        values: (_, found) => found.map((t, n) => {
          const [, day, clock] = moment(t, false).split(" ");
          return t % 86400 === 0 ? "day " + day : n === 0 ? clock + "\nday " + day : clock;
        }) },
      { stroke: colour("soft"), grid: line, ticks: line, size: 64, values: (_, found) => found.map(number), label: label },
    ];
  }
  const line = (label, name, more) => Object.assign(
    { label: label, stroke: colour(name), width: 1.5, value: value, points: { show: false } }, more || {});
  const stepped = uPlot.paths.stepped({ align: 1 });

  // The part that is played and not counted.
  function shadeWarmUp(u) {
    const from = u.valToPos(Math.max(first, u.scales.x.min), "x", true);
    const to = u.valToPos(Math.min(data.counted, u.scales.x.max), "x", true);
    if (to <= from) return;
    u.ctx.save();
    u.ctx.fillStyle = colour("shade");
    u.ctx.fillRect(from, u.bbox.top, to - from, u.bbox.height);
    u.ctx.restore();
  }
  function nameWarmUp(u) {
    const from = u.valToPos(Math.max(first, u.scales.x.min), "x", true);
    const to = u.valToPos(Math.min(data.counted, u.scales.x.max), "x", true);
    u.ctx.save();
    if (to - from > 90 * devicePixelRatio) {
      u.ctx.fillStyle = colour("soft");
      u.ctx.font = 11 * devicePixelRatio + "px system-ui";
      u.ctx.textAlign = "left";
      u.ctx.fillText("warm-up", from + 8 * devicePixelRatio, u.bbox.top + 13 * devicePixelRatio);
    }
    u.ctx.restore();
  }

  function visible(u) {
    const lo = u.scales.x.min, hi = u.scales.x.max;
    return data.changes.filter((c) => c[0] >= lo && c[0] <= hi);
  }
  function drawChanges(u) {
    const found = visible(u), ctx = u.ctx, ratio = devicePixelRatio;
    const half = (found.length > 300 ? 2 : found.length > 100 ? 3 : 5) * ratio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top - half, u.bbox.width, u.bbox.height + 2 * half);
    ctx.clip();
    for (const c of found) {
      const x = u.valToPos(c[0], "x", true), y = u.valToPos(c[2], "y", true), up = c[2] > c[1] ? -1 : 1;
      ctx.fillStyle = colour(up < 0 ? "wanted" : "demand");
      ctx.beginPath();
      ctx.moveTo(x, y + up * half * 1.3);
      ctx.lineTo(x - half, y - up * half * 0.6);
      ctx.lineTo(x + half, y - up * half * 0.6);
      ctx.fill();
    }
    if (pinned >= 0) {
      const c = data.changes[pinned], x = u.valToPos(c[0], "x", true), y = u.valToPos(c[2], "y", true);
      ctx.strokeStyle = colour("ink");
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.arc(x, y, 9 * ratio, 0, 2 * Math.PI);
      ctx.stroke();
    }
    ctx.restore();
  }

  function nearest(u) {
    if (u.cursor.left == null || u.cursor.left < 0) return -1;
    let best = -1, distance = 12;
    data.changes.forEach((c, n) => {
      const away = Math.abs(u.valToPos(c[0], "x") - u.cursor.left);
      if (away < distance) { best = n; distance = away; }
    });
    return best;
  }
  function tell(n) {
    if (n < 0) { why.hidden = true; return; }
    const c = data.changes[n], u = plots[1];
    why.textContent = "";
    const head = document.createElement("b"), list = document.createElement("ol");
    head.textContent = moment(c[0], true) + ": " + c[1] + " → " + c[2] + " replicas";
    for (const text of c[3]) {
      const item = document.createElement("li"), cut = text.indexOf(": "), who = document.createElement("em");
      who.textContent = text.slice(0, cut + 2);
      item.append(who, text.slice(cut + 2));
      list.append(item);
    }
    why.append(head, list);
    why.hidden = false;
    const box = u.root.getBoundingClientRect(), outer = why.parentElement.getBoundingClientRect();
    const x = u.valToPos(c[0], "x") + u.over.getBoundingClientRect().left - outer.left;
    const left = x + 18 + why.offsetWidth < outer.width ? x + 18 : Math.max(8, x - 18 - why.offsetWidth);
    why.style.left = left + "px";
    why.style.top = box.top - outer.top + u.over.offsetHeight + 48 + "px";
    why.classList.toggle("pinned", n === pinned);
  }
  function pin(n, move) {
    pinned = n;
    if (n >= 0 && move) {
      const at = data.changes[n][0], wide = zoom.max - zoom.min;
      if (at < zoom.min || at > zoom.max) show(Math.max(first, at - wide / 2), Math.max(first, at - wide / 2) + wide);
    }
    plots[1].redraw(false);
    tell(n);
  }

  function show(min, max) {
    zoom = { min: min, max: max };
    for (const u of plots) u.setScale("x", zoom);
  }
  let moving = false;
  function together(u, key) {
    if (key !== "x" || moving || plots.length < 3) return;
    moving = true;
    zoom = { min: u.scales.x.min, max: u.scales.x.max };
    for (const other of plots) if (other !== u) other.setScale("x", zoom);
    if (pinned >= 0) tell(pinned);
    moving = false;
  }

  const width = () => Math.max(320, document.getElementById("work").clientWidth);
  function plot(id, height, series, columns, more) {
    const hooks = Object.assign({ setScale: [together], drawClear: [shadeWarmUp], draw: [nameWarmUp] }, more.hooks || {});
    return new uPlot(Object.assign({
      width: width(), height: height, series: [{ label: "time", value: (_, t) => t == null ? "–" : moment(t, true) }, ...series],
      axes: axes(), scales: { x: { time: false }, y: { range: { min: { pad: 0, hard: 0, soft: 0, mode: 1 }, max: { pad: 0.08, soft: 1, mode: 1 } } } },
      cursor: { sync: { key: "backtest" }, points: { size: 5 } }, hooks: hooks,
    }, more.options || {}), [data.at, ...columns], document.getElementById(id));
  }

  function build() {
    for (const u of plots) u.destroy();
    plots = [];
    const foreseen = data.ahead_high !== null;
    const work = [line("demand", "demand", { width: 1.2, paths: stepped }), line("ready capacity", "ready", { paths: stepped, fill: faint("ready", 0.1) })];
    const columns = [data.demand, data.ready.map((n) => n * data.capacity)];
    const bands = [];
    if (foreseen) {
      work.push(line("forecast, median", "ahead", { width: 1, dash: [4, 3] }), line("forecast, upper", "ahead", { width: 1 }));
      columns.push(data.ahead_median, data.ahead_high);
      bands.push({ series: [4, 3], fill: faint("ahead", 0.2) });
    }
    const made = [
      plot("work", 300, work, columns, { options: { bands: bands } }),
      plot("replicas", 280, [
        line("ready", "ready", { paths: stepped, fill: faint("ready", 0.1) }),
        line("ready and booting", "paid", { paths: stepped, width: 1 }),
        line("wanted", "wanted", { paths: stepped }),
        line("clairvoyant", "best", { paths: stepped, width: 1, dash: [5, 4] }),
      ], [data.ready, data.paid, data.wanted, data.best], { hooks: {
        draw: [nameWarmUp, drawChanges],
        setCursor: [(u) => { const n = nearest(u); if (n >= 0) tell(n); else tell(pinned); }],
        ready: [(u) => {
          let pressed = 0;
          u.over.addEventListener("mousedown", (e) => { pressed = e.clientX; });
          u.over.addEventListener("click", (e) => { if (Math.abs(e.clientX - pressed) < 4) pin(nearest(u), false); });
        }],
      } }),
      plot("queue", 160, [line("waiting", "queue", { fill: faint("queue", 0.15) })], [data.queue], {}),
    ];
    plots = made;
    show(zoom.min, zoom.max);
    tell(pinned);
  }

  function step(by) {
    if (!data.changes.length) return;
    const from = pinned >= 0 ? pinned + by : data.changes.findIndex((c) => c[0] >= zoom.min);
    pin(Math.min(Math.max(from, 0), data.changes.length - 1), true);
  }
  document.getElementById("earlier").onclick = () => step(-1);
  document.getElementById("later").onclick = () => step(1);
  document.getElementById("all").onclick = () => { pinned = -1; show(first, last); tell(-1); };
  for (const button of document.querySelectorAll("button[data-from]")) {
    button.onclick = () => {
      const from = Number(button.dataset.from), to = Number(button.dataset.to), more = Math.max(to - from, 1800);
      pinned = -1;
      show(Math.max(first, from - more), Math.min(last, to + more));
      tell(-1);
      document.getElementById("work").scrollIntoView({ block: "center" });
    };
  }
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") { pinned = -1; tell(-1); plots[1].redraw(false); } });
  document.getElementById("theme").onclick = () => {
    const set = root.dataset.theme, dark = set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    build();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  let later = 0;
  addEventListener("resize", () => { clearTimeout(later); later = setTimeout(build, 150); });
  build();
})();
