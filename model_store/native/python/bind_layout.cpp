// Python's view of layouts: which attributes of an object its JSON object has, said once and written in one call.
//
// The same as entries/layout.py in the server does in Python, at a fifth of its cost.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings.hpp"
#include "json.hpp"

namespace py = pybind11;

namespace dejavu {
namespace {

// Attributes of attributes.
using Path = std::vector<py::str>;

py::object at(py::handle object, const Path &path) {
    auto value = py::reinterpret_borrow<py::object>(object);
    for (const py::str &name : path) {
        PyObject *const next = PyObject_GetAttr(value.ptr(), name.ptr());
        if (!next) throw py::error_already_set();
        value = py::reinterpret_steal<py::object>(next);
    }
    return value;
}

// Interns the names, which is how attributes are found fastest.
Path interned(const std::vector<std::string> &names) {
    Path path;
    for (const std::string &name : names) {
        PyObject *const text = PyUnicode_InternFromString(name.c_str());
        if (!text) throw py::error_already_set();
        path.push_back(py::reinterpret_steal<py::str>(text));
    }
    return path;
}

double number(PyObject *value) {
    const double result = PyFloat_AsDouble(value);
    if (result == -1.0 && PyErr_Occurred()) throw py::error_already_set();
    return result;
}

class Layout {
public:
    // Name, path, kind, layout or None, conversion or None, null, any, path that has to lead to something; see
    // entries/layout.py.
    using Given = std::tuple<std::string, std::vector<std::string>, std::string, std::shared_ptr<Layout>, py::object, bool,
                             bool, std::vector<std::string>>;

    explicit Layout(const std::vector<Given> &given) {
        for (const auto &[name, path, kind, of, convert, null, any, when] : given) {
            const Kind known = kind_of(kind);
            expect(std::all_of(name.begin(), name.end(), [](char each) { return each == '_' || (each >= 'a' && each <= 'z'); }),
                   "names are of small letters");
            expect((of != nullptr) == (known == Kind::object || known == Kind::objects), "only objects have a layout");
            members_.push_back({name, interned(path), known, of, convert, null, any, interned(when)});
        }
    }

    // Appends the JSON object of an object; throws as `canonical_json` does.
    void append(std::string &text, py::handle source) const {
        JsonObject object(text);
        for (const Member &member : members_) {
            if (!member.when.empty() && at(source, member.when).is_none()) continue;
            py::object value = at(source, member.path);
            if (member.any && !py::bool_(value)) continue;
            object.name(member.name);
            if (member.null && value.is_none()) {
                text += "null";
                continue;
            }
            if (!member.convert.is_none()) value = member.convert(value);
            append_member(text, member, value.ptr());
        }
        object.end();
    }

    py::str json(py::handle source) const {
        std::string text;
        text.reserve(4096);
        append(text, source);
        return python_text(text);
    }

private:
    enum class Kind { value, integer, number, numbers, object, objects };

    static Kind kind_of(const std::string &name) {
        static const std::vector<std::string> NAMES{"value", "integer", "number", "numbers", "object", "objects"};
        const auto found = std::find(NAMES.begin(), NAMES.end(), name);
        expect(found != NAMES.end(), "the kind is known");
        return static_cast<Kind>(found - NAMES.begin());
    }

    struct Member {
        std::string name;
        Path path;
        Kind kind;
        std::shared_ptr<const Layout> of;
        py::object convert;
        bool null, any;
        Path when;
    };

    static void append_member(std::string &text, const Member &member, PyObject *value) {
        switch (member.kind) {
            case Kind::value: append_value(text, value); break;
            case Kind::integer: append_integer(text, value); break;
            case Kind::number: append_float(text, number(value)); break;
            case Kind::numbers:
                append_each(text, value, [&](PyObject *each) { append_float(text, number(each)); });
                break;
            case Kind::object:
                if (py::isinstance<JsonSource>(value)) append_value(text, value);
                else member.of->append(text, value);
                break;
            case Kind::objects:
                append_each(text, value, [&](PyObject *each) { member.of->append(text, each); });
        }
    }

    static void append_integer(std::string &text, PyObject *value) {
        const auto integer = py::reinterpret_steal<py::object>(PyNumber_Long(value));
        if (!integer) throw py::error_already_set();
        append_value(text, integer.ptr());
    }

    template <typename Append>
    static void append_each(std::string &text, PyObject *sequence, Append append) {
        const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(sequence, "expected a sequence"));
        if (!items) throw py::error_already_set();
        text += '[';
        for (Py_ssize_t place = 0; place < PySequence_Fast_GET_SIZE(items.ptr()); ++place) {
            if (place) text += ',';
            append(PySequence_Fast_GET_ITEM(items.ptr(), place));
        }
        text += ']';
    }

    std::vector<Member> members_;
};

}  // namespace

void bind_layout(py::module_ &module) {
    py::class_<Layout, std::shared_ptr<Layout>>(module, "Layout")
        .def(py::init<const std::vector<Layout::Given> &>())
        .def("json", &Layout::json);
}

}  // namespace dejavu
