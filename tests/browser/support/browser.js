// Debian's Chromium, and its tabs with everything that happens in them written down.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Log, PATIENCE_MS } from "./log.js";

/** Where pictures are kept. */
export const ARTEFACTS = fileURLToPath(new URL("../../../target/browser/", import.meta.url));

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export class Browser {
  /**
   * Starts one with a profile of its own.
   * @param {Record<string, number>} hosts the port of this machine that each "host:port" leads to; no other host exists.
   */
  static async start(scope, hosts = {}) {
    const maps = Object.entries(hosts).map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
    // The first that fits counts.
    const rules = [...maps, "MAP 127.0.0.1 127.0.0.1", "MAP * ~NOTFOUND"];
    const browser = new Browser();
    browser.chromium = await chromium.launch({
      executablePath: process.env.SOCKEYE_CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: [...FLAGS, "--ignore-certificate-errors", `--host-resolver-rules=${rules.join(", ")}`],
    });
    scope.after(() => browser.chromium.close());
    return browser;
  }

  /** A visitor: tabs of one visitor share cookies, those of two do not. Gone with the test. */
  async visitor(scope, options = {}) {
    const context = await this.chromium.newContext(options);
    context.setDefaultTimeout(PATIENCE_MS);
    scope.after(() => context.close());
    return context;
  }

  /** A tab of a visitor of its own, unless `visitor` is given. */
  async tab(scope, url, visitor) {
    const tab = new Tab(await (visitor ?? (await this.visitor(scope))).newPage());
    if (url) await tab.page.goto(url);
    return tab;
  }
}

export class Tab {
  /** Every `alert`, which is answered at once. */
  alerts = new Log("alerts");
  /** `{ type, text }` of what was written to the console. */
  console = new Log("the console");
  /** Messages of exceptions that nobody caught, and of parsing that failed. */
  errors = new Log("errors");
  /** `{ sent | received, url }`, the payload a string or a Buffer, over all WebSockets of the tab. */
  frames = new Log("frames");
  /** URLs asked for, WebSockets included. */
  requests = new Log("requests");

  constructor(page) {
    this.page = page;
    page.on("dialog", async (dialog) => {
      this.alerts.push(dialog.message());
      await dialog.accept();
    });
    page.on("console", (message) => this.console.push({ type: message.type(), text: message.text() }));
    page.on("pageerror", (error) => this.errors.push(`${error.name}: ${error.message}`));
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("websocket", (socket) => {
      const url = socket.url();
      this.requests.push(url);
      socket.on("framesent", ({ payload }) => this.frames.push({ sent: payload, url }));
      socket.on("framereceived", ({ payload }) => this.frames.push({ received: payload, url }));
    });
  }

  /** Payloads of what came, oldest first. */
  get received() {
    return this.frames.entries.filter((frame) => "received" in frame).map((frame) => frame.received);
  }

  /** The first received text frame, read as JSON, that fits. */
  async message(what, fits) {
    const frame = await this.frames.find(what, ({ received }) => {
      if (typeof received !== "string") return false;
      try {
        return fits(JSON.parse(received));
      } catch {
        return false;
      }
    });
    return JSON.parse(frame.received);
  }

  /** Runs code as a script of the page's, in the global scope. */
  async run(code) {
    await this.page.addScriptTag({ content: code });
  }

  /** Runs code as a module of the page's, and waits until it was evaluated. */
  async runModule(code) {
    await this.page.addScriptTag({ content: code, type: "module" });
  }

  /** What the browser says of code that it is to parse as a script, or "" where it parses. Nothing is run. */
  async parse(code) {
    const session = await this.page.context().newCDPSession(this.page);
    await session.send("Runtime.enable");
    const { exceptionDetails } = await session.send("Runtime.compileScript", {
      expression: code,
      sourceURL: "",
      persistScript: false,
    });
    await session.detach();
    return exceptionDetails?.exception?.description ?? "";
  }

  /** Waits until a function of the page's returns something true; that. */
  async until(probe, argument) {
    const handle = await this.page.waitForFunction(probe, argument);
    return handle.jsonValue();
  }

  /** The text of an element, once it is this. */
  async sees(selector, text) {
    try {
      await this.until(([selector, text]) => document.querySelector(selector)?.textContent === text, [selector, text]);
    } catch {
      const seen = await this.page.evaluate((selector) => document.querySelector(selector)?.textContent, selector);
      throw new Error(`${selector} says ${JSON.stringify(seen)}, not ${JSON.stringify(text)}`);
    }
  }

  /** Keeps a picture of the whole page. */
  async picture(name) {
    mkdirSync(ARTEFACTS, { recursive: true });
    await this.page.screenshot({ path: `${ARTEFACTS}${name}.png`, fullPage: true, animations: "disabled" });
  }
}
