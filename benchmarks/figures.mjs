// The file that the browser's benchmarks share: each adds what it measured, and the other's stays.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";

export function keep(file, versions, content) {
  const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf-8")) : {};
  const machine = { ...known.machine, cpu: cpus()[0].model, ...versions };
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync(file, JSON.stringify({ ...known, date, machine, ...content }, null, 1) + "\n");
}
