"use strict";
// Comfort only: what the pointer is over, and pictures as files. The page is complete without.

function duration(seconds) {
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 2 : 1) + " s";
  const whole = Math.round(seconds);
  const [h, min, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h} h ${min} min` : `${min} min ${s} s`;
}

function clock(t, offset) {
  return new Date((t + offset) * 1000).toISOString().slice(11, 19);
}

function follow(figure, data) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  for (const svg of figure.querySelectorAll("svg")) {
    const [left, right, top, bottom] = svg.dataset.plot.split(",").map(Number);
    const line = document.createElementNS(svg.namespaceURI, "path");
    line.setAttribute("class", "zero pointer");
    svg.append(line);
    const hide = () => { tip.hidden = true; line.removeAttribute("d"); };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = box.width / svg.viewBox.baseVal.width;
      const x = (event.clientX - box.left) / scale;
      if (x < left || x > right) return hide();
      const after = (x - left) / (right - left) * (data.until - data.begin);
      const last = data.series[0][1].length - 1;
      const column = Math.max(0, Math.min(last, Math.floor(after / data.width)));
      const begin = column * data.width;
      const head = document.createElement("b");
      head.textContent = (data.utc_offset_s === null ? "" :
        clock(data.begin + begin, data.utc_offset_s) + ", ") + duration(begin) + " after the start";
      const table = document.createElement("table");
      for (const [name, values] of data.series) {
        const row = table.insertRow();
        row.insertCell().textContent = name;
        const cell = row.insertCell();
        cell.className = "number";
        cell.textContent = values[column].toLocaleString("en");
      }
      tip.replaceChildren(head, table);
      tip.hidden = false;
      line.setAttribute("d", `M${x} ${top}V${bottom}`);
      const at = figure.getBoundingClientRect();
      const beside = event.clientX - at.left + 16;
      const fits = beside + tip.offsetWidth <= at.width;
      tip.style.left = Math.max(0, fits ? beside : beside - 32 - tip.offsetWidth) + "px";
      tip.style.top = event.clientY - at.top + 16 + "px";
    });
  }
}

function file(svg) {
  const copy = svg.cloneNode(true);
  const box = svg.viewBox.baseVal;
  copy.removeAttribute("class");
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  for (const line of copy.querySelectorAll(".pointer")) line.remove();
  const style = document.createElementNS(svg.namespaceURI, "style");
  style.textContent = ["colours", "pictures"].map((id) =>
    document.getElementById(id).textContent).join("\n");
  const paper = document.createElementNS(svg.namespaceURI, "rect");
  paper.setAttribute("width", "100%");
  paper.setAttribute("height", "100%");
  paper.setAttribute("style", "fill:var(--paper)");
  copy.prepend(style, paper);
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function savePng(svg, name) {
  const box = svg.viewBox.baseVal;
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = box.width * 3;
    canvas.height = box.height * 3;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, name));
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(file(svg));
}

for (const figure of document.querySelectorAll("figure")) {
  const data = figure.querySelector("script");
  if (data) follow(figure, JSON.parse(data.textContent));
  const svg = figure.querySelector("svg");
  const tools = document.createElement("div");
  tools.className = "save";
  for (const [label, act] of [["SVG", () => save(file(svg), figure.id + ".svg")],
    ["PNG", () => savePng(svg, figure.id + ".png")]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", `Save "${figure.querySelector("h3").textContent}" as ` +
      label);
    button.addEventListener("click", act);
    tools.append(button);
  }
  figure.querySelector(".head").append(tools);
}
