// A thread of the kernels' pool (threads.js): an instance of the compiled extension on Python's memory. It has its own
// stack and its own copy of the static data. Its functions have the same addresses as in Python's instance, so that
// tasks can refer to them. What the extension imports from Python is not available here; no task needs it.

// Instantiate the module with its functions from the address `table` on.
function instantiate({ module, functions, memory, data, stack }, table) {
  const imports = { env: {}, "GOT.mem": {}, "GOT.func": {} };
  for (const { module: place, name, kind } of WebAssembly.Module.imports(module)) {
    const missing = () => {
      throw new Error(`${name} cannot be called in a thread`);
    };
    imports[place][name] = kind === "global" ? new WebAssembly.Global({ value: "i32", mutable: true }, 0) : missing;
  }
  Object.assign(imports.env, {
    memory,
    __indirect_function_table: new WebAssembly.Table({ initial: table + functions, element: "anyfunc" }),
    __stack_pointer: new WebAssembly.Global({ value: "i32", mutable: true }, stack),
    __memory_base: new WebAssembly.Global({ value: "i32" }, data),
    __table_base: new WebAssembly.Global({ value: "i32" }, table),
  });
  const { exports } = new WebAssembly.Instance(module, imports);
  exports.__wasm_apply_data_relocs?.();
  return exports;
}

self.onmessage = ({ data: setup }) => {
  const offset = instantiate(setup, 1).apr_function_address() - 1;
  const thread = instantiate(setup, setup.functionAddress - offset);
  self.postMessage("ready");
  thread.apr_work(setup.pool, setup.slot); // does not return
};
