// Code that depends on the processor and the compiler.
#pragma once

// Compiles a function for each of several levels of x86-64; the loader picks the best that the processor has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

// Inlines a function that such a function calls; it would otherwise be compiled for the lowest level only.
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOT_INLINE __attribute__((noinline))

// Picks four elements of two vectors of four; those of the second are numbered from 4.
#if defined(__clang__)
#define MIXED(one, other, ...) __builtin_shufflevector(one, other, __VA_ARGS__)
#else
typedef int FourPlaces __attribute__((vector_size(16)));
#define MIXED(one, other, ...) __builtin_shuffle(one, other, FourPlaces{__VA_ARGS__})
#endif
