// Start Python with NumPy and whisper_apr: from a snapshot of an earlier start, or with Pyodide and both wheels.

import { Guard } from "./guard.js";
import { BACKEND } from "./relaxed_simd.js";
import * as snapshots from "./snapshot.js";
import { joinArchives, unzip } from "./wheel.js";

const MODULES = ["whisper_apr.web.session", "whisper_apr.web.recording"]; // they import what a transcription needs
// The extension modules that these import. They are loaded before Python starts: only then are they at the same
// addresses when a snapshot is restored.
const EXTENSIONS =
  /\/(numpy\/_core\/_multiarray_umath|numpy\/linalg\/_umath_linalg|whisper_apr\/_simd\/_kernels\w*)\.[^/]*(so|wasm)$/;
// Modules that wheels/bytecode.py has compiled. Python compares each with its source, and compiles it if they differ.
const findBytecode = (files, of) => files.find(([path]) => path.endsWith(`/whisper_apr/web/bytecode/${of}.zip`))?.[1];
// files of the wheels that are left out
const UNUSED = /\/tests\/|\.pyi$|^numpy\/(f2py|distutils)\//;
const otherKernels = (fast) => (fast ? /\/_kernels\.[^/]*so$/ : /\/_kernels_relaxed\.wasm$/);

/**
 * Return Pyodide's interface, with whisper_apr imported, as `python`, and `keep`, a function that stores a snapshot for
 * the next start, unless there is one. It is to be called once.
 *
 * `places` are URLs, `pyodide`, `wheel`, and `numpy` unless it is Pyodide's own, `timeout` in milliseconds, and `fast`,
 * whether to use the kernels for relaxed SIMD.
 * `onProgress(loaded)` is called with the bytes received so far.
 */
export async function startPython(places, onProgress) {
  const watched = async (start) => {
    const guard = new Guard(places.timeout, onProgress);
    try {
      return await Promise.race([start(guard), guard.failed]);
    } catch (error) {
      throw Object.assign(error, { isTransfer: guard.isTransfer });
    } finally {
      guard.stop();
    }
  };
  const snapshot = await snapshots.read(places.wheel, places.timeout);
  if (snapshot) {
    try {
      const python = await watched((guard) => restore(places, snapshot, guard));
      if (python) return { python, keep: async () => {} };
    } catch (error) {
      if (error.isTransfer) throw error;
      console.warn(`Python's snapshot could not be restored: ${error.message}`);
    }
    await snapshots.forget(places.timeout);
  }
  return watched((guard) => startAnew(places, guard));
}

// Start Pyodide. `files` is a promise of [path, bytes] of the packages' files, whose extension modules are loaded
// before Python; `snapshot` is memory to restore.
async function startPyodide({ pyodide, fast }, lock, files, guard, snapshot) {
  const extensions = files.then((all) => all.filter(([path]) => EXTENSIONS.test(path)));
  guard.provide(stdlib(pyodide), readStdlib(pyodide, files, guard));
  const script = guard.import(`${pyodide}pyodide.asm.mjs`);
  const { loadPyodide } = await guard.import(`${pyodide}pyodide.mjs`);
  return loadPyodide({
    indexURL: pyodide,
    env: fast ? { WHISPER_APR_BACKEND: BACKEND } : {},
    lockFileContents: lock,
    _makeSnapshot: !snapshot,
    _loadSnapshot: snapshot,
    async createPyodideModule(settings) {
      const { default: createModule } = await script;
      const { locateFile } = settings;
      const places = new Map((await extensions).map(([path]) => [path, new URL(path, pyodide).href]));
      for (const [path, bytes] of await extensions) guard.provide(places.get(path), bytes);
      settings.dynamicLibraries = [...places.keys()];
      settings.locateFile = (name) => places.get(name) ?? locateFile(name);
      const module = await createModule(settings);
      if (snapshot) module.growMemory(snapshotSize(snapshot));
      return module;
    },
  });
}

// Bytes of memory in a snapshot; its second word is the size of its head.
const snapshotSize = (snapshot) =>
  snapshot.length - new DataView(snapshot.buffer, snapshot.byteOffset).getUint32(4, true);

