"""Products with a layer of `tiny` on every compiled backend: speed, share of what this machine can do at most, times over `scalar`.

The products are small, so that the fastest of many ran undisturbed on a machine that does other work too.
"""

from whisper_apr import simd
from whisper_apr.bench import kernels
from whisper_apr.bench.measure import table

figures = []
for dtype in ("float32", "float16", "int8"):
    for shape in ((48, 384, 384), (48, 384, 1536)):
        figures += kernels.measure(kernels.product(shape, dtype), [name for name in simd.backends() if name != "numpy"])
print(table(kernels.HEAD, [figure.row() for figure in figures]))
