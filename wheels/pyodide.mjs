// Run Python under node with Pyodide:
//
//   node pyodide.mjs PYODIDE_FOLDER FOLDER WHEEL... -- [-m MODULE | SCRIPT] [ARGUMENT...]
//
// FOLDER is mounted as /work, the working directory. A WHEEL is a file, or the name of a package in Pyodide.
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [pyodide, folder, ...rest] = process.argv.slice(2);
const wheels = rest.slice(0, rest.indexOf("--"));
const argv = rest.slice(rest.indexOf("--") + 1);
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

function environment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith("WHISPER_APR_")));
}
