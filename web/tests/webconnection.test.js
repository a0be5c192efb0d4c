// webconnection-websocket.js: the interface of document 002, message for message.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { WebConnectionWebSocket } from "../webconnection-websocket.js";
import { FakeWebSocket, page, pass, random, reset } from "./fake.js";

let around;
beforeEach(() => {
  reset();
  around = page({ href: "https://chat.example/samples/chat.html?x=1" });
});
afterEach(() => around.restore());

const make = (options) => new WebConnectionWebSocket({ WebSocket: FakeWebSocket, ...options });

test("the address is the page's host, wss as the page, with group and user in the query", () => {
  const socket = make();
  socket.tryConnect(true, "a b/ü&=", "rick+1");
  assert.equal(
    FakeWebSocket.last.url,
    "wss://chat.example/__initializewebsocket.ws?groupid=a%20b%2F%C3%BC%26%3D&userid=rick%2B1",
  );
  const query = new URL(FakeWebSocket.last.url).searchParams;
  assert.deepEqual([query.get("groupid"), query.get("userid")], ["a b/ü&=", "rick+1"]);
});

test("nothing is said of a group or user that is not given", () => {
  make().tryConnect();
  assert.equal(FakeWebSocket.last.url, "wss://chat.example/__initializewebsocket.ws");
  make().tryConnect(false, "", "u");
  assert.equal(FakeWebSocket.last.url, "wss://chat.example/__initializewebsocket.ws?userid=u");
  make({ url: "http://127.0.0.1:5200/app/__InitializeSocket.wcsx?v=2" }).tryConnect(false, "g");
  assert.equal(FakeWebSocket.last.url, "ws://127.0.0.1:5200/app/__InitializeSocket.wcsx?v=2&groupid=g");
});

test("constructing does not connect", () => {
  make();
  assert.equal(FakeWebSocket.made.length, 0);
});

test("a message has exactly the five keys, and addRecipient gives the message back", () => {
  const socket = make();
  const message = socket.createBroadcastMessage("broadcastchatmessage", "hello");
  message.userId = "rick";
  message.groupId = "g";
  assert.equal(message.addRecipient("g", "group"), message);
  message.addRecipient("bob", "user").addRecipient("other");
  assert.equal(
    JSON.stringify(message),
    '{"action":"broadcastchatmessage","message":"hello","groupId":"g","userId":"rick","recipients":' +
      '[{"type":"group","value":"g"},{"type":"user","value":"bob"},{"type":"group","value":"other"}]}',
  );
  assert.deepEqual(Object.keys(message), ["action", "message", "groupId", "userId", "recipients"]);
});

test("a message is a string: other values become JSON; group and user are those of tryConnect", () => {
  const socket = make();
  socket.tryConnect(false, "g", "rick");
  const message = socket.createBroadcastMessage("x", { a: [1] });
  assert.deepEqual({ ...message }, { action: "x", message: '{"a":[1]}', groupId: "g", userId: "rick", recipients: [] });
  assert.equal(socket.createBroadcastMessage("x").message, "");
});

test("what is sent before the opening waits and keeps its order", async () => {
  const socket = make();
  const send = (text) => socket.send(socket.createBroadcastMessage("x", text));
  assert.equal(send("before tryConnect"), true);
  socket.tryConnect();
  send("while connecting");
  socket.onOpenHandler = () => send("on open");
  await FakeWebSocket.last.open();
  send("open");
  assert.deepEqual(
    FakeWebSocket.last.actions.map(({ message }) => message),
    ["before tryConnect", "while connecting", "on open", "open"],
  );
});

test("1,000 messages wait at most, and send says so", async () => {
  const socket = make();
  for (let n = 0; n < 1_000; n++) assert.equal(socket.send({ action: "x" }), true);
  assert.equal(socket.send({ action: "x" }), false);
  socket.tryConnect();
  await FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.sent.length, 1_000);
  assert.equal(socket.send({ action: "x" }), true);
});

test("handlers get the parsed object; they may be set after tryConnect and changed", async () => {
  const socket = make();
  socket.tryConnect(false, "g", "u");
  await FakeWebSocket.last.open(); // no handler: no harm
  const heard = [];
  await FakeWebSocket.last.receive({ action: "unheard" });
  socket.onMessageHandler = (message) => heard.push(message);
  const message = { action: "initialmessages", message: "[]", groupId: "g", userId: "", recipients: [] };
  await FakeWebSocket.last.receive(message);
  assert.deepEqual(heard, [message]);
});

