// Python's view of the distributions at any second.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include "bind_game.hpp"
#include "moments.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

std::shared_ptr<const MomentTables> moment_tables(const MarginConstants &constants, std::vector<double> seconds,
                                                  const Array<float> &mass, double drift, double free_throw,
                                                  bool final) {
    MomentTables tables;
    expect(mass.ndim() == 4 && mass.shape(0) == 3 && mass.shape(1) == seconds.size() && seconds.size() >= 2,
           "probabilities are (3 states, seconds, leads, changes)");
    expect(mass.shape(2) % 2 == 1 && mass.shape(3) % 2 == 1 && mass.shape(3) <= static_cast<std::size_t>(constants.largest),
           "leads and changes are symmetric around 0");
    expect(free_throw >= 0 && free_throw <= 1, "a probability is in [0, 1]");
    expect(finite(mass) && std::isfinite(drift) && finite(seconds), "tables are finite");
    expect(seconds.front() == 0 &&
               std::adjacent_find(seconds.begin(), seconds.end(), std::greater_equal<double>()) == seconds.end(),
           "seconds ascend from 0");
    tables.constants = constants;
    tables.most_lead = static_cast<int>(mass.shape(2) / 2);
    tables.most_change = static_cast<int>(mass.shape(3) / 2);
    tables.seconds = std::move(seconds);
    tables.mass = copied(mass);
    tables.drift = drift;
    tables.free_throw = free_throw;
    tables.final = final;
    return std::make_shared<const MomentTables>(std::move(tables));
}

template <typename Other>
MixedGame<Other> mixed(const MarginGame &one, const Other &other, double share) {
    expect(share >= 0 && share <= 1, "a share is in [0, 1]");
    return {one, other, share};
}

}  // namespace

void bind_moments(nb::module_ &module) {
    nb::class_<MomentTables>(module, "MomentTables")
        .def(nb::new_(&moment_tables), nb::arg("constants"), nb::kw_only(), nb::arg("seconds"), nb::arg("mass"),
             nb::arg("drift"), nb::arg("free_throw"), nb::arg("final"))
        .def("game", [](const std::shared_ptr<const MomentTables> &tables, double seconds_left, double lead, int side,
                        bool in_air, int free_throws, double margin) {
            expect(std::isfinite(seconds_left) && std::isfinite(lead) && std::isfinite(margin),
                   "a game has finite numbers");
            expect(free_throws >= 0 && free_throws <= 3 && (free_throws == 0 || (side != 0 && !in_air)),
                   "a side has at most 3 free throws to come");
            return tables->game(seconds_left, lead, side, in_air, free_throws, margin);
        });
    bind_game<TabulatedGame>(module, "TabulatedGame");
    bind_game<MixedGame<MarginGame>>(module, "GameBetweenMinutes");
    bind_game<MixedGame<TabulatedGame>>(module, "GameBeforeTables");
    module.def("mixed", &mixed<MarginGame>);
    module.def("mixed", &mixed<TabulatedGame>);
}

}  // namespace dejavu
