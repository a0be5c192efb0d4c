export type RecipientType = "group" | "user" | "allButUser" | "excludeUser" | "all" | 0 | 1 | 2 | (string & {});

export interface Recipient {
  type: RecipientType;
  value: string;
}

/** One message, as it is on the wire. */
export interface EnvelopeMessage {
  /** What the message is, for routing. */
  action: string;
  /** The text, or JSON as a string. */
  message: string;
  /** Of the sender. */
  groupId: string;
  /** Of the sender. */
  userId: string;
  recipients: Recipient[];
}

export interface BroadcastMessage extends EnvelopeMessage {
  /** Limits who hears it; several add up. Without any: everyone in `groupId`. Default type: `group`. */
  addRecipient(value: string, type?: RecipientType): this;
}

export interface WebConnectionOptions {
  /** Default: `/__initializewebsocket.ws` on the page's host. Relative ones start from the page. */
  url?: string | URL;
  /** The class to use where there is no global one. */
  WebSocket?: unknown;
}

export class WebConnectionWebSocket {
  constructor(options?: WebConnectionOptions);
  onMessageHandler: ((message: EnvelopeMessage) => void) | null;
  onOpenHandler: ((event: Event) => void) | null;
  /** `code`, `reason` and `wasClean` say why. Called also when it will reconnect. */
  onCloseHandler: ((event: CloseEvent) => void) | null;
  readonly socket: WebSocket | null;
  /** Connects. `reconnect`: comes back after every loss, within a random time that grows to 15 s, until `close`. */
  tryConnect(reconnect?: boolean, groupId?: string, userId?: string): void;
  /** `message` that is no string becomes JSON. Group and user are those of `tryConnect`; set them to change them. */
  createBroadcastMessage(action: string, message?: unknown): BroadcastMessage;
  /** Waits for the connection if it must. False: refused, as it is closed or 1,000 messages wait. */
  send(message: EnvelopeMessage | object): boolean;
  /** Ends it, and what waits is dropped. `tryConnect` begins anew. */
  close(code?: number, reason?: string): void;
}
