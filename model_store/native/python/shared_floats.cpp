// Python's floats for whole numbers, each made once: patterns and distributions repeat few numbers many times.
#include <array>
#include <cmath>

#include "bindings.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

constexpr int LARGEST = 200;

// Never destroyed, since the interpreter ends before static objects are destroyed.
using Floats = std::array<nb::object, 2 * LARGEST + 1>;

nb::object shared(double value) {
    static auto &floats = *new Floats;
    if (!(std::abs(value) <= LARGEST) || value != std::trunc(value) || (value == 0.0 && std::signbit(value)))
        return nb::float_(value);
    nb::object &kept = floats[static_cast<std::size_t>(LARGEST + static_cast<int>(value))];
    if (!kept) kept = nb::float_(value);
    return kept;
}

// Returns numbers as a tuple, given their count and a function that returns each.
template <typename Number>
nb::tuple tuple_of(std::size_t size, Number number) {
    auto result = nb::steal<nb::tuple>(PyTuple_New(static_cast<Py_ssize_t>(size)));
    if (!result) throw nb::python_error();
    for (std::size_t place = 0; place < size; ++place)
        PyTuple_SetItem(result.ptr(), static_cast<Py_ssize_t>(place), shared(number(place)).release().ptr());
    return result;
}

// Returns a list of floats, which protobuf gives for a repeated field, as a tuple.
nb::tuple of_list(const nb::list &values) {
    return tuple_of(values.size(), [&](std::size_t place) {
        PyObject *const value = PyList_GetItem(values.ptr(), static_cast<Py_ssize_t>(place));
        if (!PyFloat_CheckExact(value)) throw nb::type_error("the items are floats");
        return PyFloat_AsDouble(value);
    });
}

}  // namespace

nb::tuple shared_floats(const std::vector<double> &values) {
    return tuple_of(values.size(), [&](std::size_t place) { return values[place]; });
}

void bind_shared_floats(nb::module_ &module) { module.def("shared_floats", &of_list); }

}  // namespace dejavu
