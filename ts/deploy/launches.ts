/** Kernel launches of each op of a program, asked of a device: it gets memory for the parameters, and nothing is loaded. */
import type { Sizes } from "../../protocol/messages.ts";
import { Pool } from "../pool.ts";
import { lower } from "../program/lower.ts";
import type { Program } from "../program/program.ts";

/** Undefined where the backend does not say. Throws what `Pool.start` throws, `OCTAVO_OUT_OF_MEMORY`. */
export async function launchesOn(devices: string, program: Program, limits: Sizes): Promise<number[] | undefined> {
  const pool = await Pool.start({ devices });
  try {
    const device = pool.devices[0]!;
    const parameters = [...program.parameters.values()];
    const of = { owner: "octavo program", kind: "weight" } as const;
    const handles = await device.allocate(
      parameters.map(({ dtype, layout, shape }) => ({ dtype, layout, shape, ...of })),
    );
    const ids = new Map(parameters.map(({ name }, index) => [name, handles[index]!.id]));
    const { message, arenaBytes } = lower(program, (name) => ids.get(name)!, limits);
    const spec = { dtype: "int8", layout: "plain", shape: [arenaBytes], ...of } as const;
    const [arena] = arenaBytes === 0 ? [] : await device.allocate([spec]);
    const place = arena === undefined ? {} : { arena: arena.id };
    const { reply } = await device.request({ kind: "define", program: device.newIds(1)[0]!, ...place, ...message });
    return reply.launches;
  } finally {
    await pool.dispose();
  }
}
