// Python's view of the point models and their indexes.
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>

#include "bindings.hpp"
#include "models.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

constexpr std::size_t MOST_DIMENSIONS = 1024;
constexpr std::size_t MOST_LETTER_BYTES = 64;

LstmNetwork network(const Array<float> &scale, const Array<float> &input, const Array<float> &recurrent,
                    const Array<float> &bias, const Array<float> &head, const Array<float> &head_bias,
                    const Array<float> &spreads) {
    expect(recurrent.ndim() == 2 && recurrent.shape(0) == 4 * recurrent.shape(1), "recurrent weights are (4 h, h)");
    const int units = static_cast<int>(recurrent.shape(1));
    expect(scale.size() == CHANNELS, "there is a scale for each channel");
    expect(input.ndim() == 2 && input.shape(0) == recurrent.shape(0) && input.shape(1) == CHANNELS, "input weights are (4 h, 5)");
    expect(bias.size() == 4 * recurrent.shape(1), "biases are (4 h)");
    expect(head.ndim() == 2 && head.shape(0) == recurrent.shape(1) && head.shape(1) == HORIZONS, "the head is (h, 2)");
    expect(head_bias.size() == HORIZONS, "the head has 2 biases");
    expect(spreads.ndim() == 2 && spreads.shape(1) == HORIZONS, "spreads are (minutes, 2)");
    expect(finite(input) && finite(recurrent) && finite(bias) && finite(head) && finite(head_bias) && finite(spreads),
           "weights are finite");
    expect(finite(scale) && std::all_of(scale.data(), scale.data() + scale.size(), [](float each) { return each != 0; }),
           "scales are finite, and not 0");
    LstmNetwork result;
    const int hidden = (units + TOGETHER - 1) / TOGETHER * TOGETHER;
    const std::size_t gates = 4 * static_cast<std::size_t>(hidden);
    result.hidden = hidden;
    result.input.assign(CHANNELS * gates, 0.0f);
    result.recurrent.assign(hidden * gates, 0.0f);
    result.bias.assign(gates, 0.0f);
    result.head.assign(static_cast<std::size_t>(HORIZONS) * hidden, 0.0f);
    for (int gate = 0; gate < 4; ++gate)
        for (int unit = 0; unit < units; ++unit) {
            const int row = gate * units + unit;
            const std::size_t column = static_cast<std::size_t>(gate) * hidden + unit;
            for (int channel = 0; channel < CHANNELS; ++channel)
                result.input[channel * gates + column] = input.data()[row * CHANNELS + channel] / scale.data()[channel];
            for (int other = 0; other < units; ++other)
                result.recurrent[other * gates + column] = recurrent.data()[row * units + other];
            result.bias[column] = bias.data()[row];
        }
    for (int horizon = 0; horizon < HORIZONS; ++horizon) {
        for (int unit = 0; unit < units; ++unit)
            result.head[static_cast<std::size_t>(horizon) * hidden + unit] = head.data()[unit * HORIZONS + horizon];
        result.head_bias[horizon] = head_bias.data()[horizon];
    }
    result.spreads = copied(spreads);
    return result;
}

Vectors vectors_of(const Array<float> &values, int lanes) {
    expect(values.ndim() == 2 && values.size() > 0, "vectors are (m, dimensions)");
    expect(values.shape(1) <= MOST_DIMENSIONS && finite(values), "vectors are finite, with at most 1,024 dimensions");
    return {values.data(), values.shape(0), static_cast<int>(values.shape(1)), lanes};
}

std::shared_ptr<Index> scan(const Array<float> &vectors) { return std::make_shared<Scan>(vectors_of(vectors, 1)); }

std::shared_ptr<Index> graph(const Array<float> &vectors, int lanes, std::uint32_t entry,
                             const Array<std::uint8_t> &levels, const Array<std::uint32_t> &counts,
                             const Array<std::uint32_t> &links, std::size_t breadth) {
    expect(lanes > 0 && lanes <= 64 && lanes % 4 == 0, "lanes are a multiple of four, at most 64");
    // Searches follow links without a check, so wrong ones must be found here.
    Vectors content = vectors_of(vectors, lanes);
    expect(levels.size() == vectors.shape(0) && entry < content.size(), "there is a level for each vector");
    expect(content.size() <= MOST_VECTORS, "numbers of vectors have at most 28 bits");
    std::vector<std::uint32_t> starts{0};
    for (std::size_t list = 0; list < counts.size(); ++list) {
        expect(counts.data()[list] <= links.size() - starts.back(), "links fit their counts");
        starts.push_back(starts.back() + counts.data()[list]);
    }
    std::size_t lists = levels.size();
    for (std::size_t number = 0; number < levels.size(); ++number) lists += levels.data()[number];
    expect(counts.size() == lists && links.size() == starts.back(), "links fit their counts");
    std::size_t list = levels.size();
    for (std::uint32_t place = 0; place < starts[list]; ++place)
        expect(links.data()[place] < content.size(), "links lead to vectors");
    for (std::size_t number = 0; number < levels.size(); ++number)
        for (int level = 1; level <= levels.data()[number]; ++level, ++list)
            for (std::uint32_t place = starts[list]; place < starts[list + 1]; ++place) {
                const std::uint32_t target = links.data()[place];
                expect(target < content.size() && levels.data()[target] >= level, "links lead to vectors at their level");
            }
    expect(levels.data()[entry] == *std::max_element(levels.data(), levels.data() + levels.size()),
           "a search begins at the highest level");
    breadth = std::min(breadth, content.size());  // a search finds no more vectors than there are
    return std::make_shared<Graph>(std::move(content), entry, copied(levels), std::move(starts), copied(links), breadth);
}

