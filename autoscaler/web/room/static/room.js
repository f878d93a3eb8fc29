// Keeps a page fresh. Everything here is a convenience: without this file every page can be read and every form works.
//
// - One stream of events says which pools were judged anew.
// - An element with `data-live="/address"` is asked for anew when that happens, and morphed, so that focus, scrolling and
//   open details stay. `data-pool` limits it to changes of one pool, `data-every` (seconds) makes it ask more seldom.
// - Other scripts listen to the document's event `room:change`, whose detail is {at, pools, ready, reasons}.
(function () {
  "use strict";
  const body = document.body;
  const banner = document.getElementById("banner");
  const SILENT_MS = 15000;
  let heardAt = Date.now();
  let lost = false;

  function say(text) {
    if (text === banner.dataset.said) return;
    banner.dataset.said = text;
    banner.textContent = text;
    banner.hidden = !text;
    body.classList.toggle("stale", lost);
  }

  function span(seconds) {
    return seconds < 120 ? Math.round(seconds) + " s" : Math.round(seconds / 60) + " min";
  }

  // --- parts that follow the service ---------------------------------------------------------------------------------
  const askedAt = new WeakMap();
  const underWay = new WeakSet();

  async function refresh(element) {
    if (underWay.has(element) || document.hidden) return;
    underWay.add(element);
    askedAt.set(element, Date.now());
    try {
      await htmx.ajax("GET", element.dataset.live, { source: element, target: element, swap: "innerMorph" });
    } catch {
      // The banner tells when the service cannot be reached; the next event asks again.
    } finally {
      underWay.delete(element);
    }
  }

  function concerns(element, pools) {
    if (element.dataset.pool && pools.length && !pools.includes(element.dataset.pool)) return false;
    const every = Number(element.dataset.every || 1) * 1000;
    return Date.now() - (askedAt.get(element) || 0) >= every - 50;
  }

  function refreshAll(pools) {
    for (const element of document.querySelectorAll("[data-live]")) {
      if (concerns(element, pools)) refresh(element);
    }
  }

  // --- the stream ----------------------------------------------------------------------------------------------------
  function heard(change) {
    const again = lost;
    heardAt = Date.now();
    lost = false;
    say(change.ready ? "" : "The service is not doing all its work: " + change.reasons.join("; "));
    const asOf = document.getElementById("as-of");
    const when = new Date(change.at * 1000).toISOString();
    asOf.dateTime = when;
    asOf.textContent = when.slice(0, 19).replace("T", " ") + " UTC";
    if (again || change.pools.length) refreshAll(again ? [] : change.pools);
    document.dispatchEvent(new CustomEvent("room:change", { detail: change }));
  }

  function silent() {
    const seconds = (Date.now() - heardAt) / 1000;
    if (!lost && seconds * 1000 < SILENT_MS) return;
    lost = true;
    say("Nothing heard from the service for " + span(seconds) + ": what stands here is old. Trying to reach it again.");
  }

  function listen() {
    const source = new EventSource(body.dataset.events);
    source.addEventListener("change", (event) => heard(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      lost = lost || Date.now() - heardAt > 2000;
      // A browser gives up for good after an answer that is no stream, such as the one of a full or restarting service.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
    });
  }

  // Instants are written in UTC, which is what the log and the journal say; the reader's own time is a hover away.
  function localTimes() {
    for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(time.dateTime);
      if (!isNaN(at)) time.title = at.toLocaleString();
    }
  }

  if (body.dataset.events) {
    listen();
    setInterval(silent, 1000);
    document.addEventListener("visibilitychange", () => document.hidden || refreshAll([]));
  }
  localTimes();
  document.addEventListener("room:change", localTimes);
  window.room = { refresh: refresh };
})();
