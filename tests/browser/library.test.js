// The browser libraries in a real page, with servers that end and links that break.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Browser } from "./support/browser.js";
import { page } from "./support/harness.js";
import { Log, PATIENCE_MS } from "./support/log.js";
import { Relay, Site } from "./support/relay.js";
import { fileScope } from "./support/scope.js";
import { startHub } from "./support/server.js";

const TEST = { timeout: 6 * PATIENCE_MS };

/** Backoff that a test can wait for, in milliseconds. */
const QUICK = { minDelay: 20, maxDelay: 200 };

const scope = fileScope();
let browser, site;

before(async () => {
  site = await Site.start(scope);
  browser = await Browser.start(scope);
});

/** What the page tells of a client: `connect(url, options)` and, for each of its channels, `join(name, options)`. */
const TELL = `
import { Sockeye } from "/scripts/sockeye.js";
globalThis.tokens = [];
globalThis.connect = (url, options = {}) => {
  // One token after the other, the last one for ever.
  const { tokens: supply, ...rest } = options;
  const getToken = supply && (async () => {
    const token = supply.length > 1 ? supply.shift() : supply[0];
    tokens.push(token);
    if (token === "throw") throw new Error("no token today");
    return token;
  });
  globalThis.client = new Sockeye(url, { ...rest, ...(getToken && { getToken }) });
  client.addEventListener("state", ({ state }) => note({ state }));
  client.addEventListener("error", ({ error }) => note({ error: error.code, message: error.message }));
  client.addEventListener("close", ({ code, wasClean, willReconnect }) => note({ code, wasClean, willReconnect }));
};
globalThis.join = async (name, options) => {
  const channel = (globalThis.channel = client.channel(name));
  channel.addEventListener("recovered", ({ recovered, reason, count }) => note({ recovered, reason, count }));
  channel.addEventListener("message", ({ text, seq, username, replayed }) => note({ text, seq, username, replayed }));
  await channel.subscribe(options);
  note({ joined: name });
};
// A promise's end as a value: what was rejected is its code.
globalThis.settled = (promise) => promise.then((value) => ({ value }), ({ code, message }) => ({ code, message }));
globalThis.loaded = true;
`;

/** A tab with the library, whose `notes` are what it told. */
async function open(t, server, module = TELL) {
  site.target = server.port;
  const tab = await browser.tab(t, site.page("/", page()));
  tab.notes = new Log("notes of the page");
  await tab.page.exposeFunction("note", (entry) => tab.notes.push(entry));
  await tab.runModule(module);
  await tab.until(() => globalThis.loaded);
  return tab;
}

/** A tab whose client is in the channel "news". */
async function enter(t, server, user, port = server.port, options = {}) {
  const tab = await open(t, server);
  const url = `ws://127.0.0.1:${port}/actions`;
  await tab.page.evaluate(([url, options]) => connect(url, options), [url, { ...QUICK, tokens: [`token-of-${user}`], ...options }]);
  await tab.page.evaluate(() => join("news"));
  await noted(tab, "membership", ({ joined }) => joined === "news");
  return tab;
}

const noted = (tab, what, fits, from) => tab.notes.find(what, fits, from);
const send = (tab, text) => tab.page.evaluate((text) => channel.send(text), text);
const heard = (tab) => tab.notes.entries.filter((note) => "text" in note);
const texts = (tab) => heard(tab).map(({ text }) => text);
const states = (tab) => tab.notes.entries.flatMap(({ state }) => state ?? []);

