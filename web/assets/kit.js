// What the demos share: the page's elements, the list of frames, and a WebSocket that tells what goes through it.
//
// Everything that came over a connection gets into the page as text, never as HTML.

const ROWS_MAX = 200; // a list forgets its oldest rows past this
const CHARS_MAX = 2_000; // of one frame

/** An element with attributes and children; strings become text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
}

/** The address of a path on the page's own server. */
export function address(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}

export const clock = (time = Date.now(), fraction = false) => {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const pad = (number, length = 2) => String(number).padStart(length, "0");
  const whole = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => pad(part)).join(":");
  return fraction ? `${whole}.${pad(date.getMilliseconds(), 3)}` : whole.slice(0, 5);
};

export const hex = (buffer) =>
  Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** A list that keeps its end in view, unless the reader scrolled away from it. */
export function append(list, row) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(row);
  while (list.children.length > ROWS_MAX) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

const encoder = new TextEncoder();

/** The raw frames of a demo: when, by whom, which way, what. */
export class Frames {
  #list;

  constructor(section) {
    this.#list = section.querySelector("[data-role=frames]");
    section.querySelector("[data-role=clear]").addEventListener("click", () => this.#list.replaceChildren());
  }

  /** `way`: sent, received or event. */
  add(pane, way, data) {
    const isText = typeof data === "string";
    const whole = isText ? data : hex(data);
    const size = isText ? encoder.encode(data).length : data.byteLength;
    const shown = whole.length > CHARS_MAX ? `${whole.slice(0, CHARS_MAX)} …` : whole;
    const arrow = { sent: "→", received: "←", event: "·" }[way];
    const kind = way === "event" ? "" : `${isText ? "text" : "binary"}, ${size} ${size === 1 ? "byte" : "bytes"}`;
    append(
      this.#list,
      el(
        "div",
        {
          class: `frame ${way}`,
          "data-way": way,
          "data-kind": way === "event" ? undefined : isText ? "text" : "binary",
          "data-pane": pane,
        },
        el("span", { class: "arrow", title: way }, arrow),
        el("span", { class: "payload" }, shown || (way === "event" ? "" : "(empty)")),
        el("span", { class: "meta" }, [pane, clock(Date.now(), true), kind].filter(Boolean).join(" · ")),
      ),
    );
  }

  /** A WebSocket class whose frames are listed here. */
  traced(pane) {
    const frames = this;
    return class extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols ?? []);
        this.binaryType = "arraybuffer";
        this.addEventListener("open", () =>
          frames.add(pane, "event", `open ${new URL(this.url).pathname}${new URL(this.url).search}`),
        );
        this.addEventListener("message", ({ data }) => frames.add(pane, "received", data));
        this.addEventListener("close", (event) => frames.add(pane, "event", describe(event)));
      }

      send(data) {
        frames.add(pane, "sent", ArrayBuffer.isView(data) ? data.slice().buffer : data);
        super.send(data);
      }
    };
  }
}

/** "closed 4001 “bye”, cleanly" */
export function describe({ code, reason, wasClean }) {
  return `closed ${code}${reason ? ` “${reason}”` : ""}, ${wasClean ? "cleanly" : "not cleanly"}`;
}

/** One side of a demo: its parts by their `data-role`, its status line and its conversation. */
export class Pane {
  constructor(root, name) {
    this.root = root;
    this.name = name;
    this.parts = {};
    for (const part of root.querySelectorAll("[data-role]")) this.parts[part.dataset.role] = part;
  }

  /** A pane made from the template of its demo; every part gets the id DEMO-PANE-ROLE. */
  static make(section, name) {
    const copy = section.querySelector("template").content.cloneNode(true);
    const root = copy.firstElementChild;
    root.dataset.pane = name;
    const pane = new Pane(root, name);
    for (const [role, part] of Object.entries(pane.parts)) part.id = `${section.id}-${name.toLowerCase()}-${role}`;
    pane.parts.title.textContent = name;
    pane.parts.log?.setAttribute("aria-label", `Conversation of ${name}`);
    section.querySelector("[data-role=panes]").append(copy);
    return pane;
  }

  /** `state`: connecting, open, waiting or closed. */
  status(state, words = state) {
    const { status, connect } = this.parts;
    status.dataset.state = state;
    status.textContent = words;
    connect.textContent = state === "closed" ? "Connect" : "Close";
  }

  /** A line that somebody said. `time`: now, if absent; null, if unknown. `tag`: why it is here, if not as usual. */
  say({ who, text, time, own = false, tag }) {
    append(
      this.parts.log,
      el(
        "div",
        { class: own ? "line own" : "line" },
        who ? el("span", { class: "who" }, who) : "",
        el("span", { class: "what" }, text),
        el("span", { class: "meta" }, [tag, time === null ? "" : clock(time)].filter(Boolean).join(" · ")),
      ),
    );
  }

  note(text, isError = false) {
    append(this.parts.log, el("p", { class: isError ? "note bad" : "note" }, text));
  }

  /** What a form of this pane is submitted for; the page itself never goes anywhere. */
  onSubmit(role, handle) {
    this.parts[role].addEventListener("submit", (event) => {
      event.preventDefault();
      handle();
    });
  }

  /** The text of a field, which is emptied. */
  take(role) {
    const field = this.parts[role];
    const { value } = field;
    field.value = "";
    field.focus();
    return value;
  }
}

/** A stock WebSocket with a status line and a button; it does not come back by itself. */
export class Stock {
  #pane;
  #Socket;
  #open;
  #socket;

  /** `open()` gives URL and subprotocols; `heard(data)` gets each message. */
  constructor(pane, frames, { open, opened = () => {}, heard }) {
    this.#pane = pane;
    this.#Socket = frames.traced(pane.name);
    this.#open = open;
    Object.assign(this, { opened, heard });
    pane.status("closed", "not connected");
    pane.parts.connect.addEventListener("click", () => (this.live ? this.close() : this.connect()));
  }

  get live() {
    return this.#socket !== undefined;
  }

  connect() {
    this.close();
    const [path, protocols] = this.#open();
    const socket = new this.#Socket(address(path), protocols);
    this.#socket = socket;
    this.#pane.status("connecting");
    socket.addEventListener("open", () => {
      if (socket !== this.#socket) return;
      this.#pane.status("open");
      this.opened();
    });
    socket.addEventListener("message", ({ data }) => socket === this.#socket && this.heard(data));
    socket.addEventListener("close", (event) => {
      if (socket !== this.#socket) return;
      this.#socket = undefined;
      this.#pane.status("closed", describe(event));
    });
  }

  close(code, reason) {
    if (code === undefined) this.#socket?.close();
    else this.#socket?.close(code, reason);
  }

  /** False, and a note that says so, if there is no connection. */
  send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(data);
      return true;
    }
    this.#pane.note("Not connected: nothing was sent.", true);
    return false;
  }
}
