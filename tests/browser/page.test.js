// The page at `/`, used as a visitor does: two of them for each demo, with nothing in the console and no word to others.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Browser } from "./support/browser.js";
import { Demo, DEMOS, NO_FAULTS } from "./support/demo.js";
import { page } from "./support/harness.js";
import { PATIENCE_MS } from "./support/log.js";
import { Site } from "./support/relay.js";
import { fileScope } from "./support/scope.js";
import { startHub } from "./support/server.js";

const TEST = { timeout: 9 * PATIENCE_MS };

/** Would run if it were put into a page as HTML; has no tag that the chat would remove. */
const MARKUP = `"> <img src=x onerror=alert(1) x="`;

const scope = fileScope();
let browser, site;

before(async () => {
  site = await Site.start(scope);
  browser = await Browser.start(scope);
});

/** Two visitors of a new server's page. */
async function visit(t) {
  const server = await startHub(t);
  return [await Demo.open(t, browser, server), await Demo.open(t, browser, server), server];
}

function faultless(...demos) {
  for (const demo of demos) assert.deepEqual(demo.faults(), NO_FAULTS);
}

describe("two visitors of the page", TEST, () => {
  test("echo: text, bytes and markup come back to who sent them; it closes with a code and opens again", async (t) => {
    const [one, two] = await visit(t);
    const [[mine], [other]] = [await one.choose("echo"), await two.choose("echo")];
    assert.equal(await mine.part("text").inputValue(), "an example message");
    await mine.say("hello");
    assert.match(await mine.hears("hello"), /^the same, /);
    await mine.part("bytes").click();
    assert.match(await mine.hears("40 49 0f db 7f"), /^the same, /);
    await mine.notes("Float32 3.141593, Uint8 127");
    await mine.say(MARKUP);
    await mine.hears(MARKUP);
    await mine.say("");
    await mine.hears("(empty)");
    await other.say("only mine");
    await other.hears("only mine");
    assert.deepEqual(await other.lines(), ["only mine"]);

    await mine.part("reason").press("Enter");
    await mine.status("closed 4001 “bye”, cleanly");
    await mine.say("nobody");
    await mine.notes("Not connected");
    await mine.part("connect").click();
    await mine.state("open");
    await mine.say("again");
    await mine.hears("again");
    faultless(one, two);
  });

  test("echo: the list of frames has each one, which way it went, and can be cleared", async (t) => {
    const [one] = await visit(t);
    const [mine] = await one.choose("echo");
    await mine.say("hello");
    await mine.part("bytes").click();
    await mine.hears("40 49 0f db 7f");
    const frames = one.part("echo-frames").locator("[data-way]:not([data-way=event])");
    const told = await frames.evaluateAll((rows) =>
      rows.map((row) => [row.dataset.way, row.dataset.kind, row.querySelector(".payload").textContent].join(" ")),
    );
    // Both were sent before the first came back, or not: each way has its own order.
    assert.deepEqual(told.toSorted(), [
      "received binary 40 49 0f db 7f",
      "received text hello",
      "sent binary 40 49 0f db 7f",
      "sent text hello",
    ]);
    await one.part("echo-clear").click();
    assert.equal(await frames.count(), 0);
    faultless(one);
  });

  test("room: whoever is in it hears everything, and who is in another hears nothing", async (t) => {
    const [one, two] = await visit(t);
    const [[a, b], [c, d]] = [await one.choose("room"), await two.choose("room")];
    await a.say("hello");
    for (const side of [a, b, c, d]) await side.hears("hello");
    await d.say(MARKUP);
    for (const side of [a, b, c, d]) await side.hears(MARKUP);

    await two.part("room-name").fill("a/b ü?");
    await two.part("room-name").press("Enter");
    for (const side of [c, d]) await side.state("open");
    await a.say("for those who stayed");
    await a.hears("for those who stayed");
    await c.say("for those who went");
    for (const side of [c, d]) await side.hears("for those who went");
    assert.deepEqual(await c.lines(), ["for those who went"]);
    assert.deepEqual(await b.lines(), ["hello", MARKUP, "for those who stayed"]);
    faultless(one, two);
  });

  test("channels: members, messages, a private one, and who leaves", async (t) => {
    const [one, two] = await visit(t);
    const [[a, b], [c]] = [await one.choose("channels"), await two.choose("channels")];
    await b.part("connect").click();
    await b.state("closed");
    await a.enter("token", "token-of-alice");
    await a.status("open, signed in");
    await c.enter("token", "token-of-bob");
    await c.status("open, signed in");
    for (const side of [a, c]) await side.members("alice", "bob", "anonymous");
    await two.part("channels-b-connect").click();
    for (const side of [a, c]) await side.notes("anonymous left");
    for (const side of [a, c]) await side.members("alice", "bob");

    await a.say(MARKUP);
    for (const side of [a, c]) await side.hears(MARKUP, "alice");
    await c.say("hello, alice");
    for (const side of [a, c]) await side.hears("hello, alice", "bob");

    // A click on the name of a member fills in whom to write to.
    await a.part("members").getByRole("button", { name: "bob" }).click();
    assert.equal(await a.part("uuid").inputValue(), "u2");
    await a.enter("secret", "psst");
    for (const side of [a, c]) assert.match(await side.hears("psst", "alice"), /^private, uuid u1/);
    await c.enter("token", "nobody's");
    await c.notes("Invalid auth token");
    await a.notes("bob left");
    faultless(one, two);
  });

  test("channels: when the server has started again it is told, and talk goes on", async (t) => {
    const [one, two, server] = await visit(t);
    const [[a], [b]] = [await one.choose("channels"), await two.choose("channels")];
    const everyone = ["anonymous", "anonymous", "anonymous", "anonymous"];
    for (const side of [a, b]) await side.members(...everyone);
    await a.say("before");
    for (const side of [a, b]) await side.hears("before", "anonymous");
    await server.stop();
    for (const side of [a, b]) await side.state("waiting");
    await startHub(t, { listen: [`127.0.0.1:${server.port}`] });
    for (const side of [a, b]) await side.notes("Back; some messages may be missing.");
    for (const side of [a, b]) await side.members(...everyone);
    await b.say("after");
    for (const side of [a, b]) await side.hears("after", "anonymous");
    // Attempts at a server that is down are errors in Chromium's console.
    for (const demo of [one, two]) assert.deepEqual({ ...demo.faults(), console: [] }, NO_FAULTS);
  });

  test("group chat: a group hears its own, a newcomer what was said before, one user what is for one", async (t) => {
    const [one, two] = await visit(t);
    const [rick, markus] = await one.choose("group");
    await rick.say("hello");
    await markus.say(MARKUP);
    for (const side of [rick, markus]) {
      await side.hears("hello", "Rick");
      await side.hears(MARKUP, "Markus");
    }
    const [ann, away] = await two.choose("group");
    for (const [who, text] of [["Rick", "hello"], ["Markus", MARKUP]]) assert.match(await ann.hears(text, who), /^earlier/);
    await ann.enter("user", "Ann");
    await ann.state("open");
    await away.part("group").fill("trout");
    await away.enter("user", "Away");
    await away.state("open");

    await rick.part("to").selectOption("user");
    await rick.part("value").fill("Ann");
    await rick.say("for Ann");
    await ann.hears("for Ann", "Rick");
    await rick.part("to").selectOption("allButUser");
    await rick.part("value").fill("Markus");
    await rick.say("not for Markus");
    for (const side of [rick, ann]) await side.hears("not for Markus", "Rick");
    await rick.part("to").selectOption("all");
    await rick.say("for all");
    for (const side of [rick, markus, ann, away]) await side.hears("for all", "Rick");
    const late = (lines) => lines.filter((text) => !["hello", MARKUP].includes(text));
    assert.deepEqual(late(await markus.lines()), ["for all"]);
    assert.deepEqual(late(await away.lines()), ["for all"]);
    assert.deepEqual(late(await rick.lines()), ["not for Markus", "for all"]);
    faultless(one, two);
  });

  test("named chat: names are told apart, tags are removed, and who goes leaves the list", async (t) => {
    const [one, two] = await visit(t);
    const [bob, bob1] = await one.choose("chat");
    const named = ["Bob", "Bob1"];
    for (const side of [bob, bob1]) await side.members(...named);
    const [third, fourth] = await two.choose("chat");
    for (const side of [bob, bob1, third, fourth]) await side.members("Bob", "Bob1", "Bob2", "Bob3");
    await third.notes("That name is in use: you are Bob");
    const ann = await third.part("name").inputValue();
    await third.enter("name", "Ann");
    await bob.notes("Ann signed in");
    const now = ["Bob", "Bob1", "Bob2", "Bob3"].map((name) => (name === ann ? "Ann" : name));
    for (const side of [bob, fourth]) await side.members(...now);

    await third.say("<b>hello</b>, 1<2");
    for (const side of [bob, bob1, third, fourth]) await side.hears("hello, 1<2", "Ann");
    await third.say(MARKUP);
    for (const side of [bob, bob1, third, fourth]) await side.hears(MARKUP, "Ann");
    faultless(one, two);
    await two.page.close();
    for (const side of [bob, bob1]) await side.members(...named);
    faultless(one);
  });
});

