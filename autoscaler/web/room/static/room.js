// Keeps a page fresh. Everything here is a convenience: without this file every page can be read and every form works.
//
// - One stream of events says which pools were judged anew. A page that is not to be seen has none.
// - An element with `data-live="/address"` is asked for anew when that happens, and morphed, so that focus, scrolling and
//   open details stay. `data-pool` limits it to changes of one pool, `data-every` (seconds) makes it ask more seldom.
// - Other scripts listen to the document's event `room:change`, whose detail is {at, pools, ready, reasons, again}; again:
//   nothing was heard for a while, so that anything may have changed.
// - `room.times(element)` shows <time data-ago> as how long ago it is, here and from then on.
(function () {
  "use strict";
  const body = document.body;
  const banner = document.getElementById("banner");
  const SILENT_MS = 15000;
  const MAX_WAIT_MS = 6000;
  let heardAt = Date.now();
  let lost = false;
  let refused = "";

  function say(text) {
    body.classList.toggle("stale", lost);
    if (text === banner.dataset.said) return;
    banner.dataset.said = text;
    banner.textContent = text;
    banner.hidden = !text;
  }

  function span(seconds) {
    if (seconds < 100) return Math.max(0, Math.round(seconds)) + " s";
    if (seconds < 6000) return Math.round(seconds / 60) + " min";
    return seconds < 172800 ? Math.round(seconds / 3600) + " h" : Math.round(seconds / 86400) + " d";
  }

  // --- parts that follow the service ---------------------------------------------------------------------------------
  const askedAt = new WeakMap();
  const underWay = new WeakSet();
  const wanted = new WeakSet();

  async function refresh(element) {
    if (document.hidden) return;
    if (underWay.has(element)) {
      // What changed while the answer was on its way may not be in it.
      wanted.add(element);
      return;
    }
    underWay.add(element);
    askedAt.set(element, Date.now());
    try {
      await htmx.ajax("GET", element.dataset.live, { source: element, target: element, swap: "innerMorph" });
    } catch {
      // The banner tells when the service cannot be reached; the next event asks again.
    } finally {
      underWay.delete(element);
      if (wanted.delete(element)) setTimeout(() => element.isConnected && refresh(element), 1000);
    }
  }

  function concerns(element, pools) {
    if (element.dataset.pool && pools.length && !pools.includes(element.dataset.pool)) return false;
    const every = Number(element.dataset.every || 1) * 1000;
    return Date.now() - (askedAt.get(element) || 0) >= every - 50;
  }

  function refreshAll(pools) {
    for (const element of document.querySelectorAll("[data-live]")) {
      // Pages that are told at the same moment do not all ask at the same moment.
      if (concerns(element, pools)) setTimeout(refresh, Math.random() * 250, element);
    }
  }

  // --- the stream ----------------------------------------------------------------------------------------------------
  // Read with fetch, not with EventSource: that one hides why it was refused, and a page must know when to sign in again.
  let stream = null;
  let tries = 0;
  let first = true;
  let away = false;

  function heard(change) {
    change.again = lost || away || (first && change.at - Number(body.dataset.at) > 2);
    first = away = false;
    tries = 0;
    heardAt = Date.now();
    lost = false;
    refused = "";
    if (change.build !== body.dataset.build && !edited()) return location.reload();
    say(change.reasons.length ? "The service is not doing all its work: " + change.reasons.join("; ") : "");
    const asOf = document.getElementById("as-of");
    const when = new Date(change.at * 1000).toISOString();
    asOf.dateTime = when;
    asOf.textContent = when.slice(0, 19).replace("T", " ") + " UTC";
    if (change.again || change.pools.length) refreshAll(change.again ? [] : change.pools);
    document.dispatchEvent(new CustomEvent("room:change", { detail: change }));
  }

  // Another version of the service has another page; what somebody is typing is more important than that.
  function edited() {
    const typed = (e) => (e.type === "hidden" ? false : "defaultValue" in e && e.value !== e.defaultValue);
    return [...document.forms].some((form) => form.method === "post" && [...form.elements].some(typed));
  }

  function silent() {
    if (document.hidden) return;
    const seconds = (Date.now() - heardAt) / 1000;
    if (!lost && seconds * 1000 < SILENT_MS) return;
    lost = true;
    const since = new Date(heardAt).toISOString().slice(11, 19);
    const why = refused ? " (" + refused + ")" : "";
    // A text that does not change every second, since it is read aloud when it does.
    say("Nothing heard from the service since " + since + " UTC" + why + ": what stands here is old. It is tried again.");
    // A connection whose other end is gone without a word would be read for ever.
    if (stream && seconds * 1000 > 2 * SILENT_MS && tries === 0) stream.abort();
  }

  async function listen() {
    if (stream || document.hidden) return;
    const mine = (stream = new AbortController());
    let wait = 0;
    try {
      const answer = await fetch(body.dataset.events, { signal: mine.signal, headers: { Accept: "text/event-stream" } });
      // The session has ended or its token is gone; the page loads itself anew and is sent on to sign in.
      if (answer.status === 401 || answer.status === 403) return location.reload();
      if (answer.ok) await read(answer.body.getReader());
      else {
        wait = 1000 * Number(answer.headers.get("Retry-After") || 0);
        refused = ((await answer.json()).detail || "answer " + answer.status).slice(0, 200);
      }
    } catch {
      // The end of the service, of the network or of our patience; all are followed by another try.
    }
    if (stream === mine) stream = null;
    if (mine.signal.aborted && document.hidden) return;
    // One end may be a restart that is over in a moment; when the next try fails too, nobody is there.
    lost = lost || tries > 0;
    // Pages that lost the same service do not all come back at the same moment.
    tries += 1;
    const backoff = Math.min(MAX_WAIT_MS, 500 * 2 ** Math.min(tries, 6));
    setTimeout(listen, Math.max(wait, backoff * (0.5 + Math.random())));
  }

  async function read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        if (data) heard(JSON.parse(data.slice(6)));
      }
    }
  }

  function seen() {
    if (document.hidden) {
      if (stream) stream.abort();
      stream = null;
      return;
    }
    // What happened meanwhile was not heard, and is not the service's silence.
    heardAt = Date.now();
    tries = 0;
    away = true;
    listen();
  }

  // --- times ---------------------------------------------------------------------------------------------------------
  // Instants are written in UTC, which is what the log and the journal say; the reader's own time is a hover away.
  function localTimes() {
    for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(time.dateTime);
      if (!isNaN(at)) time.title = time.textContent + ", here " + at.toLocaleString();
    }
  }

  // By the service's clock: the reader's may be wrong.
  function now() {
    return new Date(document.getElementById("as-of").dateTime).getTime();
  }

  function times(element) {
    for (const time of element.querySelectorAll("time[data-ago]")) {
      const at = new Date(time.dateTime).getTime();
      if (isNaN(at)) continue;
      if (!time.title) time.title = time.textContent;
      const text = span((now() - at) / 1000) + " ago";
      if (time.textContent !== text) time.textContent = text;
    }
  }

  window.room = { refresh: refresh, times: times };
  if (body.dataset.events) {
    listen();
    setInterval(silent, 1000);
    setInterval(() => document.hidden || times(document), 10000);
    document.addEventListener("visibilitychange", seen);
  }
  localTimes();
  times(document);
  document.addEventListener("room:change", () => {
    localTimes();
    times(document);
  });
})();
