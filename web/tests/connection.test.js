// sockeye.js: connecting, coming back, and not coming back.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Sockeye, SockeyeError } from "../sockeye.js";
import { FakeWebSocket, listen, outcome, page, pass, random, reset, settled } from "./fake.js";

const URL_ = "ws://127.0.0.1:4863/actions";
let clients = [];
let around;
beforeEach(reset);
afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
  around?.restore();
  around = undefined;
});

function connect(options = {}, url = URL_) {
  const client = new Sockeye(url, { WebSocket: FakeWebSocket, ...options });
  clients.push(client);
  return client;
}

async function opened(options) {
  const client = connect(options);
  await FakeWebSocket.last.open();
  return client;
}

/** The delay before the next connection, found by letting time pass in steps of 1 ms. */
async function delayOf(most) {
  const before = FakeWebSocket.made.length;
  for (let ms = 0; ms <= most; ms++) {
    if (FakeWebSocket.made.length > before) return ms;
    await pass(1);
  }
  return Infinity;
}

test("the page's host, its scheme and /actions are the default address", () => {
  around = page({ href: "https://chat.example:8443/some/page?x=1" });
  assert.equal(connect({}, null).url, "wss://chat.example:8443/actions");
  assert.equal(connect({}, "other?room=1").url, "wss://chat.example:8443/some/other?room=1");
  around.restore();
  around = page({ href: "http://localhost/" });
  const onlyOptions = new Sockeye({ WebSocket: FakeWebSocket });
  clients.push(onlyOptions);
  assert.equal(onlyOptions.url, "ws://localhost/actions");
  assert.equal(FakeWebSocket.last.url, "ws://localhost/actions");
  assert.equal(connect({}, new URL("http://a.example/b")).url, "ws://a.example/b");
});

test("states go connecting, open, waiting, connecting, closed", async () => {
  random(0.5);
  const client = connect();
  assert.equal(client.state, "connecting");
  const states = listen(client, "state");
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.lose();
  await pass(15_000);
  client.close();
  assert.deepEqual(
    states.map(({ state }) => state),
    ["open", "waiting", "connecting", "closed"],
  );
});

test("close tells code, reason, wasClean and whether it comes back", async () => {
  const client = await opened();
  const events = listen(client, "close");
  await FakeWebSocket.last.lose(1001, "restart", true);
  const { code, reason, wasClean, willReconnect } = events[0];
  assert.deepEqual(
    { code, reason, wasClean, willReconnect },
    { code: 1001, reason: "restart", wasClean: true, willReconnect: true },
  );
});

test("the delay doubles from minDelay to maxDelay and is taken at the full width", async () => {
  connect({ minDelay: 100, maxDelay: 1_000 });
  for (const ceiling of [100, 200, 400, 800, 1_000, 1_000]) {
    random(0.999);
    await FakeWebSocket.last.lose();
    const longest = await delayOf(2_000);
    assert.ok(longest >= ceiling * 0.99 && longest <= ceiling + 1, `${longest} of ${ceiling}`);
  }
  random(0);
  await FakeWebSocket.last.lose();
  assert.ok((await delayOf(10)) <= 1, "jitter goes down to nothing");
});

test("no delay is longer than 15 s by default", async () => {
  connect();
  random(1);
  for (let i = 0; i < 12; i++) {
    await FakeWebSocket.last.lose();
    const before = FakeWebSocket.made.length;
    await pass(15_000);
    assert.equal(FakeWebSocket.made.length, before + 1, `attempt ${i}`);
  }
});

test("only a connection that lasted starts the backoff anew", async () => {
  random(0.999);
  connect({ minDelay: 100 });
  for (const ceiling of [100, 200, 400]) {
    await FakeWebSocket.last.open(); // accepted and thrown out at once
    await FakeWebSocket.last.lose();
    assert.ok((await delayOf(1_000)) >= ceiling * 0.99, `${ceiling}`);
  }
  await FakeWebSocket.last.open();
  await pass(5_000);
  await FakeWebSocket.last.lose();
  assert.ok((await delayOf(1_000)) <= 101);
  // Time that passes after the loss does not count.
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.lose(1013, "retry=6000");
  await pass(6_100);
  await FakeWebSocket.last.lose();
  assert.ok((await delayOf(1_000)) >= 198);
});

