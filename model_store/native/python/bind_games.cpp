// Python's view of the distributions of one game.
#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "bind_game.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

// Largest number of values on either side of a distribution: a search for a quantile tries them one by one.
constexpr int MOST_VALUES = 1000;

// Whether numbers are finite and never fall.
bool ascending(const std::vector<double> &values) {
    return finite(values) &&
           std::adjacent_find(values.begin(), values.end(), [](double one, double next) { return one > next; }) ==
               values.end();
}

// Whether numbers ascend strictly from 0 to 1.
bool ascends_to_one(const std::vector<double> &values) {
    return values.size() > 1 && values.front() == 0 && values.back() == 1 && finite(values) &&
           std::adjacent_find(values.begin(), values.end(), std::greater_equal<double>()) == values.end();
}

Shapes shapes_of(const std::vector<double> &levels, const std::vector<double> &centers, const Array<double> &quantiles,
                 double log_step) {
    Shapes result;
    result.levels = levels;
    result.centers = centers;
    result.log_step = log_step;
    expect(quantiles.ndim() == 2 && quantiles.shape(1) == levels.size() && levels.size() >= 4,
           "quantiles are (centers, levels)");
    expect(!centers.empty() && centers.front() == 0.0 && quantiles.shape(0) == centers.size(),
           "there are quantiles for each center, from 0 on");
    expect(ascending(result.levels) && result.levels.front() > 0 && result.levels.back() < 1,
           "levels rise from above 0 to below 1");
    expect(ascending(centers) && std::isfinite(log_step), "centers rise");
    for (std::size_t row = 0; row < quantiles.shape(0); ++row) {
        const double *const first = quantiles.data() + row * quantiles.shape(1);
        result.quantiles.emplace_back(first, first + quantiles.shape(1));
        expect(ascending(result.quantiles.back()), "quantiles rise");
    }
    return result;
}

// Returns the point forecasts and the home team's win probabilities of n games, (n) each, and the values at a grid,
// (n, grid), in one pass; for tables without live inputs. Game i has the opinion numbered rows[i]; none if that is null.
nb::tuple columns(const std::shared_ptr<const MarginTables> &tables, const Array<double> &centers,
                  const Array<double> &leads, const Array<double> &margins, const Grid &grid, const Opinions &opinions,
                  const Array<std::int64_t> &rows) {
    const std::size_t games = centers.size();
    expect(!tables->live, "these tables need live inputs");
    expect(leads.size() == games && margins.size() == games && rows.size() == games,
           "there are a lead, a margin and a row for each game");
    for (std::size_t game = 0; game < games; ++game)
        expect(rows.data()[game] >= 0 && rows.data()[game] < static_cast<std::int64_t>(opinions.of_games.size()),
               "there is an opinion, or none, for each row");
    Result<double> points({games}), home({games}), found({games, grid.levels.size()});
    {
        const nb::gil_scoped_release released;
        double *value = found.data();
        for (std::size_t row = 0; row < games; ++row) {
            const MarginGame game(tables, centers.data()[row], leads.data()[row], margins.data()[row], {},
                                  opinions.of_games[static_cast<std::size_t>(rows.data()[row])]);
            points.data()[row] = game.point();
            home.data()[row] = game.home_lead_probability();
            for (const double each : values_at(game, grid)) *value++ = each;
        }
    }
    return nb::make_tuple(points.array(), home.array(), found.array());
}

}  // namespace

