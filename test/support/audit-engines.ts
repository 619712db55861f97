/**
 * Set up for every file of this folder: the books of every engine are compared after each test, and once more when it is
 * disposed. A page that nobody gives back, or a handle that one side forgets, fails the test in which it happens.
 */
import { afterEach } from "vitest";
import { Engine } from "../../ts/index.ts";

const engines = new Set<Engine>();
const { load } = Engine;
const { dispose } = Engine.prototype;

Engine.load = async (...given) => {
  const engine = await load.apply(Engine, given);
  engines.add(engine);
  return engine;
};

Engine.prototype.dispose = async function (this: Engine) {
  // The worker answers this before it ends; whatever calls `dispose` finds the engine disposed at once.
  const audited = engines.delete(this) ? this.audit() : Promise.resolve();
  audited.catch(() => {});
  await dispose.call(this);
  await audited;
};

afterEach(async () => {
  for (const engine of engines) await engine.audit();
});
