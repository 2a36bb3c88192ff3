// Python's view of forecasts that differ in their numbers only.
#include <algorithm>
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
        std::vector<std::vector<double>> result(patterns.size());
        compute(
            patterns.size(), [&](std::size_t game) { return patterns[game].data(); }, margins.data(),
            [&](std::size_t game, std::vector<double> &&found) { result[game] = std::move(found); });
        return result;
    }

    // The same as `forecast`, of games whose patterns are the rows of a table; returns a row for each.
    py::array_t<double> forecast_rows(const Array<double> &patterns, const Array<double> &margins) const {
        expect(patterns.ndim() == 2 && patterns.shape(1) == minutes_, "patterns have a slot for each minute");
        expect(margins.ndim() == 1 && margins.shape(0) == patterns.shape(0), "there is a margin for each game");
        const auto games = static_cast<std::size_t>(patterns.shape(0)), width = ENDS + grid_.levels.size() - 2;
        py::array_t<double> result({games, width});
        const double *const slots = patterns.data();
        double *const rows = result.mutable_data();
        compute(
            games, [=](std::size_t game) { return slots + game * static_cast<std::size_t>(minutes_); }, margins.data(),
            [=](std::size_t game, const std::vector<double> &found) {
                std::copy(found.begin(), found.end(), rows + game * width);
            });
        return result;
    }

private:
    // What comes before the quantiles.
    static constexpr std::size_t ENDS = 6;

    template <typename Pattern, typename Put>
    void compute(std::size_t games, Pattern pattern, const double *margins, Put put) const {
        std::optional<py::gil_scoped_release> released;
        if (games >= MANY) released.emplace();
        const std::size_t neighbours = models_.minute(minutes_).database->neighbours;
        std::vector<float> corrections(static_cast<std::size_t>(HORIZONS * minutes_));
        std::vector<std::int64_t> entries(neighbours);
        std::vector<double> distances(neighbours);
        for (std::size_t game = 0; game < games; ++game) {
            const double *const slots = pattern(game);
            const double margin = margins[game];
            const double point = models_.predict(slots, minutes_, margin, corrections.data(), entries.data(),
                                                 distances.data(), true).combined[horizon_];
            put(game, numbers(point, slots[minutes_ - 1], std::isnan(margin) ? 0.0 : margin));
        }
    }

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
        .def("forecast", &Alike::forecast)
        .def("forecast_rows", &Alike::forecast_rows);
}

}  // namespace dejavu
