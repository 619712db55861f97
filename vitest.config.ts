import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["ts/**/*.test.ts", "protocol/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Files that start workers share two cores with them.
    maxWorkers: 2,
    // "auto" is the CPU also on a machine with a GPU; what runs there is named.
    env: { OCTAVO_DEVICE: "cpu:0" },
  },
});
