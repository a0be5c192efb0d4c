// The five texts, and the code that they print: cut out of them as it stands, not a byte changed.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const NAMES = {
  "000": "000_f0ae3b4e9c378b6f.txt",
  "001": "001_4ba8a485af5ebdc9.txt",
  "002": "002_7752c7de89ac5f25.txt",
  "003": "003_a895c6f7eadcbf7d.txt",
  "004": "004_eb2c9d894a20dfd7.txt",
};

/** Every piece of code that the text numbered so prints, in its order. */
export function snippets(number) {
  const text = readFileSync(fileURLToPath(new URL(`../texts/${NAMES[number]}`, import.meta.url)), "utf8");
  // The one text that has no fences sets its code off by other means.
  return number === "003" ? indented(text) : fenced(text);
}

/** The snippet with one misprint mended. It must be there exactly once, so that a text which changes is noticed. */
export function mended(snippet, misprint, meant) {
  const parts = snippet.split(misprint);
  if (parts.length !== 2) throw new Error(`'${misprint}' is ${parts.length - 1} times in: ${snippet}`);
  return parts.join(meant);
}

/** What stands between lines that begin with ``` or ~~~. */
function fenced(text) {
  const found = [];
  let open;
  for (const line of text.split("\n")) {
    if (!/^(```|~~~)/.test(line)) open?.push(line);
    else if (open) {
      found.push(open.join("\n"));
      open = undefined;
    } else open = [];
  }
  if (open) throw new Error("a fence is not closed");
  return found;
}

/** Lines that are one code span, runs of lines that are indented, and a function that begins at the margin. */
function indented(text) {
  const span = /^`([^`]+)`$/;
  const pattern = /^`[^`\n]+`$|^(?: {4}.*\n(?:[ \t]*\n(?= {4}))?)+|^socket\.[\s\S]*?^\}$/gm;
  return [...text.matchAll(pattern)]
    .map(([code]) => span.exec(code)?.[1] ?? code.trimEnd())
    .filter((code) => code.trim() !== "");
}