describe("a server that starts again on its port", TEST, () => {
  for (const end of ["stop", "kill"]) {
    test(`after its ${end}: waiting, open, joined again, and told that nothing was recovered`, async (t) => {
      const server = await startHub(t);
      const tab = await enter(t, server, "alice");
      await send(tab, "before");
      const epoch = await tab.page.evaluate(() => channel.epoch);
      const from = tab.notes.entries.length;

      await server[end]();
      await noted(tab, "wait", ({ state }) => state === "waiting", from);
      const closed = await noted(tab, "close", ({ willReconnect }) => willReconnect, from);
      assert.deepEqual(closed, { code: end === "stop" ? 1001 : 1006, wasClean: end === "stop", willReconnect: true });
      await tab.page.evaluate(() => void (globalThis.queued = channel.send("while down")));

      await startHub(t, { listen: [`127.0.0.1:${server.port}`] });
      await noted(tab, "connection", ({ state }) => state === "open", from);
      const told = await noted(tab, "word on recovery", ({ reason }) => reason === "reconnect", from);
      assert.deepEqual(told, { recovered: false, reason: "reconnect", count: 0 });
      assert.equal((await tab.page.evaluate(() => queued)).text, "while down");
      await send(tab, "after");
      assert.deepEqual(texts(tab), ["before", "while down", "after"]);
      assert.ok(heard(tab).every(({ replayed, username }) => !replayed && username === "alice"));
      const now = await tab.page.evaluate(() => ({ epoch: channel.epoch, joined: channel.joined, tokens }));
      assert.notEqual(now.epoch, epoch);
      assert.equal(now.joined, true);
      assert.deepEqual(now.tokens, ["token-of-alice", "token-of-alice"], "asked for at each connection, and only then");
      assert.deepEqual(tab.errors.entries, []);
    });
  }
});

describe("a link that breaks while the server and another member stay", TEST, () => {
  test("what was said meanwhile comes once, in order, marked as replayed", async (t) => {
    const server = await startHub(t);
    const relay = await Relay.start(t);
    relay.target = server.port;
    const alice = await enter(t, server, "alice", relay.port);
    const bob = await enter(t, server, "bob");
    await send(bob, "1");
    await noted(alice, "the first", ({ text }) => text === "1");

    relay.refusing = true;
    const from = alice.notes.entries.length;
    relay.cut();
    await noted(alice, "wait", ({ state }) => state === "waiting", from);
    await alice.page.evaluate(() => void (globalThis.queued = channel.send("from alice")));
    for (const text of ["2", "3", "4"]) await send(bob, text);
    relay.refusing = false;

    const told = await noted(alice, "word on recovery", ({ reason }) => reason, from);
    assert.deepEqual(told, { recovered: true, reason: "reconnect", count: 3 });
    await alice.page.evaluate(() => queued);
    await send(bob, "5");
    await noted(alice, "the last", ({ text }) => text === "5");
    assert.deepEqual(texts(alice), ["1", "2", "3", "4", "from alice", "5"]);
    assert.deepEqual(heard(alice).map(({ replayed }) => replayed), [false, true, true, true, false, false]);
    await noted(bob, "the last", ({ text }) => text === "5");
    assert.deepEqual(texts(bob), ["1", "2", "3", "4", "from alice", "5"]);
    assert.deepEqual(heard(bob).map(({ seq }) => seq), heard(alice).map(({ seq }) => seq));
    assert.equal(await alice.page.evaluate(() => tokens.length), 2);
  });

  test("cut again and again under a stream of messages: none lost, none twice", async (t) => {
    // Few enough at a time that none leaves the history before it is asked for.
    const [cuts, each] = [10, 20];
    const server = await startHub(t);
    const relay = await Relay.start(t);
    relay.target = server.port;
    const alice = await enter(t, server, "alice", relay.port);
    const bob = await enter(t, server, "bob");
    for (let cut = 0; cut < cuts; cut++) {
      const from = alice.notes.entries.length;
      const said = bob.page.evaluate(
        async ([first, each]) => {
          for (let i = first; i < first + each; i++) await channel.send(`${i}`);
        },
        [cut * each, each],
      );
      // In the middle of them.
      await noted(alice, "some of them", ({ text }) => Number(text) >= cut * each + 5, from);
      relay.cut();
      await noted(alice, "word on recovery", ({ reason }) => reason === "reconnect", from);
      await said;
    }
    await noted(alice, "the last", ({ text }) => text === `${cuts * each - 1}`);
    assert.deepEqual(texts(alice), Array.from({ length: cuts * each }, (_, i) => `${i}`));
    const words = alice.notes.entries.filter(({ reason }) => reason);
    assert.ok(words.length >= cuts && words.every(({ recovered }) => recovered), JSON.stringify(words));
  });

  test("a link that is dead and silent is given up at the first missing answer", async (t) => {
    const server = await startHub(t);
    const relay = await Relay.start(t);
    relay.target = server.port;
    // The next attempt may fall into the silence as well.
    const tab = await enter(t, server, "alice", relay.port, { connectTimeout: 500 });
    const from = tab.notes.entries.length;
    relay.silent = true;
    const answer = await tab.page.evaluate(() => settled(client.request("message_user", { uuid: "u1", message: "x" }, { timeout: 200 })));
    assert.equal(answer.code, "timeout");
    assert.match(answer.message, /message_user within 200 ms/);
    await noted(tab, "wait", ({ state }) => state === "waiting", from);
    relay.silent = false;
    await noted(tab, "word on recovery", ({ reason }) => reason === "reconnect", from);
    await send(tab, "back");
    assert.deepEqual(texts(tab), ["back"]);
  });
});

