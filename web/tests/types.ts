// Checked with `tsc --noEmit -p tests`, not run: that the declarations say what the README says, and refuse what it does not.
import { Sockeye, SockeyeError, type Channel, type ChannelMessage, type Member, type Notice } from "sockeye-client";
import { WebConnectionWebSocket, type EnvelopeMessage } from "sockeye-client/webconnection-websocket.js";

new Sockeye();
new Sockeye({ minDelay: 100 });
new Sockeye(new URL("wss://example.org/actions"));
const sockeye = new Sockeye("/actions", {
  getToken: async () => undefined,
  reconnect: ({ code, wasClean }) => code !== 4001 && !wasClean,
  fetchHistory: 50,
  WebSocket,
});
sockeye.addEventListener("close", ({ code, reason, wasClean, willReconnect }) => {
  const all: [number, string, boolean, boolean] = [code, reason, wasClean, willReconnect];
  void all;
});
sockeye.addEventListener("error", (event) => event.error.code === "timeout");
sockeye.addEventListener("message", ({ data, channel }) => (channel ? channel.name : data.action));
sockeye.addEventListener("state", (event) => {
  // @ts-expect-error there is no such state
  if (event.state === "lost") return;
});
// @ts-expect-error a state is only read
sockeye.state = "open";
// @ts-expect-error a token is a string
new Sockeye({ getToken: () => 7 });

async function channels(): Promise<void> {
  const lobby: Channel = await sockeye.channel("lobby").subscribe({ presence: true, visibility: "protected" });
  lobby.addEventListener("message", ({ seq, text, time, html, replayed }) => {
    const all: [number, string, number, string, boolean] = [seq, text, time, html, replayed];
    void all;
  });
  lobby.addEventListener("presence", ({ members }) => members.map((member: Member) => member.username));
  lobby.addEventListener("recovered", ({ recovered, count, reason }) => recovered && count > 0 && reason === "gap");
  const copy: ChannelMessage | undefined = await lobby.send("hello");
  const earlier: ChannelMessage[] = await lobby.history({ since: copy?.seq, limit: 10 });
  const data: Notice[] = await sockeye.request("list_channels", {}, { timeout: 500 });
  void [earlier, data];
  // @ts-expect-error text, no bytes
  await lobby.send(new Uint8Array(1));
  // @ts-expect-error there is no such visibility
  await lobby.subscribe({ visibility: "secret" });
  try {
    await sockeye.message("7", "psst");
  } catch (error) {
    if (error instanceof SockeyeError && error.code === "server") console.log(error.action, error.id, error.message);
  }
  await lobby.unsubscribe();
  sockeye.close(1000, "done");
}
void channels;

const socket = new WebConnectionWebSocket();
socket.onMessageHandler = (message: EnvelopeMessage) => console.log(message.action, message.recipients[0]?.value);
socket.onCloseHandler = (event) => console.log(event.code, event.wasClean);
socket.tryConnect(true, "group", "user");
const sent: boolean = socket.send(
  socket.createBroadcastMessage("hello", "x").addRecipient("a").addRecipient("b", "user"),
);
void sent;
// @ts-expect-error a group is a string
socket.tryConnect(true, 7);