void bind_games(nb::module_ &module) {
    nb::class_<Shapes>(module, "Shapes")
        .def(nb::new_(&shapes_of), nb::kw_only(), nb::arg("levels"), nb::arg("centers"), nb::arg("quantiles"),
             nb::arg("log_step"));
    nb::class_<MarginConstants>(module, "MarginConstants")
        .def(nb::new_([](int largest, double tolerance, double least_win, double least, double joint_weight,
                         std::vector<double> floors, double floor_at_tie) {
                 expect(largest > 0 && largest <= MOST_VALUES && finite(floors) &&
                            floors.size() == 2 * static_cast<std::size_t>(largest) + 1,
                        "there is a floor for each value");
                 return MarginConstants{largest, tolerance, least_win, least, joint_weight, std::move(floors),
                                        floor_at_tie};
             }),
             nb::kw_only(), nb::arg("largest"), nb::arg("tolerance"), nb::arg("least_win"), nb::arg("least"),
             nb::arg("joint_weight"), nb::arg("floors"), nb::arg("floor_at_tie"));
    nb::class_<Grid>(module, "Grid")
        .def(nb::new_([](std::vector<double> scores, std::vector<double> levels, double reach, double limit,
                         double rounding, Ends ends) {
                 expect(scores.size() == levels.size() && finite(scores) && finite(levels),
                        "there is a level for each score");
                 return Grid{std::move(scores), std::move(levels), reach, limit, rounding, ends};
             }),
             nb::arg("scores"), nb::arg("levels"), nb::kw_only(), nb::arg("reach"), nb::arg("limit"), nb::arg("rounding"),
             nb::arg("ends"));
    nb::class_<MarginTables>(module, "MarginTables")
        .def(nb::new_([](const MarginConstants &constants, const Shapes &shapes, std::vector<double> ranks,
                         std::vector<double> levels, bool live, bool final, bool late, bool cells,
                         std::array<double, 6> scale, std::array<double, 3> pace, std::array<double, 8> win) {
                 expect(finite(scale) && finite(pace) && finite(win), "tables are finite");
                 expect(ranks.size() == levels.size() && ascends_to_one(ranks) && ascends_to_one(levels),
                        "ranks ascend from 0 to 1");
                 return std::make_shared<MarginTables>(
                     MarginTables{constants, shapes, Ranks{std::move(ranks), std::move(levels)}, live, final, late,
                                  cells, scale, pace, win});
             }),
             nb::arg("constants"), nb::arg("shapes"), nb::kw_only(), nb::arg("ranks"), nb::arg("levels"), nb::arg("live"),
             nb::arg("final"), nb::arg("late"), nb::arg("cells"), nb::arg("scale"), nb::arg("pace"), nb::arg("win"))
        .def("columns", &columns)
        .def("game", [](const std::shared_ptr<const MarginTables> &tables, double center, double lead, double margin,
                        double points, double side, double phase, std::shared_ptr<Opinion> opinion,
                        std::shared_ptr<Others> others) {
            return MarginGame(tables, center, lead, margin, {points, side, phase}, std::move(opinion), std::move(others));
        }, nb::arg("center"), nb::arg("lead"), nb::arg("margin"), nb::arg("points"), nb::arg("side"), nb::arg("phase"),
             nb::arg("opinion").none(), nb::arg("others").none());
    bind_game<MarginGame>(module, "MarginGame")
        .def_prop_ro("center", &MarginGame::center)
        .def_prop_ro("unit", &MarginGame::unit);
    nb::class_<Others>(module, "Others")
        .def(nb::new_([](double weight, double point, std::vector<double> below) {
                 expect(weight >= 0 && weight <= 1 && std::isfinite(point), "a weight is in [0, 1]");
                 expect(ascending(below) && !below.empty() && below.front() >= 0 && below.back() <= 1,
                        "shares rise from 0 to at most 1");
                 return std::make_shared<Others>(Others{weight, point, std::move(below)});
             }),
             nb::arg("weight"), nb::arg("point"), nb::arg("below"));
    nb::class_<PointTables>(module, "PointTables")
        .def(nb::new_([](const Shapes &shapes, bool final, bool late, std::array<double, 6> point,
                         std::array<double, 4> scale, double log_mean, double tolerance, int most_to_come) {
                 expect(finite(point) && finite(scale) && std::isfinite(log_mean) && std::isfinite(tolerance),
                        "tables are finite");
                 expect(most_to_come > 0 && most_to_come <= MOST_VALUES, "there are at most 1,000 points to come");
                 return std::make_shared<PointTables>(
                     PointTables{shapes, final, late, point, scale, log_mean, tolerance, most_to_come});
             }),
             nb::arg("shapes"), nb::kw_only(), nb::arg("final"), nb::arg("late"), nb::arg("point"), nb::arg("scale"),
             nb::arg("log_mean"), nb::arg("tolerance"), nb::arg("most_to_come"))
        .def("game", [](const std::shared_ptr<const PointTables> &tables, int points, double lead, double expected) {
            expect(points >= 0 && points <= MOST_VALUES && std::isfinite(lead) && std::isfinite(expected),
                   "a game has finite numbers, and at most 1,000 points");
            return PointGame(tables, points, lead, expected);
        });
    nb::class_<PointGame>(module, "PointGame")
        .def_prop_ro("point", &PointGame::point)
        .def("cumulative", &PointGame::cumulative)
        .def("quantiles", [](const PointGame &game, const std::vector<double> &levels) {
            return quantiles(game, levels, game.tolerance(), game.points());
        });
}

}  // namespace dejavu
