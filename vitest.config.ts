import { defineConfig } from "vitest/config";

const OTHER_REALM = "test/other-realm.test.ts";
const AUDIT = "test/support/audit-engines.ts";
/** Replaces a module that the audit would have loaded before; it has no engines. */
const MOCKING = "test/start-failure.test.ts";

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Files that start workers share two cores with them.
    maxWorkers: 2,
    // "auto" is the CPU also on a machine with a GPU; what runs there is named.
    env: { OCTAVO_DEVICE: "cpu:0" },
    projects: [
      {
        extends: true,
        test: { name: "rooms", include: ["ts/**/*.test.ts", "protocol/**/*.test.ts", MOCKING] },
      },
      {
        extends: true,
        test: { name: "octavo", include: ["test/**/*.test.ts"], exclude: [OTHER_REALM, MOCKING], setupFiles: [AUDIT] },
      },
      // As Jest runs tests.
      { extends: true, test: { name: "other realm", include: [OTHER_REALM], pool: "vmForks", setupFiles: [AUDIT] } },
    ],
  },
});
