// What depends on the processor and the compiler.
#pragma once

// Compiles a function for each of them; the loader picks the best that the processor has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

// What such a function calls becomes a part of it; else it would be compiled for the least of them only.
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOT_INLINE __attribute__((noinline))

namespace dejavu {

// Asks for memory that is read soon.
ALWAYS_INLINE void prefetch([[maybe_unused]] const void *address) {
#if defined(__GNUC__)
    __builtin_prefetch(address);
#endif
}

}  // namespace dejavu
