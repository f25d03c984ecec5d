// Exit with 0 if this node has relaxed SIMD, with 1 if not.
import { hasRelaxedSimd } from "../src/whisper_apr/web/static/relaxed_simd.js";

process.exitCode = hasRelaxedSimd() ? 0 : 1;
