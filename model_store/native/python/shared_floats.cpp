// Python's floats for whole numbers, made once: patterns and distributions consist of few of them, over and over.
#include <array>
#include <cmath>

#include "bindings.hpp"

namespace py = pybind11;

namespace dejavu {
namespace {

constexpr int LARGEST = 200;

// Never destroyed: the interpreter is gone before.
using Floats = std::array<py::object, 2 * LARGEST + 1>;

py::object shared(double value) {
    static auto &floats = *new Floats;
    if (!(std::abs(value) <= LARGEST) || value != std::trunc(value) || (value == 0.0 && std::signbit(value)))
        return py::float_(value);
    py::object &kept = floats[static_cast<std::size_t>(LARGEST + static_cast<int>(value))];
    if (!kept) kept = py::float_(value);
    return kept;
}

// Returns numbers as a tuple, given how many there are and what gives each.
template <typename Number>
py::tuple tuple_of(std::size_t size, Number number) {
    py::tuple result(size);
    for (std::size_t place = 0; place < size; ++place)
        PyTuple_SET_ITEM(result.ptr(), static_cast<py::ssize_t>(place), shared(number(place)).release().ptr());
    return result;
}

// Of a list of floats, as protobuf gives a repeated field.
py::tuple of_list(const py::list &values) {
    return tuple_of(values.size(), [&](std::size_t place) {
        PyObject *const value = PyList_GET_ITEM(values.ptr(), static_cast<py::ssize_t>(place));
        if (!PyFloat_CheckExact(value)) throw py::type_error("the items are floats");
        return PyFloat_AS_DOUBLE(value);
    });
}

}  // namespace

py::tuple shared_floats(const std::vector<double> &values) {
    return tuple_of(values.size(), [&](std::size_t place) { return values[place]; });
}

void bind_shared_floats(py::module_ &module) { module.def("shared_floats", &of_list); }

}  // namespace dejavu
