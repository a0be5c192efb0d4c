/** Client of the `actions` dialect of a sockeye server. All times are milliseconds. */

export type SockeyeState = "connecting" | "open" | "waiting" | "closed";

export type SockeyeErrorCode =
  /** The server refused; `message` is what it said. */
  | "server"
  /** No answer in time. What was sent may be done all the same. */
  | "timeout"
  /** The connection ended before the answer. It may be done or not. */
  | "lost"
  /** The client was closed, or the channel left. */
  | "closed"
  /** Not connected, and the queue is full. */
  | "queue-full"
  /** The connection failed. */
  | "transport"
  /** `getToken` threw. */
  | "token"
  /** A frame of the server is no JSON object. */
  | "undecodable";

export class SockeyeError extends Error {
  constructor(message: string, code: SockeyeErrorCode, request?: { action?: string; id?: unknown });
  readonly name: "SockeyeError";
  readonly code: SockeyeErrorCode;
  /** The action that was refused or lost, where there is one. */
  readonly action: string | undefined;
  /** The id of its request. */
  readonly id: unknown;
}

export interface CloseInfo {
  code: number;
  reason: string;
  wasClean: boolean;
}

export interface SockeyeOptions {
  /** The class to use where there is no global one. */
  WebSocket?: unknown;
  /** Subprotocols to offer. Default: none. */
  protocols?: string | string[];
  /**
   * Called at every connect; its token is sent before anything else. Empty or undefined: the session cookie counts, or
   * else the connection is anonymous. If it throws, or the server refuses a token, an `error` event says so and the
   * client tries again later. Without `getToken` nothing is sent: anonymous.
   */
  getToken?: () => string | null | undefined | Promise<string | null | undefined>;
  /**
   * Whether to come back after this end. Default: not after 1000, 1002, 1003, 1007, 1008, 1009, 1010 and 4000 to 4999.
   * A reason that holds `retry_ms=MS` brings it back after that time, an hour at most, whatever the code. `false`: never.
   */
  reconnect?: boolean | ((end: CloseInfo) => boolean);
  /** The n-th attempt in a row waits a random time below `min(maxDelay, minDelay * 2^n)`. Default 500. */
  minDelay?: number;
  /** Default 15,000. While the browser is offline it waits at least this, or until it is online. */
  maxDelay?: number;
  /** From the start of an attempt until it is open and authenticated. Default 10,000. */
  connectTimeout?: number;
  /** For an answer. Default 10,000; 0: none. */
  timeout?: number;
  /** Requests that wait for the connection, at most. Default 1,000. */
  queueMax?: number;
  /** Their bytes, at most. Default 1 MiB. */
  queueBytesMax?: number;
  /** How many of the latest messages to fetch where the server could not tell what was missed. Default 0. */
  fetchHistory?: number;
}

/** One element of a reply's `data`, as the server sent it. */
export interface Notice {
  action: string;
  channel_name?: string;
  [key: string]: unknown;
}

export interface ChannelMessage {
  /** Its number in the channel. */
  seq: number;
  /** Of the sender; empty if it is anonymous. */
  uuid: string;
  username: string;
  /** As it was sent. Put it into the page as text, not as HTML. */
  text: string;
  /** Unix milliseconds. */
  time: number;
  /** The line as HTML with time and name, escaped by the server. */
  html: string;
}

export interface Member {
  uuid: string;
  username: string;
  access: "admin" | "write" | "read" | "";
}

export interface SockeyeEventMap {
  /** Connected and authenticated; channels are being joined again and what waited is sent. */
  open: Event;
  close: Event & CloseInfo & { willReconnect: boolean };
  state: Event & { state: SockeyeState };
  /** Everything the server says unasked: messages, each once, and notices. `channel` is there if it is one you have. */
  message: Event & { data: Notice; channel?: Channel };
  /** A failed connection or authentication, or an error of the server that answers no request. */
  error: Event & { error: SockeyeError };
}

