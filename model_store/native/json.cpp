// Canonical JSON, written the way `json.JSONEncoder` writes it (tests hold them equal), in one pass into one buffer.
#include "json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace py = pybind11;

namespace dejavu {
namespace {

// Whole numbers below are written as integers: a double has them, and ten times them, exactly.
constexpr double MOST_WHOLE = 1e15;

// Numbers from 1e16 on, and below 1e-4, have an exponent in Python.
constexpr double LEAST_WITHOUT_EXPONENT = 1e-4;
constexpr int LEAST_EXPONENT = -4, MOST_EXPONENT = 15;

void append_integer(std::string &text, long long value) {
    char digits[24];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

#if defined(__cpp_lib_to_chars)
// Appends a float that is not 0 by its shortest digits.
void append_digits(std::string &text, double value) {
    const double size = std::abs(value);
    if (size >= LEAST_WITHOUT_EXPONENT && size < MOST_WHOLE) {  // with a fraction: whole numbers were written before
        char plain[32];  // -0.000ddddddddddddddddd, or as many digits with a point
        text.append(plain, std::to_chars(plain, plain + sizeof plain, value, std::chars_format::fixed).ptr);
        return;
    }
    char buffer[32];  // -d.ddddddddddddddddde-ddd
    char *const end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
    char *digits = buffer;
    if (*digits == '-') text += *digits++;
    char *const mark = std::find(digits, end, 'e');
    int exponent = 0;
    std::from_chars(mark + (mark[1] == '+' ? 2 : 1), end, exponent);
    if (digits + 1 < mark) {  // the first digit takes the place of the point
        digits[1] = digits[0];
        ++digits;
    }
    const auto count = static_cast<int>(mark - digits);
    if (exponent < LEAST_EXPONENT || exponent > MOST_EXPONENT) {
        text += digits[0];
        if (count > 1) (text += '.').append(digits + 1, mark);
        text += exponent < 0 ? "e-" : "e+";
        if (std::abs(exponent) < 10) text += '0';
        append_integer(text, std::abs(exponent));
    } else if (exponent < 0) {
        text.append("0.").append(static_cast<std::size_t>(-exponent - 1), '0').append(digits, mark);
    } else if (count <= exponent + 1) {
        text.append(digits, mark).append(static_cast<std::size_t>(exponent + 1 - count), '0').append(".0");
    } else {
        (text.append(digits, digits + exponent + 1) += '.').append(digits + exponent + 1, mark);
    }
}
#else
// Appends a float with a standard library that has no shortest digits: by Python, which takes ten times as long.
void append_digits(std::string &text, double value) {
    char *const digits = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, nullptr);
    if (!digits) throw py::error_already_set();
    text += digits;
    PyMem_Free(digits);
}
#endif

std::string_view utf8(PyObject *text) {
    Py_ssize_t size = 0;
    const char *const bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (!bytes) throw py::error_already_set();  // a lone surrogate
    return {bytes, static_cast<std::size_t>(size)};
}

bool plain(char each) { return static_cast<unsigned char>(each) >= 0x20 && each != '"' && each != '\\'; }

void append_escaped(std::string &text, char each) {
    static constexpr char HEXADECIMAL[] = "0123456789abcdef";
    text += '\\';
    switch (each) {
        case '\n': text += 'n'; break;
        case '\r': text += 'r'; break;
        case '\t': text += 't'; break;
        case '\f': text += 'f'; break;
        case '\b': text += 'b'; break;
        case '"': case '\\': text += each; break;
        default: (text.append("u00") += HEXADECIMAL[each >> 4]) += HEXADECIMAL[each & 15];
    }
}

void append_text(std::string &text, std::string_view value) {
    text += '"';
    if (std::all_of(value.begin(), value.end(), plain)) {  // as all names are, and most texts
        text.append(value) += '"';
        return;
    }
    for (auto next = value.begin(); next != value.end();) {
        const auto special = std::find_if_not(next, value.end(), plain);
        text.append(next, special);
        next = special;
        if (special != value.end()) append_escaped(text, *next++);
    }
    text += '"';
}

void append_whole(std::string &text, PyObject *value) {
    int overflow = 0;
    const long long whole = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow) {
        append_integer(text, whole);
        return;
    }
    const auto digits = py::reinterpret_steal<py::object>(PyLong_Type.tp_repr(value));
    if (!digits) throw py::error_already_set();
    text += utf8(digits.ptr());
}

// One level of a nested value, of which Python allows so many; left by an exception as well.
class Level {
public:
    Level() {
        if (Py_EnterRecursiveCall(" in a JSON value")) throw py::error_already_set();
    }
    ~Level() { Py_LeaveRecursiveCall(); }
    Level(const Level &) = delete;
    Level &operator=(const Level &) = delete;
};

void append_names(std::string &text, PyObject *dict) {
    std::vector<std::pair<std::string_view, PyObject *>> parts;
    parts.reserve(static_cast<std::size_t>(PyDict_GET_SIZE(dict)));
    PyObject *name = nullptr, *part = nullptr;
    for (Py_ssize_t place = 0; PyDict_Next(dict, &place, &name, &part);) {
        if (!PyUnicode_Check(name)) throw py::type_error("names of a JSON object are text");
        parts.emplace_back(utf8(name), part);
    }
    // UTF-8 has the order of the code points, by which Python sorts.
    std::sort(parts.begin(), parts.end(), [](const auto &one, const auto &other) { return one.first < other.first; });
    JsonObject object(text);
    for (const auto &[key, content] : parts) {
        object.any_name(key);
        append_value(text, content);
    }
    object.end();
}

void append_items(std::string &text, PyObject *sequence) {
    text += '[';
    for (Py_ssize_t place = 0; place < PySequence_Fast_GET_SIZE(sequence); ++place) {
        if (place) text += ',';
        append_value(text, PySequence_Fast_GET_ITEM(sequence, place));
    }
    text += ']';
}

}  // namespace