nb::tuple nearest(const Index &index, const Array<float> &vectors, std::size_t count) {
    // Each thread has its own memory for searches, so that they can run at the same time.
    const int dimensions = index.vectors().given();
    expect(vectors.ndim() == 2 && vectors.shape(1) == static_cast<std::size_t>(dimensions), "queries have the dimensions of the vectors");
    expect(count >= 1 && count <= index.vectors().size(), "there are as many vectors as neighbours");
    const std::size_t rows = vectors.shape(0);
    Result<std::int64_t> numbers({rows, count});
    Result<double> squares({rows, count});
    std::int64_t *number = numbers.data();
    double *square = squares.data();
    for (std::size_t row = 0; row < rows; ++row) {
        const std::vector<Found> &found = index.nearest(vectors.data() + row * vectors.shape(1), count);
        if (found.size() < count) throw std::runtime_error("the graph has parts that a search does not reach");
        for (const Found &each : found) *number++ = each.second, *square++ = each.first;
    }
    return nb::make_tuple(numbers.array(), squares.array());
}

std::shared_ptr<Database> database(std::shared_ptr<Index> index, const Array<float> &weights,
                                   const Array<std::int32_t> &games, const Array<float> &residuals,
                                   const Array<std::uint8_t> &shown, std::pair<std::size_t, std::size_t> letters,
                                   const std::string &kernel, std::size_t neighbours) {
    const std::size_t entries = index->vectors().size();
    expect(weights.size() == static_cast<std::size_t>(index->vectors().given()) && finite(weights), "there is a weight for each dimension");
    expect(finite(residuals), "residuals are finite");
    expect(letters.first <= MOST_LETTER_BYTES && letters.second <= MOST_LETTER_BYTES, "teams have few letters");
    expect(games.size() == entries, "there is a number of games for each entry");
    expect(residuals.size() == entries * SOURCES * HORIZONS, "residuals are (entries, 2, 2)");
    expect(neighbours >= 1 && neighbours <= index->vectors().size(), "there are as many entries as neighbours");
    auto result = std::make_shared<Database>();
    result->index = std::move(index);
    result->weights = copied(weights);
    result->games = copied(games);
    result->residuals = copied(residuals);
    // The records are read in place, so their array is kept.
    const auto owner = std::make_shared<Array<std::uint8_t>>(shown);
    const std::shared_ptr<const char> records(owner, reinterpret_cast<const char *>(owner->data()));
    result->shown = ShownEntries(records, letters.first, letters.second);
    expect(shown.size() == entries * result->shown.bytes(), "there is a record for each entry");
    expect(kernel == "uniform" || kernel == "epanechnikov" || kernel == "tricube", "the kernel is known");
    result->kernel = kernel == "uniform"        ? Kernel::uniform
                     : kernel == "epanechnikov" ? Kernel::epanechnikov
                                                : Kernel::tricube;
    result->neighbours = neighbours;
    return result;
}

using GivenMinute = std::tuple<Array<double>, std::shared_ptr<Database>>;

std::unique_ptr<PointModels> point_models(const std::vector<LstmNetwork> &networks,
                                          const std::vector<GivenMinute> &given, bool cubic) {
    expect(!given.empty(), "there are minutes");
    expect(networks.empty() || Networks(networks).longest() >= static_cast<int>(given.size()) - 1,
           "networks have a spread for each minute");
    std::vector<Minute> minutes(given.size());
    for (std::size_t minute = 0; minute < given.size(); ++minute) {
        const auto &[coefficients, database] = given[minute];
        expect(!database || static_cast<std::size_t>(database->minutes()) == minute,
               "databases are in the order of their minutes");
        expect(coefficients.size() == LINEAR_SOURCES * HORIZONS * COEFFICIENTS, "coefficients are (3, 2, 4)");
        std::copy_n(coefficients.data(), coefficients.size(), &minutes[minute].coefficients[0][0][0]);
        minutes[minute].database = database;
    }
    return std::make_unique<PointModels>(Networks(networks), std::move(minutes), cubic);
}

// Throws an exception that Python receives as a KeyError.
void check_minute(const PointModels &models, std::int64_t minutes) {
    if (minutes < 1 || minutes > models.longest() || !models.supports(static_cast<int>(minutes)))
        throw nb::key_error(("no database for minute " + std::to_string(minutes)).c_str());
}

Prediction predicted(const PointModels &models, const double *pattern, std::int64_t minutes, Margin margin) {
    return {{pattern, pattern + minutes}, margin, models.predict(static_cast<int>(minutes), pattern[minutes - 1], margin)};
}

