/* Detection of CPU features: cpuid, and xgetbv for the registers that the operating system saves. */
#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(int leaf, int part, int out[4]) { __cpuidex(out, leaf, part); }
static unsigned long long enabled_state(void) { return _xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(int leaf, int part, int out[4]) {
    unsigned a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    out[0] = (int)a, out[1] = (int)b, out[2] = (int)c, out[3] = (int)d;
}
static unsigned long long enabled_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (unsigned long long)high << 32 | low;
}
#endif

/* Return the family from cpuid leaf 1: the base family, plus the extended one if the base is 15. */
static int family_of(int word) { return (word >> 8 & 15) + ((word >> 8 & 15) == 15 ? word >> 20 & 255 : 0); }

static int has(int word, int bit) { return (int)((unsigned)word >> bit & 1); }

unsigned apr_cpu_features(void) {
    int leaf[4], wide[4], more[4] = {0};
    unsigned features = 0;
    cpuid(0, 0, leaf);
    if (leaf[0] < 7) return 0;
    int amd = leaf[1] == 0x68747541; /* "Auth", of AuthenticAMD */
    cpuid(1, 0, leaf);
    if (amd && family_of(leaf[0]) >= 0x1a) features |= APR_CPU_ZEN5; /* Zen 5 is family 1Ah */
    if (!has(leaf[2], 27)) return features;                          /* OSXSAVE: xgetbv is not available without it */
    unsigned long long saved = enabled_state();
    cpuid(7, 0, wide);
    int avx = (saved & 0x06) == 0x06 && has(leaf[2], 28), fma = has(leaf[2], 12), f16c = has(leaf[2], 29);
    if (!(avx && fma && f16c && has(wide[1], 5))) return features;
    features |= APR_CPU_AVX2;
    if (wide[0] >= 1) cpuid(7, 1, more); /* leaf 7 has a subleaf 1 */
    if (has(more[0], 4)) features |= APR_CPU_AVX_VNNI;
    int avx512 = has(wide[1], 16) && has(wide[1], 17) && has(wide[1], 30) && has(wide[1], 31); /* F, DQ, BW, VL */
    if ((saved & 0xe6) != 0xe6 || !avx512) return features;
    features |= APR_CPU_AVX512;
    if (!has(wide[2], 11)) return features;
    features |= APR_CPU_AVX512_VNNI;
    if (has(more[0], 5)) features |= APR_CPU_AVX512_BF16;
    return features;
}

#elif defined(__aarch64__) && defined(__linux__)

#include <sys/auxv.h>

unsigned apr_cpu_features(void) {
    unsigned long words = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    unsigned features = 0;
    if (words & 1u << 20 /* HWCAP_ASIMDDP */) features |= APR_CPU_NEON_DOT;
    if (more & 1u << 13 /* HWCAP2_I8MM */) features |= APR_CPU_NEON_I8MM;
    if (more & 1u << 14 /* HWCAP2_BF16 */) features |= APR_CPU_NEON_BF16;
    return features;
}

#elif defined(__aarch64__) && defined(__APPLE__)

#include <stddef.h>
#include <sys/sysctl.h>

static int reports(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value;
}

unsigned apr_cpu_features(void) {
    unsigned features = APR_CPU_NEON_DOT; /* all Apple silicon has it */
    if (reports("hw.optional.arm.FEAT_I8MM")) features |= APR_CPU_NEON_I8MM;
    if (reports("hw.optional.arm.FEAT_BF16")) features |= APR_CPU_NEON_BF16;
    return features;
}

#else

unsigned apr_cpu_features(void) { return 0; }

#endif
