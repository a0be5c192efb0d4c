// The page at `/`, as a visitor uses it: the one place that knows what its parts are called.

import { Log } from "./log.js";

/** The demos, by the ids of their panels, in the order of their tabs. */
export const DEMOS = ["echo", "room", "channels", "group", "chat"];

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
    await this.tabOf(name).click();
    await this.shows(name);
    const sides = [new Side(this, name, "A"), new Side(this, name, "B")];
    for (const side of name === "echo" ? sides.slice(0, 1) : sides) await side.state("open");
    return sides;
  }

  tabOf(name) {
    return this.page.locator(`[role="tab"][aria-controls="${name}"]`);
  }

  /** Waits until this demo is shown, and no other. */
  async shows(name) {
    await this.page.locator(`#${name}[role="tabpanel"]`).waitFor();
    const shown = await this.page.getByRole("tabpanel").evaluateAll((panels) => panels.map(({ id }) => id));
    if (shown.join() !== name) throw new Error(`shown are ${shown}, not ${name}`);
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

  /** Waits for a line with exactly this text, by `who` where that is given; what stands beside it. */
  async hears(text, who) {
    const [log, tab] = [`${this.selector}-log`, this.demo.tab];
    const find = ([log, who, text]) => {
      const of = (line, part) => line.querySelector(part)?.textContent;
      const lines = [...document.querySelectorAll(`${log} .line`)];
      const line = lines.findLast((line) => of(line, ".what") === text && (who === null || of(line, ".who") === who));
      return line && { meta: of(line, ".meta") };
    };
    try {
      return (await tab.until(find, [log, who ?? null, text])).meta;
    } catch {
      throw new Error(`no line of ${who ?? "anybody"}: ${text}\namong: ${JSON.stringify(await this.lines())}`);
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

  /** Waits until its list of members has these names, in any order. */
  async members(...names) {
    const wanted = names.toSorted().join();
    const probe = ([list, wanted]) => {
      const names = [...document.querySelectorAll(`${list} li`)].map((member) => member.textContent);
      return names.toSorted().join() === wanted;
    };
    try {
      await this.demo.tab.until(probe, [`${this.selector}-members`, wanted]);
    } catch {
      const seen = await this.part("members").locator("li").allTextContents();
      throw new Error(`members are ${seen}, not ${wanted}`);
    }
  }
}
