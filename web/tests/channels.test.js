// sockeye.js: channels. Nothing is lost, nothing comes twice, and what cannot be known is said.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Sockeye } from "../sockeye.js";
import { FakeWebSocket, listen, message, outcome, pass, random, reset, settled } from "./fake.js";

let clients = [];
beforeEach(() => {
  reset();
  random(0);
});
afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

async function opened(options = {}) {
  const client = new Sockeye("ws://127.0.0.1/actions", { WebSocket: FakeWebSocket, ...options });
  clients.push(client);
  await FakeWebSocket.last.open();
  return client;
}

const joinAck = (recovered, epoch, seq) => ({ action: "join_channel", channel_name: "lobby", recovered, epoch, seq });

/** A client in the channel `lobby`, of which `seq` messages were sent before it came. */
async function joined({ seq = 0, ...options } = {}, wish) {
  const client = await opened(options);
  const lobby = client.channel("lobby");
  const ready = outcome(lobby.subscribe(wish));
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", seq)]);
  return { client, lobby, ready };
}

async function reconnected(code = 1006) {
  await FakeWebSocket.last.lose(code);
  await pass(1);
  await FakeWebSocket.last.open();
  return FakeWebSocket.last;
}

const seqs = (events) => events.filter(({ type }) => type === "message").map(({ seq }) => seq);

test("channel gives one object for one name", async () => {
  const client = await opened();
  assert.equal(client.channel("a"), client.channel("a"));
  assert.notEqual(client.channel("a"), client.channel("b"));
  assert.equal(client.channel("a").name, "a");
});

test("a first join asks for recovery, learns epoch and seq, and tells of no recovery", async () => {
  const client = await opened();
  const lobby = client.channel("lobby");
  const events = listen(lobby, "recovered", "message", "error");
  const ready = outcome(lobby.subscribe({ visibility: "private", create: false }));
  const { since, epoch, visibility, join_or_create } = FakeWebSocket.last.action("join_channel");
  assert.deepEqual(
    { since, epoch, visibility, join_or_create },
    { since: null, epoch: null, visibility: "private", join_or_create: 0 },
  );
  assert.equal(lobby.joined, false);
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", 41)]);
  assert.equal(ready.value, lobby);
  assert.deepEqual([lobby.joined, lobby.seq, lobby.epoch, lobby.recovered], [true, 41, "e1", undefined]);
  assert.deepEqual(events, []);
});

test("a subscription made while down is joined when it is open", async () => {
  const client = await opened();
  await FakeWebSocket.last.lose();
  const ready = outcome(client.channel("lobby").subscribe());
  await pass(1);
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", 0)]);
  assert.equal(ready.value, client.channel("lobby"));
});

test("messages carry seq, uuid, username, text, time and html", async () => {
  const { lobby } = await joined();
  const events = listen(lobby, "message");
  await FakeWebSocket.last.push(message(1, "<hi>"));
  const { seq, uuid, username, text, time, html, replayed } = events[0];
  assert.deepEqual(
    { seq, uuid, username, text, time, html, replayed },
    {
      seq: 1,
      uuid: "1",
      username: "ann",
      text: "<hi>",
      time: 1_001,
      html: "[00:00] &lt;ann&gt;: <hi>",
      replayed: false,
    },
  );
});

test("a refused join rejects, tells the channel, and is not tried again", async () => {
  const client = await opened();
  const lobby = client.channel("lobby");
  const errors = listen(lobby, "error");
  const ready = outcome(lobby.subscribe());
  await FakeWebSocket.last.refuse("join_channel", "Unable to create channel, lobby.  Permission denied");
  assert.equal(ready.error.message, "Unable to create channel, lobby.  Permission denied");
  assert.equal(errors.length, 1);
  const socket = await reconnected();
  assert.deepEqual(socket.sent, []);
});

test("after a reconnect it joins with since and epoch; what was missed comes once, in order, marked", async () => {
  const { lobby } = await joined({ seq: 5 });
  const events = listen(lobby, "recovered", "message");
  await FakeWebSocket.last.push(message(6));
  await FakeWebSocket.last.push(message(7));
  const socket = await reconnected();
  assert.equal(lobby.joined, false);
  const { since, epoch } = socket.action("join_channel");
  assert.deepEqual([since, epoch], [7, "e1"]);
  await socket.answer("join_channel", [joinAck(true, "e1", 9), message(8), message(9)]);
  await socket.push(message(9)); // a copy
  await socket.push(message(10));
  assert.deepEqual(seqs(events), [6, 7, 8, 9, 10]);
  assert.deepEqual(
    events.filter(({ replayed }) => replayed).map(({ seq }) => seq),
    [8, 9],
  );
  const told = events.find(({ type }) => type === "recovered");
  assert.deepEqual([told.recovered, told.reason, told.count], [true, "reconnect", 2]);
  assert.equal(lobby.recovered, true);
});

