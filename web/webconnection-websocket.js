// The `envelope` dialect of a sockeye server, with the interface of West Wind Web Connection's browser library.
//
//   const socket = new WebConnectionWebSocket();
//   socket.onMessageHandler = (msg) => console.log(msg.userId, msg.message);
//   socket.tryConnect(true, group, user);
//   socket.send(socket.createBroadcastMessage("broadcastchatmessage", "hello"));

const PATH = "/__initializewebsocket.ws"; // the last segment chooses the dialect, in any directory
const MIN_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;
const STABLE_MS = 5_000; // a connection that lived this long starts the backoff anew
const QUEUE_MAX = 1_000;

/** Exactly the five keys of the wire; `addRecipient` is not one of them. */
class BroadcastMessage {
  constructor(action, message, groupId, userId) {
    this.action = action;
    this.message = typeof message === "string" ? message : (JSON.stringify(message) ?? "");
    this.groupId = groupId;
    this.userId = userId;
    this.recipients = [];
  }

  addRecipient(value, type = "group") {
    this.recipients.push({ type, value });
    return this;
  }
}

export class WebConnectionWebSocket {
  /** Called with each message object: `{ action, message, groupId, userId, recipients }`. */
  onMessageHandler = null;
  /** Called with the event of each opening, also after a reconnect. */
  onOpenHandler = null;
  /** Called with the event of each end: `code`, `reason`, `wasClean`. */
  onCloseHandler = null;

  #WebSocket;
  #base;
  #socket = null;
  #reconnect = false;
  #groupId = "";
  #userId = "";
  #queue = [];
  #ended = false;
  #attempt = 0; // failed connections in a row
  #retry;
  #stable;

  /** `url`: where the server is, if not on the page's host. `WebSocket`: the class to use, outside browsers. */
  constructor({ url, WebSocket = globalThis.WebSocket } = {}) {
    this.#WebSocket = WebSocket;
    this.#base = url;
  }

  /** The WebSocket of now, or null. */
  get socket() {
    return this.#socket;
  }

  /** Connects; if `reconnect`, it comes back with a growing random delay until `close` is called. */
  tryConnect(reconnect = false, groupId = "", userId = "") {
    this.#detach();
    this.#reconnect = Boolean(reconnect);
    this.#groupId = String(groupId ?? "");
    this.#userId = String(userId ?? "");
    this.#ended = false;
    this.#attempt = 0;
    this.#connect();
  }

  createBroadcastMessage(action, message = "") {
    return new BroadcastMessage(action, message, this.#groupId, this.#userId);
  }

  /** True: sent, or waiting for the connection. False: refused, because it is closed or 1,000 messages wait already. */
  send(message) {
    const text = JSON.stringify(message);
    if (this.#socket?.readyState === 1) this.#socket.send(text);
    else if (this.#ended || this.#queue.length >= QUEUE_MAX) return false;
    else this.#queue.push(text);
    return true;
  }

  /** Ends it. `tryConnect` begins again. */
  close(code = 1000, reason = "") {
    this.#socket?.close(code, reason); // throws if the code may not be sent: nothing has changed then
    clearTimeout(this.#retry);
    this.#ended = true;
    this.#queue = [];
  }

  #connect() {
    const socket = new this.#WebSocket(this.#url());
    this.#socket = socket;
    socket.onopen = (event) => {
      this.#stable = setTimeout(() => (this.#attempt = 0), STABLE_MS);
      for (const text of this.#queue.splice(0)) socket.send(text);
      this.onOpenHandler?.(event);
    };
    socket.onmessage = (event) => {
      const message = decode(event.data);
      if (message) this.onMessageHandler?.(message);
    };
    socket.onclose = (event) => {
      clearTimeout(this.#stable);
      this.#socket = null;
      if (this.#reconnect && !this.#ended) this.#wait();
      else {
        this.#ended = true;
        this.#queue = [];
      }
      this.onCloseHandler?.(event);
    };
  }

  #wait() {
    // Full jitter: clients that were cut off together do not come back together.
    const delay = Math.random() * Math.min(MAX_DELAY_MS, MIN_DELAY_MS * 2 ** this.#attempt++);
    this.#retry = setTimeout(() => this.#connect(), delay);
  }

  #detach() {
    clearTimeout(this.#retry);
    clearTimeout(this.#stable);
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#socket = null;
  }

  #url() {
    const url = new URL(this.#base ?? PATH, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    const query = [];
    if (this.#groupId) query.push(`groupid=${encodeURIComponent(this.#groupId)}`);
    if (this.#userId) query.push(`userid=${encodeURIComponent(this.#userId)}`);
    if (query.length) url.search += (url.search ? "&" : "?") + query.join("&");
    return url.href;
  }
}

// Anything but a JSON object is no message of this dialect and is passed over.
function decode(data) {
  try {
    const message = JSON.parse(data);
    return typeof message === "object" && !Array.isArray(message) ? message : null;
  } catch {
    return null;
  }
}
