// The code of the five texts, as they print it, in a browser against the server.
//
// Nothing in a snippet is changed, but for misprints without which it is no program: those tests say which, and that
// the browser does refuse it as printed. The pages around supply only what a snippet takes for granted.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Browser } from "./support/browser.js";
import * as harness from "./support/harness.js";
import { PATIENCE_MS } from "./support/log.js";
import { Relay, selfSigned, Site } from "./support/relay.js";
import { fileScope } from "./support/scope.js";
import { Server, startHub } from "./support/server.js";
import { mended, snippets } from "./support/texts.js";

const TEST = { timeout: 6 * PATIENCE_MS };

const scope = fileScope();
let browser, site, plain, secure;

before(async () => {
  site = await Site.start(scope);
  plain = await Relay.start(scope);
  secure = await Relay.start(scope, selfSigned(scope, ["www.example.com", "site.com"]));
  browser = await Browser.start(scope, {
    "127.0.0.1:4863": plain.port,
    "echo.websocket.org:80": plain.port,
    "my-sites-url.com:80": plain.port,
    "www.example.com:443": secure.port,
    "site.com:443": secure.port,
  });
});

/** Leads every host of the texts to this server. */
function lead(server) {
  site.target = plain.target = secure.target = server.port;
}

/** A tab on a page of the site's, with these parts. */
function open(t, parts, visitor) {
  return browser.tab(t, site.page("/samples/page.html", harness.page(parts)), visitor);
}

describe("what the texts print parses, or is known not to", TEST, () => {
  // The whole of what they print, in order: S a script, M a module, H a page, - no program at all.
  const KINDS = {
    "000": "H-S",
    "001": "S-SSSSSS",
    "002": "M-SS",
    "003": "SSSSSS-",
    "004": "SS--S",
  };
  for (const [number, kinds] of Object.entries(KINDS)) {
    test(`text ${number}`, async (t) => {
      const tab = await open(t);
      const printed = snippets(number);
      assert.equal(printed.length, kinds.length);
      for (const [index, kind] of [...kinds].entries()) {
        const refusal = await tab.parse(printed[index]);
        const expected = { S: /^$/, M: /^SyntaxError: Cannot use import statement/, H: /^SyntaxError/, "-": /^SyntaxError/ };
        assert.match(refusal, expected[kind], `snippet ${index} of text ${number}:\n${printed[index]}`);
      }
    });
  }
});

describe("000: actions", TEST, () => {
  const [script, , twoActions] = snippets("000");
  const OK = { status: "ok", version: "1.0", message: "", data: [] };

  async function visitor(t, cookie) {
    const visitor = await browser.visitor(t);
    if (cookie) await visitor.addCookies([{ name: "armor_sid_user", url: site.url, ...cookie }]);
    return visitor;
  }
  const page = (t, visitor) => open(t, { script: harness.GET_COOKIE, body: script }, visitor);

  for (const httpOnly of [false, true]) {
    const how = httpOnly ? "that the page cannot read" : "that the page reads";
    test(`the cookie ${how} authenticates`, async (t) => {
      lead(await startHub(t));
      const tab = await page(t, await visitor(t, { value: "token-of-alice", httpOnly }));
      assert.deepEqual(await tab.message("acknowledgement", () => true), OK);
      const sent = JSON.parse(tab.frames.entries.find((frame) => frame.sent).sent);
      assert.deepEqual(sent, [{ action: "authenticate", token: httpOnly ? "" : "token-of-alice" }]);
      assert.deepEqual(tab.alerts.entries, []);
    });
  }

  test("a wrong cookie is told by the snippet's alert", async (t) => {
    lead(await startHub(t));
    const tab = await page(t, await visitor(t, { value: "nobody's" }));
    assert.deepEqual(await tab.alerts.first(1), ["WebSocket Error: Invalid auth token"]);
  });

  test("no cookie is told by the snippet's alert", async (t) => {
    lead(await startHub(t));
    const tab = await page(t, await visitor(t));
    assert.deepEqual(await tab.alerts.first(1), ["WebSocket Error: Invalid auth token"]);
  });

  test("two actions in one message join the channel, and a message there reaches both tabs", async (t) => {
    lead(await startHub(t));
    const tabs = [];
    for (const user of ["alice", "bob"]) {
      const tab = await page(t, await visitor(t, { value: `token-of-${user}` }));
      await tab.frames.find("answer to the first", ({ received }) => received);
      await tab.run(twoActions);
      await tab.frames.when("three answers", () => tab.received.length === 3);
      assert.deepEqual(tab.received.map((text) => JSON.parse(text)), [OK, OK, OK]);
      tabs.push(tab);
    }
    const said = { action: "message_channel", channel_name: "example", message: "<b>hello</b>" };
    await tabs[1].run(`wsConn.send(${JSON.stringify(JSON.stringify([said]))})`);
    for (const tab of tabs) {
      const { status, data } = await tab.message("message", ({ data }) => data.length > 0);
      assert.equal(status, "ok");
      assert.equal(data.length, 1);
      const { action, channel_name, message, username, uuid, text } = data[0];
      assert.deepEqual({ action, channel_name }, { action: "new_message", channel_name: "example" });
      assert.match(message, /^\[\d\d:\d\d\] &lt;bob&gt;: &lt;b&gt;hello&lt;\/b&gt;$/);
      assert.deepEqual({ username, uuid, text }, { username: "bob", uuid: "u2", text: "<b>hello</b>" });
      assert.deepEqual(tab.alerts.entries, []);
      assert.deepEqual(tab.errors.entries, []);
    }
  });
});

