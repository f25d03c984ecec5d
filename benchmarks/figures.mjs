// The JSON file that the browser benchmarks share: each one replaces its own results and keeps the others.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";

export function save(file, versions, content) {
  const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf-8")) : {};
  const [{ model }] = cpus();
  const cpu = known.machine?.cpu.startsWith(model) ? known.machine.cpu : model; // perhaps with its family
  const machine = { ...known.machine, cpu, ...versions };
  const date = new Date().toISOString().slice(0, 10);
  const dates = { ...known.dates, ...Object.fromEntries(Object.keys(content).map((name) => [name, date])) };
  writeFileSync(file, JSON.stringify({ ...known, dates, machine, ...content }, null, 1) + "\n");
}
