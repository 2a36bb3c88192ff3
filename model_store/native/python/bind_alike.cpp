// Python's view of forecasts that differ in their numbers only.
#include <cmath>
#include <optional>
#include <vector>

#include "bindings.hpp"
#include "models.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace dejavu {
namespace {

// Forecasts games at one minute to one horizon, of whose expected margins all are known or none is.
class Alike {
public:
    Alike(const PointModels &models, std::shared_ptr<const MarginTables> tables, int minutes, int horizon, Grid grid,
          std::optional<Grid> other)
        : models_(models), tables_(std::move(tables)), minutes_(minutes), horizon_(horizon), grid_(std::move(grid)),
          other_(std::move(other)) {
        expect(minutes >= 1 && minutes <= models.longest() && models.minute(minutes).database, "the minute has a database");
        expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
        expect(!tables_->live, "these tables need live inputs");
        expect(grid_.levels.size() >= 2 && (!other_ || other_->levels.size() == 2), "a grid begins with both ends");
    }

    // Returns of each game its point forecast, P(the home team leads), the ends of its interval, those of the other one,
    // then quantiles.
    std::vector<std::vector<double>> forecast(const std::vector<std::vector<double>> &patterns,
                                              const std::vector<double> &margins) const {
        expect(patterns.size() == margins.size(), "there is a margin for each game");
        for (const auto &pattern : patterns)
            expect(pattern.size() == static_cast<std::size_t>(minutes_), "patterns have a slot for each minute");
        std::optional<py::gil_scoped_release> released;
        if (patterns.size() >= MANY) released.emplace();
        const std::size_t neighbours = models_.minute(minutes_).database->neighbours;
        std::vector<float> corrections(static_cast<std::size_t>(HORIZONS * minutes_));
        std::vector<std::int64_t> entries(neighbours);
        std::vector<double> distances(neighbours);
        std::vector<std::vector<double>> result;
        result.reserve(patterns.size());
        for (std::size_t game = 0; game < patterns.size(); ++game) {
            const double margin = margins[game];
            const double point = models_.predict(patterns[game].data(), minutes_, margin, corrections.data(),
                                                 entries.data(), distances.data(), true).combined[horizon_];
            result.push_back(numbers(point, patterns[game].back(), std::isnan(margin) ? 0.0 : margin));
        }
        return result;
    }

private:
    std::vector<double> numbers(double point, double lead, double margin) const {
        const MarginGame game(tables_, point, lead, margin, {});
        const std::vector<double> values = values_at(game, grid_);
        const auto [lower, upper] = around_point(point, values[0], values[1]);
        Ends other{lower, upper};
        if (other_) {
            const std::vector<double> ends = values_at(game, *other_);
            other = around_point(point, ends[0], ends[1]);
        }
        std::vector<double> result{point, game.home_lead_probability(), lower, upper, other.first, other.second};
        result.insert(result.end(), values.begin() + 2, values.end());
        return result;
    }

    const PointModels &models_;
    std::shared_ptr<const MarginTables> tables_;
    int minutes_, horizon_;
    Grid grid_;
    std::optional<Grid> other_;
};

}  // namespace

void bind_alike(py::module_ &module) {
    py::class_<Alike>(module, "Alike")
        .def(py::init<const PointModels &, std::shared_ptr<MarginTables>, int, int, Grid, std::optional<Grid>>(),
             py::arg("models"), py::arg("tables"), py::kw_only(), py::arg("minutes"), py::arg("horizon"), py::arg("grid"),
             py::arg("other"), py::keep_alive<1, 2>())
        .def("forecast", &Alike::forecast);
}

}  // namespace dejavu
