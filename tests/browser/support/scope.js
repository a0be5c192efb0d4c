// The life of what a whole test file shares: a hook registered within a hook runs too early, so this collects them.

import { after } from "node:test";

/** To be called where the file begins. Hooks run when its tests have, last registered first, each even if one fails. */
export function fileScope() {
  const hooks = [];
  after(async () => {
    const failures = [];
    for (const hook of hooks.reverse()) {
      try {
        await hook();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  });
  return { after: (hook) => hooks.push(hook) };
}