Prediction predict(const PointModels &models, const std::vector<double> &pattern, double margin, bool line) {
    const auto minutes = static_cast<std::int64_t>(pattern.size());
    check_minute(models, minutes);
    return predicted(models, pattern.data(), minutes, {margin, line});
}

void check_offsets(const PointModels &models, const Array<std::int64_t> &offsets, std::size_t slots, std::size_t games) {
    expect(offsets.size() == games + 1 && offsets.data()[0] == 0 &&
               offsets.data()[games] == static_cast<std::int64_t>(slots),
           "offsets go from 0 to the number of slots, with a margin for each game");
    for (std::size_t game = 0; game < games; ++game) check_minute(models, offsets.data()[game + 1] - offsets.data()[game]);
}

std::vector<Prediction> predict_many(const PointModels &models, const Array<double> &patterns,
                                                      const Array<std::int64_t> &offsets,
                                                      const Array<double> &margins, const Array<bool> &lines) {
    const std::size_t games = margins.size();
    check_offsets(models, offsets, patterns.size(), games);
    expect(lines.size() == games, "each margin is a line or not");
    std::vector<Prediction> result;
    result.reserve(games);
    for (std::size_t game = 0; game < games; ++game) {
        const std::int64_t start = offsets.data()[game];
        result.push_back(predicted(models, patterns.data() + start, offsets.data()[game + 1] - start,
                                   {margins.data()[game], lines.data()[game]}));
    }
    return result;
}

nb::object points(const PointModels &models, const Array<double> &patterns, const Array<std::int64_t> &offsets,
                           const Array<double> &margins, bool line) {
    const std::size_t games = margins.size();
    check_offsets(models, offsets, patterns.size(), games);
    Result<double> result({games, HORIZONS});
    for (std::size_t game = 0; game < games; ++game) {
        const std::int64_t start = offsets.data()[game], end = offsets.data()[game + 1];
        const OfHorizons of_game =
            models.predict(static_cast<int>(end - start), patterns.data()[end - 1], {margins.data()[game], line});
        std::copy_n(of_game.data(), HORIZONS, result.data() + HORIZONS * game);
    }
    return result.array();
}

nb::object run(const Networks &networks, const Array<float> &steps) {
    expect(steps.ndim() == 3 && steps.shape(2) == CHANNELS, "steps are (n, minutes, 5)");
    expect(steps.shape(1) <= static_cast<std::size_t>(networks.longest()), "there are no more minutes than the networks have spreads for");
    Result<float> result({steps.shape(0), steps.shape(1), HORIZONS});
    {
        const nb::gil_scoped_release released;
        for (std::size_t game = 0; game < steps.shape(0); ++game)
            networks.run(steps.data() + game * steps.shape(1) * CHANNELS, static_cast<int>(steps.shape(1)), 0,
                         result.data() + game * steps.shape(1) * HORIZONS);
    }
    return result.array();
}

}  // namespace

void bind_models(nb::module_ &module) {
    nb::class_<LstmNetwork>(module, "LstmNetwork")
        .def(nb::new_(&network), nb::kw_only(), nb::arg("scale"), nb::arg("input"), nb::arg("recurrent"),
             nb::arg("bias"), nb::arg("head"), nb::arg("head_bias"), nb::arg("spreads"));
    nb::class_<Networks>(module, "Networks")
        .def(nb::new_([](const std::vector<LstmNetwork> &networks) {
            expect(!networks.empty(), "there are networks");
            return Networks(networks);
        }))
        .def("run", &run);
    nb::class_<Index>(module, "Index").def("nearest", &nearest);
    module.def("scan", &scan);
    module.def("graph", &graph, nb::arg("vectors"), nb::kw_only(), nb::arg("lanes"), nb::arg("entry"), nb::arg("levels"),
               nb::arg("counts"), nb::arg("links"), nb::arg("breadth"));
    nb::class_<Database>(module, "Database")
        .def(nb::new_(&database), nb::arg("index"), nb::kw_only(), nb::arg("weights"), nb::arg("games"),
             nb::arg("residuals"), nb::arg("shown"), nb::arg("letters"), nb::arg("kernel"), nb::arg("neighbours"));
    nb::class_<Prediction>(module, "Prediction")
        .def("point", [](const Prediction &of, int horizon) { return of.points.at(horizon); });
    nb::class_<Opinions>(module, "Opinions");
    nb::class_<PointModels>(module, "PointModels")
        .def(nb::new_(&point_models), nb::arg("networks"), nb::arg("minutes"), nb::arg("cubic"))
        .def("predict", &predict)
        .def("opinions", &PointModels::opinions)
        .def("predict_many", &predict_many)
        .def("points", &points);
}

}  // namespace dejavu

NB_MODULE(_native, module) {
    module.doc() = "Compiled point models and distributions; see docs/decisions.";
    nanobind::set_leak_warnings(false);  // models live as long as the process
    dejavu::bind_models(module);
    dejavu::bind_games(module);
    dejavu::bind_moments(module);
    dejavu::bind_shared_floats(module);
    dejavu::bind_explanation(module);
}