describe("001: MDN", TEST, () => {
  const [construct, protocols, send, sendOnOpen, sendText, log, chat, close] = snippets("001");
  const withProtocols = mended(protocols, '"protocolTwo]', '"protocolTwo"]');
  const LINE = "Here's some text that the server is urgently awaiting!";

  test("a URL and protocols make a WebSocket; the known protocol is the one agreed on", async (t) => {
    lead(await startHub(t));
    const tab = await open(t, { script: `var url = "wss://www.example.com/x", protocols = ["what", "json"];` });
    await tab.run(construct);
    await tab.until(() => webSocket.readyState === WebSocket.OPEN);
    assert.equal(await tab.page.evaluate(() => webSocket.protocol), "json");
  });

  test("with the missing quote mended: of protocols that nobody knows, the first is agreed on", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(withProtocols);
    await tab.until(() => exampleSocket.readyState === WebSocket.OPEN);
    assert.equal(await tab.page.evaluate(() => exampleSocket.protocol), "protocolOne");
  });

  test("sending at once fails, as the text warns; sending on open is heard, and the answer logged", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(`${withProtocols}\n${send}`);
    await tab.errors.find("refusal", (error) => error.startsWith("InvalidStateError"));
    await tab.run(`${withProtocols}\n${sendOnOpen}\n${log}`);
    await tab.console.find("the line back", ({ text }) => text === LINE);
    await tab.run(send);
    await tab.console.when("it twice", (lines) => lines.filter(({ text }) => text === LINE).length === 2);
    await tab.page.evaluate(() => (exampleSocket.onclose = ({ code, wasClean }) => console.log(`${code} ${wasClean}`)));
    await tab.run(close);
    await tab.console.find("end", ({ text }) => text === "1005 true");
  });

  describe("the chat", () => {
    const CLOCK = String.raw`\d{1,2}:\d\d:\d\d\s[AP]M`;
    const enter = async (t, name) => {
      const tab = await open(t, { script: harness.CHAT_SCRIPT, body: harness.CHAT_BODY });
      await tab.page.fill("#name", name);
      await tab.run(`${withProtocols}\n${chat}\n${sendText}`);
      return tab;
    };
    const box = (tab) => tab.page.evaluate(() => document.getElementById("chatbox").contentDocument.body?.innerHTML ?? "");
    const shows = async (tab, pattern) => {
      const probe = (source) => new RegExp(source).test(chatbox.contentDocument.body?.innerHTML ?? "");
      try {
        await tab.until(probe, pattern);
      } catch {
        assert.match(await box(tab), new RegExp(pattern));
      }
    };
    const users = (tab, html) => tab.until((html) => document.getElementById("userlistbox").innerHTML === html, html);
    const say = async (tab, text) => {
      await tab.page.fill("#text", text);
      await tab.page.evaluate(() => sendText());
      assert.equal(await tab.page.inputValue("#text"), "");
    };

    test("two people of one name meet, talk and part", async (t) => {
      lead(await startHub(t, { listen: ["127.0.0.1:0=chat"] }));
      const bob = await enter(t, "Bob");
      await shows(bob, `^<b>User <em>Bob</em> signed in at ${CLOCK}</b><br>$`);
      await users(bob, "Bob<br>");
      const other = await enter(t, "Bob");
      await shows(
        other,
        "^<b>Your username has been set to <em>Bob1</em> because the name you chose is in use.</b><br>" +
          `<b>User <em>Bob1</em> signed in at ${CLOCK}</b><br>$`,
      );
      await Promise.all([bob, other].map((tab) => users(tab, "Bob<br>Bob1<br>")));
      assert.ok((await bob.page.evaluate(() => clientID)) < (await other.page.evaluate(() => clientID)));

      await say(bob, "hello, <i>you</i>; 1<2");
      for (const tab of [bob, other]) await shows(tab, String.raw`\(${CLOCK}\) <b>Bob</b>: hello, you; 1&lt;2<br>$`);
      await say(other, "hello yourself");
      for (const tab of [bob, other]) await shows(tab, `<b>Bob1</b>: hello yourself<br>$`);

      await other.run(close);
      await users(bob, "Bob<br>");
      for (const tab of [bob, other]) assert.deepEqual(tab.errors.entries, []);
    });

    test("who is lost leaves the list too, and the name is free at once", async (t) => {
      lead(await startHub(t, { listen: ["127.0.0.1:0=chat"] }));
      const ann = await enter(t, "Ann");
      await users(ann, "Ann<br>");
      const bob = await enter(t, "Bob");
      await users(ann, "Ann<br>Bob<br>");
      await bob.page.close();
      await users(ann, "Ann<br>");
      await users(await enter(t, "Bob"), "Ann<br>Bob<br>");
    });
  });
});

