// Draws the figures that the page carries as data. No number is computed here
// but places on the screen.
"use strict";

const FIGURES = JSON.parse(document.getElementById("figures").textContent);
const NARROW = 640; // pixels of a figure; below, panels stand on each other
const drawn = new Set();

const css = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function clear(colour, share) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
}

function paint(name) {
  return css({ video: "--video", image: "--image" }[name] || "--muted");
}

function shown(value, spec) {
  if (value === null || value === undefined) return "–";
  if (spec.percent) {
    const text = (100 * value).toFixed(Math.abs(value) < 0.0995 ? 1 : 0);
    return `${value > 0 ? "+" : ""}${text} %`.replace("-", "−");
  }
  return value.toFixed(spec.digits ?? 2).replace("-", "−");
}

function hover(series, i, spec) {
  const said = [shown(series.value[i], spec)];
  if (series.low && series.low[i] !== null) {
    said.push(`${shown(series.low[i], spec)} to ${shown(series.high[i], spec)}`);
  }
  if (series.note && series.note[i]) said.push(series.note[i]);
  return `<b>${series.name}</b><br>${said.join("<br>")}`;
}

function errors(series) {
  const apart = (end) =>
    series[end].map((v, i) => (v === null ? 0 : Math.abs(v - series.value[i])));
  return {
    type: "data", symmetric: false, thickness: 1.6, width: 0,
    array: apart("high"), arrayminus: apart("low"),
  };
}

function wrapped(text, width) {
  const most = width < NARROW ? 13 : 26;
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] && (lines[last] + word).length >= most) lines.push(word);
    else lines[last] += (lines[last] ? " " : "") + word;
  }
  return lines.join("<br>");
}

function layout(extra) {
  const axis = {
    gridcolor: css("--faint"), zerolinecolor: css("--soft"), zeroline: false,
    linecolor: css("--faint"), automargin: true, fixedrange: true,
    tickcolor: css("--faint"),
  };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: css("--sans"), size: 13, color: css("--ink") },
    margin: { l: 10, r: 16, t: 10, b: 10 }, hovermode: "closest",
    hoverlabel: {
      bgcolor: css("--raised"), bordercolor: css("--faint"), align: "left",
      font: { family: css("--sans"), color: css("--ink"), size: 13 },
    },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" },
    height: 380,
  };
  for (const [name, value] of Object.entries(extra)) {
    base[name] = /^[xy]axis/.test(name) ? { ...axis, ...value } : value;
    if (base[name].title?.text) base[name].title.font = { size: 13, color: css("--soft") };
  }
  return base;
}

function rows(spec, width) {
  return {
    tickvals: spec.categories.map((_, i) => i),
    ticktext: spec.categories.map((c) => wrapped(c, width) + "  "),
    range: [spec.categories.length - 0.5, -0.5], showgrid: false,
  };
}

function across(spec) {
  const axis = { title: { text: spec.axis, standoff: 12 }, zeroline: true };
  return spec.percent ? { ...axis, tickformat: ".0%" } : axis;
}

function ticks(spec) {
  if (!spec.log) return {};
  const at = [...new Set(spec.series.flatMap((s) => s.x))].sort((a, b) => a - b);
  return { type: "log", tickvals: at, ticktext: at.map((x) => x.toLocaleString("en")) };
}

