// Python's view of explanations.
#include "bindings.hpp"
#include "explanation.hpp"

namespace py = pybind11;

namespace dejavu {
namespace {

py::list similar_games(const Explanation &of) {
    py::list games;
    for (const auto &[entry, distance, differential] : of.similar_games)
        games.append(py::make_tuple(entry.home_team, entry.away_team, entry.date, distance, differential, entry.games,
                                    entry.increment, entry.spread));
    return games;
}

}  // namespace

void bind_explanation(py::module_ &module) {
    py::class_<Explanation>(module, "Explanation")
        .def(py::init([](const PointModels &models, const Prediction &prediction, int horizon, double point, int games,
                         bool steps) {
            expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
            return Explanation(models, prediction, horizon, point, games, steps);
        }))
        .def_readonly("dejavu_prediction", &Explanation::dejavu)
        .def_readonly("lstm_prediction", &Explanation::lstm)
        .def_readonly("ensemble_forecast", &Explanation::ensemble)
        .def_readonly("baseline_prediction", &Explanation::baseline)
        .def_readonly("dejavu_weight", &Explanation::dejavu_weight)
        .def_readonly("lstm_weight", &Explanation::lstm_weight)
        .def_readonly("linear_prediction", &Explanation::linear)
        .def_readonly("calibration_games", &Explanation::calibration_games)
        .def_readonly("before_tipoff", &Explanation::before_tipoff)
        .def_readonly("minutes", &Explanation::minutes)
        .def_readonly("of_similar_games", &Explanation::similar)
        .def_property_readonly("similar_games", &similar_games);
}

}  // namespace dejavu
