// The pages work without this script. It fills in what takes a moment, follows a run that goes on, and shows the
// image of the dot that the pointer is at.
"use strict";

const POLL_MS = 1000;
const LONGEST_POLL_MS = 15000;

async function ask(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer;
}

for (const place of document.querySelectorAll("[data-fill]")) {
  place.setAttribute("aria-busy", "true");
  ask(place.dataset.fill)
    .then((answer) => answer.text())
    .then((html) => { place.innerHTML = html; })
    .catch(() => { place.textContent = "The sandbox does not answer; reload the page to try again."; })
    .finally(() => { place.removeAttribute("aria-busy"); });
}

async function follow(live) {
  const lines = document.getElementById("lines");
  let last = Number(live.dataset.last), state = null, pause = POLL_MS;
  for (;;) {
    await new Promise((resolve) => { setTimeout(resolve, pause); });
    let news;
    try {
      news = await (await ask(`${live.dataset.progress}?after=${last}`)).json();
      pause = POLL_MS;
    } catch {
      pause = Math.min(2 * pause, LONGEST_POLL_MS);
      continue;
    }
    last = news.last;
    lines.insertAdjacentHTML("beforeend", news.lines);
    // A screen reader reads a change: only if there is one.
    if (news.state !== state) live.innerHTML = news.progress;
    state = news.state;
    if (news.hasEnded) break;
  }
  const page = new DOMParser().parseFromString(await (await ask(location.href)).text(), "text/html");
  document.getElementById("results").replaceWith(page.getElementById("results"));
}

for (const live of document.querySelectorAll("[data-progress]")) follow(live).catch(console.error);

function nearest(points, x, y) {
  let found = null, least = Infinity;
  for (const point of points) {
    const distance = (point.at[0] - x) ** 2 + (point.at[1] - y) ** 2;
    if (distance < least) [found, least] = [point, distance];
  }
  return found;
}

for (const plot of document.querySelectorAll("[data-points]")) {
  const svg = plot.querySelector("svg"), near = plot.querySelector(".near");
  const image = near.querySelector("img"), caption = near.querySelector("figcaption");
  let points = null, shown = null;
  plot.addEventListener("pointermove", async (event) => {
    if (points === null) {
      points = [];
      try {
        points = await (await ask(plot.dataset.points)).json();
      } catch {
        points = null;
        return;
      }
    }
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const point = nearest(points, place.x, place.y);
    if (point === null) return;
    near.classList.toggle("at-left", place.x > svg.viewBox.baseVal.width / 2);
    if (point === shown) return;
    shown = point;
    image.src = point.picture;
    caption.textContent = `${point.selected ? "selected" : "left out"}: ${point.name}`;
    near.classList.toggle("is-selected", point.selected);
    near.hidden = false;
  });
  plot.addEventListener("pointerleave", () => { near.hidden = true; shown = null; });
}

for (const form of document.querySelectorAll("form[data-members]")) {
  const members = JSON.parse(form.dataset.members), kind = form.elements.kind;
  const special = new Set(Object.values(members).flat());
  const ofAws = ["iam-delay", "access-denied-messages"];
  const update = () => {
    for (const field of form.querySelectorAll("[data-member]")) {
      const name = field.dataset.member;
      field.hidden = special.has(name) ? !(members[kind.value] ?? []).includes(name) : ofAws.includes(kind.value);
    }
  };
  kind.addEventListener("change", update);
  update();
}