const KINDS = {
  bars(spec, width) {
    const [bars, marks] = spec.series;
    const y = spec.categories.map((_, i) => i);
    const colour = paint(bars.colour);
    const traces = [
      {
        type: "bar", orientation: "h", y, x: bars.value, name: bars.name, width: 0.46,
        marker: { color: clear(colour, 0.85) },
        error_x: { ...errors(bars), color: css("--ink") },
        hovertext: y.map((i) => hover(bars, i, spec)), hoverinfo: "text",
      },
      {
        type: "scatter", mode: "markers", y, x: marks.value, name: marks.name,
        marker: {
          symbol: "diamond", size: 11, color: css("--paper"),
          line: { width: 1.6, color: css("--ink") },
        },
        hovertext: y.map((i) => hover(marks, i, spec)), hoverinfo: "text",
      },
    ];
    traces.push({
      type: "scatter", mode: "text", y, showlegend: false, hoverinfo: "skip",
      x: bars.value.map((v, i) =>
        Math.min(Math.max(v, bars.high[i] ?? v, marks.value[i] ?? 0, 0), spec.limits[1])),
      text: bars.value.map((v) => (v === null ? "" : `<b>&nbsp; ${shown(v, spec)}</b>`)),
      textposition: "middle right", cliponaxis: false, textfont: { color: colour },
    });
    const dots = bars.dots.flatMap((d, i) => d.map((x) => [x, i]));
    if (dots.length) {
      traces.push({
        type: "scatter", mode: "markers", name: "each seed", x: dots.map((d) => d[0]),
        y: dots.map((d) => d[1]), marker: { color: css("--ink"), size: 6 },
        hovertext: dots.map((d) => `one seed<br>${shown(d[0], spec)}`), hoverinfo: "text",
      });
    }
    return [traces, layout({
      xaxis: { ...across(spec), range: spec.limits }, yaxis: rows(spec, width),
      height: 130 + 58 * y.length, barmode: "overlay",
      margin: { l: 10, r: 76, t: 10, b: 10 },
    })];
  },

  dots(spec, width) {
    const several = spec.series.length;
    const traces = spec.series.map((series, index) => ({
      type: "scatter", mode: "markers", name: series.name, x: series.value,
      y: series.value.map((_, i) => i + 0.24 * (index - (several - 1) / 2)),
      marker: { color: paint(series.colour), size: 10 },
      error_x: { ...errors(series), color: paint(series.colour) },
      hovertext: series.value.map(
        (_, i) => `${spec.categories[i]}<br>${hover(series, i, spec)}`),
      hoverinfo: "text",
    }));
    return [traces, layout({
      xaxis: across(spec), yaxis: rows(spec, width), showlegend: several > 1,
      height: 110 + 46 * spec.categories.length,
    })];
  },

  lines(spec) {
    const traces = [];
    for (const series of spec.series) {
      const colour = paint(series.colour);
      if (series.low) {
        const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
        traces.push({ ...edge, x: series.x, y: series.low });
        traces.push({ ...edge, x: series.x, y: series.high, fill: "tonexty", fillcolor: clear(colour, 0.16) });
      }
      traces.push({
        type: "scatter", name: series.name, x: series.x, y: series.value,
        mode: series.dash || series.x.length > 24 ? "lines" : "lines+markers",
        line: { color: colour, width: 2, dash: series.dash ? "dot" : "solid" },
        marker: { color: colour, size: 7 },
        hovertext: series.x.map(
          (x, i) => `${hover(series, i, spec)}<br>${spec.axes[0]} ${+x.toPrecision(4)}`),
        hoverinfo: "text",
      });
    }
    return [traces, layout({
      xaxis: { title: { text: spec.axes[0], standoff: 12 }, ...(spec.whole ? { dtick: 1 } : {}), ...ticks(spec) },
      yaxis: { title: { text: `${spec.axes[1]} (${spec.better} is better)`, standoff: 12 } },
    })];
  },

  maps(spec, width) {
    const count = spec.panels.length;
    const stacked = width < NARROW && count > 1;
    const traces = [], extra = { annotations: [], showlegend: false };
    spec.panels.forEach((panel, i) => {
      const n = i ? i + 1 : "";
      const domain = [i / count + (i ? 0.06 : 0), (i + 1) / count - (i < count - 1 ? 0.06 : 0)];
      const down = [1 - (i + 1) / count + (i < count - 1 ? 0.14 : 0), 1 - i / count - (i ? 0.06 : 0)];
      const x = panel.x.map((v) => `${v ?? "–"}`), y = panel.y.map((v) => `${v ?? "–"}`);
      traces.push({
        type: "heatmap", x, y, z: panel.z, xaxis: `x${n}`, yaxis: `y${n}`,
        coloraxis: "coloraxis", xgap: 2, ygap: 2,
        text: panel.z.map((row) => row.map((v) => shown(v, spec))), texttemplate: "%{text}",
        hovertemplate: `<b>${panel.title}</b><br>layer %{x}, noise %{y}<br>%{text}<extra></extra>`,
      });
      traces.push({
        type: "scatter", mode: "markers", x: [x[panel.best[0]]], y: [y[panel.best[1]]],
        xaxis: `x${n}`, yaxis: `y${n}`, hoverinfo: "skip",
        marker: { symbol: "circle-open", size: 42, color: css("--video"), line: { width: 2.5 } },
      });
      extra[`xaxis${n}`] = {
        domain: stacked ? [0, 1] : domain, anchor: `y${n}`, type: "category",
        title: { text: spec.axes[0], standoff: 6 }, showgrid: false,
      };
      extra[`yaxis${n}`] = {
        domain: stacked ? down : [0, 1], anchor: `x${n}`, type: "category", showgrid: false,
        title: { text: i && !stacked ? "" : spec.axes[1], standoff: 6 },
      };
      extra.annotations.push({
        text: `<b>${panel.title}</b>`, showarrow: false, xref: "paper", yref: "paper",
        x: stacked ? 0 : domain[0], y: stacked ? down[1] : 1, xanchor: "left", yanchor: "bottom",
        font: { color: paint(panel.title.split(" ")[0]) }, yshift: 4,
      });
    });
    const scale = [[0, css("--low")], [1, css("--high")]];
    extra.coloraxis = {
      colorscale: spec.lower_is_better ? scale.map(([v], i) => [v, scale[1 - i][1]]) : scale,
      colorbar: {
        orientation: "h", y: -0.22, yanchor: "top", thickness: 8, len: 0.5, x: 0,
        xanchor: "left", outlinewidth: 0, title: { text: spec.scale, side: "top", font: { size: 13, color: css("--soft") } },
      },
    };
    if (stacked) extra.coloraxis.colorbar.y = -0.13;
    return [traces, layout({ ...extra, height: stacked ? 640 : 420, margin: { l: 10, r: 10, t: 34, b: 10 } })];
  },

  radar(spec, width) {
    const closed = (values) => [...values, values[0]];
    const names = spec.categories.map((c) => wrapped(c, width));
    const traces = spec.series.map((series) => ({
      type: "scatterpolar", name: series.name, r: closed(series.value), theta: closed(names),
      fill: "toself", fillcolor: clear(paint(series.colour), 0.13),
      line: { color: paint(series.colour), width: 2 },
      hovertemplate: `<b>${series.name}</b><br>%{theta}<br>%{r:.0%}<extra></extra>`,
    }));
    const axis = { gridcolor: css("--faint"), linecolor: css("--faint") };
    return [traces, layout({
      polar: {
        bgcolor: "rgba(0,0,0,0)",
        radialaxis: { ...axis, range: [0, 1.02], showticklabels: false, ticks: "", showline: false },
        angularaxis: { ...axis, direction: "clockwise", rotation: 90 },
      },
      height: width < NARROW ? 360 : 440, margin: { l: 70, r: 70, t: 30, b: 40 },
      legend: { orientation: "h", x: 0.5, xanchor: "center", y: -0.08, yanchor: "top" },
    })];
  },
};

