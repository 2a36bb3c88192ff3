// Canonical JSON of Python values: names sorted, no spaces, text unescaped, floats in their shortest form.
#pragma once

#include <pybind11/pybind11.h>

namespace dejavu {

// Returns the canonical JSON of a value of dicts with text as keys, lists, tuples, text, numbers, booleans and None.
//
// Throws what Python sees as a ValueError, for NaN, infinities and text that is not Unicode, or as a TypeError.
pybind11::str canonical_json(pybind11::handle value);

}  // namespace dejavu
