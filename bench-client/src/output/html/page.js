"use strict";
// Tells what is under the pointer. The page is complete without it.
for (const chart of document.querySelectorAll(".chart")) {
  const lines = JSON.parse(chart.dataset.lines);
  const plot = chart.querySelector(".plot"), cursor = plot.querySelector(".cursor"), tip = plot.querySelector(".tip");
  const nearest = (line, x) => line.points.reduce((best, point) => Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best);
  const hide = () => { cursor.hidden = tip.hidden = true; };
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const x = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const found = lines.filter((line) => line.points.length).map((line) => ({ line, point: nearest(line, x) }));
    if (!found.length) return;
    const closest = found.reduce((best, one) => Math.abs(one.point[0] - x) < Math.abs(best.point[0] - x) ? one : best).point;
    const head = document.createElement("b");
    head.textContent = closest[2];
    tip.replaceChildren(head);
    // A line may go on as another, and is told once.
    for (const { line, point } of found) {
      if (Math.abs(point[0] - closest[0]) > 0.012) continue;
      const last = tip.lastElementChild, name = line.name;
      if (last.dataset.name === name) last.remove();
      const row = document.createElement("span");
      row.className = "c" + line.color;
      row.dataset.name = name;
      row.textContent = `${name} ${point[3]}`;
      tip.append(row);
    }
    cursor.hidden = tip.hidden = false;
    cursor.style.left = 100 * closest[0] + "%";
    const left = closest[0] * box.width;
    tip.style.left = (left + 14 + tip.offsetWidth < box.width ? left + 14 : Math.max(-40, left - 14 - tip.offsetWidth)) + "px";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
