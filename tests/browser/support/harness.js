// Pages that supply what the texts' snippets take for granted, and nothing else.

/** A page with these elements, after a script of what stands around a snippet. */
export function page({ body = "", script = "", after = "" } = {}) {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A snippet</title><link rel="icon" href="data:,">
<script>${script}</script></head><body>${body}${after}</body></html>`;
}

/** Text 000: the value of a cookie, as pages have read it since Netscape; "" where there is none. */
export const GET_COOKIE = `
function getCookie(name) {
  const pair = document.cookie.split("; ").find((pair) => pair.startsWith(name + "="));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}`;

/** Text 001: the chat's elements, and what it calls beside its own functions. */
export const CHAT_BODY = `
<iframe id="chatbox"></iframe><div id="userlistbox"></div>
<input id="name"><input id="text">`;

export const CHAT_SCRIPT = `
var clientID = 0;
function setUsername() {
  const name = document.getElementById("name").value;
  exampleSocket.send(JSON.stringify({ name, date: Date.now(), id: clientID, type: "username" }));
}
// Only Firefox scrolls by pages of itself.
addEventListener("DOMContentLoaded", () => {
  const view = document.getElementById("chatbox").contentWindow;
  view.scrollByPages = (pages) => view.scrollBy(0, pages * view.innerHeight);
});`;

/** Text 002: the little of jQuery that it uses, and the page's names for its elements. */
export const JQUERY = `
class Elements extends Array {
  val(value) {
    if (value === undefined) return this[0]?.value;
    this.forEach((element) => (element.value = value));
    return this;
  }
  html(value) {
    if (value === undefined) return this[0]?.innerHTML;
    this.forEach((element) => (element.innerHTML = value));
    return this;
  }
  on(type, listener) {
    this.forEach((element) => element.addEventListener(type, listener));
    return this;
  }
  focus() {
    this[0]?.focus();
    return this;
  }
}
const $ = (selector) => Elements.from(document.querySelectorAll(selector));`;

export const ENVELOPE_BODY = `
<input id="user"><input id="group"><div id="messages"></div>
<textarea id="send"></textarea><button id="send-now">Send</button>`;

/** Run after the body. What the module assigns or reads without declaring it has to be a name of the page's. */
export const envelopeNames = (user, group) => `<script>
$("#user").val(${JSON.stringify(user)});
$("#group").val(${JSON.stringify(group)});
var userId = $("#user").val(), groupId = $("#group").val();
var userName$ = $("#user"), group$ = $("#group"), msgs$ = $("#messages"), send$ = $("#send"), btnSend$ = $("#send-now");
var highlighted = 0;
function highlightCode() { highlighted += 1; }
</script>`;

/** Text 003: the elements it names. */
export const TUTORIAL_BODY = `
<p id="status-label"></p><input id="text-view">
<button id="send-button">Send</button><button id="stop-button">Stop</button>`;
