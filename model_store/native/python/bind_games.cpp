// Python's view of the distributions of one game.
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "games.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace dejavu {
namespace {

// Most values on either side of a distribution: a quantile is looked for among them one by one.
constexpr int MOST_VALUES = 1000;

// Whether numbers are finite and never fall.
bool ascending(const std::vector<double> &values) {
    return finite(values) &&
           std::adjacent_find(values.begin(), values.end(), [](double one, double next) { return one > next; }) ==
               values.end();
}

Shapes shapes_of(const Array<double> &levels, const std::vector<double> &centers, const Array<double> &quantiles,
                 double log_step) {
    Shapes result;
    result.levels = copied(levels);
    result.centers = centers;
    result.log_step = log_step;
    expect(quantiles.ndim() == 2 && quantiles.shape(1) == levels.size() && levels.size() >= 4,
           "quantiles are (centers, levels)");
    expect(!centers.empty() && centers.front() == 0.0 && quantiles.shape(0) == static_cast<py::ssize_t>(centers.size()),
           "there are quantiles for each center, from 0 on");
    expect(ascending(result.levels) && result.levels.front() > 0 && result.levels.back() < 1,
           "levels rise from above 0 to below 1");
    expect(ascending(centers) && std::isfinite(log_step), "centers rise");
    for (py::ssize_t row = 0; row < quantiles.shape(0); ++row)
        expect(ascending({quantiles.data(row, 0), quantiles.data(row, 0) + quantiles.shape(1)}), "quantiles rise");
    for (py::ssize_t row = 0; row < quantiles.shape(0); ++row)
        result.quantiles.emplace_back(quantiles.data(row, 0), quantiles.data(row, 0) + quantiles.shape(1));
    return result;
}

// Returns the home team's win probability of n games, (n), and the values of a grid, (n, grid): of tables without live
// inputs, in one pass.
py::tuple columns(const std::shared_ptr<const MarginTables> &tables, const Array<double> &points,
                  const Array<double> &leads, const Array<double> &margins, const Grid &grid) {
    const py::ssize_t games = points.size(), values = static_cast<py::ssize_t>(grid.levels.size());
    expect(!tables->live, "these tables need live inputs");
    expect(leads.size() == games && margins.size() == games, "there are a lead and a margin for each game");
    py::array_t<double> home(games), found({games, values});
    double *const probability = home.mutable_data(), *value = found.mutable_data();
    const py::gil_scoped_release released;
    for (py::ssize_t row = 0; row < games; ++row) {
        const MarginGame game(tables, points.data()[row], leads.data()[row], margins.data()[row], {});
        probability[row] = game.home_lead_probability();
        for (const double each : values_at(game, grid)) *value++ = each;
    }
    const py::gil_scoped_acquire acquired;
    return py::make_tuple(home, found);
}

}  // namespace

void bind_games(py::module_ &module) {
    py::class_<Shapes>(module, "Shapes")
        .def(py::init(&shapes_of), py::kw_only(), py::arg("levels"), py::arg("centers"), py::arg("quantiles"),
             py::arg("log_step"));
    py::class_<MarginConstants, std::shared_ptr<MarginConstants>>(module, "MarginConstants")
        .def(py::init([](int largest, double tolerance, double inner, double clear, double least_win, double least,
                         double joint_weight, std::vector<double> floors, double floor_at_tie) {
                 expect(largest > 0 && largest <= MOST_VALUES && finite(floors) && floors.size() == 2 * static_cast<std::size_t>(largest) + 1,
                        "there is a floor for each value");
                 return MarginConstants{largest,      tolerance, inner, clear, least_win, least, joint_weight,
                                        std::move(floors), floor_at_tie};
             }),
             py::kw_only(), py::arg("largest"), py::arg("tolerance"), py::arg("inner"), py::arg("clear"),
             py::arg("least_win"), py::arg("least"), py::arg("joint_weight"), py::arg("floors"),
             py::arg("floor_at_tie"));
    py::class_<Grid>(module, "Grid")
        .def(py::init([](std::vector<double> scores, std::vector<double> levels, double reach, double limit,
                         double rounding, Ends ends) {
                 expect(scores.size() == levels.size() && finite(scores) && finite(levels),
                        "there is a level for each score");
                 return Grid{std::move(scores), std::move(levels), reach, limit, rounding, ends};
             }),
             py::arg("scores"), py::arg("levels"), py::kw_only(), py::arg("reach"), py::arg("limit"), py::arg("rounding"),
             py::arg("ends"));
    py::class_<MarginTables, std::shared_ptr<MarginTables>>(module, "MarginTables")
        .def(py::init([](const MarginConstants &constants, const Shapes &shapes, bool live, bool final, bool late,
                         bool cells, std::array<double, 6> scale, std::array<double, 3> pace,
                         std::array<double, 8> win) {
                 expect(finite(scale) && finite(pace) && finite(win), "tables are finite");
                 return std::make_shared<MarginTables>(
                     MarginTables{constants, shapes, live, final, late, cells, scale, pace, win});
             }),
             py::arg("constants"), py::arg("shapes"), py::kw_only(), py::arg("live"), py::arg("final"), py::arg("late"),
             py::arg("cells"), py::arg("scale"), py::arg("pace"), py::arg("win"))
        .def("columns", &columns)
        .def("game", [](const std::shared_ptr<const MarginTables> &tables, double point, double lead, double margin,
                        double points, double side, double recency) {
            return MarginGame(tables, point, lead, margin, {points, side, recency});
        });
    py::class_<MarginGame>(module, "MarginGame")
        .def_property_readonly("home_lead_probability", &MarginGame::home_lead_probability)
        .def("cumulative", &MarginGame::cumulative)
        .def("probability_above", &MarginGame::probability_above)
        .def("quantiles", &margin_quantiles)
        .def("interval", [](const MarginGame &game, double alpha) {
            return around_point(game.point(), game.quantile(alpha / 2), game.quantile(1 - alpha / 2));
        })
        .def("values_at", [](const MarginGame &game, const Grid &grid) { return shared_floats(values_at(game, grid)); });
    py::class_<PointTables, std::shared_ptr<PointTables>>(module, "PointTables")
        .def(py::init([](const Shapes &shapes, bool final, bool late, std::array<double, 6> point,
                         std::array<double, 4> scale, double log_mean, double tolerance, int most_to_come) {
                 expect(finite(point) && finite(scale) && std::isfinite(log_mean) && std::isfinite(tolerance),
                        "tables are finite");
                 expect(most_to_come > 0 && most_to_come <= MOST_VALUES, "there are at most 1,000 points to come");
                 return std::make_shared<PointTables>(
                     PointTables{shapes, final, late, point, scale, log_mean, tolerance, most_to_come});
             }),
             py::arg("shapes"), py::kw_only(), py::arg("final"), py::arg("late"), py::arg("point"), py::arg("scale"),
             py::arg("log_mean"), py::arg("tolerance"), py::arg("most_to_come"))
        .def("game", [](const std::shared_ptr<const PointTables> &tables, int points, double lead, double expected) {
            expect(points >= 0 && points <= MOST_VALUES && std::isfinite(lead) && std::isfinite(expected),
                   "a game has finite numbers, and at most 1,000 points");
            return PointGame(tables, points, lead, expected);
        });
    py::class_<PointGame>(module, "PointGame")
        .def_property_readonly("point", &PointGame::point)
        .def("cumulative", &PointGame::cumulative)
        .def("quantiles", [](const PointGame &game, const std::vector<double> &levels) {
            return quantiles(game, levels, game.tolerance(), game.points());
        });
}

}  // namespace dejavu
