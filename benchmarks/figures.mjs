// The JSON file that the browser benchmarks share: each one replaces its own results and keeps the others.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";

export function save(file, versions, content) {
  const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf-8")) : {};
  const machine = { ...known.machine, cpu: cpus()[0].model, ...versions };
  const date = new Date().toISOString().slice(0, 10);
  writeFileSync(file, JSON.stringify({ ...known, date, machine, ...content }, null, 1) + "\n");
}
