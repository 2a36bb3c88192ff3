// What the parts of the Python module share: arrays as Python gives them, and checks when a bundle is loaded.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

namespace dejavu {

// Games from which on other threads may run meanwhile.
constexpr std::size_t MANY = 8;

template <typename Value>
using Array = pybind11::array_t<Value, pybind11::array::c_style | pybind11::array::forcecast>;

template <typename Value>
std::vector<Value> copied(const Array<Value> &array) {
    return {array.data(), array.data() + array.size()};
}

// Throws what Python sees as a ValueError.
inline void expect(bool holds, const char *what) {
    if (!holds) throw std::invalid_argument(what);
}

template <typename Values>
bool finite(const Values &values) {
    return std::all_of(values.begin(), values.end(), [](auto value) { return std::isfinite(value); });
}

template <typename Value>
bool finite(const Array<Value> &values) {
    return std::all_of(values.data(), values.data() + values.size(), [](Value value) { return std::isfinite(value); });
}

// Returns numbers as a tuple of Python's floats; equal whole ones share one. The interpreter's lock must be held.
pybind11::tuple shared_floats(const std::vector<double> &values);

void bind_models(pybind11::module_ &module);
void bind_games(pybind11::module_ &module);
void bind_shared_floats(pybind11::module_ &module);
void bind_explanation(pybind11::module_ &module);

}  // namespace dejavu
