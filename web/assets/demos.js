// One function a demo: it gets its section of the page and its list of frames, and connects.
import { Sockeye } from "/scripts/sockeye.js";
import { WebConnectionWebSocket } from "/scripts/webconnection-websocket.js";
import { Pane, Stock, describe, el, hex } from "./kit.js";

/** π as a big-endian float, then 127. */
const FIVE_BYTES = [0x40, 0x49, 0x0f, 0xdb, 0x7f];

const same = (a, b) => (typeof a === typeof b ? (typeof a === "string" ? a === b : hex(a) === hex(b)) : false);

export function echo(section, frames) {
  const pane = Pane.make(section, "A");
  const { parts } = pane;
  const awaited = []; // echoes come in the order of sending
  const socket = new Stock(pane, frames, {
    open: () => ["/echo"],
    opened: () => (awaited.length = 0),
    heard: (data) => {
      const { sent, at } = awaited.shift() ?? {};
      const text = typeof data === "string" ? data || "(empty)" : hex(data);
      const verdict = same(sent, data)
        ? `the same, after ${(performance.now() - at).toFixed(1)} ms`
        : "not what was sent";
      pane.say({ who: "echo", text, tag: verdict });
      if (typeof data !== "string" && data.byteLength === 5) {
        const view = new DataView(data);
        pane.note(`As in a DataView: Float32 ${view.getFloat32(0).toFixed(6)}, Uint8 ${view.getUint8(4)}`);
      }
    },
  });
  const send = (data) => {
    const sent = typeof data === "string" ? data : data.slice().buffer;
    if (socket.send(data)) awaited.push({ sent, at: performance.now() });
  };
  pane.onSubmit("send", () => send(pane.take("text")));
  parts.bytes.addEventListener("click", () => send(Uint8Array.from(FIVE_BYTES)));
  pane.onSubmit("end", () => {
    const code = Number(parts.code.value);
    try {
      socket.close(code || undefined, parts.reason.value);
    } catch (error) {
      pane.note(error.message, true);
    }
  });
  socket.connect();
}

export function room(section, frames) {
  const name = section.querySelector("[data-role=name]");
  const sides = ["A", "B"].map((side) => {
    const pane = Pane.make(section, side);
    const socket = new Stock(pane, frames, {
      open: () => [name.value ? `/room/${encodeURIComponent(name.value)}` : "/room"],
      heard: (data) => pane.say({ text: typeof data === "string" ? data || "(empty)" : hex(data) }),
    });
    pane.onSubmit("send", () => socket.send(pane.take("text")));
    return { pane, socket };
  });
  const enter = () => {
    for (const { pane, socket } of sides) {
      pane.parts.log.replaceChildren();
      socket.connect();
    }
  };
  onSubmit(section, "enter", enter);
  enter();
}

export function channels(section, frames) {
  const name = section.querySelector("[data-role=name]");
  const users = ["A", "B"].map((side) => new ChannelUser(Pane.make(section, side), frames, name));
  onSubmit(section, "enter", () => users.forEach((user) => user.enter()));
  for (const user of users) user.connect();
}

class ChannelUser {
  #pane;
  #Socket;
  #name;
  #client;
  #channel;
  #members = [];

