// The `actions` dialect of a sockeye server, for browsers and Node. It authenticates, comes back when the connection is
// lost, joins its channels again and asks for what it missed. sockeye.d.ts says what each member does. Times are ms.

const OPTIONS = {
  minDelay: 500,
  maxDelay: 15_000,
  connectTimeout: 10_000,
  timeout: 10_000,
  queueMax: 1_000,
  queueBytesMax: 1 << 20,
  fetchHistory: 0,
};
const STABLE_MS = 5_000; // a connection that lived this long starts the backoff anew
const TIMER_MS_MAX = 2 ** 31 - 1; // past it setTimeout fires at once
const HINT_MS_MAX = 3_600_000; // the longest wish of a server

// Read-only: sent again, not rejected, when the connection is lost before the answer.
const SAFE = ["history", "list_channels", "list_members"];

// Answered with one's own copy of what was said. The server knows actions in other spellings, too.
const SAYS = /^(message|send)[-_ ]*(channel|user)$/i;

// The same client would only be closed again. 1000: the server says that it is done.
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const comesBack = ({ code }) => !FINAL.includes(code) && !(code >= 4000 && code <= 4999);

export class SockeyeError extends Error {
  constructor(message, code, { action, id } = {}) {
    super(message);
    Object.assign(this, { name: "SockeyeError", code, action, id });
  }
}

const fire = (target, type, fields) => target.dispatchEvent(Object.assign(new Event(type), fields));
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isPrivate = (name) => String(name).startsWith("pm:");
const memberOf = ({ uuid, username, access }) => ({ uuid, username, access });
const messageOf = ({ seq, uuid, username, text, time, message }) => ({
  seq,
  uuid,
  username,
  text,
  time,
  html: message,
});

let ask, opened, ended, heard; // what the two classes know of each other, and nobody else

export class Sockeye extends EventTarget {
  #options;
  #url;
  #socket;
  #state = "connecting";
  #authenticated = false;
  #attempt = 0; // failed connections in a row
  #timer; // the next attempt, or the end of the patience with this one
  #stable;
  #hinted = false; // the wait was asked for by the server: nothing shortens it
  #received = 0; // frames
  #id = 0;
  #queue = new Map(); // id → request, not sent yet
  #queueBytes = 0;
  #sent = new Map(); // id → request
  #channels = new Map();

  static {
    ask = (client, action, fields) => client.#ask(action, fields);
  }

