// The map of GPUs: one canvas that draws only what is in sight, so that ten thousand cells cost what a few hundred do.
// Which GPUs there are is asked for when that changes; their values, one number each, at every change of a pool.
(function () {
  "use strict";
  const map = document.getElementById("gpu-map");
  if (!map) return;
  const card = document.getElementById("map-card");
  const tall = map.querySelector(".map-tall");
  const canvas = map.querySelector("canvas");
  const panel = document.getElementById("gpu-one");
  const says = document.getElementById("map-says");
  const pen = canvas.getContext("2d");
  const UPDATE_MS = 2000;
  const LABEL = 15;
  const SCALES = {
    saturation: [0, 100, "%", "Saturation"], memory: [0, 100, "%", "Memory"], power: [0, 100, "%", "Power"],
    temperature: [25, 95, "°C", "Temperature"], busy: [0, 100, "%", "Busy time"],
  };
  // Lightness alone tells the order, for eyes that see no hues: the higher, the further from the page's background.
  const LIGHT = ["#e9edf0", "#f3dc9c", "#f2ac57", "#dc6a3c", "#a8324f", "#541a4f"];
  const DARK = ["#262d38", "#40386b", "#853a78", "#cc5358", "#f2934a", "#fbe07a"];
  const state = { layout: null, order: [], groups: [], boxes: [], cell: 10, height: 0, values: [], kind: null, at: -1, etag: "", pinned: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let colours = [];
  let ink = {};

  // --- colours -------------------------------------------------------------------------------------------------------
  function mixed(stops, share) {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const parts = [1, 3, 5].map((n) => {
      const a = parseInt(stops[low].slice(n, n + 2), 16);
      const b = parseInt(stops[low + 1].slice(n, n + 2), 16);
      return Math.round(a + (b - a) * (place - low));
    });
    return parts;
  }

  function prepare() {
    const stops = dark.matches ? DARK : LIGHT;
    colours = Array.from({ length: 65 }, (_, n) => {
      const [r, g, b] = mixed(stops, n / 64);
      return { fill: "rgb(" + r + "," + g + "," + b + ")", light: 0.299 * r + 0.587 * g + 0.114 * b > 140 };
    });
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "card", "bad", "focus"]) ink[name] = style.getPropertyValue("--" + name).trim();
    const scale = document.querySelector(".legend-scale");
    const brush = scale.getContext("2d");
    for (let x = 0; x < scale.width; x++) {
      brush.fillStyle = colours[Math.round((64 * x) / scale.width)].fill;
      brush.fillRect(x, 0, 1, scale.height);
    }
    const [low, high, unit] = SCALES[map.dataset.colour];
    document.querySelector(".legend-low").textContent = SCALES[map.dataset.colour][3] + " " + low + " " + unit;
    document.querySelector(".legend-high").textContent = high + " " + unit;
  }

  // --- places --------------------------------------------------------------------------------------------------------
  const FRESH = 0, STALE = 1, ABSENT = 2, LOST = 3;

  function groupOf(row) {
    const l = state.layout;
    const machine = l.gpu.machine[row];
    const by = map.dataset.by;
    return by === "zone" ? l.zones[l.machine.zone[machine]] : by === "type" ? l.types[l.machine.type[machine]] : l.pools[l.machine.pool[machine]];
  }

  function wanted(row) {
    const only = map.dataset.only;
    if (only === "lost" && state.kind[row] !== LOST) return false;
    if (only === "stale" && state.kind[row] !== STALE) return false;
    if (only === "absent" && state.kind[row] !== ABSENT) return false;
    if (only === "marked" && !state.marked.has(row) && state.kind[row] !== LOST) return false;
    return state.matching === null || state.matching[row];
  }

  function match() {
    const words = map.dataset.text.toLowerCase().split(/\s+/).filter(Boolean);
    const l = state.layout;
    if (!words.length) return null;
    const about = l.machine.name.map((name, m) =>
      [l.pools[l.machine.pool[m]], name, l.machine.host[m], l.zones[l.machine.zone[m]], l.types[l.machine.type[m]], l.states[l.machine.state[m]]].join(" ").toLowerCase());
    return l.gpu.uuid.map((uuid, row) => words.every((w) =>
      about[l.gpu.machine[row]].includes(w) || uuid.toLowerCase().includes(w) || l.models[l.gpu.model[row]].toLowerCase().includes(w)));
  }

  function arrange() {
    const groups = new Map();
    state.matching = match();
    for (let row = 0; row < state.layout.gpu.uuid.length; row++) {
      if (!wanted(row)) continue;
      const name = groupOf(row);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    // Groups by pool are of neighbours; by zone or type the machines of several pools meet, each still whole.
    state.groups = [...groups].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(([name, rows]) => ({ name: name, rows: rows }));
    state.order = state.groups.flatMap((g) => g.rows);
    const all = state.layout.gpu.uuid.length, shown = state.order.length;
    document.getElementById("map-title").textContent =
      "Map of " + (shown === all ? "" : shown.toLocaleString("en") + " of ") + all.toLocaleString("en") + " GPUs";
    place();
  }

  // Each machine is a block of at most two rows of cells, each group its name and its machines from left to right.
  function place() {
    const width = map.clientWidth;
    const count = state.order.length;
    const room = width * Math.max(220, window.innerHeight * 0.5);
    state.cell = Math.max(9, Math.min(34, Math.floor(Math.sqrt(room / Math.max(1, count) / 1.9))));
    const cell = state.cell, gap = cell > 14 ? 2 : 1, between = cell > 14 ? 10 : 5;
    state.gap = gap;
    state.x = new Float32Array(state.layout.gpu.uuid.length).fill(-1);
    state.y = new Float32Array(state.layout.gpu.uuid.length);
    let left = 8, top = 6, line = 0;
    for (const group of state.groups) {
      const machines = split(group.rows);
      const sizes = machines.map((rows) => (rows.length > 4 ? Math.ceil(rows.length / 2) : rows.length));
      const natural = sizes.reduce((sum, n) => sum + n * (cell + gap) + between, 0);
      const lines = Math.max(1, Math.round(Math.sqrt(natural / (2 * (cell + gap) + between) / 3)));
      const name = Math.min(group.name.length * 6.6 + 34, 200);
      const most = Math.max(80, width - 16);
      const wanted = state.groups.length < 4 ? most : Math.min(most, Math.max(name, natural / lines + (lines > 1 ? 4 * (cell + gap) : 0)));
      let found = fill(machines, sizes, left, top + LABEL, wanted, cell + gap, between);
      if (left > 8 && left + Math.max(name, found.wide) > width - 8) {
        left = 8; top += line; line = 0;
        found = fill(machines, sizes, left, top + LABEL, wanted, cell + gap, between);
      }
      const wide = Math.max(name, found.wide), down = found.bottom;
      group.x = left; group.y = top; group.wide = wide; group.down = down - top;
      left += wide + 14;
      line = Math.max(line, down - top + 10);
    }
    state.height = top + line + 4;
    tall.style.height = state.height + "px";
    size();
  }

  function split(rows) {
    const found = [];
    let last = -1;
    for (const row of rows) {
      const machine = state.layout.gpu.machine[row];
      if (machine !== last) { found.push([]); last = machine; }
      found[found.length - 1].push(row);
    }
    return found;
  }

  function fill(machines, sizes, left, top, wide, step, between) {
    let x = left, y = top, bottom = top, right = left;
    machines.forEach((rows, n) => {
      let across = sizes[n];
      if (across * step > wide) across = Math.max(1, Math.floor(wide / step));
      if (x > left && x + across * step > left + wide + 1) { x = left; y = bottom + between; }
      rows.forEach((row, k) => {
        state.x[row] = x + (k % across) * step;
        state.y[row] = y + Math.floor(k / across) * step;
      });
      bottom = Math.max(bottom, y + Math.ceil(rows.length / across) * step);
      right = Math.max(right, x + across * step);
      x += across * step + between;
    });
    return { bottom: bottom, wide: right - left };
  }

  function size() {
    const ratio = window.devicePixelRatio || 1;
    const width = map.clientWidth, height = Math.min(state.height, Math.max(120, Math.round(window.innerHeight * 0.62)));
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = width + "px";
    canvas.style.height = height + "px";
    draw();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------
  function draw() {
    const began = performance.now();
    const ratio = window.devicePixelRatio || 1;
    const top = map.scrollTop, height = canvas.height / ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, -top * ratio);
    pen.clearRect(0, top, map.clientWidth, height);
    pen.textBaseline = "alphabetic";
    for (const group of state.groups) {
      if (group.y > top + height || group.y + group.down < top) continue;
      name(group);
      for (const row of group.rows) {
        if (state.y[row] < top + height && state.y[row] + state.cell > top) cell(row);
      }
    }
    if (state.at >= 0 && state.x[state.at] >= 0) ring(state.at);
    map.dataset.drawnMs = (performance.now() - began).toFixed(1);
  }

  function name(group) {
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.fillStyle = ink.ink;
    let text = group.name, count = " " + group.rows.length;
    while (text.length > 4 && pen.measureText(text + "…" + count).width > group.wide + 8) text = text.slice(0, -1);
    if (text !== group.name) text += "…";
    pen.fillText(text, group.x, group.y + 11);
    pen.fillStyle = ink.soft;
    pen.fillText(count, group.x + pen.measureText(text).width + 2, group.y + 11);
  }

  function cell(row) {
    const x = state.x[row], y = state.y[row], side = state.cell, kind = state.kind[row];
    const shade = colours[state.level[row]];
    if (kind === FRESH) {
      pen.fillStyle = shade.fill;
      pen.fillRect(x, y, side, side);
      if (side >= 22) {
        pen.fillStyle = shade.light ? "#14181d" : "#ffffff";
        pen.font = (side >= 28 ? 12 : 10) + "px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.fillText(Math.round(state.values[row]), x + side / 2, y + side / 2 + 4);
      }
    } else if (kind === STALE) {
      const edge = Math.max(2, side / 5);
      pen.strokeStyle = shade.fill;
      pen.lineWidth = edge;
      pen.strokeRect(x + edge / 2, y + edge / 2, side - edge, side - edge);
      pen.strokeStyle = ink.soft;
      pen.lineWidth = 1;
      pen.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
    } else {
      pen.strokeStyle = kind === LOST ? ink.bad : ink.line;
      pen.lineWidth = 1;
      pen.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
      pen.beginPath();
      if (kind === LOST) {
        pen.lineWidth = Math.max(1.6, side / 8);
        pen.moveTo(x + 1.5, y + 1.5); pen.lineTo(x + side - 1.5, y + side - 1.5);
        pen.moveTo(x + side - 1.5, y + 1.5); pen.lineTo(x + 1.5, y + side - 1.5);
      } else {
        pen.strokeStyle = ink.soft;
        for (let d = 4; d < 2 * side; d += 4) {
          pen.moveTo(x + Math.max(0, d - side), y + Math.min(d, side));
          pen.lineTo(x + Math.min(d, side), y + Math.max(0, d - side));
        }
      }
      pen.stroke();
    }
    if (state.marked.has(row)) {
      // A corner that is cut out first, so that it can be seen on every colour.
      const big = Math.max(7, side * 0.5);
      corner(x, y, side, big + 1.5, ink.card);
      corner(x, y, side, big, ink.ink);
    }
  }

  function corner(x, y, side, big, colour) {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.moveTo(x + side - big, y); pen.lineTo(x + side, y); pen.lineTo(x + side, y + big);
    pen.fill();
  }

  function ring(row) {
    pen.strokeStyle = ink.card;
    pen.lineWidth = 4;
    pen.strokeRect(state.x[row] - 1, state.y[row] - 1, state.cell + 2, state.cell + 2);
    pen.strokeStyle = ink.focus;
    pen.lineWidth = 2;
    pen.strokeRect(state.x[row] - 1, state.y[row] - 1, state.cell + 2, state.cell + 2);
  }

  // --- one GPU -------------------------------------------------------------------------------------------------------
  function words(row) {
    const l = state.layout, machine = l.gpu.machine[row], kind = state.kind[row];
    const [, , unit, title] = SCALES[map.dataset.colour];
    const value = kind === LOST ? "lost" : kind === ABSENT ? title + " not given" : title + " " + Math.round(state.values[row]) + " " + unit + (kind === STALE ? ", old" : "");
    const part = l.gpu.part[row] ? " instance " + l.gpu.part[row] : "";
    return "GPU " + (l.gpu.number[row] || l.gpu.uuid[row]) + part + " of " + l.machine.host[machine] + ", " + groupOf(row) + ": " + value + (state.marked.has(row) ? ", trouble" : "") + ".";
  }

  let asking = 0;
  function look(row, aloud) {
    if (row === state.at) return;
    state.at = row;
    draw();
    if (row < 0) return;
    if (aloud) says.textContent = words(row);
    panel.replaceChildren(Object.assign(document.createElement("p"), { textContent: words(row) }));
    clearTimeout(asking);
    asking = setTimeout(describe, 120);
  }

  async function describe() {
    const row = state.at;
    if (row < 0 || !state.layout) return;
    const query = new URLSearchParams({ uuid: state.layout.gpu.uuid[row], part: state.layout.gpu.part[row] || "" });
    const open = panel.querySelector("details")?.open;
    try {
      const answer = await fetch("/ui/fleet/gpu?" + query, { headers: { Accept: "text/html" } });
      if (!answer.ok || row !== state.at) return;
      // The fragment is ours and escaped by the service's templates; a parsed document runs no script.
      const made = new DOMParser().parseFromString(await answer.text(), "text/html");
      panel.replaceChildren(...made.body.childNodes);
      if (open) panel.querySelector("details").open = true;
    } catch {
      // What is known without asking stands there already.
    }
  }

  function under(event) {
    const box = map.getBoundingClientRect();
    const x = event.clientX - box.left - map.clientLeft, y = event.clientY - box.top - map.clientTop + map.scrollTop;
    const side = state.cell + state.gap;
    for (const group of state.groups) {
      if (y < group.y || y > group.y + group.down || x < group.x - 2 || x > group.x + group.wide + 2) continue;
      for (const row of group.rows) {
        if (x >= state.x[row] && x < state.x[row] + side && y >= state.y[row] && y < state.y[row] + side) return row;
      }
    }
    return -1;
  }

  function show(row) {
    const y = state.y[row];
    if (y < map.scrollTop + LABEL) map.scrollTop = Math.max(0, y - LABEL - 8);
    else if (y + state.cell > map.scrollTop + map.clientHeight - 6) map.scrollTop = y + state.cell - map.clientHeight + 12;
  }

  function vertical(row, way) {
    const x = state.x[row], y = state.y[row];
    let best = -1, least = Infinity;
    for (const other of state.order) {
      const dy = (state.y[other] - y) * way;
      if (dy < 1) continue;
      const cost = dy * 4 + Math.abs(state.x[other] - x);
      if (cost < least) { least = cost; best = other; }
    }
    return best;
  }

  function step(key) {
    const order = state.order;
    if (!order.length) return -1;
    const place = order.indexOf(state.at);
    if (place < 0) return key === "n" || key === "N" ? nextMarked(-1) : order[0];
    const group = state.groups.findIndex((g) => g.rows.includes(state.at));
    switch (key) {
      case "ArrowRight": return order[Math.min(place + 1, order.length - 1)];
      case "ArrowLeft": return order[Math.max(place - 1, 0)];
      case "ArrowDown": return vertical(state.at, 1);
      case "ArrowUp": return vertical(state.at, -1);
      case "Home": return order[0];
      case "End": return order[order.length - 1];
      case "PageDown": return state.groups[Math.min(group + 1, state.groups.length - 1)].rows[0];
      case "PageUp": return state.groups[Math.max(group - 1, 0)].rows[0];
      case "n": case "N": return nextMarked(place);
      default: return -2;
    }
  }

  function nextMarked(place) {
    const order = state.order;
    for (let n = 1; n <= order.length; n++) {
      const row = order[(place + n) % order.length];
      if (state.marked.has(row) || state.kind[row] === LOST) return row;
    }
    says.textContent = "No GPU that is shown has trouble.";
    return -1;
  }

  function open() {
    if (state.at < 0) return;
    location.href = "/fleet/" + encodeURIComponent(state.layout.machine.name[state.layout.gpu.machine[state.at]]);
  }

  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") return open();
    const row = step(event.key);
    if (row === -2) return;
    event.preventDefault();
    if (row < 0) return;
    state.pinned = true;
    show(row);
    look(row, true);
  });
  map.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" || state.pinned) return;
    const row = under(event);
    if (row >= 0) look(row, false);
  });
  map.addEventListener("click", (event) => {
    const row = under(event);
    // A cell that is clicked stays until another is, so that its links can be reached.
    state.pinned = row >= 0;
    if (row >= 0) look(row, true);
  });
  map.addEventListener("dblclick", open);
  map.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  document.getElementById("next-marked").addEventListener("click", () => {
    const row = nextMarked(state.order.indexOf(state.at));
    if (row < 0) return;
    state.pinned = true;
    show(row);
    look(row, true);
  });

  // --- what is asked for ----------------------------------------------------------------------------------------------
  async function ask(path, etag) {
    const answer = await fetch(path, { cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
    if (answer.status === 304) return null;
    if (!answer.ok) throw new Error(String(answer.status));
    return { told: await answer.json(), etag: answer.headers.get("ETag") };
  }

  function take(told) {
    const [low, high] = SCALES[told.colour];
    const count = told.values.length;
    state.values = new Float32Array(count);
    state.level = new Uint8Array(count);
    state.kind = new Uint8Array(count);
    for (let row = 0; row < count; row++) {
      const value = told.values[row];
      if (value === null) { state.kind[row] = ABSENT; continue; }
      state.values[row] = value * told.step;
      state.level[row] = Math.round(64 * Math.min(1, Math.max(0, (value * told.step - low) / (high - low))));
    }
    for (const row of told.stale) state.kind[row] = STALE;
    for (const row of told.lost) state.kind[row] = LOST;
    state.marked = new Set(told.marked);
  }

  let busy = false;
  let askedAt = 0;
  async function update() {
    if (busy || document.hidden || Date.now() - askedAt < UPDATE_MS) return;
    busy = true;
    askedAt = Date.now();
    try {
      const found = await ask("/ui/fleet/values?colour=" + encodeURIComponent(map.dataset.colour), state.etag);
      if (!found) return;
      const began = performance.now();
      state.etag = found.etag;
      let other = !state.layout || found.told.layout !== state.layout.version;
      if (other) {
        const uuid = state.at >= 0 ? state.layout.gpu.uuid[state.at] : null;
        state.layout = (await ask("/ui/fleet/gpus", "")).told;
        if (state.layout.version !== found.told.layout) { state.etag = ""; askedAt = 0; state.layout.version = ""; return; }
        state.at = uuid ? state.layout.gpu.uuid.indexOf(uuid) : -1;
      }
      take(found.told);
      // A filter by state shows other cells whenever states change.
      if (other || map.dataset.only) arrange();
      else draw();
      map.dataset.updateMs = (performance.now() - began).toFixed(1);
      map.dataset.ready = "yes";
    } catch {
      // The banner tells when the service cannot be reached; the next change asks again.
    } finally {
      busy = false;
    }
  }

  function resized() {
    if (state.layout) place();
  }
  dark.addEventListener("change", () => { prepare(); if (state.layout) draw(); });
  new ResizeObserver(() => requestAnimationFrame(resized)).observe(map);
  let describedAt = 0;
  document.addEventListener("room:change", () => {
    update();
    // What is being read or pulled open does not change under the reader's hands.
    if (state.at < 0 || panel.contains(document.activeElement) || Date.now() - describedAt < 5000) return;
    describedAt = Date.now();
    describe();
  });
  // A choice acts at once; without scripts the button does it.
  for (const name of ["colour", "by", "only"]) {
    document.getElementById(name).addEventListener("change", (event) => event.target.form.requestSubmit());
  }

  card.hidden = false;
  prepare();
  update();
})();
