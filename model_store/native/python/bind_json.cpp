// Python's view of canonical JSON.
#include "bindings.hpp"
#include "json.hpp"

namespace dejavu {

void bind_json(pybind11::module_ &module) {
    pybind11::class_<JsonSource>(module, "JsonSource");
    module.def("canonical_json", &canonical_json);
}

}  // namespace dejavu