const state = {};

function key(figure) {
  return figure.choices.map((c, i) => state[figure.name][i]).join("|");
}

// Steps to the nearest selection that exists, the latest choice kept.
function settle(figure, kept) {
  if (key(figure) in figure.specs) return;
  const now = state[figure.name];
  let best = null, most = -1;
  for (const other of Object.keys(figure.specs)) {
    const parts = other.split("|");
    const same = parts.filter((p, i) => p === now[i]).length;
    if ((kept < 0 || parts[kept] === now[kept]) && same > most) [best, most] = [parts, same];
  }
  state[figure.name] = best || Object.keys(figure.specs)[0].split("|");
}

function draw(element) {
  const figure = FIGURES[element.dataset.figure];
  const spec = figure.specs[key(figure)];
  const canvas = element.querySelector(".canvas");
  const [traces, frame] = KINDS[spec.kind](spec, canvas.clientWidth);
  canvas.style.minHeight = `${frame.height}px`;
  drawn.add(element);
  return Plotly.react(canvas, traces, frame, {
    displaylogo: false, responsive: true, displayModeBar: false,
  });
}

function refresh(element) {
  const figure = FIGURES[element.dataset.figure];
  for (const button of element.querySelectorAll(".pills button")) {
    const i = Number(button.dataset.choice);
    button.setAttribute("aria-pressed", state[figure.name][i] === button.dataset.option);
    const parts = [...state[figure.name]];
    parts[i] = button.dataset.option;
    // A last choice may hang on those before it.
    button.hidden = i === figure.choices.length - 1 && !(parts.join("|") in figure.specs);
  }
  if (drawn.has(element)) draw(element);
}