void append_value(std::string &text, PyObject *value) {
    if (PyFloat_Check(value)) {
        append_float(text, PyFloat_AS_DOUBLE(value));
    } else if (PyUnicode_Check(value)) {
        append_text(text, utf8(value));
    } else if (value == Py_None) {
        text += "null";
    } else if (PyBool_Check(value)) {
        text += value == Py_True ? "true" : "false";
    } else if (PyLong_Check(value)) {
        append_whole(text, value);
    } else if (PyDict_Check(value) || PyList_Check(value) || PyTuple_Check(value)) {
        const Level level;
        PyDict_Check(value) ? append_names(text, value) : append_items(text, value);
    } else if (py::isinstance<JsonSource>(value)) {
        py::handle(value).cast<const JsonSource &>().append_json(text);
    } else {
        throw py::type_error(std::string("a value of type ") + Py_TYPE(value)->tp_name + " has no JSON");
    }
}

void append_float(std::string &text, double value) {
    if (!std::isfinite(value)) throw py::value_error("Out of range float values are not JSON compliant");
    if (value == std::trunc(value) && std::abs(value) < MOST_WHOLE) {
        if (value == 0.0 && std::signbit(value)) text += '-';
        append_integer(text, static_cast<long long>(value));
        text += ".0";
    } else {
        append_digits(text, value);
    }
}

void JsonObject::any_name(std::string_view utf8) {
    text_ += std::exchange(before_, ',');
    append_text(text_, utf8);
    text_ += ':';
}

void JsonObject::number(std::string_view name, double value) {
    this->name(name);
    append_float(text_, value);
}

void JsonObject::integer(std::string_view name, std::int64_t value) {
    this->name(name);
    append_integer(text_, value);
}

void JsonObject::text(std::string_view name, std::string_view utf8) {
    this->name(name);
    append_text(text_, utf8);
}

void JsonObject::end() {
    if (before_ == '{') text_ += '{';
    text_ += '}';
}

py::str canonical_json(py::handle value) {
    std::string text;
    text.reserve(4096);
    append_value(text, value.ptr());
    return python_text(text);
}

py::str python_text(const std::string &utf8) {
    PyObject *const result = PyUnicode_DecodeUTF8(utf8.data(), static_cast<Py_ssize_t>(utf8.size()), nullptr);
    if (!result) throw py::error_already_set();
    return py::reinterpret_steal<py::str>(result);
}

}  // namespace dejavu
