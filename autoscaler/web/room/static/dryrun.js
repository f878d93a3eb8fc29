// The chart of a dry run, drawn once its result is there.
(function () {
  "use strict";
  const chart = document.getElementById("chart");
  const result = document.getElementById("result");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const faint = (name) => colour(name) + "33";
  let drawn = false;

  function number(value) {
    if (value == null) return "–";
    const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
    return Number(value.toFixed(digits)).toLocaleString("en");
  }

  function axes() {
    const line = { stroke: colour("grid"), width: 1 };
    const axis = { stroke: colour("soft"), grid: line, ticks: line };
    return [axis, Object.assign({ size: 60, values: (_, found) => found.map(number) }, axis)];
  }

  function plot(place, title, height, columns, series) {
    const options = {
      title: title, width: place.clientWidth, height: height, axes: axes(), tzDate: (t) => uPlot.tzDate(new Date(t * 1e3), "Etc/UTC"),
      cursor: { sync: { key: "dryrun" } }, legend: { live: true },
      series: [{ label: "UTC" }].concat(series.map((s) => Object.assign({ width: 1.5, value: (_, v) => number(v), points: { show: false } }, s))),
    };
    const made = new uPlot(options, columns, place);
    addEventListener("resize", () => made.setSize({ width: place.clientWidth, height: height }));
  }

  async function draw() {
    if (drawn || !result.querySelector('[data-state="done"]')) return;
    drawn = true;
    result.removeAttribute("data-live");
    const answer = await fetch(chart.dataset.plot);
    const data = answer.ok ? await answer.json() : {};
    if (!data.at) return;
    chart.hidden = false;
    const stepped = uPlot.paths.stepped({ align: 1 });
    plot(document.getElementById("demand-plot"), "Work per second", 180, [data.at, data.demand],
      [{ label: "demand", stroke: colour("demand"), fill: faint("demand") }]);
    plot(document.getElementById("replicas-plot"), "Replicas", 240,
      [data.at, data.wanted_now, data.wanted_changed, data.ready_now, data.ready_changed],
      [{ label: "wanted now", stroke: colour("wanted"), paths: stepped },
        { label: "wanted, changed", stroke: colour("ahead"), paths: stepped },
        { label: "ready now", stroke: colour("wanted"), dash: [3, 4], paths: stepped },
        { label: "ready, changed", stroke: colour("ahead"), dash: [3, 4], paths: stepped }]);
  }

  new MutationObserver(draw).observe(result, { childList: true, subtree: true, attributes: true });
  draw();
})();