describe("before the first connection", TEST, () => {
  test("requests wait in the queue, in order; one too many is refused", async (t) => {
    const server = await startHub(t);
    const relay = await Relay.start(t);
    relay.refusing = true;
    relay.target = server.port;
    const tab = await open(t, server);
    const url = `ws://127.0.0.1:${relay.port}/actions`;
    await tab.page.evaluate(([url, options]) => connect(url, options), [url, { ...QUICK, queueMax: 3, tokens: ["token-of-alice"] }]);
    await tab.page.evaluate(() => {
      const ask = (action, fields) => settled(client.request(action, fields));
      globalThis.answers = Promise.all([
        ask("join_channel", { channel_name: "news" }),
        ask("message_channel", { channel_name: "news", message: "one" }),
        ask("list_members", { channel_name: "news" }),
        ask("list_channels"),
      ]);
    });
    await noted(tab, "wait", ({ state }) => state === "waiting");
    relay.refusing = false;
    const [join, message, members, channels] = await tab.page.evaluate(() => answers);
    assert.deepEqual(join.value, []);
    assert.equal(message.value[0].text, "one");
    assert.deepEqual(members.value.map(({ username }) => username), ["alice"]);
    assert.equal(channels.code, "queue-full");
  });

  test("getToken is asked each time: after a failure, after a refusal", async (t) => {
    const server = await startHub(t);
    const tab = await open(t, server);
    const url = `ws://127.0.0.1:${server.port}/actions`;
    const tokens = ["throw", "stale", "token-of-alice"];
    await tab.page.evaluate(([url, options]) => connect(url, options), [url, { ...QUICK, tokens }]);
    await noted(tab, "connection", ({ state }) => state === "open");
    const errors = tab.notes.entries.filter(({ error }) => error);
    assert.deepEqual(errors.map(({ error }) => error), ["token", "server"]);
    assert.equal(errors[1].message, "Invalid auth token");
    assert.deepEqual(await tab.page.evaluate(() => tokens), tokens);
    assert.equal(await tab.page.evaluate(() => client.authenticated), true);
    assert.equal(states(tab).filter((state) => state === "open").length, 1, "never open under a wrong name");
  });

  test("closing ends it for good: what waits is rejected, and no further connection is made", async (t) => {
    const server = await startHub(t);
    const tab = await open(t, server);
    await tab.page.clock.install();
    await tab.page.evaluate((url) => connect(url), `ws://127.0.0.1:${server.port}/actions`);
    await noted(tab, "connection", ({ state }) => state === "open");
    const answer = await tab.page.evaluate(() => {
      const waiting = settled(client.request("list_channels"));
      client.close();
      return waiting;
    });
    assert.equal(answer.code, "closed");
    await noted(tab, "end", ({ code }) => code === 1000);
    await tab.page.clock.fastForward(3_600_000);
    assert.equal(await tab.page.evaluate(() => client.state), "closed");
    assert.equal(tab.requests.entries.filter((url) => url.startsWith("ws:")).length, 1);
  });
});