for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4000, 4999]) {
  test(`${code} from the server means: do not come back`, async () => {
    const client = await opened();
    const events = listen(client, "close");
    const waits = outcome(client.channel("a").subscribe());
    await FakeWebSocket.last.lose(code, "", true);
    await pass(3_600_000);
    assert.equal(FakeWebSocket.made.length, 1);
    assert.equal(events[0].willReconnect, false);
    assert.equal(client.state, "closed");
    assert.equal(waits.error.code, "closed");
  });
}

for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3000]) {
  test(`${code} means: come back`, async () => {
    await opened();
    await FakeWebSocket.last.lose(code, "", true);
    await pass(15_000);
    assert.equal(FakeWebSocket.made.length, 2);
  });
}

test("reconnect says for itself which end is the last", async () => {
  await opened({ reconnect: ({ code }) => code === 4002 });
  await FakeWebSocket.last.lose(4002);
  await pass(15_000);
  assert.equal(FakeWebSocket.made.length, 2);
  await FakeWebSocket.last.lose(1006);
  await pass(15_000);
  assert.equal(FakeWebSocket.made.length, 2);
  await opened({ reconnect: false });
  await FakeWebSocket.last.lose(1001, "retry=1");
  await pass(15_000);
  assert.equal(FakeWebSocket.made.length, 3);
});

test("retry=MS in the reason is waited for, with jitter, whatever the code", async () => {
  around = page();
  random(0.5);
  await opened({ minDelay: 100 });
  await FakeWebSocket.last.lose(1008, "slow down; retry=20000", true);
  await around.show("visible");
  await around.online(true);
  assert.equal(FakeWebSocket.made.length, 1, "the server's wish is not overruled");
  await pass(20_049);
  assert.equal(FakeWebSocket.made.length, 1);
  await pass(1);
  assert.equal(FakeWebSocket.made.length, 2);
});

for (const [code, reason] of [
  [1001, "the server is stopping; retry_ms=1500"],
  [1012, "the server restarts; retry_ms=1500"],
  [1013, "retry_ms=1500, please"],
]) {
  test(`${code} with retry_ms, as sockeye says it: it comes back then, and in between only if asked to`, async () => {
    random(0.5);
    const client = await opened({ minDelay: 200 });
    const ends = listen(client, "close");
    await FakeWebSocket.last.lose(code, reason, true);
    assert.equal(ends[0].willReconnect, true);
    await pass(1_599);
    assert.equal(FakeWebSocket.made.length, 1);
    await pass(1);
    assert.equal(FakeWebSocket.made.length, 2);
    // A wish is for one attempt: the next ones back off from the beginning.
    await FakeWebSocket.last.lose();
    assert.ok((await delayOf(1_000)) <= 101);
  });
}

for (const reason of ["retry_ms=", "retry_ms=-5", "retry_ms=soon", "noretry_ms=60000", "Retry_ms=60000", "retry_ms: 60000"]) {
  test(`${reason} is no wish`, async () => {
    random(0.5);
    await opened({ minDelay: 100 });
    await FakeWebSocket.last.lose(1012, reason, true);
    assert.ok((await delayOf(1_000)) <= 51);
  });
}

test("retry_ms=0 is at once, but for the jitter", async () => {
  random(0.5);
  await opened({ minDelay: 100 });
  await FakeWebSocket.last.lose(1012, "retry_ms=0", true);
  assert.equal(await delayOf(1_000), 50);
});

test("an hour is the longest wish", async () => {
  random(0);
  await opened();
  await FakeWebSocket.last.lose(1012, `retry_ms=${"9".repeat(400)}`, true);
  await pass(3_599_999);
  assert.equal(FakeWebSocket.made.length, 1);
  await pass(1);
  assert.equal(FakeWebSocket.made.length, 2);
});