const runtime = (pyodide) => `${pyodide}pyodide.asm.wasm`;
const stdlib = (pyodide) => `${pyodide}python_stdlib.zip`;

// Return the archive of the standard library, with the compiled modules for it.
async function readStdlib(pyodide, files, guard) {
  const library = await guard.read(stdlib(pyodide));
  const compiled = findBytecode(await files, "stdlib");
  try {
    return compiled ? joinArchives(library, compiled) : library;
  } catch (error) {
    throw guard.fail(`${stdlib(pyodide)}: ${error.message}`);
  }
}

async function startAnew(places, guard) {
  const { pyodide, wheel, numpy, timeout, fast } = places;
  const lock = readLock(pyodide, guard);
  const readInstalled = async () => {
    const numpyWheel = numpy ?? `${pyodide}${JSON.parse(await lock).packages.numpy.file_name}`;
    const urls = [runtime(pyodide), numpyWheel, wheel];
    const sources = snapshots.ask(urls, timeout);
    const files = (await Promise.all([numpyWheel, wheel].map((url) => readWheel(url, guard, fast)))).flat();
    const folder = sitePackages(files);
    return { urls, sources, folder, installed: files.map(([name, bytes]) => [`${folder}/${name}`, bytes]) };
  };
  const reading = readInstalled();
  const python = await startPyodide(places, lock, reading.then(({ installed }) => installed), guard);
  const { urls, sources, folder, installed } = await reading;
  writeFiles(python, installed);
  const compiled = findBytecode(installed, "packages");
  if (compiled) writeFiles(python, (await unzip(compiled)).map(([name, bytes]) => [`${folder}/${name}`, bytes]));
  for (const name of MODULES) python.pyimport(name).destroy();

  const extensions = installed.map(([path]) => path).filter((path) => EXTENSIONS.test(path));
  const memory = canRestore(python, extensions) ? python.makeMemorySnapshot() : null;
  const keep = async () => {
    const about = { urls, sources: await sources, fast };
    const canCheck = about.sources.every((known) => known?.tag); // whether a change of a file would be noticed
    const files = installed.filter(([, bytes]) => bytes !== compiled); // the modules in it are in the memory
    if (memory && canCheck) await snapshots.store(wheel, timeout, { memory, files, ...about });
  };
  return { python, keep };
}

// Return Pyodide with the memory of a snapshot, or null if it was made from other files or with other kernels, or files
// have changed since.
async function restore(places, { memory, files, sources, urls, fast }, guard) {
  const { pyodide, numpy, timeout } = places;
  if (runtime(pyodide) !== urls[0] || (numpy ?? urls[1]) !== urls[1] || places.fast !== fast) return null;
  const now = snapshots.ask(urls, timeout);
  const python = await startPyodide(places, readLock(pyodide, guard), Promise.resolve(files), guard, memory);
  writeFiles(python, files);
  return snapshots.isCurrent(sources, await now) ? python : null;
}

// Whether no other extension module was loaded: it would be at another address in the next start.
function canRestore(python, extensions) {
  const loaded = Object.keys(python._module.LDSO.loadedLibsByName).filter((name) => name.startsWith("/"));
  return loaded.length === extensions.length;
}

// Return the text of Pyodide's list of packages.
const readLock = async (pyodide, guard) => new TextDecoder().decode(await guard.read(`${pyodide}pyodide-lock.json`));

async function readWheel(url, guard, fast) {
  const archive = await guard.read(url);
  return unzip(archive, (name) => !UNUSED.test(name) && !otherKernels(fast).test(name)).catch((error) => {
    throw guard.fail(`${url}: ${error.message}`);
  });
}

// Python's folder for packages. NumPy's extension modules name the version of Python that they are for.
function sitePackages(files) {
  const version = files.map(([name]) => /\.cpython-3(\d+)-wasm32-emscripten\.so$/.exec(name)?.[1]).find(Boolean);
  return `/lib/python3.${version}/site-packages`;
}

function writeFiles(python, files) {
  const folders = new Set();
  for (const [path, bytes] of files) {
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (!folders.has(folder)) python.FS.mkdirTree(folder);
    folders.add(folder);
    python.FS.writeFile(path, bytes, { canOwn: true });
  }
}