  constructor(pane, frames, name) {
    this.#pane = pane;
    this.#Socket = frames.traced(pane.name);
    this.#name = name;
    pane.parts.connect.addEventListener("click", () => (this.#live ? this.#client.close() : this.connect()));
    pane.onSubmit("user", () => this.connect());
    pane.onSubmit("send", () => this.#try(this.#channel.send(pane.take("text"))));
    pane.onSubmit("private", () => this.#try(this.#client.message(pane.parts.uuid.value.trim(), pane.take("secret"))));
  }

  get #live() {
    return this.#client !== undefined && this.#client.state !== "closed";
  }

  connect() {
    const { parts } = this.#pane;
    this.#client?.close();
    parts.log.replaceChildren();
    this.#channel = undefined;
    this.#show([]);
    const token = parts.token.value.trim();
    const client = new Sockeye("/actions", {
      WebSocket: this.#Socket,
      getToken: token ? () => token : undefined,
      fetchHistory: 20,
    });
    this.#client = client;
    let end = "";
    const current = (handle) => (event) => client === this.#client && handle(event);
    const show = () => {
      const who = client.authenticated ? "signed in" : "anonymous";
      this.#pane.status(
        client.state,
        { open: `open, ${who}`, waiting: `${end}; trying again`, closed: end || "closed" }[client.state],
      );
      parts.secrecy.hidden = client.authenticated;
    };
    client.addEventListener("state", current(show));
    client.addEventListener(
      "close",
      current((event) => {
        end = describe(event);
        show();
      }),
    );
    client.addEventListener(
      "error",
      current(({ error }) => this.#pane.note(error.message, true)),
    );
    client.addEventListener(
      "message",
      current(({ data, channel }) => {
        if (channel?.private && data.action === "new_message") this.#say(data, `private, uuid ${data.uuid}`);
      }),
    );
    show();
    this.enter();
  }

  enter() {
    const name = this.#name.value;
    if (!this.#live || this.#channel?.name === name) return;
    if (this.#channel) this.#try(this.#channel.unsubscribe());
    this.#pane.parts.log.replaceChildren();
    this.#show([]);
    const channel = this.#client.channel(name);
    this.#channel = channel;
    const current = (handle) => (event) => channel === this.#channel && handle(event);
    channel.addEventListener(
      "message",
      current((event) => this.#say(event, event.replayed ? "missed" : undefined)),
    );
    channel.addEventListener(
      "presence",
      current(({ members }) => this.#show(members)),
    );
    channel.addEventListener(
      "joined",
      current((member) => this.#show([...this.#members, member], `${nameOf(member)} joined`)),
    );
    channel.addEventListener(
      "left",
      current((member) => {
        const at = this.#members.findIndex(({ uuid }) => uuid === member.uuid);
        this.#show(
          this.#members.filter((_, index) => index !== at),
          `${nameOf(member)} left`,
        );
      }),
    );
    channel.addEventListener(
      "recovered",
      current(({ recovered, count }) => {
        this.#pane.note(
          recovered ? `Back; nothing is lost, ${count} came meanwhile.` : "Back; some messages may be missing.",
        );
      }),
    );
    channel.addEventListener(
      "ended",
      current(({ reason }) => this.#pane.note(`Out of the channel: ${reason}`, true)),
    );
    this.#try(channel.subscribe({ presence: true }));
  }

  #say({ username, text, time }, tag) {
    this.#pane.say({ who: username || "anonymous", text: text ?? "", time, tag });
  }

  #show(members, words) {
    this.#members = members.map(({ uuid, username }) => ({ uuid, username }));
    const { parts } = this.#pane;
    parts.members.replaceChildren(
      ...this.#members.map((member) => {
        if (!member.uuid) return el("li", {}, nameOf(member));
        const button = el("button", { type: "button", title: `Write to ${member.uuid}` }, nameOf(member));
        button.addEventListener("click", () => {
          parts.uuid.value = member.uuid;
          parts.secretly.open = true;
          parts.secret.focus();
        });
        return el("li", {}, button);
      }),
    );
    if (words) this.#pane.note(words);
  }

  // What the server refuses is shown in its own words.
  #try(promise) {
    promise.catch((error) => error.code !== "closed" && this.#pane.note(error.message, true));
  }
}

const nameOf = ({ uuid, username }) => username || uuid || "anonymous";

export function group(section, frames) {
  for (const [side, user] of [
    ["A", "Rick"],
    ["B", "Markus"],
  ]) {
    const pane = Pane.make(section, side);
    const { parts } = pane;
    parts.user.value = user;
    const socket = new WebConnectionWebSocket({ WebSocket: frames.traced(side) });
    let live = false;
    const connect = () => {
      live = true;
      parts.log.replaceChildren();
      pane.status("connecting");
      socket.tryConnect(true, parts.group.value, parts.user.value);
    };
    const say = ({ message, userId }, tag, time) =>
      pane.say({ who: userId || "anonymous", text: String(message), tag, time, own: userId === parts.user.value });
    socket.onOpenHandler = () => pane.status("open");
    socket.onCloseHandler = (event) =>
      pane.status(live ? "waiting" : "closed", describe(event) + (live ? "; trying again" : ""));
    socket.onMessageHandler = (msg) => {
      if (msg.action !== "initialmessages")
        return say(msg, msg.action === "broadcastchatmessage" ? undefined : msg.action);
      for (const earlier of parse(msg.message) ?? []) say(earlier, "earlier", null);
    };
    parts.connect.addEventListener("click", () => {
      if (!live) return connect();
      live = false;
      socket.close();
      if (!socket.socket) pane.status("closed");
    });
    pane.onSubmit("who", connect);
    parts.to.addEventListener("change", () => (parts.value.disabled = ["", "all"].includes(parts.to.value)));
    pane.onSubmit("send", () => {
      const msg = socket.createBroadcastMessage("broadcastchatmessage", pane.take("text"));
      if (parts.to.value) msg.addRecipient(parts.value.value, parts.to.value);
      if (!socket.send(msg)) pane.note("Not connected: nothing was sent.", true);
    });
    connect();
  }
}

export function chat(section, frames) {
  for (const side of ["A", "B"]) {
    const pane = Pane.make(section, side);
    const { parts } = pane;
    let clientID;
    const send = (object) => socket.send(JSON.stringify({ ...object, id: clientID, date: Date.now() }));
    const sign = () => send({ type: "username", name: parts.name.value });
    const heard = {
      id: (msg) => {
        clientID = msg.id;
        sign();
      },
      username: (msg) => pane.note(`${msg.name} signed in`),
      message: (msg) => pane.say({ who: msg.name, text: msg.text, time: msg.date, own: msg.id === clientID }),
      rejectusername: (msg) => {
        pane.note(`That name is in use: you are ${msg.name}`);
        parts.name.value = msg.name;
      },
      userlist: (msg) => parts.members.replaceChildren(...msg.users.map((user) => el("li", {}, user))),
    };
    const socket = new Stock(pane, frames, {
      open: () => ["/chat", "json"],
      heard: (data) => {
        const msg = parse(data);
        if (msg && Object.hasOwn(heard, msg.type)) heard[msg.type](msg);
      },
    });
    pane.onSubmit("who", sign);
    pane.onSubmit("send", () => send({ type: "message", text: pane.take("text") }));
    socket.connect();
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function onSubmit(section, role, handle) {
  section.querySelector(`[data-role=${role}]`).addEventListener("submit", (event) => {
    event.preventDefault();
    handle();
  });
}