test("a hint beyond all measure does not make setTimeout fire at once", async () => {
  await opened();
  await FakeWebSocket.last.lose(1013, "retry=99999999999999");
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 1);
});

test("online and visible again: it tries at once", async () => {
  around = page();
  random(0.999);
  connect({ minDelay: 10_000 });
  await FakeWebSocket.last.lose();
  await around.online(true);
  assert.equal(FakeWebSocket.made.length, 2);
  await FakeWebSocket.last.lose();
  await around.show("hidden");
  assert.equal(FakeWebSocket.made.length, 2);
  await around.show("visible");
  assert.equal(FakeWebSocket.made.length, 3);
  await around.show("visible");
  assert.equal(FakeWebSocket.made.length, 3, "an attempt is under way");
  await pass(9_995);
  assert.equal(FakeWebSocket.made.length, 3, "the earlier timers are gone");
});

test("offline: at most one attempt in maxDelay, and none for becoming visible", async () => {
  around = page({ onLine: false });
  random(0);
  connect();
  for (let i = 1; i <= 4; i++) {
    await FakeWebSocket.last.lose();
    await around.show("visible");
    await pass(14_999);
    assert.equal(FakeWebSocket.made.length, i);
    await pass(1);
    assert.equal(FakeWebSocket.made.length, i + 1);
  }
});

test("after close nothing listens to the page any more", async () => {
  around = page();
  const client = await opened();
  client.close();
  await FakeWebSocket.last.lose(1000, "", true);
  assert.equal(around.listeners(), 0);
  await around.online(true);
  await pass(3_600_000);
  assert.equal(FakeWebSocket.made.length, 1);
});

test("close passes code and reason on, tells the end once it is there, and is final", async () => {
  const client = await opened();
  const events = listen(client, "close", "error");
  const waits = outcome(client.request("history", { channel_name: "a" }));
  client.close(4001, "bye");
  await settled();
  assert.deepEqual(FakeWebSocket.last.closedWith, [4001, "bye"]);
  assert.equal(waits.error.code, "closed");
  await FakeWebSocket.last.lose(4001, "bye", true);
  assert.equal(events.length, 1);
  assert.deepEqual([events[0].code, events[0].willReconnect], [4001, false]);
  await assert.rejects(client.request("list_channels"), { code: "closed" });
});

test("a code that may not be sent throws and changes nothing", async () => {
  const client = await opened();
  assert.throws(() => client.close(1001), { name: "InvalidAccessError" });
  assert.equal(client.state, "open");
});

test("close while waiting ends the waiting, close while connecting ends that", async () => {
  const waiting = connect();
  await FakeWebSocket.last.lose();
  waiting.close();
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 1);
  const connecting = connect();
  const errors = listen(connecting, "error");
  connecting.close();
  await FakeWebSocket.last.lose();
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 2);
  assert.equal(errors.length, 0, "an end that was asked for is no error");
});

test("an attempt that hangs is given up after connectTimeout", async () => {
  random(0);
  const client = connect({ connectTimeout: 3_000 });
  const events = listen(client, "close");
  const hung = FakeWebSocket.last;
  await pass(2_999);
  assert.equal(events.length, 0);
  await pass(1);
  assert.equal(events[0].code, 1006);
  assert.ok(hung.closedWith, "it does not stay behind");
  await pass(1);
  assert.equal(FakeWebSocket.made.length, 2);
  await FakeWebSocket.last.open();
  await hung.lose(1000); // the old one has no say any more
  assert.equal(client.state, "open");
});

test("a connection that fails is an error event of code transport, then close", async () => {
  const client = connect();
  const events = listen(client, "error", "close");
  await FakeWebSocket.last.lose();
  assert.deepEqual(
    events.map(({ type }) => type),
    ["error", "close"],
  );
  assert.ok(events[0].error instanceof SockeyeError);
  assert.equal(events[0].error.code, "transport");
});

