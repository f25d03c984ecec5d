// Run Python under node with Pyodide:
//
//   node pyodide.mjs PYODIDE_FOLDER FOLDER WHEEL... -- [-m MODULE | SCRIPT] [ARGUMENT...]
//
// FOLDER is mounted as /work, the working directory. A WHEEL is a file, or the name of a package in Pyodide. With
// WHISPER_APR_THREADS, the kernels have so many threads, as in a page that is cross-origin isolated.
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { shareMemory, startThreads } from "../src/whisper_apr/web/static/threads.js";

const [pyodide, folder, ...rest] = process.argv.slice(2);
const wheels = rest.slice(0, rest.indexOf("--"));
const argv = rest.slice(rest.indexOf("--") + 1);
const threads = Number(process.env.WHISPER_APR_THREADS ?? 1);
if (threads > 1) shareMemory();
const { loadPyodide } = await import(pathToFileURL(resolve(pyodide, "pyodide.mjs")));
const py = await loadPyodide({ indexURL: resolve(pyodide) + "/", env: { HOME: "/home/pyodide", ...environment() } });
py.mountNodeFS("/work", resolve(folder));
for (const wheel of wheels) {
  const source = wheel.endsWith(".whl") ? resolve(wheel) : wheel;
  await py.loadPackage(source, { checkIntegrity: false, messageCallback: () => {} });
  const name = basename(wheel).split("-")[0];
  if (!Object.keys(py.loadedPackages).some((loaded) => loaded.replaceAll("-", "_") === name)) {
    console.error(`Pyodide could not load ${wheel}`);
    process.exit(1);
  }
}
const workers = threads > 1 ? await startThreads(py, threads, 60_000, createWorker) : [];
py.globals.set("argv", py.toPy(argv));
process.exitCode = await py.runPythonAsync(`
import os, runpy, sys, traceback
os.chdir("/work")
status = 0
try:
    if argv[0] == "-m":
        sys.argv = argv[1:]
        sys.path.insert(0, "/work")
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")
except SystemExit as stop:
    status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    if isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
except BaseException:
    traceback.print_exc()
    status = 1
int(status)
`);
for (const worker of workers) worker.terminate();

function environment() {
  const passed = ([name]) => name === "CI" || name.startsWith("WHISPER_APR_");
  return Object.fromEntries(Object.entries(process.env).filter(passed));
}

// A thread's web worker, as a thread of node.
function createWorker() {
  const script = readFileSync(new URL("../src/whisper_apr/web/static/thread.js", import.meta.url), "utf-8");
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
    globalThis.self = { postMessage: (data) => parentPort.postMessage(data) };
    parentPort.on("message", (data) => self.onmessage({ data }));
    ${script}`,
    { eval: true },
  );
  const face = { postMessage: (data) => worker.postMessage(data), terminate: () => worker.terminate() };
  worker.on("message", (data) => face.onmessage({ data }));
  worker.on("error", (error) => {
    console.error(error);
    process.exit(1); // Python would wait for it forever
  });
  return face;
}