describe("WebConnectionWebSocket", TEST, () => {
  const TELL_ENVELOPE = `
import { WebConnectionWebSocket } from "/scripts/webconnection-websocket.js";
globalThis.start = (...settings) => {
  globalThis.socket = new WebConnectionWebSocket();
  socket.onMessageHandler = ({ message, userId, groupId }) => note({ message, userId, groupId });
  socket.onOpenHandler = (event) => note({ type: event.type });
  socket.onCloseHandler = (event) => note({ type: event.type, code: event.code });
  socket.tryConnect(...settings);
};
globalThis.say = (text) => socket.send(socket.createBroadcastMessage("broadcastchatmessage", text));
globalThis.loaded = true;
`;
  const type = (wanted) => ({ type }) => type === wanted;
  const said = (text) => ({ message }) => message === text;

  test("both names of the file lead to it", async (t) => {
    const tab = await open(t, await startHub(t), TELL_ENVELOPE);
    const same = await tab.page.evaluate(async () => {
      const { WebConnectionWebSocket } = await import("/scripts/web-connection-websocket.js");
      return typeof WebConnectionWebSocket;
    });
    assert.equal(same, "function");
  });

  test("it queues until it is open, comes back when it is cut, and sends what was said meanwhile", async (t) => {
    const server = await startHub(t);
    const tab = await open(t, server, TELL_ENVELOPE);
    await tab.page.evaluate(() => {
      start(true, "g", "rick");
      say("at once");
    });
    assert.deepEqual(await noted(tab, "the first", said("at once")), { message: "at once", userId: "rick", groupId: "g" });
    const from = tab.notes.entries.length;
    site.cut();
    await noted(tab, "close", type("close"), from);
    await tab.page.evaluate(() => say("meanwhile"));
    await noted(tab, "open", type("open"), from);
    await noted(tab, "the second", said("meanwhile"), from);
    await tab.page.evaluate(() => say("after"));
    await noted(tab, "the third", said("after"), from);
    const lines = tab.notes.entries.filter(({ message }) => ["meanwhile", "after"].includes(message));
    assert.deepEqual(lines.map(({ message }) => message), ["meanwhile", "after"]);
  });

  test("it comes back when the server has started again", async (t) => {
    const server = await startHub(t);
    const tab = await open(t, server, TELL_ENVELOPE);
    await tab.page.evaluate(() => start(true, "g", "rick"));
    await noted(tab, "open", type("open"));
    const from = tab.notes.entries.length;
    await server.kill();
    await noted(tab, "close", type("close"), from);
    await startHub(t, { listen: [`127.0.0.1:${server.port}`] });
    await noted(tab, "open", type("open"), from);
    await tab.page.evaluate(() => say("after"));
    await noted(tab, "its own line", said("after"), from);
  });

  test("not asked to, it does not come back", async (t) => {
    const server = await startHub(t);
    const tab = await open(t, server, TELL_ENVELOPE);
    await tab.page.clock.install();
    await tab.page.evaluate(() => start(false, "g", "rick"));
    await noted(tab, "open", type("open"));
    site.cut();
    await noted(tab, "close", type("close"));
    await tab.page.clock.fastForward(3_600_000);
    await tab.page.evaluate(() => 0);
    assert.equal(tab.requests.entries.filter((url) => url.startsWith("ws:")).length, 1);
  });
});
