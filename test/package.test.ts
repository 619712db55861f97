/** What `npm pack` puts into the package. If these fail, users get other people's builds, or no kernels. */
import { execa } from "execa";
import { expect, it } from "vitest";

it("has the Python code and the kernels' sources, and nothing that a machine has made of them", async () => {
  const { stdout } = await execa("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"]);
  const files: string[] = JSON.parse(stdout)[0].files.map(({ path }: { path: string }) => path);
  for (const file of [
    "worker/octavo_worker/__main__.py",
    "kernels/octavo_kernels/cpu/build.py",
    "kernels/octavo_kernels/cpu/src/kernels/table.h",
    "kernels/octavo_kernels/triton/__init__.py",
    "README.md",
  ])
    expect(files).toContain(file);
  expect(files.filter((file) => /\/(build|tests|__pycache__)\/|\.(so|o|pyc)$/.test(file))).toEqual([]);
});