describe("002: envelope", TEST, () => {
  const [setUp, shape, handler, sending] = snippets("002");
  const enter = async (t, user, group, code) => {
    const tab = await open(t, {
      script: harness.JQUERY,
      body: harness.ENVELOPE_BODY,
      after: harness.envelopeNames(user, group),
    });
    await tab.run("var opened = 0, opening = new Promise((done) => (window.isOpen = done));");
    await tab.runModule(`${code}\nsocket.onOpenHandler = () => isOpen(true);\nglobalThis.socket = socket;`);
    await tab.until(() => opening);
    return tab;
  };
  const chat = `${setUp}\n${handler}\n${sending}`;
  const say = async (tab, text) => {
    await tab.page.fill("#send", text);
    await tab.page.click("#send-now");
    assert.equal(await tab.page.inputValue("#send"), "");
    assert.equal(await tab.page.evaluate(() => document.activeElement.id), "send");
  };
  const CLOCK = String.raw`\d{1,2}:\d\d:\d\d\s[ap]m`;
  const wrapper = (user, text, own) =>
    `<div class="message-wrapper${own ? " this-user" : ""}"><p class="message-header">--- <b>${user}</b>  ` +
    `<small>${CLOCK}</small> ---</p>${text}</div>`;
  const shows = async (tab, pattern) => {
    try {
      await tab.until((source) => new RegExp(source).test(messages.innerHTML), `^${pattern}$`);
    } catch {
      assert.match(await tab.page.evaluate(() => messages.innerHTML), new RegExp(`^${pattern}$`));
    }
  };

  test("two tabs of a group hear each other, and a third of another group does not", async (t) => {
    lead(await startHub(t));
    const rick = await enter(t, "rick", "g", chat);
    const markus = await enter(t, "markus", "g", chat);
    const other = await enter(t, "other", "h", chat);
    await say(rick, "hello");
    await shows(rick, wrapper("rick", "hello", true));
    await shows(markus, wrapper("rick", "hello", false));
    await say(markus, "hello yourself");
    for (const [tab, own] of [[rick, false], [markus, true]]) {
      await shows(tab, wrapper("rick", "hello", !own) + wrapper("markus", "hello yourself", own));
      await tab.until(() => highlighted === 2);
    }
    // What was said before would have come before this.
    await say(other, "alone");
    await shows(other, wrapper("other", "alone", true));
    for (const tab of [rick, markus, other]) assert.deepEqual(tab.errors.entries, []);
  });

  test("what is sent and what arrives has the keys that the text shows", async (t) => {
    lead(await startHub(t));
    const tab = await enter(t, "rick", "g", chat);
    await say(tab, "hello");
    const message = await tab.message("message", ({ action }) => action === "broadcastchatmessage");
    const shown = await tab.page.evaluate(
      (shape) => Object.keys(new Function("action", "message", "groupId", "userId", `return (${shape});`)()),
      shape,
    );
    assert.deepEqual(Object.keys(message).sort(), shown.sort());
    assert.deepEqual(
      { ...message, recipients: message.recipients.map(({ value }) => value) },
      { action: "broadcastchatmessage", message: "hello", groupId: "g", userId: "rick", recipients: ["g"] },
    );
  });

  test("the first handler as printed reads an undeclared message: the page is told, the socket stays", async (t) => {
    lead(await startHub(t));
    const tab = await enter(t, "rick", "g", `${setUp}\n${sending}`);
    for (const count of [1, 2]) {
      await say(tab, "hello");
      await tab.errors.when(`${count} errors`, (errors) => errors.length === count);
    }
    for (const error of tab.errors.entries) assert.match(error, /^TypeError: .*undefined/);
  });

  test("with that mended it reads a newcomer's initial messages", async (t) => {
    lead(await startHub(t));
    const first = await enter(t, "rick", "g", chat);
    await say(first, "one");
    await say(first, "two");
    await shows(first, wrapper("rick", "one", true) + wrapper("rick", "two", true));
    const readsMsg = mended(setUp, "var action = message.action", "var action = msg.action");
    const second = await enter(t, "markus", "g", readsMsg);
    const { message, groupId } = await second.message("history", ({ action }) => action === "initialmessages");
    assert.equal(groupId, "g");
    assert.deepEqual(JSON.parse(message).map(({ action, message, userId }) => [action, message, userId]), [
      ["broadcastchatmessage", "one", "rick"],
      ["broadcastchatmessage", "two", "rick"],
    ]);
    await say(first, "three");
    await second.message("the next", ({ message }) => message === "three");
    assert.deepEqual(second.errors.entries, []);
  });
});

