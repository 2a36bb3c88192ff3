// Python's view of the distribution of one game's differential, the same for all kinds.
#pragma once

#include "bindings.hpp"
#include "games.hpp"
#include "values.hpp"

namespace dejavu {

template <typename Game>
nanobind::class_<Game> bind_game(nanobind::module_ &module, const char *name) {
    return nanobind::class_<Game>(module, name)
        .def_prop_ro("point", &Game::point)
        .def_prop_ro("home_lead_probability", &Game::home_lead_probability)
        .def("cumulative", &Game::cumulative)
        .def("probability_above", &Game::probability_above)
        .def("quantiles", &margin_quantiles<Game>)
        .def("interval",
             [](const Game &game, double alpha) {
                 return around_point(game.point(), game.quantile(alpha / 2), game.quantile(1 - alpha / 2));
             })
        .def("values_at", [](const Game &game, const Grid &grid) { return shared_floats(values_at(game, grid)); });
}

}  // namespace dejavu
