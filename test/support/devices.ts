/** Devices that cross-language tests run on: the fast backend and the oracle, or what OCTAVO_TEST_DEVICES lists. */

export const DEVICES: readonly string[] = (process.env.OCTAVO_TEST_DEVICES ?? "cpu:0,reference:0").split(",");
export const DEVICE = DEVICES[0]!;