  constructor(url, options = {}) {
    super();
    if (isObject(url) && !(url instanceof URL)) [url, options] = [undefined, url];
    this.#options = { WebSocket: globalThis.WebSocket, reconnect: comesBack, ...OPTIONS, ...options };
    this.#url = new URL(url ?? "/actions", globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#connect();
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  get url() {
    return this.#url.href;
  }
  get state() {
    return this.#state;
  }
  get authenticated() {
    return this.#authenticated;
  }

  request(action, fields = {}, { timeout = this.#options.timeout } = {}) {
    return this.#request(action, fields, { timeout });
  }

  async message(uuid, text) {
    const [copy] = await this.request("message_user", { uuid, message: text });
    return copy && messageOf(copy);
  }

  channel(name) {
    if (!this.#channels.has(name)) this.#channels.set(name, new Channel(this, name, this.#options));
    return this.#channels.get(name);
  }

  close(code = 1000, reason = "") {
    if (this.#state === "closed") return;
    this.#socket?.close(code, reason); // throws if the code may not be sent: nothing has changed then
    this.#end();
  }

  #connect() {
    const socket = new this.#options.WebSocket(this.url, this.#options.protocols);
    const current = (handle) => (event) => socket === this.#socket && handle(event);
    this.#socket = socket;
    socket.onopen = current(() => this.#open(socket));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onerror = current(
      () => this.#state === "closed" || this.#fail(new SockeyeError("The connection failed", "transport")),
    );
    socket.onclose = current((event) => this.#lost(event));
    this.#timer = setTimeout(() => this.#drop("no connection in time"), this.#options.connectTimeout);
    this.#enter("connecting");
  }

  async #open(socket) {
    const { getToken } = this.#options;
    if (getToken) {
      let token;
      try {
        token = (await getToken()) ?? "";
        if (socket !== this.#socket || this.#state === "closed") return;
        await this.#ask("authenticate", { token });
        this.#authenticated = true;
      } catch (error) {
        if (socket !== this.#socket || this.#state === "closed") return;
        // Neither token nor cookie is no failure: anonymous. A bad token is: nothing is sent under a wrong name.
        if (token !== "") {
          this.#fail(error instanceof SockeyeError ? error : new SockeyeError(`getToken failed: ${error}`, "token"));
          return this.#drop("not authenticated");
        }
      }
    }
    if (socket !== this.#socket || this.#state === "closed") return;
    clearTimeout(this.#timer);
    this.#stable = setTimeout(() => (this.#attempt = 0), STABLE_MS);
    this.#state = "open";
    // Channels and what waited go first: what a listener of `open` sends comes after it.
    for (const channel of this.#channels.values()) opened(channel);
    const waiting = [...this.#queue.values()];
    this.#queue.clear();
    this.#queueBytes = 0;
    for (const request of waiting) this.#transmit(request);
    fire(this, "state", { state: "open" });
    fire(this, "open");
  }

  #ask(action, fields) {
    return this.#request(action, fields, { timeout: this.#options.timeout, own: true });
  }

  // `own`: the client's own need. It goes out while connecting, is never queued, and a missing answer ends the connection.
  #request(action, fields, { timeout, own }) {
    return new Promise((resolve, reject) => {
      const id = ++this.#id;
      const request = { id, action, own, resolve, reject, text: JSON.stringify([{ ...fields, action, id }]) };
      if (this.#state === "closed") return reject(new SockeyeError("The client is closed", "closed", request));
      if (own || (this.#state === "open" && this.#socket.readyState === 1)) this.#transmit(request);
      else {
        const { queueMax, queueBytesMax } = this.#options;
        request.bytes = new TextEncoder().encode(request.text).length;
        if (this.#queue.size >= queueMax || this.#queueBytes + request.bytes > queueBytesMax) {
          const limits = `at most ${queueMax} requests and ${queueBytesMax} bytes (queueMax, queueBytesMax)`;
          return reject(new SockeyeError(`Not connected, and the queue is full: ${limits}`, "queue-full", request));
        }
        this.#enqueue(request);
      }
      if (timeout > 0 && timeout <= TIMER_MS_MAX)
        request.timer = setTimeout(() => this.#expire(request, timeout), timeout);
    });
  }

  #enqueue(request) {
    this.#queueBytes += request.bytes ??= request.text.length; // of the safe ones: ASCII, or near enough
    this.#queue.set(request.id, request);
  }

  #transmit(request) {
    request.received = this.#received;
    this.#sent.set(request.id, request);
    this.#socket.send(request.text);
  }

  #expire(request, timeout) {
    request.reject(new SockeyeError(`No answer to ${request.action} within ${timeout} ms`, "timeout", request));
    request.expired = true; // it stays in `#sent`, so that a late answer is known for what it is
    if (this.#queue.delete(request.id)) this.#queueBytes -= request.bytes;
    // Nothing at all since it was sent: the other end is gone and TCP has not noticed.
    else if (request.own || request.received === this.#received) this.#drop("no answer");
  }

  #receive(data) {
    this.#received++;
    let reply;
    try {
      reply = JSON.parse(data);
    } catch {}
    if (!isObject(reply)) return this.#fail(new SockeyeError("The server sent something undecodable", "undecodable"));
    const request = this.#sent.get(reply.id);
    if (request) this.#settle(request);
    if (reply.status !== "ok") {
      const error = new SockeyeError(String(reply.message), "server", request ?? reply);
      return request ? request.reject(error) : this.#fail(error);
    }
    const items = Array.isArray(reply.data) ? reply.data.filter(isObject) : [];
    // What answers a request is the caller's; the own copy of a message is also a message.
    if (!request || SAYS.test(request.action)) for (const item of items) this.#notice(item);
    request?.resolve(items);
  }

  #settle(request) {
    clearTimeout(request.timer);
    this.#sent.delete(request.id);
  }

  #notice(item) {
    const name = item.channel_name;
    if (item.action === "new_message" && isPrivate(name)) this.channel(name);
    const channel = this.#channels.get(name);
    if (channel) heard(channel, item);
    else fire(this, "message", { data: item });
  }

  #fail(error) {
    fire(this, "error", { error });
  }

  // Our own verdict. A close handshake with a peer that is gone can take minutes, so it is not waited for.
  #drop(reason) {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
    this.#lost({ code: 1006, reason, wasClean: false }, true);
  }

  #lost({ code, reason, wasClean }, again = false) {
    this.#socket = undefined;
    this.#authenticated = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#stable);
    const hint = /\bretry(?:_ms)?=(\d+)/.exec(reason)?.[1];
    const { reconnect } = this.#options;
    const wanted =
      again || hint || (typeof reconnect === "function" ? reconnect({ code, reason, wasClean }) : reconnect);
    const willReconnect = this.#state !== "closed" && reconnect !== false && Boolean(wanted);
    if (willReconnect) {
      const waiting = [...this.#queue.values()];
      const sent = [...this.#sent.values()];
      this.#forget();
      for (const request of sent) {
        if (SAFE.includes(request.action) && !request.own && !request.expired) this.#enqueue(request);
        else this.#reject(request, "The connection was lost before the answer: it may be done or not", "lost");
      }
      for (const request of waiting) this.#enqueue(request);
      this.#wait(hint);
    } else if (this.#state !== "closed") this.#end();
    fire(this, "close", { code, reason, wasClean, willReconnect });
  }

  #wait(hint) {
    const { minDelay, maxDelay } = this.#options;
    this.#hinted = hint !== undefined;
    // Full jitter: clients that were cut off together do not come back together.
    let delay = Math.random() * (this.#hinted ? minDelay : Math.min(maxDelay, minDelay * 2 ** this.#attempt++));
    if (this.#hinted) delay += Math.min(hint, HINT_MS_MAX);
    // `onLine` can be wrong (a server on this machine): slowly, not never.
    if (globalThis.navigator?.onLine === false) delay = Math.max(delay, maxDelay);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#enter("waiting");
  }

  #wake = ({ type }) => {
    const hidden = type !== "online" && globalThis.document?.visibilityState !== "visible";
    if (this.#state !== "waiting" || this.#hinted || hidden || globalThis.navigator?.onLine === false) return;
    clearTimeout(this.#timer);
    this.#connect();
  };

  #end() {
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#timer);
    clearTimeout(this.#stable);
    const unanswered = [...this.#sent.values(), ...this.#queue.values()];
    for (const request of unanswered) this.#reject(request, "The client was closed", "closed");
    this.#forget();
    for (const channel of this.#channels.values()) ended(channel);
    this.#enter("closed");
  }

  #forget() {
    this.#sent.clear();
    this.#queue.clear();
    this.#queueBytes = 0;
  }

  #reject(request, message, code) {
    clearTimeout(request.timer);
    request.reject(new SockeyeError(message, code, request));
  }

  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    fire(this, "state", { state });
  }
}

class Channel extends EventTarget {
  #client;
  #name;
  #options;
  #ready; // while membership is wanted: the promise of `subscribe`, and its ends
  #wish; // and what it asked for
  #joined = false;
  #recovered;
  #seq; // of the last message that was handed out
  #time; // and its time
  #epoch;
  #held; // messages that came while earlier ones are being asked for

  static {
    opened = (channel) => channel.#opened();
    ended = (channel) => channel.#leave(new SockeyeError("The client was closed", "closed"));
    heard = (channel, item) => channel.#heard(item);
  }

  constructor(client, name, options) {
    super();
    this.#client = client;
    this.#name = name;
    this.#options = options;
  }

  get name() {
    return this.#name;
  }
  get private() {
    return isPrivate(this.#name);
  }
  get joined() {
    return this.#joined;
  }
  get recovered() {
    return this.#recovered;
  }
  get seq() {
    return this.#seq;
  }
  get epoch() {
    return this.#epoch;
  }

  subscribe({ presence = false, visibility, create = true, since, epoch } = {}) {
    if (this.private) return Promise.reject(new SockeyeError("Private messages come without subscribing", "server"));
    this.#wish = { presence, visibility, join_or_create: create ? 1 : 0 };
    if (!this.#ready) {
      [this.#seq, this.#epoch] = [since, epoch];
      const ready = (this.#ready = {});
      ready.promise = new Promise((resolve, reject) => Object.assign(ready, { resolve, reject }));
    }
    if (this.#client.state === "open" && !this.#held) this.#join("subscribe");
    return this.#ready.promise;
  }

  async unsubscribe() {
    const wanted = this.#ready && this.#client.state === "open";
    this.#leave(new SockeyeError("Unsubscribed", "closed"));
    if (!wanted) return;
    await this.#client.request("leave_channel", { channel_name: this.#name }).catch((error) => {
      if (error.code !== "lost" && error.code !== "closed") throw error; // these have left, too
    });
  }

  async send(text) {
    if (this.private) throw new SockeyeError("Use message(uuid, text) for private messages", "server");
    const [copy] = await this.#client.request("message_channel", { channel_name: this.#name, message: text });
    return copy && messageOf(copy);
  }

  async history({ since, limit } = {}) {
    return (await this.#client.request("history", { channel_name: this.#name, since, limit })).map(messageOf);
  }

  async members() {
    return (await this.#client.request("list_members", { channel_name: this.#name })).map(memberOf);
  }

  #ask(action, fields) {
    return ask(this.#client, action, { channel_name: this.#name, ...fields });
  }

  #opened() {
    this.#joined = false;
    if (this.#ready) this.#join("reconnect");
    else if (this.private && this.#seq) this.#recall("reconnect");
  }

  #leave(error) {
    this.#ready?.promise.catch(() => {});
    this.#ready?.reject(error); // nothing happens if it was settled before
    this.#ready = this.#held = undefined;
    this.#joined = false;
  }

  // Joining again as a member changes nothing and brings what was missed: the way to catch up, too.
  async #join(reason) {
    const ready = this.#ready;
    const { presence, ...fields } = this.#wish;
    const known = this.#seq !== undefined;
    this.#held ??= [];
    try {
      const place = { since: this.#seq ?? null, epoch: this.#epoch ?? null };
      const [ack = {}, ...missed] = await this.#ask("join_channel", { ...place, ...fields });
      const items = known && !ack.recovered ? await this.#latest() : missed;
      if (ready !== this.#ready) return;
      this.#joined = true;
      if (ack.epoch !== this.#epoch) this.#seq = known ? 0 : ack.seq; // another life of the channel counts anew
      this.#epoch = ack.epoch;
      this.#resume(known && reason, ack.recovered, items);
      this.#release();
      this.#seq = Math.max(this.#seq ?? 0, ack.seq ?? 0);
      if (this.#wish.presence) {
        const members = (await this.#ask("subscribe_presence")).map(memberOf);
        if (ready === this.#ready) fire(this, "presence", { members });
      }
      ready.resolve(this);
    } catch (error) {
      if (ready !== this.#ready) return;
      this.#held = undefined; // after a loss the next join asks for these again
      if (error.code !== "server") return;
      this.#leave(error);
      fire(this, "error", { error });
    }
  }

  // Private messages have no epoch. The last one we have is asked for again: if it is still there, so is all after it.
  async #recall(reason) {
    this.#held ??= [];
    let items = [];
    let recovered;
    try {
      for (let page, since = this.#seq - 1; !page || page.length; since = page.at(-1)?.seq) {
        page = await this.#ask("history", { since, limit: 100 });
        recovered ??= page[0]?.seq === this.#seq && page[0].time === this.#time;
        if (!recovered) break;
        items.push(...page);
      }
      if (!recovered) items = await this.#latest();
    } catch (error) {
      if (error.code !== "server") return (this.#held = undefined);
      recovered = false;
    }
    if (!recovered) {
      items = items.filter(({ time }) => time > this.#time);
      this.#seq = undefined;
    }
    this.#resume(reason, recovered, items);
    this.#release();
  }

  async #latest() {
    const limit = this.#options.fetchHistory;
    if (!limit) return [];
    return this.#ask("history", { limit }).catch((error) => {
      if (error.code === "server") return [];
      throw error;
    });
  }

  #resume(reason, recovered, items) {
    const missed = items.filter(({ seq }) => !(seq <= this.#seq));
    if (reason) {
      this.#recovered = recovered;
      fire(this, "recovered", { recovered, reason, count: missed.length });
    }
    for (const item of missed) this.#deliver(item, true);
  }

  #release() {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const item of held) if (!(item.seq <= this.#seq)) this.#deliver(item, false);
  }

  #heard(item) {
    if (item.action === "new_message") {
      if (this.#held) return this.#held.push(item);
      if (item.seq <= this.#seq) return; // came already
      const gap = item.seq > this.#seq + 1;
      if (!gap || !(this.#joined || this.private)) return this.#deliver(item, false);
      this.#held = [item];
      return this.private ? this.#recall("gap") : this.#join("gap");
    }
    const { action, uuid, username, reason } = item;
    if (action === "member_left" && reason) {
      this.#leave(new SockeyeError(`Left: ${reason}`, "closed")); // `reason` is only told to whom it happens
      fire(this, "ended", { reason });
    } else if (action === "member_joined") fire(this, "joined", { uuid, username });
    else if (action === "member_left") fire(this, "left", { uuid, username });
    fire(this.#client, "message", { data: item, channel: this });
  }

  #deliver(item, replayed) {
    this.#seq = item.seq ?? this.#seq;
    this.#time = item.time;
    fire(this, "message", { ...messageOf(item), replayed });
    fire(this.#client, "message", { data: item, channel: this });
  }
}
