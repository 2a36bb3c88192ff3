// Shared by the parts of the Python module: arrays from Python, and checks when a bundle is loaded.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <utility>
#include <vector>

namespace dejavu {

// An argument: converted by NumPy if it is an array of other numbers, or not contiguous.
template <typename Value>
using Array = nanobind::ndarray<const Value, nanobind::c_contig, nanobind::device::cpu>;

template <typename Value>
std::vector<Value> copied(const Array<Value> &array) {
    return {array.data(), array.data() + array.size()};
}

// Throws an exception that Python receives as a ValueError.
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

// An array to return: its numbers are written through `data`. The interpreter's lock must be held, except while writing.
template <typename Value>
class Result {
public:
    explicit Result(std::initializer_list<std::size_t> shape) : shape_(shape) {
        std::size_t size = 1;
        for (const std::size_t each : shape_) size *= each;
        data_ = new Value[size];
        owner_ = nanobind::capsule(data_, [](void *data) noexcept { delete[] static_cast<Value *>(data); });
    }

    Value *data() { return data_; }

    nanobind::object array() const {
        return nanobind::cast(nanobind::ndarray<nanobind::numpy, Value>(data_, shape_.size(), shape_.data(), owner_));
    }

private:
    std::vector<std::size_t> shape_;
    Value *data_;
    nanobind::capsule owner_;
};

// Returns numbers as a tuple of Python's floats; equal whole ones share one. The interpreter's lock must be held.
nanobind::tuple shared_floats(const std::vector<double> &values);

void bind_networks(nanobind::module_ &module);
void bind_models(nanobind::module_ &module);
void bind_games(nanobind::module_ &module);
void bind_moments(nanobind::module_ &module);
void bind_shared_floats(nanobind::module_ &module);

}  // namespace dejavu
