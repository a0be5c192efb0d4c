// The page: which demo is shown, and the snippets. A demo connects when it is first looked at.
import * as demos from "./demos.js";
import { Frames, address } from "./kit.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const panels = new Map(tabs.map((tab) => [tab, document.getElementById(tab.getAttribute("aria-controls"))]));
const started = new Set();

function show(tab) {
  for (const [other, panel] of panels) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    panel.hidden = !chosen;
  }
  tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  const panel = panels.get(tab);
  if (started.has(panel)) return;
  started.add(panel);
  demos[panel.id](panel, new Frames(panel));
}

const fromHash = () => tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? tabs[0];

for (const tab of tabs) {
  tab.addEventListener("click", () => {
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
    show(tab);
  });
  tab.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[to % tabs.length];
    next.focus();
    next.click();
  });
}
addEventListener("hashchange", () => show(fromHash()));

const here = address("/").replace(/\/$/, "");
document.getElementById("address").textContent = here;

for (const figure of document.querySelectorAll("[data-snippet]")) {
  const code = figure.querySelector("code");
  const button = figure.querySelector("button");
  code.textContent = code.textContent.replaceAll("ws://127.0.0.1:4863", here);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // No clipboard without https: the reader has a keyboard.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1_500);
  });
}

show(fromHash());
