"use strict";
(() => {
  const s = JSON.parse(document.getElementById("data").textContent);
  if (!s) return;
  const xs = s.at.map((_, i) => i), charts = [];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const two = (n) => String(n).padStart(2, "0");
  const days = s.at.length && s.at[s.at.length - 1] - s.at[0] > 86400;
  const moment = (i, long) => {
    if (!Number.isInteger(i) || i < 0 || i >= s.at.length) return "";
    const d = new Date(s.at[i] * 1000), t = two(d.getHours()) + ":" + two(d.getMinutes());
    const seconds = long || s.at.length * s.width_s < 900 ? ":" + two(d.getSeconds()) : "";
    return (days || long ? d.getDate() + "." + (d.getMonth() + 1) + ". " : "") + t + seconds;
  };
  const trim = (text) => text.replace(/\.0+(?=[kM])/, "");
  const number = (v) => v == null ? "–" : v >= 999500 ? trim((v / 1e6).toFixed(v < 1e7 ? 1 : 0) + "M")
    : v >= 10000 ? Math.round(v / 1e3) + "k" : v >= 10 || v === Math.round(v) ? String(Math.round(v)) : v.toFixed(1);
  const seconds = (v) => v == null ? "–" : v < 0.9995 ? Math.round(v * 1000) + " ms" : trim(v.toFixed(v < 10 ? 1 : 0)) + " s";

  // Where no process was at work, a dashed line: what lies between is left out.
  const gaps = (u) => {
    const c = u.ctx;
    c.save();
    c.strokeStyle = css("soft");
    c.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    s.in_flight.forEach((v, i) => {
      if (v !== null) return;
      const x = u.valToPos(i, "x", true);
      c.beginPath(); c.moveTo(x, u.bbox.top); c.lineTo(x, u.bbox.top + u.bbox.height); c.stroke();
    });
    c.restore();
  };

  const kinds = {
    line: (c) => ({ stroke: c, width: 2, points: { show: s.at.length < 3 } }),
    thin: (c) => ({ stroke: c, width: 1, points: { show: s.at.length < 3 } }),
    bars: (c) => ({ stroke: c, fill: c, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [1, 40] }) }),
    limit: (c) => ({ stroke: c, width: 1.5, dash: [6, 4], points: { show: false } }),
  };

  const make = (el, def) => {
    const lines = def.lines.filter((l) => l.values.some((v) => v !== null));
    const width = () => Math.max(240, el.clientWidth);
    const axis = { stroke: css("soft"), grid: { stroke: css("grid"), width: 1 }, ticks: { stroke: css("grid"), width: 1 } };
    const u = new uPlot({
      width: width(), height: 190, hooks: { draw: [gaps] }, cursor: { drag: { x: true, y: false }, points: { size: 6 } },
      scales: { x: { time: false, range: () => [-0.5, Math.max(0.5, xs.length - 0.5)] }, y: { range: (_, lo, hi) => def.log ? [Math.max(lo * 0.8, 0.001), Math.max(hi * 1.25, 0.002)]
        : [0, def.top || (hi > 0 ? hi * 1.08 : 1)], distr: def.log ? 3 : 1 } },
      axes: [{ ...axis, space: 70, values: (_, at) => at.map((i) => moment(i, false)) },
        { ...axis, size: 58, values: (_, at) => at.map((v) => v == null ? "" : def.format(v)) }],
      series: [{ label: "at", value: (_, i) => i == null ? "–" : moment(i, true) },
        ...lines.map((l) => ({ label: l.label, value: (_, v) => def.format(v), ...kinds[l.kind](css(l.colour)) }))],
    }, [xs, ...lines.map((l) => l.values)], el);
    return { u, fit: () => u.setSize({ width: width(), height: 190 }) };
  };

  const model = (n) => (requests) => {
    const m = s.models[n], of = requests ? "request" : "token", all = requests ? m.requests : m.tokens;
    const shown = s.width_s < 60 ? [
      { label: "pace of each column", values: all, kind: "bars", colour: "faint" },
      { label: "in the last 60 s", values: requests ? m.requests_last_minute : m.tokens_last_minute, kind: "line", colour: "c0" },
    ] : [{ label: "per minute", values: all, kind: "line", colour: "c0" }];
    // Bursts may go far above a limit for a second: what counts is the minute, so that is what has to be readable.
    const most = Math.max(...m[of + "_limit"], ...(requests ? m.requests_last_minute : m.tokens_last_minute));
    const top = m[of + "_limit"].some((v) => v) ? most * 1.3 : 0;
    return { format: number, top, lines: [...shown, { label: "limit", values: m[of + "_limit"], kind: "limit", colour: "bad" }] };
  };
  const fixed = {
    latency: { format: seconds, log: true, lines: [
      { label: "p50", values: s.p50, kind: "line", colour: "c0" }, { label: "p90", values: s.p90, kind: "thin", colour: "c1" },
      { label: "p99", values: s.p99, kind: "thin", colour: "c2" }] },
    trouble: { format: number, lines: [
      { label: "429s", values: s.rate_limited, kind: "line", colour: "c2" },
      { label: "other retries", values: s.retries, kind: "thin", colour: "c3" },
      { label: "jobs failed", values: s.failed, kind: "thin", colour: "bad" }] },
    flight: { format: number, lines: [{ label: "in flight, at the most", values: s.in_flight, kind: "line", colour: "c1" }] },
  };

  const draw = () => {
    charts.splice(0).forEach((c) => c.u.destroy());
    document.querySelectorAll(".chart").forEach((el) => {
      const [what, n] = el.dataset.chart.split(" ");
      charts.push(make(el, fixed[what] || model(Number(n))(what === "requests")));
    });
  };
  draw();
  addEventListener("resize", () => charts.forEach((c) => c.fit()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const print = (on) => { document.documentElement.classList.toggle("print", on); draw(); };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
})();