test("a replay that holds what is known already is thinned out", async () => {
  const { lobby } = await joined({ seq: 5 });
  const events = listen(lobby, "recovered", "message");
  await FakeWebSocket.last.push(message(6));
  const socket = await reconnected();
  await socket.answer("join_channel", [joinAck(true, "e1", 7), message(5), message(6), message(7)]);
  assert.deepEqual(seqs(events), [6, 7]);
  assert.equal(events.find(({ type }) => type === "recovered").count, 1);
});

test("messages that come before the replay are held until after it", async () => {
  const { lobby } = await joined();
  const events = listen(lobby, "message");
  const socket = await reconnected();
  socket.push(message(3));
  await socket.push(message(4));
  assert.deepEqual(seqs(events), []);
  await socket.answer("join_channel", [joinAck(true, "e1", 3), message(1), message(2), message(3)]);
  assert.deepEqual(seqs(events), [1, 2, 3, 4]);
});

test("lost again before the replay: the next join asks from the same place", async () => {
  const { lobby } = await joined({ seq: 5 });
  const events = listen(lobby, "message");
  let socket = await reconnected();
  await socket.push(message(8)); // held, then thrown away with the connection
  socket = await reconnected();
  assert.equal(socket.action("join_channel").since, 5);
  await socket.answer("join_channel", [joinAck(true, "e1", 8), message(6), message(7), message(8)]);
  assert.deepEqual(seqs(events), [6, 7, 8]);
});

test("lost again before the answer, and another life after it: nothing of the old one remains", async () => {
  const { lobby } = await joined({ seq: 5 });
  const events = listen(lobby, "message");
  await FakeWebSocket.last.push(message(8)); // held while the gap is being filled
  const socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e2", 0)]);
  await socket.push(message(1));
  assert.deepEqual(seqs(events), [1]);
});

test("recovered=false in the same epoch says so and goes on from the server's number", async () => {
  const { lobby } = await joined({ seq: 5 });
  const events = listen(lobby, "recovered", "message");
  const socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e1", 900)]);
  assert.deepEqual([events[0].recovered, events[0].count, lobby.recovered], [false, 0, false]);
  await socket.push(message(901));
  assert.deepEqual(seqs(events), [901]);
  assert.equal(socket.actions.filter(({ action }) => action === "join_channel").length, 1, "901 follows 900: no gap");
});

test("another epoch counts anew: small numbers are news, not copies", async () => {
  const { lobby } = await joined({ seq: 500 });
  const events = listen(lobby, "recovered", "message");
  let socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e2", 3)]);
  assert.deepEqual([lobby.epoch, lobby.seq, lobby.recovered], ["e2", 3, false]);
  await socket.push(message(4));
  assert.deepEqual(seqs(events), [4]);
  socket = await reconnected();
  const { since, epoch } = socket.action("join_channel");
  assert.deepEqual([since, epoch], [4, "e2"]);
});

test("fetchHistory brings the latest unseen ones where recovery failed", async () => {
  const { lobby } = await joined({ seq: 5, fetchHistory: 4 });
  const events = listen(lobby, "recovered", "message");
  let socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e1", 7)]);
  assert.equal(socket.action("history").limit, 4);
  await socket.push(message(8));
  await socket.answer("history", [message(4), message(5), message(6), message(7)]);
  assert.deepEqual(seqs(events), [6, 7, 8]);
  assert.deepEqual([events[0].type, events[0].recovered, events[0].count], ["recovered", false, 2]);
  // Another life: all of it is unseen.
  socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e2", 2)]);
  await socket.answer("history", [message(1), message(2)]);
  assert.deepEqual(seqs(events), [6, 7, 8, 1, 2]);
  // No history to be had: still a member.
  socket = await reconnected();
  await socket.answer("join_channel", [joinAck(false, "e3", 0)]);
  await socket.refuse("history", "History is off");
  assert.equal(lobby.joined, true);
});

test("a gap in the numbers is filled by joining again, and the message after it waits", async () => {
  const { lobby } = await joined({ seq: 5 });
  const socket = FakeWebSocket.last;
  const events = listen(lobby, "recovered", "message");
  await socket.push(message(8));
  await socket.push(message(9));
  assert.deepEqual(seqs(events), []);
  assert.equal(socket.action("join_channel").since, 5);
  assert.equal(lobby.joined, true);
  await socket.answer("join_channel", [joinAck(true, "e1", 8), message(6), message(7), message(8)]);
  assert.deepEqual(seqs(events), [6, 7, 8, 9]);
  assert.deepEqual([events[0].recovered, events[0].reason, events[0].count], [true, "gap", 3]);
});

