// The live page: draws what /events sends, and presses buttons. Text of events is only ever set as text.
"use strict";

const MOST_SAMPLES = 240, MOST_EVENTS = 100, AGAIN_AFTER = 1000;
const byId = (id) => document.getElementById(id);
const PHASES = ["used", "idle", "connecting", "checking", "closing", "lost"];
const samples = [];
let charts = [];

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const number = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const count = (sample, name) => (sample.node ? sample.node[name] : null);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const CHARTS = [
  { title: "Throughput, per second", lines: [["commands", "used", (s) => s.commands], ["failed calls", "lost", (s) => s.errors]] },
  { title: "Connections and callers", lines: [["used", "used", (s) => count(s, "active")], ["idle", "idle", (s) => count(s, "idle")],
    ["waiting", "lost", (s) => count(s, "waiting")]] },
  { title: "Wait for a client, ms (5 s)", lines: [["p50", "idle", (s) => s.wait[0]], ["p99", "connecting", (s) => s.wait[1]]] },
  { title: "Command, ms (5 s)", lines: [["p50", "idle", (s) => s.latency[0]], ["p99", "connecting", (s) => s.latency[1]]] },
];

function data(chart) {
  return [samples.map((s) => s.t), ...chart.lines.map(([, , value]) => samples.map(value))];
}

function width(box) {
  return Math.max(200, box.clientWidth - 18);
}

function makeCharts() {
  // All boxes first: how wide one is depends on the others.
  const boxes = CHARTS.map(() => element("div", "chart"));
  byId("charts").replaceChildren(...boxes);
  charts = CHARTS.map((chart, at) => {
    const box = boxes[at];
    const axis = { stroke: color("faint"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } };
    const options = {
      title: chart.title, width: width(box), height: 190, axes: [axis, { ...axis, size: 56 }],
      scales: { y: { range: (_, __, max) => [0, Math.max(max || 0, 1) * 1.1] } },
      series: [{}, ...chart.lines.map(([label, shade]) => ({ label, stroke: color(shade), width: 2, spanGaps: false,
        value: (_, value) => number(value, 2) }))],
    };
    return { chart, box, plot: new uPlot(options, data(chart), box) };
  });
}

function showPool(pool) {
  const box = element("div", "pool");
  const lost = pool.lost;
  const counts = { used: pool.active_calls - lost, idle: pool.idle, connecting: pool.connecting, checking: pool.checking,
    closing: pool.closing, lost };
  const title = element("div", "", `Pool ${pool.index}${pool.healthy ? "" : " (cannot lend)"} `);
  for (const phase of PHASES) {
    const key = title.appendChild(element("span", "key"));
    key.append(element("i", phase), `${phase} ${counts[phase]}`);
  }
  const cells = element("div", "cells");
  for (const phase of PHASES) {
    for (let n = 0; n < counts[phase]; n++) cells.append(element("i", phase));
  }
  while (cells.childElementCount < pool.limit) cells.append(element("i"));
  box.append(title, cells);
  return box;
}

function showLatest() {
  const sample = samples[samples.length - 1];
  if (!sample) return;
  const health = sample.node ? sample.node.health : "closed";
  byId("health").textContent = health;
  byId("health").className = "badge " + health;
  byId("node").textContent = sample.node && sample.node.last_error ? sample.node.last_error : "";
  byId("commands").textContent = number(sample.commands);
  byId("errors").textContent = number(sample.errors);
  byId("waiting").textContent = number(count(sample, "waiting"));
  byId("wait").textContent = number(sample.wait[1], 2);
  byId("latency").textContent = number(sample.latency[1], 2);
  byId("pools").replaceChildren(...(sample.node ? sample.node.pools : []).map(showPool));
  for (const button of byId("buttons").children) button.classList.toggle("on", button.dataset.name === sample.fault);
  for (const { chart, plot } of charts) plot.setData(data(chart));
}

function tone(event) {
  if (event.kind === "button") return "button";
  if (event.kind === "health_changed") return / -> up/.test(event.text) ? "good" : "bad";
  return /failed|timed_out|unavailable|saturated|suspected|died|missed|unanswered/.test(event.kind) ? "bad" : "";
}

function showEvent(event) {
  const item = element("li", tone(event));
  item.dataset.kind = event.kind;
  const times = event.count > 1 ? ` (×${event.count})` : "";
  item.append(element("time", "", new Date(event.t * 1000).toLocaleTimeString("en-GB")), element("span", "text", event.text + times));
  byId("events").prepend(item);
  while (byId("events").childElementCount > MOST_EVENTS) byId("events").lastChild.remove();
}

async function press(name) {
  try {
    const answer = await fetch("/press/" + name, { method: "POST", headers: { "x-testbench": "1" } });
    byId("answer").textContent = answer.ok ? "" : await answer.text();
  } catch (error) {
    byId("answer").textContent = String(error);
  }
}

function showButtons(buttons) {
  byId("buttons").replaceChildren(...buttons.map(({ name, text, does, off }) => {
    const button = element("button", "", text);
    button.dataset.name = name;
    button.title = off || does;
    button.disabled = Boolean(off);
    button.addEventListener("click", () => press(name));
    return button;
  }));
}

function connect() {
  const source = new EventSource("/events");
  source.addEventListener("open", () => { byId("link").textContent = "live"; });
  source.addEventListener("hello", (message) => {
    const hello = JSON.parse(message.data);
    samples.splice(0, samples.length, ...hello.samples);
    showButtons(hello.buttons);
    byId("events").replaceChildren();
    hello.events.forEach(showEvent);
    showLatest();
  });
  source.addEventListener("sample", (message) => {
    samples.push(JSON.parse(message.data));
    if (samples.length > MOST_SAMPLES) samples.shift();
    showLatest();
  });
  source.addEventListener("event", (message) => showEvent(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    byId("link").textContent = "connecting …";
    source.close();
    setTimeout(connect, AGAIN_AFTER);
  });
}

makeCharts();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", makeCharts);
addEventListener("resize", () => charts.forEach(({ box, plot }) => plot.setSize({ width: width(box), height: 190 })));
connect();
