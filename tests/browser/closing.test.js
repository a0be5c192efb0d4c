// How a connection ends, as the CloseEvent of a browser tells it.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Browser } from "./support/browser.js";
import { page } from "./support/harness.js";
import { PATIENCE_MS } from "./support/log.js";
import { Site } from "./support/relay.js";
import { fileScope } from "./support/scope.js";
import { Server, startHub } from "./support/server.js";

const TEST = { timeout: 6 * PATIENCE_MS };
const COUNT = 200;

const scope = fileScope();
let browser, site;

before(async () => {
  site = await Site.start(scope);
  browser = await Browser.start(scope);
});

/** A tab whose global `ws` is open, `ended` a promise of its CloseEvent, and `texts` what came. */
async function connect(t, server, path = "/echo") {
  const tab = await browser.tab(t, site.page("/", page()));
  await tab.page.evaluate((url) => {
    globalThis.ws = new WebSocket(url);
    globalThis.texts = [];
    ws.onmessage = ({ data }) => texts.push(data);
    globalThis.errors = 0;
    ws.onerror = () => (errors += 1);
    const told = ({ code, reason, wasClean }) => ({ code, reason, wasClean, errors });
    globalThis.ended = new Promise((resolve) => (ws.onclose = (event) => resolve(told(event))));
    return new Promise((resolve) => (ws.onopen = resolve));
  }, `ws://127.0.0.1:${server.port}${path}`);
  return tab;
}

const ended = (tab) => tab.page.evaluate(() => ended);

describe("the page closes", TEST, () => {
  for (const [call, told] of [
    ["ws.close()", { code: 1005, reason: "", wasClean: true, errors: 0 }],
    ["ws.close(1000)", { code: 1000, reason: "", wasClean: true, errors: 0 }],
    ["ws.close(4001, 'bye')", { code: 4001, reason: "bye", wasClean: true, errors: 0 }],
    ["ws.close(3000, 'Ende: ä€😀')", { code: 3000, reason: "Ende: ä€😀", wasClean: true, errors: 0 }],
  ]) {
    test(`${call} → ${told.code}`, async (t) => {
      const tab = await connect(t, await Server.start(t));
      await tab.page.evaluate(call);
      assert.deepEqual(await ended(tab), told);
    });
  }

  // Its own answers a browser no longer hands to a page that closes: what others hear is what counts.
  test("what it sent before reaches the others, in order", async (t) => {
    const server = await startHub(t);
    const [leaving, staying] = [await connect(t, server, "/room"), await connect(t, server, "/room")];
    await leaving.page.evaluate((count) => {
      for (let i = 0; i < count; i++) ws.send(`${i}`);
      ws.send(new Uint8Array(1 << 20));
      ws.close(4000, "gone");
    }, COUNT);
    assert.deepEqual(await ended(leaving), { code: 4000, reason: "gone", wasClean: true, errors: 0 });
    await staying.until((count) => texts.length === count + 1, COUNT);
    const texts = await staying.page.evaluate(() => texts.slice(0, -1));
    assert.deepEqual(texts, Array.from({ length: COUNT }, (_, i) => `${i}`));
  });
});

describe("the server ends", TEST, () => {
  test("SIGTERM: every page is told 1001, clean, and it exits with 0", async (t) => {
    const server = await Server.start(t);
    const tabs = [await connect(t, server), await connect(t, server), await connect(t, server)];
    assert.equal(await server.stop(), 0);
    for (const tab of tabs) {
      const { reason, ...told } = await ended(tab);
      assert.deepEqual(told, { code: 1001, wasClean: true, errors: 0 });
    }
  });

  test("SIGTERM: what it had still to send comes first", async (t) => {
    const server = await startHub(t);
    const [speaking, listening] = [await connect(t, server, "/room"), await connect(t, server, "/room")];
    // The last of it back at the speaker: the server has read all and has queued it for everyone.
    await speaking.page.evaluate((count) => {
      for (let i = 0; i < count; i++) ws.send(`${i} ${"x".repeat(2000)}`);
    }, COUNT);
    await speaking.until((count) => texts.length === count, COUNT);
    assert.equal(await server.stop(), 0);
    assert.equal((await ended(listening)).code, 1001);
    const texts = await listening.page.evaluate(() => texts.map((text) => Number.parseInt(text)));
    assert.deepEqual(texts, Array.from({ length: COUNT }, (_, i) => i));
  });

  test("SIGKILL: 1006, not clean", async (t) => {
    const server = await Server.start(t);
    const tab = await connect(t, server);
    await server.kill();
    const { errors, ...told } = await ended(tab);
    assert.deepEqual(told, { code: 1006, reason: "", wasClean: false });
  });

  test("it was never there: an error, then 1006", async (t) => {
    const server = await Server.start(t);
    await server.stop();
    const tab = await browser.tab(t, site.page("/", page()));
    const told = await tab.page.evaluate((url) => {
      const ws = new WebSocket(url);
      const order = [];
      ws.onerror = () => order.push("error");
      return new Promise((resolve) => (ws.onclose = ({ code, wasClean }) => resolve({ code, wasClean, order })));
    }, `ws://127.0.0.1:${server.port}/`);
    assert.deepEqual(told, { code: 1006, wasClean: false, order: ["error"] });
  });
});
