// Python's view of explanations.
#include <nanobind/stl/string.h>

#include "bindings.hpp"
#include "explanation.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

nb::list similar_games(const Explanation &of) {
    nb::list games;
    for (const auto &[entry, distance, differential] : of.similar_games)
        games.append(nb::make_tuple(entry.home_team, entry.away_team, entry.date, distance, differential, entry.games,
                                    entry.increment, entry.spread));
    return games;
}

}  // namespace

void bind_explanation(nb::module_ &module) {
    nb::class_<Explanation>(module, "Explanation")
        .def("__init__",
             [](Explanation *self, const PointModels &models, const Prediction &prediction, const Opinions &opinions,
                int horizon, double point, int games) {
                 expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
                 new (self) Explanation(models, prediction, opinions, horizon, point, games);
             })
        .def_ro("dejavu_prediction", &Explanation::dejavu)
        .def_ro("lstm_prediction", &Explanation::lstm)
        .def_ro("baseline_prediction", &Explanation::baseline)
        .def_ro("calibration_games", &Explanation::calibration_games)
        .def_ro("before_tipoff", &Explanation::before_tipoff)
        .def_ro("minutes", &Explanation::minutes)
        .def_prop_ro("similar_games", &similar_games);
}

}  // namespace dejavu
