// The list of pools: asks for the rows that changed since its own, and puts rows into the order that the service gives.
// Without this file the page is the same, drawn once; the form then asks for a page.
(function () {
  "use strict";
  const table = document.getElementById("pools");
  const form = document.getElementById("choose");
  if (!table || !form) {
    // No pool yet: when the first one is judged, the page has another shape.
    document.addEventListener("room:change", (event) => event.detail.pools.length && location.reload());
    return;
  }
  const EVERY_MS = 1000;
  const TYPED_MS = 150;
  const rows = new Map();
  for (const body of table.tBodies) rows.set(body.dataset.pool, body);
  let version = table.dataset.version;
  let underWay = null;
  let again = false;
  let timer = 0;
  let askedAt = 0;

  function wish() {
    const found = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value && !(name === "sort" && value === "trouble")) found.set(name, value);
    }
    return found;
  }

  // At most one question at a time, and one a second; what happens meanwhile is in the next answer.
  function soon(wait) {
    if (underWay) again = true;
    else if (!timer) timer = setTimeout(ask, Math.max(wait, askedAt + EVERY_MS - Date.now()));
  }

  async function ask() {
    timer = 0;
    if (document.hidden) return;
    const query = wish();
    query.set("since", version);
    askedAt = Date.now();
    const asked = (underWay = new AbortController());
    const limit = setTimeout(() => asked.abort(), 20000);
    try {
      const answer = await fetch("/ui/pools?" + query, { signal: asked.signal });
      if (answer.status === 401) location.reload();
      if (answer.ok) show(await answer.json());
    } catch {
      // The banner tells when the service cannot be reached; the next event asks again.
    } finally {
      clearTimeout(limit);
      if (underWay === asked) {
        underWay = null;
        if (again) soon(EVERY_MS);
        again = false;
      }
    }
  }

  function drawn(html) {
    const made = document.createElement("table");
    made.innerHTML = html;
    return made.tBodies[0];
  }

  function show(news) {
    performance.mark("rows-begin");
    const held = document.activeElement;
    const focus = table.contains(held) ? held.getAttribute("href") : null;
    for (const [pool, html] of Object.entries(news.rows)) {
      const body = drawn(html);
      const before = rows.get(pool);
      if (before && before.isConnected) before.replaceWith(body);
      rows.set(pool, body);
    }
    // A pool that this page has never drawn, because it was not asked for before, comes with the next answer.
    const wanted = news.order.map((pool) => rows.get(pool)).filter(Boolean);
    const complete = wanted.length === news.order.length;
    arrange(wanted);
    const listed = new Set(news.order);
    for (const pool of rows.keys()) if (!listed.has(pool)) rows.delete(pool);
    for (const [name, html] of Object.entries(news.parts)) put(name, html);
    if (focus && !table.contains(document.activeElement)) {
      const next = table.querySelector('[href="' + CSS.escape(focus) + '"]');
      if (next) next.focus({ preventScroll: true });
    }
    version = complete ? news.version : "";
    if (!complete) soon(0);
    window.room.times(table);
    performance.measure("rows", "rows-begin");
  }

  // Only rows that are out of place are moved, so that nothing is laid out that stays.
  function arrange(wanted) {
    const listed = new Set(wanted);
    for (const body of [...table.tBodies]) if (!listed.has(body)) body.remove();
    let place = table.tBodies[0] || null;
    for (const body of wanted) {
      if (body === place) place = place.nextElementSibling;
      else table.insertBefore(body, place);
    }
  }

  const said = {};
  function put(name, html) {
    const part = document.getElementById(name);
    if (!part || said[name] === html) return;
    const open = part.querySelector("details[open]");
    const held = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    said[name] = html;
    part.innerHTML = html;
    if (open && part.querySelector("details")) part.querySelector("details").open = true;
    if (held) part.querySelector('[href="' + CSS.escape(held) + '"]')?.focus({ preventScroll: true });
  }

  // --- what is asked for ---------------------------------------------------------------------------------------------
  function choose() {
    const query = wish().toString();
    history.replaceState(null, "", query ? "/?" + query : "/");
    version = "";
    if (underWay) underWay.abort();
    underWay = null;
    clearTimeout(timer);
    askedAt = 0;
    timer = setTimeout(ask, TYPED_MS);
  }

  form.querySelector(".apply").hidden = true;
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    choose();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
    event.preventDefault();
    form.elements.q.focus();
  });
  // A line is cut to two; the whole of it is a hover away, and on the pool's page.
  table.addEventListener("mouseover", (event) => {
    const cut = event.target.closest(".now, .changed");
    if (cut && !cut.title) cut.title = cut.textContent;
  });

  document.addEventListener("room:change", (event) => {
    // Pages that are told at the same moment do not all ask at the same moment.
    if (event.detail.again || event.detail.pools.length) soon(Math.random() * 250);
  });
  window.room.times(table);
})();
