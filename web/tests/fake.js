// A WebSocket without a network, and what the tests share. Time is mocked: nothing here waits.
import { mock } from "node:test";

export class FakeWebSocket {
  static made = [];
  static get last() {
    return FakeWebSocket.made.at(-1);
  }

  readyState = 0;
  sent = [];
  closedWith = null;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    FakeWebSocket.made.push(this);
  }

  send(text) {
    if (this.readyState === 0) throw new DOMException("not open", "InvalidStateError");
    this.sent.push(text);
  }

  close(code, reason) {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999))
      throw new DOMException("code", "InvalidAccessError");
    this.closedWith = [code, reason];
    this.readyState = 2;
  }

  // What the network does.
  open() {
    this.readyState = 1;
    this.onopen?.(new Event("open"));
    return settled();
  }

  receive(data) {
    this.onmessage?.({ data: typeof data === "string" ? data : JSON.stringify(data) });
    return settled();
  }

  lose(code = 1006, reason = "", wasClean = false) {
    this.readyState = 3;
    if (!wasClean) this.onerror?.(new Event("error"));
    this.onclose?.({ code, reason, wasClean });
    return settled();
  }

  // What was sent, as the server reads it.
  get actions() {
    return this.sent.flatMap((text) => JSON.parse(text));
  }

  action(name) {
    const found = this.actions.filter(({ action }) => action === name).at(-1);
    if (!found) throw new Error(`${name} was not sent; sent: ${this.sent.join(" ")}`);
    return found;
  }

  /** Answers the last action of this name. */
  answer(name, data = [], message = "") {
    return this.receive({ status: "ok", version: "1.0", message, data, id: this.action(name).id });
  }

  refuse(name, message) {
    return this.receive({ status: "error", version: "1.0", message, data: [], id: this.action(name).id });
  }

  push(...data) {
    return this.receive({ status: "ok", version: "1.0", message: "", data });
  }
}

/** All microtasks are done. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Lets mocked time pass. */
export function pass(ms) {
  mock.timers.tick(ms);
  return settled();
}

/** `Math.random` is this from now on. */
export const random = (value) => mock.method(Math, "random", () => value);

/** The events of these types, as they come. */
export function listen(target, ...types) {
  const events = [];
  for (const type of types) target.addEventListener(type, (event) => events.push(event));
  return events;
}

/** How a promise ended: its value or its error; undefined while it has not. */
export function outcome(promise) {
  const end = {};
  promise.then(
    (value) => (end.value = value),
    (error) => (end.error = error),
  );
  return end;
}

export const message = (seq, text = `m${seq}`, more = {}) => ({
  action: "new_message",
  channel_name: "lobby",
  message: `[00:00] &lt;ann&gt;: ${text}`,
  uuid: "1",
  username: "ann",
  text,
  time: 1_000 + seq,
  seq,
  ...more,
});

class Counted extends EventTarget {
  count = 0;
  addEventListener(...all) {
    this.count++;
    super.addEventListener(...all);
  }
  removeEventListener(...all) {
    this.count--;
    super.removeEventListener(...all);
  }
}

/** The page around the client: `window`, `navigator` and `document`, as far as it looks at them. */
export function page({ onLine = true, visibilityState = "visible", href } = {}) {
  const window = new Counted();
  const document = Object.assign(new Counted(), { visibilityState });
  const navigator = { onLine };
  const parts = {
    navigator,
    document,
    location: href && new URL(href),
    addEventListener: window.addEventListener.bind(window),
    removeEventListener: window.removeEventListener.bind(window),
  };
  const before = Object.fromEntries(
    Object.keys(parts).map((key) => [key, Object.getOwnPropertyDescriptor(globalThis, key)]),
  );
  for (const [key, value] of Object.entries(parts))
    Object.defineProperty(globalThis, key, { value, configurable: true });
  return {
    listeners: () => window.count + document.count,
    online: (now) => {
      navigator.onLine = now;
      window.dispatchEvent(new Event(now ? "online" : "offline"));
      return settled();
    },
    show: (now) => {
      document.visibilityState = now;
      document.dispatchEvent(new Event("visibilitychange"));
      return settled();
    },
    restore: () => {
      for (const [key, was] of Object.entries(before))
        was ? Object.defineProperty(globalThis, key, was) : delete globalThis[key];
    },
  };
}

export function reset() {
  FakeWebSocket.made = [];
  mock.restoreAll();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
}
