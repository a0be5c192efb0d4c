// What is published: small, complete, without dependencies.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url));
const manifest = JSON.parse(read("package.json"));

test("sockeye.js is smaller than 6 KiB when compressed", () => {
  const bytes = gzipSync(read("sockeye.js")).length;
  assert.ok(bytes > 1_000 && bytes < 6_144, `${bytes} bytes`);
});

test("the package has every file that it names, and needs no other package", () => {
  const named = [
    ...manifest.files,
    ...Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [entry] : Object.values(entry))),
  ];
  for (const name of named) assert.ok(existsSync(new URL(`../${name}`, import.meta.url)), name);
  for (const name of manifest.files.filter((file) => file.endsWith(".js"))) {
    assert.ok(manifest.files.includes(name.replace(/\.js$/, ".d.ts")), `types of ${name}`);
    assert.doesNotMatch(String(read(name)), /^\s*import\b|\bimport\(|\brequire\(/m);
  }
  assert.equal(manifest.dependencies, undefined);
});

test("both modules are found by the package's own name", async () => {
  const { Sockeye, SockeyeError } = await import("sockeye-client");
  const { WebConnectionWebSocket } = await import("sockeye-client/webconnection-websocket.js");
  for (const exported of [Sockeye, SockeyeError, WebConnectionWebSocket]) assert.equal(typeof exported, "function");
});

test("the declarations name what the modules export", async () => {
  for (const name of ["sockeye", "webconnection-websocket"]) {
    const declared = [...String(read(`${name}.d.ts`)).matchAll(/^export class (\w+)/gm)]
      .map(([, found]) => found)
      .sort();
    assert.deepEqual(declared, Object.keys(await import(`../${name}.js`)).sort());
  }
});