test("a gap that cannot be filled is told, and nothing that came is thrown away", async () => {
  const { lobby } = await joined({ seq: 5 });
  const socket = FakeWebSocket.last;
  const events = listen(lobby, "recovered", "message");
  await socket.push(message(8));
  await socket.answer("join_channel", [joinAck(false, "e1", 8)]);
  assert.deepEqual([events[0].recovered, events[0].reason], [false, "gap"]);
  assert.deepEqual(seqs(events), [8]);
  await socket.push(message(9));
  assert.deepEqual(seqs(events), [8, 9]);
});

test("since and epoch of an earlier page are taken up", async () => {
  const client = await opened();
  const lobby = client.channel("lobby");
  const events = listen(lobby, "recovered", "message");
  lobby.subscribe({ since: 3, epoch: "e1" });
  const { since, epoch } = FakeWebSocket.last.action("join_channel");
  assert.deepEqual([since, epoch], [3, "e1"]);
  await FakeWebSocket.last.answer("join_channel", [joinAck(true, "e1", 4), message(4)]);
  assert.deepEqual([events[0].recovered, events[0].reason], [true, "subscribe"]);
  assert.deepEqual(seqs(events), [4]);
});

test("presence: the members, then who comes and goes; a new list after each reconnect", async () => {
  const { client, lobby, ready } = await joined({}, { presence: true });
  const events = listen(lobby, "presence", "joined", "left");
  const all = listen(client, "message");
  assert.equal(ready.value, undefined, "ready when the members are known");
  const item = { action: "subscribe_presence", channel_name: "lobby", uuid: "1", username: "ann", access: "admin" };
  await FakeWebSocket.last.answer("subscribe_presence", [item]);
  assert.equal(ready.value, lobby);
  assert.deepEqual(events[0].members, [{ uuid: "1", username: "ann", access: "admin" }]);
  await FakeWebSocket.last.push({ action: "member_joined", channel_name: "lobby", uuid: "2", username: "bob" });
  await FakeWebSocket.last.push({ action: "member_left", channel_name: "lobby", uuid: "2", username: "bob" });
  assert.deepEqual(
    events.slice(1).map(({ type, uuid, username }) => [type, uuid, username]),
    [
      ["joined", "2", "bob"],
      ["left", "2", "bob"],
    ],
  );
  assert.deepEqual(
    all.map(({ data }) => data.action),
    ["member_joined", "member_left"],
  );
  const socket = await reconnected();
  await socket.answer("join_channel", [joinAck(true, "e1", 0)]);
  await socket.answer("subscribe_presence", []);
  assert.deepEqual(events.at(-1).members, []);
});

test("without presence nobody asks for it, and a second subscribe can", async () => {
  const { lobby } = await joined();
  assert.equal(
    FakeWebSocket.last.actions.some(({ action }) => action === "subscribe_presence"),
    false,
  );
  lobby.subscribe({ presence: true });
  await FakeWebSocket.last.answer("join_channel", [joinAck(true, "e1", 0)]);
  assert.equal(FakeWebSocket.last.action("subscribe_presence").channel_name, "lobby");
});

test("subscribing twice before the answer joins once", async () => {
  const client = await opened();
  const both = [client.channel("lobby").subscribe(), client.channel("lobby").subscribe({ presence: true })].map(
    outcome,
  );
  assert.equal(FakeWebSocket.last.sent.length, 1);
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", 0)]);
  await FakeWebSocket.last.answer("subscribe_presence", []);
  assert.deepEqual(
    both.map(({ value }) => value?.name),
    ["lobby", "lobby"],
  );
});

for (const reason of ["kicked", "closed"]) {
  test(`who is ${reason} is told and does not come back`, async () => {
    const { lobby } = await joined();
    const events = listen(lobby, "ended", "left");
    await FakeWebSocket.last.push({ action: "member_left", channel_name: "lobby", uuid: "1", username: "ann", reason });
    assert.deepEqual(
      events.map(({ type, reason: why }) => [type, why]),
      [["ended", reason]],
    );
    assert.equal(lobby.joined, false);
    assert.deepEqual((await reconnected()).sent, []);
  });
}

test("unsubscribe leaves, and is not joined again", async () => {
  const { lobby } = await joined({ seq: 5 });
  const left = outcome(lobby.unsubscribe());
  assert.equal(FakeWebSocket.last.action("leave_channel").channel_name, "lobby");
  await FakeWebSocket.last.answer("leave_channel");
  assert.ok("value" in left);
  const socket = await reconnected();
  assert.deepEqual(socket.sent, []);
  lobby.subscribe();
  assert.equal(socket.action("join_channel").since, null, "what was said in between was not asked for");
});