export interface ChannelEventMap {
  message: Event & ChannelMessage & { replayed: boolean };
  /**
   * After joining again, or after a gap in the numbers. `recovered`: nothing is missing, `count` messages follow with
   * `replayed`. Otherwise some may be lost; with `fetchHistory` the latest unseen ones follow.
   */
  recovered: Event & { recovered: boolean; reason: "reconnect" | "gap" | "subscribe"; count: number };
  /** The members now, after joining with `presence`. */
  presence: Event & { members: Member[] };
  joined: Event & { uuid: string; username: string };
  left: Event & { uuid: string; username: string };
  /** We were removed, or the channel was closed: it is not joined again. */
  ended: Event & { reason: string };
  /** The server refused to let us in: it is not joined again. */
  error: Event & { error: SockeyeError };
}

type Listener<E> = ((event: E) => void) | { handleEvent(event: E): void };

export interface SubscribeOptions {
  /** Also tell who comes and goes. Default false. */
  presence?: boolean;
  /** Of the channel, if this creates it. Default public. */
  visibility?: "public" | "protected" | "private";
  /** Create it if there is none. Default true. */
  create?: boolean;
  /** `seq` and `epoch` of an earlier page, to get what came since. */
  since?: number | undefined;
  epoch?: string | undefined;
}

/** A channel, as `Sockeye.channel(name)` gives it. */
export interface Channel extends EventTarget {
  readonly name: string;
  /** Whether it is a conversation of two users, `pm:A+B`: nothing to join, `send` is `Sockeye.message`. */
  readonly private: boolean;
  readonly joined: boolean;
  /** What the last `recovered` event said. */
  readonly recovered: boolean | undefined;
  /** Of the last message. */
  readonly seq: number | undefined;
  /** The life of the channel that `seq` counts in. */
  readonly epoch: string | undefined;
  /** Joins, now and after every reconnect. Settles when the server answers, or the channel or client is ended. */
  subscribe(options?: SubscribeOptions): Promise<this>;
  /** Leaves, and does not come back. */
  unsubscribe(): Promise<void>;
  /** Resolves with the own copy; with undefined if the server sends none. */
  send(text: string): Promise<ChannelMessage | undefined>;
  /** Oldest first: the latest `limit`, or with `since` the first `limit` after that number. */
  history(options?: { since?: number | undefined; limit?: number | undefined }): Promise<ChannelMessage[]>;
  members(): Promise<Member[]>;
  addEventListener<K extends keyof ChannelEventMap>(
    type: K,
    listener: Listener<ChannelEventMap[K]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof ChannelEventMap>(
    type: K,
    listener: Listener<ChannelEventMap[K]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

export class Sockeye extends EventTarget {
  /** Connects at once. Default URL: `/actions` on the page's host; relative ones start from the page, http is ws. */
  constructor(url?: string | URL | null, options?: SockeyeOptions);
  constructor(options: SockeyeOptions);
  readonly url: string;
  readonly state: SockeyeState;
  /** Whether the server took a token or the session cookie for this connection. */
  readonly authenticated: boolean;
  /**
   * Does one action and resolves with the `data` of its answer. Before the connection is open it waits, within limits.
   * If the connection is lost before the answer: `history`, `list_channels` and `list_members` are sent again, all else
   * rejects with `lost`, since doing it twice could be wrong. `timeout` counts from the call.
   */
  request(action: string, fields?: Record<string, unknown>, options?: { timeout?: number }): Promise<Notice[]>;
  /** A private message, to every connection of both ends. Resolves with the own copy. */
  message(uuid: string, text: string): Promise<ChannelMessage | undefined>;
  /** The one object for this name. Those of private conversations, `pm:A+B`, come into being with their first message. */
  channel(name: string): Channel;
  /** Ends it for good; what waits for an answer rejects with `closed`. Throws if the code is not 1000 or 3000 to 4999. */
  close(code?: number, reason?: string): void;
  addEventListener<K extends keyof SockeyeEventMap>(
    type: K,
    listener: Listener<SockeyeEventMap[K]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof SockeyeEventMap>(
    type: K,
    listener: Listener<SockeyeEventMap[K]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
