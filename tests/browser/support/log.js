// What happened, in order, and a way to wait for what has not happened yet.
//
// Not a poll: every `push` asks those who wait. Used for frames, console lines, alerts and lines on stderr.

/** How long anything may take before it is a failure, in milliseconds. */
export const PATIENCE_MS = 10_000;

/** How much of a log a failure shows. */
const SHOWN = 20;
const SHOWN_CHARACTERS = 300;

export class Log {
  /** Everything pushed so far, oldest first. */
  entries = [];
  #waiting = new Set();

  /** @param {string} name what the entries are, for the message of a wait that ran out. */
  constructor(name) {
    this.name = name;
  }

  push(entry) {
    this.entries.push(entry);
    for (const ask of [...this.#waiting]) ask();
  }

  /** The first entry that fits, from the one numbered `from` on, once there is one. */
  find(what, fits, from = 0) {
    return this.when(what, (entries) => entries.slice(from).find(fits));
  }

  /** The first `count` entries, once there are so many. */
  first(count) {
    return this.when(`${count} of them`, (entries) => entries.length >= count && entries.slice(0, count));
  }

  /** The first answer of `probe(entries)` that is neither undefined nor false. Rejects after [`PATIENCE_MS`]. */
  when(what, probe) {
    return new Promise((resolve, reject) => {
      const ask = () => {
        const answer = probe(this.entries);
        if (answer === undefined || answer === false) return false;
        clearTimeout(timer);
        this.#waiting.delete(ask);
        resolve(answer);
        return true;
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(ask);
        const last = this.entries.slice(-SHOWN).map((entry) => JSON.stringify(entry).slice(0, SHOWN_CHARACTERS));
        const those = `the last of ${this.entries.length}:\n${last.join("\n")}`;
        reject(new Error(`${this.name}: no ${what} within ${PATIENCE_MS} ms; ${those}`));
      }, PATIENCE_MS);
      if (!ask()) this.#waiting.add(ask);
    });
  }
}

/** `promise`, or a rejection that names what was waited for. */
export function within(what, promise, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