test("getToken is asked at every connect, and its token goes first", async () => {
  random(0);
  let turn = 0;
  const client = connect({ getToken: async () => `t${++turn}` });
  const waits = outcome(client.request("list_channels"));
  await FakeWebSocket.last.open();
  assert.deepEqual(
    FakeWebSocket.last.actions.map(({ action, token }) => [action, token]),
    [["authenticate", "t1"]],
  );
  assert.equal(client.state, "connecting");
  assert.equal(client.authenticated, false);
  await FakeWebSocket.last.answer("authenticate");
  assert.equal(client.state, "open");
  assert.equal(client.authenticated, true);
  await FakeWebSocket.last.answer("list_channels", [{ action: "list_channels", channel_name: "a" }]);
  assert.equal(waits.value[0].channel_name, "a");
  await FakeWebSocket.last.lose();
  assert.equal(client.authenticated, false);
  await pass(1);
  await FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.action("authenticate").token, "t2");
});

test("without getToken nothing is authenticated; an empty token asks for the cookie and may stay anonymous", async () => {
  await opened();
  assert.deepEqual(FakeWebSocket.last.sent, []);
  for (const none of ["", undefined, null]) {
    const client = connect({ getToken: () => none });
    const errors = listen(client, "error");
    await FakeWebSocket.last.open();
    assert.equal(FakeWebSocket.last.action("authenticate").token, "");
    await FakeWebSocket.last.refuse("authenticate", "Invalid auth token");
    assert.equal(client.state, "open");
    assert.equal(client.authenticated, false);
    assert.equal(errors.length, 0);
  }
});

test("a refused token sends nothing under a wrong name: error, and a later attempt with a new token", async () => {
  random(0);
  let token = "old";
  const client = connect({ getToken: () => token });
  const errors = listen(client, "error");
  const waits = outcome(client.request("message_channel", { channel_name: "a", message: "x" }));
  const first = FakeWebSocket.last;
  await first.open();
  await first.refuse("authenticate", "Invalid auth token");
  assert.equal(errors[0].error.message, "Invalid auth token");
  assert.equal(errors[0].error.action, "authenticate");
  assert.deepEqual(
    first.actions.map(({ action }) => action),
    ["authenticate"],
  );
  assert.equal(client.state, "waiting");
  token = "new";
  await pass(1);
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.answer("authenticate");
  assert.equal(FakeWebSocket.last.action("message_channel").message, "x");
  assert.equal(waits.error, undefined);
});

test("getToken that throws is an error, and it tries again", async () => {
  random(0);
  const client = connect({ getToken: () => Promise.reject(new Error("login is down")) });
  const errors = listen(client, "error");
  await FakeWebSocket.last.open();
  assert.equal(errors[0].error.code, "token");
  assert.match(errors[0].error.message, /login is down/);
  await pass(1);
  assert.equal(FakeWebSocket.made.length, 2);
});

test("a token that comes after the connection was lost is not sent on the next one", async () => {
  random(0);
  const given = [];
  connect({ getToken: () => new Promise((resolve) => given.push(resolve)) });
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.lose();
  await pass(1);
  await FakeWebSocket.last.open();
  given[0]("late");
  await settled();
  assert.deepEqual(FakeWebSocket.last.sent, []);
  given[1]("right");
  await settled();
  assert.equal(FakeWebSocket.last.action("authenticate").token, "right");
});

test("close while it authenticates is no failure, and is told as the close it is", async () => {
  const client = connect({ getToken: () => "t" });
  const [errors, closes] = [listen(client, "error"), listen(client, "close")];
  const socket = FakeWebSocket.last;
  await socket.open();
  client.close();
  await settled();
  await socket.lose(1000, "", true);
  assert.deepEqual(errors, []);
  assert.deepEqual(
    closes.map(({ code, wasClean }) => [code, wasClean]),
    [[1000, true]],
  );
});