test("unsubscribe before the join is answered leaves too, and while down it is enough not to join", async () => {
  const client = await opened();
  const ready = outcome(client.channel("lobby").subscribe());
  client.channel("lobby").unsubscribe();
  assert.equal(FakeWebSocket.last.action("leave_channel").channel_name, "lobby");
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", 0)]);
  assert.equal(ready.error.code, "closed");
  assert.equal(client.channel("lobby").joined, false);
  await FakeWebSocket.last.lose();
  client
    .channel("b")
    .subscribe()
    .catch(() => {});
  const left = outcome(client.channel("b").unsubscribe());
  await settled();
  assert.ok("value" in left);
  await pass(1);
  await FakeWebSocket.last.open();
  assert.deepEqual(FakeWebSocket.last.sent, []);
});

test("a join that is never answered ends the connection, not the subscription", async () => {
  const client = await opened();
  const ready = outcome(client.channel("lobby").subscribe());
  await FakeWebSocket.last.push({ action: "something" });
  await pass(10_000);
  await pass(1);
  assert.equal(FakeWebSocket.made.length, 2);
  assert.deepEqual(ready, {});
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.answer("join_channel", [joinAck(false, "e1", 0)]);
  assert.equal(ready.value.joined, true);
});

test("a server that knows no recovery is a channel all the same", async () => {
  const client = await opened();
  const lobby = client.channel("lobby");
  const events = listen(lobby, "message");
  const ready = outcome(lobby.subscribe());
  await FakeWebSocket.last.answer("join_channel");
  assert.equal(ready.value, lobby);
  for (const text of ["a", "b"])
    await FakeWebSocket.last.push({ action: "new_message", channel_name: "lobby", message: text });
  assert.deepEqual(
    events.map(({ html }) => html),
    ["a", "b"],
  );
});

const pm = (seq, text, more) => message(seq, text, { channel_name: "pm:1+2", ...more });

async function conversation(options) {
  const client = await opened(options);
  const events = listen(client.channel("pm:1+2"), "recovered", "message");
  await FakeWebSocket.last.push(pm(7));
  return { client, events };
}

test("private messages missed while away are asked for, page by page, and come once", async () => {
  const { events } = await conversation();
  const socket = await reconnected();
  const { since, channel_name } = socket.action("history");
  assert.deepEqual([since, channel_name], [6, "pm:1+2"]);
  assert.equal(
    socket.actions.some(({ action }) => action === "join_channel"),
    false,
  );
  await socket.push(pm(10));
  await socket.answer("history", [pm(7), pm(8)]);
  assert.equal(socket.action("history").since, 8);
  await socket.answer("history", [pm(9), pm(10)]);
  await socket.answer("history", []);
  assert.deepEqual(seqs(events), [7, 8, 9, 10]);
  const told = events.find(({ type }) => type === "recovered");
  assert.deepEqual([told.recovered, told.reason, told.count], [true, "reconnect", 3]);
});

test("a private conversation whose last message is not the one we have says recovered=false and counts anew", async () => {
  for (const page of [[], [pm(7, "another", { time: 5_000 })]]) {
    const { events } = await conversation();
    const socket = await reconnected();
    await socket.answer("history", page);
    assert.equal(events.at(-1).recovered, false);
    await socket.push(pm(1, "new life", { time: 6_000 }));
    assert.deepEqual(seqs(events), [7, 1]);
  }
});

test("a private conversation that is no more, and fetchHistory there", async () => {
  const gone = await conversation();
  let socket = await reconnected();
  await socket.refuse("history", "Channel does not exist, pm:1+2");
  assert.equal(gone.events.at(-1).recovered, false);
  gone.client.close();
  const { events } = await conversation({ fetchHistory: 9 });
  socket = await reconnected();
  await socket.answer("history", [pm(900)]);
  assert.equal(socket.action("history").limit, 9);
  await socket.answer("history", [pm(7), pm(900, "late", { time: 9_000 })]);
  assert.deepEqual(seqs(events), [7, 900]);
});

test("a gap between private messages is filled", async () => {
  const { events } = await conversation();
  const socket = FakeWebSocket.last;
  await socket.push(pm(9));
  assert.deepEqual(seqs(events), [7]);
  await socket.answer("history", [pm(7), pm(8), pm(9)]);
  await socket.answer("history", []);
  assert.deepEqual(seqs(events), [7, 8, 9]);
});

test("channels are joined again before what waited is sent", async () => {
  const { lobby } = await joined();
  await FakeWebSocket.last.lose();
  lobby.send("waited").catch(() => {});
  await pass(1);
  await FakeWebSocket.last.open();
  assert.deepEqual(
    FakeWebSocket.last.actions.map(({ action }) => action),
    ["join_channel", "message_channel"],
  );
});