test("what is no JSON object is passed over and throws nothing", async () => {
  const socket = make();
  const heard = [];
  socket.onMessageHandler = (message) => heard.push(message);
  socket.tryConnect();
  await FakeWebSocket.last.open();
  for (const frame of ["", "{", "nul", "null", "7", '"x"', "[]", "[{}]", "\0"]) await FakeWebSocket.last.receive(frame);
  FakeWebSocket.last.onmessage({ data: new ArrayBuffer(4) });
  assert.deepEqual(heard, []);
  await FakeWebSocket.last.receive("{}");
  assert.deepEqual(heard, [{}]);
});

test("open and close handlers get the events", async () => {
  const socket = make();
  const events = [];
  socket.onOpenHandler = (event) => events.push(event.type);
  socket.onCloseHandler = (event) => events.push(event.code);
  socket.tryConnect();
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.lose(1001, "", true);
  assert.deepEqual(events, ["open", 1001]);
});

test("it comes back only when asked to, after a random time below 500 ms, doubling, of 15 s at most", async () => {
  random(0.999);
  const never = make();
  never.tryConnect(false);
  await FakeWebSocket.last.lose();
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 1);
  assert.equal(never.send({}), false, "nothing will send it");
  make().tryConnect(true, "g", "u");
  const url = FakeWebSocket.last.url;
  for (const ceiling of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    const before = FakeWebSocket.made.length;
    await FakeWebSocket.last.lose();
    await pass(ceiling * 0.99);
    assert.equal(FakeWebSocket.made.length, before, `${ceiling}`);
    await pass(ceiling * 0.01);
    assert.equal(FakeWebSocket.made.length, before + 1, `${ceiling}`);
  }
  assert.equal(FakeWebSocket.last.url, url, "as the same user in the same group");
  await FakeWebSocket.last.open();
  await pass(5_000);
  const before = FakeWebSocket.made.length;
  random(0);
  await FakeWebSocket.last.lose();
  await pass(1);
  assert.equal(FakeWebSocket.made.length, before + 1, "jitter goes down to nothing");
  random(0.999);
  await FakeWebSocket.last.open();
  await pass(5_000);
  await FakeWebSocket.last.lose();
  await pass(500);
  assert.equal(FakeWebSocket.made.length, before + 2, "a connection that lasted starts anew");
});

test("messages wait for the next connection", async () => {
  random(0);
  const socket = make();
  socket.tryConnect(true);
  await FakeWebSocket.last.open();
  await FakeWebSocket.last.lose();
  assert.equal(socket.send({ action: "later" }), true);
  await pass(1);
  await FakeWebSocket.last.open();
  assert.equal(FakeWebSocket.last.action("later").action, "later");
});

test("close ends it, also while it waits to come back", async () => {
  random(0.5);
  const socket = make();
  socket.tryConnect(true);
  await FakeWebSocket.last.open();
  socket.close();
  assert.deepEqual(FakeWebSocket.last.closedWith, [1000, ""]);
  await FakeWebSocket.last.lose(1000, "", true);
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 1);
  assert.equal(socket.send({}), false);
  socket.tryConnect(true);
  await FakeWebSocket.last.lose();
  socket.close();
  await pass(60_000);
  assert.equal(FakeWebSocket.made.length, 2);
  assert.throws(
    () => {
      socket.tryConnect(true);
      socket.close(1001);
    },
    { name: "InvalidAccessError" },
  );
});

test("tryConnect again replaces the connection: the old one is closed and silent", async () => {
  random(0);
  const socket = make();
  const heard = [];
  socket.onMessageHandler = (message) => heard.push(message.action);
  socket.onCloseHandler = () => heard.push("closed");
  socket.tryConnect(true, "a");
  const old = FakeWebSocket.last;
  await old.open();
  socket.tryConnect(true, "b");
  await FakeWebSocket.last.open();
  await old.receive({ action: "old" });
  await old.lose();
  await pass(60_000);
  await FakeWebSocket.last.receive({ action: "new" });
  assert.deepEqual(heard, ["new"]);
  assert.equal(FakeWebSocket.made.length, 2);
  assert.equal(socket.socket, FakeWebSocket.last);
});
