// Python's view of the ensemble and its indexes.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "bindings.hpp"
#include "ensemble.hpp"

namespace nb = nanobind;

namespace dejavu {
namespace {

constexpr std::size_t MOST_DIMENSIONS = 1024;

Vectors vectors_of(const Array<float> &values) {
    expect(values.ndim() == 2 && values.size() > 0, "vectors are (m, dimensions)");
    expect(values.shape(1) <= MOST_DIMENSIONS && finite(values), "vectors are finite, with at most 1,024 dimensions");
    return {values.data(), values.shape(0), static_cast<int>(values.shape(1))};
}

std::shared_ptr<Graph> graph(const Array<float> &vectors, std::uint32_t entry,
                             const Array<std::uint8_t> &levels, const Array<std::uint32_t> &counts,
                             const Array<std::uint32_t> &links, std::size_t breadth) {
    // Searches follow links without a check, so wrong ones must be found here.
    Vectors content = vectors_of(vectors);
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

nb::tuple nearest(const Graph &index, const Array<float> &vectors, std::size_t count) {
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

std::shared_ptr<PastGames> past_games(const Array<std::int16_t> &differentials, const Array<std::int16_t> &totals,
                                      const Array<std::int16_t> &finals, const Array<float> &margins,
                                      const Array<std::uint8_t> &codes) {
    const std::size_t games = finals.size();
    expect(games > 0 && games <= MOST_VECTORS, "there are games");
    for (const Array<std::int16_t> &each : {differentials, totals})
        expect(each.ndim() == 2 && each.size() == games * PastGames::MINUTES,
               "differentials and totals are (games, 48)");
    expect(margins.size() == games && finite(margins), "margins are finite, (games)");
    expect(codes.ndim() == 2 && codes.size() == games * PastGames::CASES, "codes are (games, 70)");
    return std::make_shared<PastGames>(
        PastGames{copied(differentials), copied(totals), copied(finals), copied(margins), copied(codes)});
}

std::shared_ptr<Database> database(std::shared_ptr<Graph> index, int minute, const Array<std::int64_t> &starts,
                                   const Array<std::uint32_t> &members, std::shared_ptr<PastGames> games,
                                   std::size_t nearest) {
    const std::size_t groups = index->vectors().size(), images = 2 * games->size();
    expect(minute >= 1 && minute < static_cast<int>(PastGames::MINUTES), "there are databases of the minutes 1 to 47");
    expect(index->vectors().given() == FEATURES, "centers have 9 features");
    expect(nearest >= 1 && nearest <= groups, "there are as many groups as are found");
    expect(starts.size() == groups + 1 && starts.data()[0] == 0 &&
               starts.data()[groups] == static_cast<std::int64_t>(members.size()) && members.size() <= MOST_VECTORS &&
               std::adjacent_find(starts.data(), starts.data() + groups + 1, std::greater_equal<std::int64_t>()) ==
                   starts.data() + groups + 1,
           "starts ascend from 0 to the number of members");
    expect(std::all_of(members.data(), members.data() + members.size(),
                       [images](std::uint32_t image) { return image < images; }),
           "members are images of the games");
    return std::make_shared<Database>(std::move(index), minute,
                                      std::vector<std::uint32_t>(starts.data(), starts.data() + groups + 1),
                                      copied(members), std::move(games), nearest);
}

std::unique_ptr<Ensemble> ensemble(const std::vector<LstmNetwork> &networks,
                                   const std::vector<std::optional<std::shared_ptr<Database>>> &databases,
                                   const Array<double> &coefficients, const Array<double> &corrections,
                                   const Array<double> &spreads, const Array<double> &margin_slopes,
                                   const Array<double> &mean_totals, const Array<double> &network_totals,
                                   const Array<double> &features, const Array<double> &weights) {
    const std::size_t minutes = databases.size();
    expect(minutes > 0, "there are minutes");
    expect(networks.empty() || Networks(networks).longest() >= static_cast<int>(minutes) - 1,
           "networks have a spread for each minute");
    constexpr std::size_t OF_MINUTE = LINEAR_SOURCES * HORIZONS * COEFFICIENTS;
    expect(coefficients.ndim() == 4 && coefficients.shape(0) == minutes && coefficients.size() == minutes * OF_MINUTE,
           "coefficients are (minutes, 3, 2, 4)");
    expect(corrections.size() == LINEAR_SOURCES * CORRECTIONS && finite(corrections), "corrections are finite, (3, 6)");
    expect(spreads.ndim() == 2 && spreads.size() == LINEAR_SOURCES * minutes && finite(spreads),
           "spreads are finite, (3, minutes)");
    expect(margin_slopes.size() == minutes && finite(margin_slopes), "margin slopes are finite, (minutes)");
    for (const Array<double> &totals : {mean_totals, network_totals})
        expect(totals.size() == minutes && finite(totals), "mean totals are finite, (minutes)");
    expect(features.ndim() == 2 && features.shape(1) == FEATURES && features.shape(0) == minutes && finite(features),
           "weights of features are finite, (minutes, 9)");
    expect(weights.size() == LINEAR_SOURCES * CELLS * 3, "weights are (3, 6, 3)");
    EnsembleTables tables;
    tables.coefficients.resize(minutes);
    tables.feature_weights.resize(minutes);
    tables.margin_slopes = copied(margin_slopes);
    tables.mean_totals = copied(mean_totals);
    tables.network_totals = copied(network_totals);
    std::vector<std::shared_ptr<const Database>> of_minutes(minutes);
    for (std::size_t minute = 0; minute < minutes; ++minute) {
        std::copy_n(coefficients.data() + minute * OF_MINUTE, OF_MINUTE, tables.coefficients[minute].begin());
        std::copy_n(features.data() + minute * FEATURES, FEATURES, tables.feature_weights[minute].begin());
        if (!databases[minute]) continue;
        of_minutes[minute] = *databases[minute];
        expect(static_cast<std::size_t>(of_minutes[minute]->minute()) == minute,
               "databases are in the order of their minutes");
    }
    for (std::size_t source = 0; source < LINEAR_SOURCES; ++source) {
        std::copy_n(corrections.data() + source * CORRECTIONS, CORRECTIONS, tables.corrections[source].begin());
        tables.spreads[source].assign(spreads.data() + source * minutes, spreads.data() + (source + 1) * minutes);
        for (std::size_t cell = 0; cell < CELLS; ++cell) {
            const double *const of_cell = weights.data() + (source * CELLS + cell) * 3;
            expect(of_cell[0] >= 0 && of_cell[1] >= 0 && of_cell[2] >= 0 &&
                       of_cell[0] + of_cell[1] + of_cell[2] <= 1 + 1e-9,
                   "weights are not negative, and sum to at most 1");
            tables.weights[source][cell] = {of_cell[0], of_cell[1], of_cell[2]};
        }
    }
    return std::make_unique<Ensemble>(std::move(tables), Networks(networks), std::move(of_minutes));
}

// Throws an exception that Python receives as a KeyError.
void check_minute(const Ensemble &models, std::int64_t minutes) {
    if (minutes < 1 || minutes > models.longest() || !models.supports(static_cast<int>(minutes)))
        throw nb::key_error(("no database for minute " + std::to_string(minutes)).c_str());
}

Prediction predicted(const Ensemble &models, const double *pattern, std::int64_t minutes, Margin margin,
                     const LiveNumbers &live) {
    Prediction result;
    result.pattern.assign(pattern, pattern + minutes);
    result.margin = margin;
    result.live = live;
    result.points = models.predict(static_cast<int>(minutes), pattern[minutes - 1], margin);
    return result;
}

LiveNumbers live_numbers(const double *numbers) { return {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]}; }

Prediction predict(const Ensemble &models, const std::vector<double> &pattern, double margin, bool line,
                   const std::vector<double> &live) {
    const auto minutes = static_cast<std::int64_t>(pattern.size());
    check_minute(models, minutes);
    expect(live.size() == LIVE, "there are 5 live inputs");
    return predicted(models, pattern.data(), minutes, {margin, line}, live_numbers(live.data()));
}

void check_offsets(const Ensemble &models, const Array<std::int64_t> &offsets, std::size_t slots, std::size_t games) {
    expect(offsets.size() == games + 1 && offsets.data()[0] == 0 &&
               offsets.data()[games] == static_cast<std::int64_t>(slots),
           "offsets go from 0 to the number of slots, with a margin for each game");
    // All of them before any is used: those that go backwards may lead outside the patterns.
    for (std::size_t game = 0; game < games; ++game)
        check_minute(models, offsets.data()[game + 1] - offsets.data()[game]);
}

std::vector<Prediction> predict_many(const Ensemble &models, const Array<double> &patterns,
                                     const Array<std::int64_t> &offsets, const Array<double> &margins,
                                     const Array<bool> &lines, const Array<double> &live) {
    const std::size_t games = margins.size();
    check_offsets(models, offsets, patterns.size(), games);
    expect(lines.size() == games, "each margin is a line or not");
    expect(live.size() == LIVE * games, "live inputs are (games, 5)");
    std::vector<Prediction> result;
    result.reserve(games);
    for (std::size_t game = 0; game < games; ++game) {
        const std::int64_t start = offsets.data()[game];
        result.push_back(predicted(models, patterns.data() + start, offsets.data()[game + 1] - start,
                                   {margins.data()[game], lines.data()[game]},
                                   live_numbers(live.data() + LIVE * game)));
    }
    return result;
}

// Returns the predictions of the linear models, (n, 2), and the opinions at a horizon, for games without live inputs.
nb::tuple columns(const Ensemble &models, const Array<double> &patterns, const Array<std::int64_t> &offsets,
                  const Array<double> &margins, bool line, int horizon) {
    const std::size_t games = margins.size();
    check_offsets(models, offsets, patterns.size(), games);
    expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
    Result<double> points({games});
    Opinions opinions{std::vector<std::shared_ptr<const Opinion>>(games)};
    {
        const nb::gil_scoped_release released;
        for (std::size_t game = 0; game < games; ++game) {
            const std::int64_t start = offsets.data()[game];
            Prediction prediction = predicted(models, patterns.data() + start, offsets.data()[game + 1] - start,
                                              {margins.data()[game], line}, {});
            points.data()[game] = prediction.points[static_cast<std::size_t>(horizon)];
            if (!models.weights(prediction.minute(), prediction.margin, horizon).linear_alone())
                opinions.of_games[game] = std::make_shared<const Opinion>(models.opinion(prediction, horizon, false));
        }
    }
    return nb::make_tuple(points.array(), nb::cast(std::move(opinions)));
}

std::shared_ptr<Opinion> opinion(const Ensemble &models, Prediction &prediction, int horizon, bool all) {
    expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
    if (!all && models.weights(prediction.minute(), prediction.margin, horizon).linear_alone()) return nullptr;
    return std::make_shared<Opinion>(models.opinion(prediction, horizon, all));
}

// Returns the predictions of the linear models before tip-off and after each minute.
std::vector<double> path(const Ensemble &models, const Prediction &prediction, int horizon) {
    expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
    std::vector<double> result;
    for (int minute = 0; minute <= prediction.minute(); ++minute) {
        const double lead = minute ? prediction.pattern[static_cast<std::size_t>(minute) - 1] : 0.0;
        result.push_back(models.predict(minute, lead, prediction.margin)[static_cast<std::size_t>(horizon)]);
    }
    return result;
}

nb::tuple similar(const Ensemble &models, const Prediction &prediction, int horizon, std::size_t searched,
                  std::size_t most, double reach) {
    expect(horizon >= 0 && horizon < HORIZONS, "there are two horizons");
    const Similar found = models.similar(prediction, horizon, searched, most, reach);
    return nb::make_tuple(found.games, found.same_lead, found.home_led, found.away_led, found.outcomes,
                          nb::cast(found.nearest));
}

}  // namespace

void bind_models(nb::module_ &module) {
    nb::class_<Graph>(module, "Graph")
        .def(nb::new_(&graph), nb::arg("vectors"), nb::kw_only(), nb::arg("entry"), nb::arg("levels"),
             nb::arg("counts"), nb::arg("links"), nb::arg("breadth"))
        .def("nearest", &nearest);
    nb::class_<PastGames>(module, "PastGames")
        .def(nb::new_(&past_games), nb::kw_only(), nb::arg("differentials"), nb::arg("totals"), nb::arg("finals"),
             nb::arg("margins"), nb::arg("codes"));
    nb::class_<Database>(module, "Database")
        .def(nb::new_(&database), nb::arg("index"), nb::kw_only(), nb::arg("minute"), nb::arg("starts"),
             nb::arg("members"), nb::arg("games"), nb::arg("nearest"));
    nb::class_<Opinion>(module, "Opinion")
        .def(nb::new_([](double linear, double dejavu, double lstm, double mean, double log_scale,
                         const Array<std::uint32_t> &games) {
                 expect(linear >= 0 && dejavu >= 0 && lstm >= 0, "weights are not negative");
                 expect(std::fabs(mean) <= MAX_MEAN && std::fabs(log_scale) <= MAX_LOG_SCALE,
                        "outputs are within their bounds");
                 Opinion result;
                 result.weights = {linear, dejavu, lstm};
                 result.mean = mean;
                 result.log_scale = log_scale;
                 expect(games.size() == BINS || (games.size() == 0 && dejavu == 0),
                        "there is a number of games for each bin");
                 if (games.size()) {
                     std::array<std::uint32_t, BINS> counts;
                     std::copy_n(games.data(), BINS, counts.begin());
                     expect(std::any_of(counts.begin(), counts.end(), [](auto each) { return each > 0; }), "there are games");
                     result.set_similar(counts);
                 }
                 return std::make_shared<Opinion>(result);
             }),
             nb::kw_only(), nb::arg("linear"), nb::arg("dejavu"), nb::arg("lstm"), nb::arg("mean"), nb::arg("log_scale"),
             nb::arg("games"))
        .def_prop_ro("linear", [](const Opinion &of) { return of.weights.linear; })
        .def_prop_ro("dejavu", [](const Opinion &of) { return of.weights.dejavu; })
        .def_prop_ro("lstm", [](const Opinion &of) { return of.weights.lstm; })
        .def_ro("mean", &Opinion::mean)
        .def_ro("log_scale", &Opinion::log_scale)
        .def_ro("similar_mean", &Opinion::similar_mean)
        .def_prop_ro("below", [](const Opinion &of) {
            Result<double> result({BINS + 1});
            std::copy_n(of.below.begin(), BINS + 1, result.data());
            return result.array();
        });
    nb::class_<Opinions>(module, "Opinions");
    nb::class_<Prediction>(module, "Prediction")
        .def("point", [](const Prediction &of, int horizon) { return of.points.at(static_cast<std::size_t>(horizon)); })
        .def_prop_ro("minute", &Prediction::minute)
        .def_ro("pattern", &Prediction::pattern)
        .def_prop_ro("groups", [](const Prediction &of) {
            Result<std::int64_t> result({of.groups.size()});
            std::copy(of.groups.begin(), of.groups.end(), result.data());
            return result.array();
        });
    nb::class_<Ensemble>(module, "Ensemble")
        .def(nb::new_(&ensemble), nb::kw_only(), nb::arg("networks"), nb::arg("databases"), nb::arg("coefficients"),
             nb::arg("corrections"), nb::arg("spreads"), nb::arg("margin_slopes"), nb::arg("mean_totals"),
             nb::arg("network_totals"), nb::arg("features"), nb::arg("weights"))
        .def("predict", &predict)
        .def("predict_many", &predict_many)
        .def("columns", &columns)
        .def("opinion", &opinion)
        .def("path", &path)
        .def("similar", &similar);
}

}  // namespace dejavu

NB_MODULE(_native, module) {
    module.doc() = "Compiled ensemble and distributions; see docs/decisions.";
    nanobind::set_leak_warnings(false);  // models live as long as the process
    dejavu::bind_networks(module);
    dejavu::bind_models(module);
    dejavu::bind_games(module);
    dejavu::bind_moments(module);
    dejavu::bind_shared_floats(module);
}