describe("the page", TEST, () => {
  test("its tabs work with the keyboard, and an address leads to each", async (t) => {
    const [one] = await visit(t);
    await one.tabOf(DEMOS[0]).focus();
    for (const name of [...DEMOS.slice(1), DEMOS[0]]) {
      await one.page.keyboard.press("ArrowRight");
      await one.shows(name);
      assert.equal(new URL(one.page.url()).hash, `#${name}`);
    }
    for (const name of DEMOS) {
      await one.page.goto(`http://${one.origin}/#${name}`);
      await one.page.reload();
      await one.shows(name);
    }
    faultless(one);
  });

  test("every field, button and list has a name that is read out", async (t) => {
    const [one] = await visit(t);
    for (const name of DEMOS) {
      await one.choose(name);
      for (const role of ["textbox", "button", "combobox", "log", "tab"]) {
        const [all, named] = [one.page.getByRole(role), one.page.getByRole(role, { name: /\S/ })];
        assert.equal(await named.count(), await all.count(), `${role} in ${name}`);
      }
    }
  });

  for (const [size, viewport] of Object.entries({ wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } })) {
    for (const colorScheme of ["light", "dark"]) {
      test(`${size} and ${colorScheme}: it fits, and a picture of each demo is kept`, async (t) => {
        const demo = await Demo.open(t, browser, await startHub(t), { viewport, colorScheme });
        for (const name of DEMOS) {
          const [a] = await demo.choose(name);
          await a.say("What a long line this is, that has to be broken where the page is narrow: " + "wide".repeat(30));
          await a.part("log").locator(".line").first().waitFor();
          const [needed, given] = await demo.page.evaluate(() => {
            const { scrollWidth, clientWidth } = document.documentElement;
            return [scrollWidth, clientWidth];
          });
          assert.ok(needed <= given, `${name} is ${needed} px wide in a window of ${given} px`);
          await demo.tab.picture(`${name}-${size}-${colorScheme}`);
        }
        const paper = await demo.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const [red] = paper.match(/\d+/g).map(Number);
        assert.equal(red > 127 ? "light" : "dark", colorScheme, `the paper is ${paper}`);
        faultless(demo);
      });
    }
  }

  test("the code that it prints does what the demo does", async (t) => {
    const [one, , server] = await visit(t);
    site.target = server.port;
    const logged = {
      echo: /^an example message$/,
      room: /^hello, everyone$/,
      channels: / hello$/,
      group: /^broadcastchatmessage Rick hello$/,
      chat: /^\[Bob\]$/,
    };
    for (const [name, line] of Object.entries(logged)) {
      const code = await one.part(`${name}-snippet`).textContent();
      const tab = await browser.tab(t, site.page("/", page()));
      await tab.runModule(code);
      await tab.console.find(`line like ${line}`, ({ text }) => line.test(text));
      assert.deepEqual(tab.errors.entries, [], name);
    }
  });
});
