// sockeye.js: requests, their answers, and what waits while there is no connection.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Sockeye, SockeyeError } from "../sockeye.js";
import { FakeWebSocket, listen, message, outcome, pass, random, reset, settled } from "./fake.js";

let clients = [];
beforeEach(reset);
afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

function connect(options = {}) {
  const client = new Sockeye("ws://127.0.0.1/actions", { WebSocket: FakeWebSocket, ...options });
  clients.push(client);
  return client;
}

async function opened(options) {
  const client = connect(options);
  await FakeWebSocket.last.open();
  return [client, FakeWebSocket.last];
}

test("each request is an array of one action with an id of its own; answers find theirs in any order", async () => {
  const [client, socket] = await opened();
  const one = outcome(client.request("list_members", { channel_name: "a", id: "mine", action: "mine" }));
  const two = outcome(client.request("list_channels"));
  const frames = socket.sent.map((text) => JSON.parse(text));
  assert.deepEqual(
    frames.map((frame) => frame.length),
    [1, 1],
  );
  assert.equal(frames[0][0].action, "list_members");
  assert.notEqual(frames[0][0].id, frames[1][0].id);
  await socket.answer("list_channels", [{ action: "list_channels", channel_name: "x" }]);
  assert.equal(one.value, undefined);
  assert.equal(two.value[0].channel_name, "x");
  await socket.answer("list_members", []);
  assert.deepEqual(one.value, []);
});

test("an error with an id rejects its request and is no error event", async () => {
  const [client, socket] = await opened();
  const errors = listen(client, "error");
  const sent = outcome(client.request("leave_channel", { channel_name: "a" }));
  await socket.refuse("leave_channel", "Channel does not exist, a");
  assert.ok(sent.error instanceof SockeyeError);
  assert.equal(sent.error.message, "Channel does not exist, a");
  assert.equal(sent.error.code, "server");
  assert.equal(sent.error.action, "leave_channel");
  assert.equal(sent.error.id, socket.action("leave_channel").id);
  assert.equal(errors.length, 0);
});

test("an error without an id is an error event, and so is what cannot be decoded", async () => {
  const [client, socket] = await opened();
  const errors = listen(client, "error");
  await socket.receive({ status: "error", version: "1.0", message: "Did not receive valid JSON", data: [] });
  for (const frame of ["", "{", "7", "null", "[]", '"x"']) await socket.receive(frame);
  assert.equal(errors[0].error.message, "Did not receive valid JSON");
  assert.deepEqual(
    errors.map(({ error }) => error.code),
    ["server", ...Array(6).fill("undecodable")],
  );
  assert.equal(client.state, "open");
});

test("replies with strange data harm nothing", async () => {
  const [client, socket] = await opened();
  const events = listen(client, "message", "error");
  for (const data of [undefined, 7, "x", {}, [null, 3, "x", []], [{}], [{ action: 7, channel_name: 9 }]]) {
    await socket.receive({ status: "ok", data });
  }
  assert.equal(client.state, "open");
  assert.deepEqual(
    events.map(({ type }) => type),
    ["message", "message"],
  );
});

test("no answer in time rejects; a late answer is no surprise, and a late own copy is still a message", async () => {
  const [client, socket] = await opened();
  const notices = listen(client, "message", "error");
  const list = outcome(client.request("list_channels", {}, { timeout: 100 }));
  const sent = outcome(client.channel("lobby").send("hi"));
  await socket.push({ action: "something" });
  await pass(99);
  assert.equal(list.error, undefined);
  await pass(1);
  assert.equal(list.error.code, "timeout");
  assert.match(list.error.message, /list_channels within 100 ms/);
  await pass(9_900);
  assert.equal(sent.error.code, "timeout");
  await socket.answer("list_channels", [{ action: "list_channels", channel_name: "x" }]);
  await socket.answer("message_channel", [message(1, "hi")]);
  assert.deepEqual(
    notices.map(({ data }) => data.action),
    ["something", "new_message"],
  );
});

test("an unanswered request on a silent connection means that it is dead", async () => {
  random(0);
  const [client] = await opened();
  const events = listen(client, "close");
  const sent = outcome(client.request("list_channels"));
  await pass(10_000);
  assert.equal(sent.error.code, "timeout");
  assert.deepEqual([events[0].code, events[0].wasClean, events[0].willReconnect], [1006, false, true]);
  await pass(1);
  await FakeWebSocket.last.open();
  assert.deepEqual(FakeWebSocket.last.sent, [], "what was given up is not sent again");
});

test("timeout 0 waits for ever, and so does Infinity", async () => {
  const [client] = await opened();
  const sent = [0, Infinity].map((timeout) => outcome(client.request("list_channels", {}, { timeout })));
  await pass(3_600_000);
  assert.deepEqual(sent, [{}, {}]);
});

test("the own copy answers a message and is delivered as one", async () => {
  const [client, socket] = await opened();
  const lobby = client.channel("lobby");
  const heard = listen(lobby, "message");
  const all = listen(client, "message");
  const sent = outcome(lobby.send("hi"));
  assert.deepEqual(socket.action("message_channel").channel_name, "lobby");
  await socket.answer("message_channel", [message(1, "hi")]);
  assert.deepEqual(sent.value, {
    seq: 1,
    uuid: "1",
    username: "ann",
    text: "hi",
    time: 1_001,
    html: "[00:00] &lt;ann&gt;: hi",
  });
  assert.equal(heard[0].text, "hi");
  assert.equal(all[0].data.message, "[00:00] &lt;ann&gt;: hi");
  assert.equal(all[0].channel, lobby);
  const admin = outcome(lobby.send("no member"));
  await socket.answer("message_channel", []);
  assert.equal(admin.value, undefined);
  assert.ok("value" in admin);
});

