// The page at `/`, as a visitor uses it: the one place that knows what its parts are called.

import { Log } from "./log.js";

/** The demos by the id of their panel, with the text on their tab. */
export const DEMOS = { echo: "Echo", room: "Room", channels: "Channels", group: "Group chat", chat: "Named chat" };

export class Demo {
  /** What the page's policy forbade. */
  violations = new Log("violations of the policy");

  /** Opens the page of a server in a tab of a visitor of its own. */
  static async open(t, browser, server, options = {}) {
    const visitor = await browser.visitor(t, options);
    const demo = new Demo();
    await visitor.exposeFunction("tellViolation", (text) => demo.violations.push(text));
    await visitor.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile, lineNumber }) => {
        tellViolation(`${violatedDirective} ${blockedURI} ${sourceFile}:${lineNumber}`);
      });
    });
    demo.origin = `127.0.0.1:${server.port}`;
    demo.tab = await browser.tab(t, `http://${demo.origin}/`, visitor);
    demo.page = demo.tab.page;
    return demo;
  }

  /** Chooses a demo, which connects when it is looked at; its side A, and B where it has one. */
  async choose(name) {
    await this.page.getByRole("tab", { name: DEMOS[name], exact: true }).click();
    await this.page.getByRole("tabpanel", { name: DEMOS[name], exact: true }).waitFor();
    const sides = [new Side(this, name, "A"), new Side(this, name, "B")];
    for (const side of name === "echo" ? sides.slice(0, 1) : sides) await side.state("open");
    return sides;
  }

  /** A part of a demo that both sides share. */
  part(name) {
    return this.page.locator(`#${name}`);
  }

  /** What must not be: errors, forbidden things, requests to anybody else. */
  faults() {
    const { console: written, errors, alerts, requests } = this.tab;
    const isForeign = (url) => !url.startsWith("data:") && new URL(url).host !== this.origin;
    return {
      console: written.entries.filter(({ type }) => ["error", "warning"].includes(type)).map(({ text }) => text),
      errors: errors.entries,
      alerts: alerts.entries,
      violations: this.violations.entries,
      foreign: requests.entries.filter(isForeign),
    };
  }
}

export const NO_FAULTS = { console: [], errors: [], alerts: [], violations: [], foreign: [] };

/** One connection of a demo. */
class Side {
  constructor(demo, name, side) {
    this.demo = demo;
    this.selector = `#${name}-${side.toLowerCase()}`;
  }

  part(role) {
    return this.demo.page.locator(`${this.selector}-${role}`);
  }

  /** Waits until its status says that it is connecting, open, waiting or closed. */
  async state(state) {
    await this.demo.page.locator(`${this.selector}-status[data-state="${state}"]`).waitFor();
  }

  /** Waits for the words of its status. */
  async status(words) {
    await this.demo.tab.sees(`${this.selector}-status`, words);
  }

  /** Puts text into a field and presses Enter, which sends the form it is in. */
  async enter(role, text) {
    await this.part(role).fill(text);
    await this.part(role).press("Enter");
  }

  /** Types a message as one does, and sends it with Enter. */
  async say(text) {
    await this.part("text").fill("");
    await this.part("text").pressSequentially(text);
    await this.part("text").press("Enter");
  }

  /** Waits for a line by somebody with exactly this text; what stands beside it. */
  async hears(who, text) {
    const [log, tab] = [`${this.selector}-log`, this.demo.tab];
    const find = ([log, who, text]) => {
      const of = (line, part) => line.querySelector(part)?.textContent;
      const lines = [...document.querySelectorAll(`${log} .line`)];
      const line = lines.findLast((line) => of(line, ".who") === who && of(line, ".what") === text);
      return line && { meta: of(line, ".meta") };
    };
    try {
      return (await tab.until(find, [log, who, text])).meta;
    } catch {
      throw new Error(`no line of ${who}: ${text}\namong: ${JSON.stringify(await this.lines())}`);
    }
  }

  /** Waits for a note with this text in it. */
  async notes(text) {
    try {
      await this.part("log").locator(".note").filter({ hasText: text }).first().waitFor();
    } catch {
      throw new Error(`no note: ${text}\namong: ${JSON.stringify(await this.lines())}`);
    }
  }

  /** What each line says, without who and when. */
  lines() {
    return this.part("log").locator(".what, .note").allTextContents();
  }

  /** Waits until its list of members is this. */
  async members(...names) {
    const probe = ([list, names]) => JSON.stringify([...document.querySelectorAll(`${list} li`)].map((li) => li.textContent)) === names;
    try {
      await this.demo.tab.until(probe, [`${this.selector}-members`, JSON.stringify(names)]);
    } catch {
      throw new Error(`not ${names}, but: ${await this.part("members").locator("li").allTextContents()}`);
    }
  }
}