describe("003: the tutorial", TEST, () => {
  const [construct, onOpen, onMessage, onClose, onError, send, stop] = snippets("003");
  const mendedStop = mended(mended(stop, "“", '"'), "”", '"');
  const enter = async (t, ...code) => {
    const tab = await open(t, { body: harness.TUTORIAL_BODY });
    await tab.run(code.join("\n"));
    await tab.sees("#status-label", "Connection establisjed!");
    return tab;
  };
  const say = async (tab, text) => {
    await tab.page.fill("#text-view", text);
    await tab.page.click("#send-button");
  };

  test("the label follows the connection: open, what came, stopped", async (t) => {
    lead(await Server.start(t));
    const tab = await enter(t, construct, onOpen, onMessage, onClose, send, mendedStop);
    await say(tab, "hello, host");
    await tab.sees("#status-label", "hello, host");
    await tab.page.click("#stop-button");
    await tab.sees("#status-label", "Connection closed normally.");
    assert.deepEqual(tab.console.entries.map(({ text }) => text), ["Connection closed."]);
    await say(tab, "nobody");
    await tab.page.click("#stop-button");
    assert.deepEqual(tab.errors.entries, []);
  });

  test("a server that ends in order closes normally; one that is killed, with 1006", async (t) => {
    for (const [end, label] of [
      ["stop", "Connection closed normally."],
      ["kill", "Connection closed with message (Code: 1006)"],
    ]) {
      const server = await Server.start(t);
      lead(server);
      const tab = await enter(t, construct, onOpen, onMessage, onClose);
      await server[end]();
      await tab.sees("#status-label", label);
    }
  });

  test("in the order printed, its second onclose has the last word", async (t) => {
    lead(await Server.start(t));
    const tab = await enter(t, construct, onOpen, onMessage, onClose, onError, send, mendedStop);
    await tab.page.click("#stop-button");
    await tab.sees("#status-label", "Error: [object CloseEvent]");
    assert.deepEqual(tab.console.entries.map(({ text }) => text), ["Error occurred."]);
  });

  test("with the URL of a room, what one sends everyone in the room sees", async (t) => {
    lead(await startHub(t));
    // As printed it connects to an echo server, which has no room to speak of.
    const room = mended(construct, "ws://echo.websocket.org", "ws://my-sites-url.com/room");
    const tabs = [];
    for (const _ of "ab") tabs.push(await enter(t, room, onOpen, onMessage, onClose, send, mendedStop));
    for (const [index, text] of ["hello, everyone", '{"no":"JSON is looked at"}'].entries()) {
      await say(tabs[index], text);
      for (const tab of tabs) await tab.sees("#status-label", text);
    }
  });
});

describe("004: the manual", TEST, () => {
  const [strings, establish, binaryHead, binaryTail, overTls] = snippets("004");
  const logged = (tab) => tab.console.entries.map(({ text }) => text);

  test("61.1: the string comes back; the snippet compares the event with it, and says so", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(strings);
    await tab.console.first(2);
    assert.deepEqual(logged(tab), ["Expected: an example message", "Received: [object MessageEvent]"]);
    assert.deepEqual(tab.received, ["an example message"]);
  });

  test("61.1 with the event's data compared: the correct message", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(mended(strings, "message === value", "message.data === value"));
    await tab.console.first(1);
    assert.deepEqual(logged(tab), ["The echo host sent the correct message."]);
  });

  test("61.2: a connection", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(establish);
    await tab.until(() => ws.readyState === WebSocket.OPEN);
  });

  test("61.3, which a page break cut in two: five bytes come back, as π and 127", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(`${binaryHead}\n${binaryTail}`);
    await tab.console.first(1);
    assert.deepEqual(logged(tab), [`Uint8: 127 Float32: ${Math.fround(Math.PI)}`]);
    assert.deepEqual(tab.received.map((bytes) => bytes.toString("hex")), ["40490fdb7f"]);
  });

  test("61.4: a secure connection", async (t) => {
    lead(await Server.start(t));
    const tab = await open(t);
    await tab.run(overTls);
    await tab.until(() => wss.readyState === WebSocket.OPEN);
    assert.equal(await tab.page.evaluate(() => wss.url), "wss://site.com/wss-handler");
  });
});