test("message sends to a user and resolves with the own copy; the conversation becomes a channel", async () => {
  const [client, socket] = await opened();
  const sent = outcome(client.message("2", "psst"));
  assert.deepEqual([socket.action("message_user").uuid, socket.action("message_user").message], ["2", "psst"]);
  const all = listen(client, "message");
  await socket.answer("message_user", [message(1, "psst", { channel_name: "pm:1+2" })]);
  assert.equal(sent.value.text, "psst");
  assert.equal(all[0].channel, client.channel("pm:1+2"));
  assert.equal(all[0].channel.private, true);
  await assert.rejects(client.channel("pm:1+2").send("x"), /message\(uuid, text\)/);
  await assert.rejects(client.channel("pm:1+2").subscribe(), SockeyeError);
});

test("fields that are no JSON reject", async () => {
  const [client, socket] = await opened();
  const circle = {};
  circle.circle = circle;
  await assert.rejects(client.request("x", circle), TypeError);
  await assert.rejects(client.request("x", { big: 1n }), TypeError);
  assert.deepEqual(socket.sent, []);
});

test("what is asked for before the connection is there goes out in order", async () => {
  const client = connect();
  for (const text of ["a", "b", "c"])
    client
      .channel("lobby")
      .send(text)
      .catch(() => {});
  client.addEventListener("open", () =>
    client
      .channel("lobby")
      .send("d")
      .catch(() => {}),
  );
  await FakeWebSocket.last.open();
  assert.deepEqual(
    FakeWebSocket.last.actions.map(({ message: text }) => text),
    ["a", "b", "c", "d"],
  );
});

test("a socket that is closing counts as no connection", async () => {
  random(0);
  const [client, socket] = await opened();
  socket.readyState = 2;
  const sent = outcome(client.channel("lobby").send("later"));
  assert.deepEqual(socket.sent, []);
  await socket.lose(1001);
  await pass(1);
  await FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.action("message_channel").message, "later");
  assert.deepEqual(sent, {});
});

test("past queueMax requests the promise rejects and says which limit; nothing else is lost", async () => {
  const client = connect();
  const sent = Array.from({ length: 1_001 }, (_, n) => outcome(client.request("message_channel", { message: `${n}` })));
  await settled();
  assert.equal(sent[1_000].error.code, "queue-full");
  assert.match(sent[1_000].error.message, /1000 requests.*queueMax/);
  await FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.sent.length, 1_000);
  const after = outcome(client.request("list_channels"));
  await settled();
  assert.deepEqual(after, {});
});

test("past queueBytesMax bytes of UTF-8 too, and the room comes back", async () => {
  random(0);
  const client = connect({ queueBytesMax: 1_000 });
  const big = { text: "é".repeat(400) }; // 800 bytes and the rest of the action
  const first = outcome(client.request("x", big, { timeout: 50 }));
  const second = outcome(client.request("x", big));
  await settled();
  assert.deepEqual(first, {});
  assert.equal(second.error.code, "queue-full");
  await pass(50);
  assert.equal(first.error.code, "timeout");
  const third = outcome(client.request("x", big));
  await FakeWebSocket.last.open();
  assert.deepEqual(third, {});
  assert.equal(FakeWebSocket.last.sent.length, 1, "what timed out is not sent");
  await FakeWebSocket.last.lose();
  const fourth = outcome(client.request("x", big));
  await settled();
  assert.deepEqual(fourth, {});
});

test("lost before the answer: a message rejects and is not sent twice, what only reads is asked again", async () => {
  random(0);
  const [client, socket] = await opened();
  const text = outcome(client.channel("lobby").send("once"));
  const user = outcome(client.message("2", "once"));
  const reads = [
    client.channel("lobby").history(),
    client.channel("lobby").members(),
    client.request("list_channels"),
  ].map(outcome);
  await socket.lose();
  assert.equal(text.error.code, "lost");
  assert.equal(text.error.action, "message_channel");
  assert.equal(user.error.code, "lost");
  const later = outcome(client.request("message_channel", { message: "later" }));
  await pass(1);
  await FakeWebSocket.last.open();
  assert.deepEqual(
    FakeWebSocket.last.actions.map(({ action }) => action),
    ["history", "list_members", "list_channels", "message_channel"],
  );
  await FakeWebSocket.last.answer("history", [message(1)]);
  await FakeWebSocket.last.answer("list_members", [
    { action: "list_members", uuid: "1", username: "ann", access: "admin" },
  ]);
  await FakeWebSocket.last.answer("list_channels", []);
  assert.equal(reads[0].value[0].text, "m1");
  assert.deepEqual(reads[1].value, [{ uuid: "1", username: "ann", access: "admin" }]);
  assert.deepEqual(reads[2].value, []);
  assert.deepEqual(later, {});
});

test("history passes since and limit", async () => {
  const [client, socket] = await opened();
  client
    .channel("lobby")
    .history({ since: 4, limit: 2 })
    .catch(() => {});
  const { since, limit, channel_name } = socket.action("history");
  assert.deepEqual({ since, limit, channel_name }, { since: 4, limit: 2, channel_name: "lobby" });
});

test("the own copy of a message is one however its action is spelled", async () => {
  const [client, socket] = await opened();
  const messages = listen(client, "message");
  for (const action of ["send_channel", "messageChannel", "Message User"]) {
    const done = client.request(action, { channel_name: "c", message: "m" });
    const { id } = socket.actions.at(-1);
    const copy = { action: "new_message", channel_name: "c", text: "m" };
    await socket.receive({ status: "ok", message: "", data: [copy], id });
    assert.equal((await done).length, 1);
  }
  assert.equal(messages.length, 3);
});
