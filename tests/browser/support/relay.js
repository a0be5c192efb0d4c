// What may stand between a browser and the server: a relay of TCP that can be cut, one that ends TLS, and a web site.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { temporaryDirectory } from "./server.js";

const HOST = "127.0.0.1";

/** Passes on TCP, bytes as they are. The browser's host rules name its port, so it outlives the server behind it. */
export class Relay {
  /** Where new connections go: a port. */
  target = undefined;
  /** While true, new connections are dropped at once. */
  refusing = false;
  /** While true, what comes from either side is lost: a link that is dead, and nobody has noticed. */
  silent = false;
  #pairs = new Set();

  /** @param secret `{ key, cert }`: it speaks TLS to whom it accepts, and plain TCP to the server. */
  static async start(scope, secret) {
    const relay = new Relay();
    const accept = (near) => relay.#accept(near);
    relay.listener = secret ? tls.createServer(secret, accept) : net.createServer(accept);
    relay.listener.listen(0, HOST);
    await once(relay.listener, "listening");
    relay.port = relay.listener.address().port;
    scope.after(() => relay.end());
    return relay;
  }

  /** Drops every connection on both sides, with no Close frame; new ones are accepted. */
  cut() {
    // Not `resetAndDestroy`: with a shutdown under way it leaves the handle open, and Node never exits.
    for (const pair of this.#pairs) pair.forEach((socket) => socket.destroy());
  }

  end() {
    this.cut();
    this.listener.close();
  }

  #accept(near) {
    near.on("error", () => {}); // "close" follows, and is what counts
    if (this.refusing || !this.target) return void near.destroy();
    const far = net.connect(this.target, HOST);
    far.on("error", () => {});
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.setNoDelay?.(true);
      from.on("data", (bytes) => this.silent || to.write(bytes));
      from.on("end", () => to.end());
      from.on("close", () => {
        this.#pairs.delete(pair);
        // What is queued goes out first; an end that was lost is passed on as one.
        if (from.readableEnded) to.end();
        else to.destroy();
      });
    }
  }
}

/** A key and a certificate of its own for these names, made now. */
export function selfSigned(scope, names) {
  const directory = temporaryDirectory(scope);
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const told = ["-subj", `/CN=${names[0]}`, "-addext", `subjectAltName=${names.map((name) => `DNS:${name}`)}`];
  execFileSync("openssl", ["req", ...made, ...told, "-keyout", key, "-out", cert], { stdio: "pipe" });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

/** A web site with pages of the test's; everything else, WebSockets too, goes to the server that stands behind it. */
export class Site {
  /** The server's port. */
  target = undefined;
  #pages = new Map();
  #sockets = new Set();

  static async start(scope) {
    const site = new Site();
    site.listener = http.createServer((request, response) => site.#answer(request, response));
    site.listener.on("upgrade", (request, socket, head) => site.#upgrade(request, socket, head));
    site.listener.listen(0, HOST);
    await once(site.listener, "listening");
    site.url = `http://${HOST}:${site.listener.address().port}`;
    scope.after(() => site.end());
    return site;
  }

  /** Puts a page there; its URL. */
  page(path, html) {
    this.#pages.set(path, html);
    return this.url + path;
  }

  /** Drops every WebSocket that it passes on. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  end() {
    this.cut();
    this.listener.closeAllConnections();
    this.listener.close();
  }

  #answer(request, response) {
    const html = this.#pages.get(new URL(request.url, this.url).pathname);
    if (html !== undefined) return void response.setHeader("Content-Type", "text/html; charset=utf-8").end(html);
    if (request.url === "/favicon.ico" || !this.target) return void response.writeHead(204).end();
    const { method, url, headers } = request;
    const passed = http.request({ host: HOST, port: this.target, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    passed.on("error", () => response.writeHead(502).end());
    request.pipe(passed);
  }

  #upgrade(request, near, head) {
    const far = net.connect(this.target, HOST);
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    far.write(`${lines.join("\r\n")}\r\n\r\n`);
    far.write(head);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  }
}
