"use strict";
// Wide regions: classes say on which side more columns are hidden.
for (const region of document.querySelectorAll(".scroll")) {
  const update = () => {
    const hidden = region.scrollWidth - region.clientWidth;
    region.classList.toggle("wide", hidden > 1);
    region.classList.toggle("more-left", region.scrollLeft > 1);
    region.classList.toggle("more-right", hidden - region.scrollLeft > 1);
  };
  region.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(region);
}

// Paper shows the folded parts too.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.open = true;
    addEventListener("afterprint", () => { part.open = false; }, { once: true });
  }
});

// Charts: show the value of every curve at the point nearest to the pointer above the chart.
for (const svg of document.querySelectorAll(".chart > svg")) {
  const lines = [...svg.querySelectorAll("path.line")].map((path) => ({
    name: path.dataset.name, points: JSON.parse(path.dataset.points),
  }));
  const read = svg.parentElement.querySelector(".read");
  const pointer = svg.querySelector(".pointer");
  const atRest = read.textContent;
  let place = null;
  const show = (x) => {
    place = x;
    const near = lines.map((line) => ({
      name: line.name,
      point: line.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a)),
    }));
    read.textContent = near.map(({ name, point }) => (name ? name + " " : "") + point[2]).join("; ");
    const line = pointer.querySelector("line");
    line.setAttribute("x1", near[0].point[0]);
    line.setAttribute("x2", near[0].point[0]);
    pointer.removeAttribute("hidden");
  };
  const rest = () => {
    place = null;
    read.textContent = atRest;
    pointer.setAttribute("hidden", "");
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(((event.clientX - box.left) / box.width) * 340);
  });
  svg.addEventListener("pointerleave", rest);
  svg.addEventListener("blur", rest);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -6, ArrowRight: 6 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(Math.min(Math.max((place ?? 326) + step, 42), 326));
  });
}

// The embedding map: dots or thumbnails on a canvas, and a tooltip with the image at the pointer.
const source = document.getElementById("map-data");
if (source) {
  const data = JSON.parse(source.textContent);
  const section = document.getElementById("map");
  const canvas = section.querySelector(".map > canvas");
  const tip = section.querySelector(".tip");
  const sheet = section.querySelector(".sheet");
  const palette = ["#4e79a7", "#f28e2b", "#d64550", "#3fa6a0", "#59a14f", "#d4a81f", "#b07aa1",
    "#f07f97", "#9c755f", "#8d8a86"];
  const colour = (label) => {
    if (label === undefined) return "#3d86c6";
    if (data.classes.length <= palette.length) return palette[label];
    return `hsl(${(label * 137.5) % 360} 60% ${45 + (label % 3) * 9}%)`;
  };
  const state = { layout: "tsne", marks: "dots", only: null, selected: null };
  let places = [];

  const layOut = () => {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const margin = 20;
    const [xs, ys] = [0, 1].map((i) => data[state.layout].map((p) => p[i]));
    const fit = (values, room) => {
      const low = Math.min(...values), span = Math.max(...values) - low || 1;
      return (v) => margin + ((v - low) / span) * (room - 2 * margin);
    };
    const [x, y] = [fit(xs, width), fit(ys, height)];
    places = data[state.layout].map((p) => [x(p[0]), y(p[1])]);
    draw();
  };

  const tile = (i) => [
    (i % data.columns) * data.side, Math.floor(i / data.columns) * data.side, data.side, data.side,
  ];

  const draw = () => {
    const pen = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    const style = getComputedStyle(document.documentElement);
    const size = canvas.clientWidth < 500 ? 14 : 22;
    pen.imageSmoothingEnabled = data.side > size;
    places.forEach(([x, y], i) => {
      const label = data.labels[i];
      pen.globalAlpha = state.only === null || state.only === label ? 0.9 : 0.08;
      if (state.marks === "images") {
        pen.drawImage(sheet, ...tile(i), x - size / 2, y - size / 2, size, size);
        return;
      }
      pen.fillStyle = colour(label);
      pen.beginPath();
      pen.arc(x, y, places.length > 600 ? 3.2 : 4.2, 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
    if (state.selected !== null) {
      const [x, y] = places[state.selected];
      pen.strokeStyle = style.getPropertyValue("--ink");
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, state.marks === "images" ? size * 0.8 : 7, 0, 7);
      pen.stroke();
    }
  };

  const select = (i) => {
    if (i === state.selected) return;
    state.selected = i;
    draw();
    tip.hidden = i === null;
    if (i === null) return;
    const [x, y] = places[i];
    const inner = tip.querySelector("canvas");
    inner.width = inner.height = data.side;
    inner.getContext("2d").drawImage(sheet, ...tile(i), 0, 0, data.side, data.side);
    inner.style.imageRendering = data.side > 40 ? "auto" : "pixelated";
    const caption = tip.querySelector("p");
    caption.textContent = "";
    if (data.labels.length) {
      const label = document.createElement("b");
      label.textContent = data.classes[data.labels[i]];
      caption.append(label);
    }
    caption.append(data.names[i]);
    const right = x < canvas.clientWidth / 2;
    const left = right ? x + 16 : x - 16 - tip.offsetWidth;
    const room = canvas.clientWidth - tip.offsetWidth;
    tip.style.left = Math.max(Math.min(left, room), 0) + "px";
    tip.style.top = Math.max(Math.min(y - 40, canvas.clientHeight - tip.offsetHeight), 0) + "px";
  };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, least = 18 ** 2;
    places.forEach(([px, py], i) => {
      if (state.only !== null && state.only !== data.labels[i]) return;
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  };
  canvas.addEventListener("pointermove", (event) => select(at(event)));
  canvas.addEventListener("pointerdown", (event) => select(at(event)));
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") select(null);
  });
  canvas.addEventListener("blur", () => select(null));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (event.key === "Escape") select(null);
    if (!step) return;
    event.preventDefault();
    const order = places.map((_, i) => i).sort((a, b) => places[a][0] - places[b][0]);
    const now = state.selected === null ? -1 : order.indexOf(state.selected);
    select(order[(now + step + order.length) % order.length]);
  });

  const press = (buttons, pressed) => buttons.forEach((button) => {
    button.setAttribute("aria-pressed", String(button === pressed));
  });
  for (const what of ["layout", "marks"]) {
    const buttons = [...section.querySelectorAll(`[data-${what}]`)];
    for (const button of buttons) button.addEventListener("click", () => {
      state[what] = button.dataset[what];
      press(buttons, button);
      select(null);
      for (const text of section.querySelectorAll(".only")) {
        text.hidden = !text.classList.contains(state.layout);
      }
      layOut();
    });
  }
  const legend = [...section.querySelectorAll("[data-class]")];
  for (const button of legend) {
    const label = Number(button.dataset.class);
    button.querySelector("i").style.background = colour(label);
    button.addEventListener("click", () => {
      state.only = state.only === label ? null : label;
      press(legend, state.only === null ? null : button);
      select(null);
      draw();
    });
  }
  const ready = () => {
    layOut();
    new ResizeObserver(layOut).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  };
  if (sheet.complete) ready(); else sheet.addEventListener("load", ready);
}