function select(element, index, option) {
  const figure = FIGURES[element.dataset.figure];
  state[figure.name][index] = option;
  settle(figure, index);
  refresh(element);
}

function build(element) {
  const figure = FIGURES[element.dataset.figure];
  state[figure.name] = Object.keys(figure.specs)[0].split("|");
  const box = element.querySelector(".choices");
  figure.choices.forEach((choice, i) => {
    if (choice.options.length < 2) return;
    const group = document.createElement("div");
    group.className = "choice";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", choice.label);
    const label = document.createElement("span");
    label.textContent = choice.label;
    const pills = document.createElement("div");
    pills.className = "pills";
    for (const [option, title] of choice.options) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.dataset.choice = i;
      button.dataset.option = option;
      button.addEventListener("click", () => {
        select(element, i, option);
        if (choice.label !== "task") return;
        // One task for the whole section.
        for (const other of element.closest("section").querySelectorAll(".plot")) {
          const its = FIGURES[other.dataset.figure];
          const at = its.choices.findIndex((c) => c.label === "task");
          const knows = at >= 0 && its.choices[at].options.some(([o]) => o === option);
          if (other !== element && knows) select(other, at, option);
        }
      });
      pills.append(button);
    }
    group.append(label, pills);
    box.append(group);
  });
  refresh(element);
}

const elements = [...document.querySelectorAll(".plot")];
elements.forEach(build);

// Figures are drawn when they come near.
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }
}, { rootMargin: "500px 0px" });
elements.forEach((element) => near.observe(element));
window.addEventListener("beforeprint", () => elements.forEach(draw));

let width = window.innerWidth;
window.addEventListener("resize", () => {
  if ((width < 760) !== (window.innerWidth < 760)) drawn.forEach(draw);
  width = window.innerWidth;
});

// The theme: the system's until the button is used.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const redraw = () => drawn.forEach(draw);
dark.addEventListener("change", redraw);
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  try { localStorage.setItem("vdr-theme", root.dataset.theme); } catch (error) { /* from a file */ }
  redraw();
});

// Where the reader is.
const links = [...document.querySelectorAll(".bar nav a")];
const here = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links) {
      const is = link.hash === `#${entry.target.id}`;
      if (is) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (is) link.parentElement.scrollTo({ left: link.offsetLeft - link.parentElement.offsetLeft - 40 });
    }
  }
}, { rootMargin: "-20% 0px -75% 0px" });
document.querySelectorAll("section").forEach((section) => here.observe(section));
