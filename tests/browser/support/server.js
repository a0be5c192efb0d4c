// A `sockeye serve` of one's own: started on free ports, ended with the test that started it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Log, within } from "./log.js";

/** Longer than the 5 s that the server itself gives its clients to answer. */
const STOP_MS_MAX = 8_000;

/** Processes that still run: a test file that is torn down without its hooks takes them along. */
const running = new Set();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** The people in the users file of the tests. */
export const USERS = [
  { token: "token-of-alice", id: "u1", name: "alice", group: "staff" },
  { token: "token-of-bob", id: "u2", name: "bob", group: "staff" },
];

export const ADMIN_PASSWORD = "not a secret";

export class Server {
  /** Lines on stderr. */
  lines = new Log("sockeye's stderr");
  /** The ports it listens on, in the order asked for. */
  ports = [];
  #asked = false;

  /**
   * Starts one and waits until it listens.
   * @param scope whatever has `after(hook)`: a test's context, or a `fileScope()`.
   * @param {string[]} listen as `--listen` takes them.
   * @param {string[]} flags further ones.
   */
  static async start(scope, { listen = ["127.0.0.1:0"], flags = [] } = {}) {
    const server = new Server();
    scope.after(() => server.stop());
    await server.#spawn([...listen.flatMap((address) => ["--listen", address]), ...flags], listen.length);
    return server;
  }

  get port() {
    return this.ports[0];
  }

  /** SIGTERM, and its exit code once it has ended. Rejects if it had ended by itself. */
  async stop() {
    if (this.#ended()) {
      if (this.ports.length > 0 && !this.#asked) throw new Error("sockeye ended by itself");
      return this.child?.exitCode;
    }
    this.#asked = true;
    const exit = once(this.child, "exit");
    this.child.kill("SIGTERM");
    try {
      const [code] = await within("exit after SIGTERM", exit, STOP_MS_MAX);
      return code;
    } catch (error) {
      this.child.kill("SIGKILL");
      throw error;
    }
  }

  /** SIGKILL: no handshake, the kernel drops its connections. */
  async kill() {
    if (this.#ended()) return;
    this.#asked = true;
    const exit = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await within("exit after SIGKILL", exit);
  }

  #ended() {
    return !this.child || this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async #spawn(args, listeners) {
    const binary = process.env.SOCKEYE_BIN;
    if (!binary) throw new Error("SOCKEYE_BIN is not set: start the tests with tests/browser/run");
    this.child = spawn(binary, ["serve", ...args], { stdio: ["ignore", "ignore", "pipe"] });
    const { child, lines } = this;
    running.add(child);
    createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
    child.on("error", (error) => lines.push(`it did not start: ${error.message}`));
    child.on("exit", (code, signal) => {
      running.delete(child);
      lines.push(`ended with ${signal ?? code}`);
      // Told at once: the test that it happens to fails for want of an answer first.
      if (this.ports.length > 0 && !this.#asked) console.error(`sockeye ended by itself:\n${lines.entries.join("\n")}`);
    });
    this.ports = await lines.when(`${listeners} listeners`, (entries) => {
      const end = entries.find((line) => /^(ended with|it did not start)/.test(line));
      if (end) throw new Error(`sockeye serve ${args.join(" ")}\n${entries.join("\n")}`);
      const ports = entries.flatMap((line) => /^sockeye: listening on \S*:(\d+)/.exec(line)?.[1] ?? []);
      return ports.length === listeners && ports.map(Number);
    });
  }
}

/** A server with the people of [`USERS`], an admin and a known time zone. */
export function startHub(scope, { listen, flags = [] } = {}) {
  const users = ["--users", usersFile(scope), "--admin-password", ADMIN_PASSWORD, "--zone", "UTC"];
  return Server.start(scope, { listen, flags: [...users, ...flags] });
}

function usersFile(scope) {
  const path = join(temporaryDirectory(scope), "users.toml");
  const table = ({ token, id, name, group }) =>
    `[[user]]\ntoken = "${token}"\nid = "${id}"\nname = "${name}"\ngroup = "${group}"\n`;
  writeFileSync(path, USERS.map(table).join("\n"));
  return path;
}

export function temporaryDirectory(scope) {
  const path = mkdtempSync(join(tmpdir(), "sockeye-browser-"));
  scope.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
