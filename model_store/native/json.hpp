// Canonical JSON of Python values: names sorted, no spaces, text unescaped, floats in their shortest form.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace dejavu {

// An object of the extension that has canonical JSON of its own.
class JsonSource {
public:
    virtual ~JsonSource() = default;

    // Appends it; throws as `canonical_json` does.
    virtual void append_json(std::string &text) const = 0;
};

// Writes a JSON object, member by member; the caller gives their names in the order of their bytes.
class JsonObject {
public:
    explicit JsonObject(std::string &text) : text_(text) {}
    JsonObject(const JsonObject &) = delete;
    JsonObject &operator=(const JsonObject &) = delete;

    // Begins a member, whose value the caller appends to the text; its name has nothing to escape.
    void name(std::string_view name) {
        text_ += std::exchange(before_, ',');
        ((text_ += '"') += name) += "\":";
    }

    // Begins a member of any name.
    void any_name(std::string_view utf8);
    void number(std::string_view name, double value);
    void integer(std::string_view name, std::int64_t value);
    void text(std::string_view name, std::string_view utf8);
    void end();

private:
    std::string &text_;
    char before_ = '{';
};

// Appends a float as Python's repr gives it: the shortest decimal that is read back as the same number.
void append_float(std::string &text, double value);

// Appends numbers as a JSON array.
template <typename Numbers>
void append_numbers(std::string &text, const Numbers &numbers) {
    char before = '[';
    for (const double number : numbers) {
        text += std::exchange(before, ',');
        append_float(text, number);
    }
    if (before == '[') text += '[';
    text += ']';
}

// Appends the canonical JSON of a value; see `canonical_json`.
void append_value(std::string &text, PyObject *value);

// Returns UTF-8 as Python's text.
pybind11::str python_text(const std::string &utf8);

// Returns the canonical JSON of a value of dicts with text as keys, lists, tuples, text, numbers, booleans, None and
// objects of a JsonSource.
//
// Throws what Python sees as a ValueError, for NaN, infinities and text that is not Unicode, or as a TypeError.
pybind11::str canonical_json(pybind11::handle value);

}  // namespace dejavu
