#include "ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace dejavu {
namespace {

constexpr double CUBE_UNIT = 1000.0;
constexpr double CUBE_REACH[2] = {8.0, 0.4};  // points per root of the minutes, and per minute; see linear.py
constexpr double LEAD_REACH = 4.0, MARGIN_REACH = 3.0;  // bounds of the correction's terms, in spreads
constexpr double REGULATION_MINUTES = 48.0;
constexpr int QUARTER_MINUTES = 12;
constexpr double TOTAL_UNIT = 10.0, LONGEST_SINCE = 24.0;  // units of live inputs; see features.py

// Pairs of ages in minutes: features are the changes of the lead between them.
constexpr int AGES[][2] = {{0, 1}, {1, 2}, {2, 4}, {4, 8}, {8, 16}, {16, 32}};

double clipped(double value, double bound) { return std::min(std::max(value, -bound), bound); }

// The product of a side and a number, 0 if either is unknown.
float sided(double side, double number) {
    const double result = side * number;
    return std::isfinite(result) ? static_cast<float>(result) : 0.0f;
}

// Writes the features of a game, (FEATURES), by which similar games are found; see features.py. `lead_after` returns the
// lead after a minute; the expected margin and the total points are NaN if unknown.
template <typename LeadAfter, typename Value>
void put_features_of(const EnsembleTables &tables, int minute, LeadAfter lead_after, double margin, double total,
                     Value *features) {
    const auto at = static_cast<std::size_t>(minute);
    const double *const weights = tables.feature_weights[at].data(), lead = lead_after(minute);
    std::size_t place = 0;
    const auto put = [&](double value) { features[place] = static_cast<Value>(value * weights[place]), ++place; };
    put(lead);
    for (const auto &[newer, older] : AGES)
        put(lead_after(std::max(minute - newer, 0)) - lead_after(std::max(minute - older, 0)));
    put(std::isfinite(margin) ? margin : tables.margin_slopes[at] * lead);
    put(std::isfinite(total) ? total - tables.mean_totals[at] : 0.0);
}

}  // namespace

Database::Database(std::shared_ptr<const Graph> index, int minute, std::vector<std::uint32_t> starts,
                   std::vector<std::uint32_t> members, std::shared_ptr<const PastGames> games, std::size_t nearest)
    : index_(std::move(index)), minute_(minute), starts_(std::move(starts)), members_(std::move(members)),
      games_(std::move(games)), nearest_(nearest) {
    const auto column = static_cast<std::size_t>(minute) - 1;
    for (int horizon = 0; horizon < HORIZONS; ++horizon) {
        if (horizon == HALFTIME && column >= PastGames::HALF_MINUTES) continue;
        const std::size_t of_case = column + (horizon == FINAL ? PastGames::HALF_MINUTES : 0);
        std::vector<std::uint8_t> &into = codes_[static_cast<std::size_t>(horizon)];
        into.reserve(members_.size());
        for (const std::uint32_t image : members_) {
            const std::uint8_t code = games_->codes[image / 2 * PastGames::CASES + of_case];
            into.push_back(static_cast<std::uint8_t>(image % 2 ? BINS - 1 - code : code));
        }
    }
}

std::vector<std::uint32_t> Database::nearest(const float *features) const {
    const std::vector<Found> &found = index_->nearest(features, nearest_);
    if (found.size() < nearest_) throw std::runtime_error("the graph has parts that a search does not reach");
    std::vector<std::uint32_t> result(nearest_);
    std::transform(found.begin(), found.end(), result.begin(), [](const Found &each) { return each.second; });
    return result;
}

void Database::put(const std::vector<std::uint32_t> &groups, int horizon, Opinion &opinion) const {
    // Four counts of each bin, since neighbouring members often have the same: one increment would wait for the other.
    constexpr std::size_t COUNTS = 4;
    std::array<std::array<std::uint32_t, BINS>, COUNTS> counts{};
    const std::uint8_t *const codes = codes_[static_cast<std::size_t>(horizon)].data();
    for (const std::uint32_t group : groups) {
        const std::uint8_t *code = codes + starts_[group], *const end = codes + starts_[group + 1];
        for (; end - code >= static_cast<std::ptrdiff_t>(COUNTS); code += COUNTS)
            for (std::size_t place = 0; place < COUNTS; ++place) ++counts[place][code[place]];
        for (; code != end; ++code) ++counts[0][*code];
    }
    std::array<std::uint32_t, BINS> games{};
    for (const auto &each : counts)
        for (std::size_t bin = 0; bin < BINS; ++bin) games[bin] += each[bin];
    opinion.set_similar(games);
}

Ensemble::Ensemble(EnsembleTables tables, Networks networks, std::vector<std::shared_ptr<const Database>> databases)
    : tables_(std::move(tables)), networks_(std::move(networks)), databases_(std::move(databases)) {
    for (const auto &each : databases_) searches_ = searches_ || each;
    for (const auto &of_source : tables_.weights)
        for (const Weights &each : of_source) {
            if (!searches_ && each.dejavu > 0) throw std::invalid_argument("similar games are missing");
            if (networks_.empty() && each.lstm > 0) throw std::invalid_argument("the LSTM is missing");
        }
    for (const auto &of_minute : tables_.coefficients)
        for (std::size_t cube = COEFFICIENTS - 1; cube < of_minute.size(); cube += COEFFICIENTS)
            cubic_ = cubic_ || of_minute[cube] > 0 || of_minute[cube] < 0;  // NaN where a horizon has passed
}

OfHorizons Ensemble::predict(int minute, double lead, Margin margin) const {
    OfHorizons result;
    for (int horizon = 0; horizon < HORIZONS; ++horizon)
        result[static_cast<std::size_t>(horizon)] = lead + increment(minute, lead, margin, horizon);
    return result;
}

double Ensemble::increment(int minute, double lead, Margin margin, int horizon) const {
    const double *const coefficients = tables_.coefficients[static_cast<std::size_t>(minute)].data() +
                                       (margin.source() * HORIZONS + horizon) * COEFFICIENTS;
    double result = coefficients[0] + coefficients[1] * lead;
    result += coefficients[2] * (margin.known() ? margin.points : 0.0);
    if (cubic_) {
        const double reach = CUBE_REACH[0] * std::sqrt(static_cast<double>(minute)) + CUBE_REACH[1] * minute;
        const double near = clipped(lead, reach);
        result += coefficients[3] * (near * near * near / CUBE_UNIT);
    }
    return horizon == FINAL ? result + correction(minute, lead, margin) : result;
}

double Ensemble::correction(int minute, double lead, Margin margin) const {
    const auto source = static_cast<std::size_t>(margin.source());
    const double spread = tables_.spreads[source][static_cast<std::size_t>(minute)];
    if (!(spread > 0)) return 0.0;
    const double left = (REGULATION_MINUTES - minute) / REGULATION_MINUTES;
    const double u = clipped(lead / spread, LEAD_REACH);
    const double v = margin.known() ? clipped(margin.points * left / spread, MARGIN_REACH) : 0.0;
    const auto &[of_u, of_v, of_uuu, of_uuv, of_uvv, of_vvv] = tables_.corrections[source];
    return spread * (of_u * u + of_v * v + of_uuu * u * u * u + of_uuv * u * u * v + of_uvv * u * v * v +
                     of_vvv * v * v * v);
}

const Weights &Ensemble::weights(int minute, Margin margin, int horizon) const {
    const int quarter = std::min((minute - 1) / QUARTER_MINUTES, horizon == FINAL ? 3 : 1);
    return tables_.weights[static_cast<std::size_t>(margin.source())][static_cast<std::size_t>(2 * horizon + quarter)];
}

void Ensemble::put_features(const Prediction &prediction, float *features) const {
    const auto lead_after = [&](int minute) {
        return minute ? prediction.pattern[static_cast<std::size_t>(minute) - 1] : 0.0;
    };
    put_features_of(tables_, prediction.minute(), lead_after, prediction.margin.points, prediction.live.total, features);
}

Similar Ensemble::similar(const Prediction &prediction, int horizon, std::size_t searched, std::size_t most,
                          double reach) const {
    Similar result;
    const auto &database = databases_[static_cast<std::size_t>(prediction.minute())];
    if (!database) return result;
    const PastGames &games = database->games();
    const auto minute = static_cast<std::size_t>(prediction.minute());
    database->each_image(prediction.groups, prediction.groups.size(), [&](std::uint32_t image) {
        ++result.games;
        if (std::abs(games.lead(image, minute) - prediction.pattern.back()) > reach) return;
        const int outcome = games.outcome(image, horizon);
        ++result.same_lead;
        result.home_led += outcome > 0;
        result.away_led += outcome < 0;
        result.outcomes += outcome;
    });
    float sought[FEATURES];
    put_features(prediction, sought);
    std::vector<std::pair<double, std::uint32_t>> places;  // in the order of the images
    std::vector<std::uint32_t> images;
    database->each_image(prediction.groups, searched, [&](std::uint32_t image) {
        const double sign = image % 2 ? -1.0 : 1.0;
        const int total = games.totals[image / 2 * PastGames::MINUTES + minute - 1];
        double features[FEATURES], sum = 0.0;
        put_features_of(
            tables_, prediction.minute(),
            [&](int at) { return static_cast<double>(games.lead(image, static_cast<std::size_t>(at))); },
            sign * games.margins[image / 2], total < 0 ? LiveNumbers::UNKNOWN : total, features);
        for (int place = 0; place < FEATURES; ++place) {
            const double difference = features[place] - sought[place];
            sum += difference * difference;
        }
        places.emplace_back(std::sqrt(sum), static_cast<std::uint32_t>(images.size()));
        images.push_back(image);
    });
    // Every game has two images at most.
    const auto end = places.begin() + static_cast<std::ptrdiff_t>(std::min(2 * most, places.size()));
    std::partial_sort(places.begin(), end, places.end());
    for (auto place = places.begin(); place != end && result.nearest.size() < most; ++place) {
        const std::uint32_t image = images[place->second];
        const auto same = [image](const auto &each) { return each.second / 2 == image / 2; };
        if (std::none_of(result.nearest.begin(), result.nearest.end(), same))
            result.nearest.emplace_back(place->first, image);
    }
    return result;
}

void Ensemble::run(Prediction &prediction) const {
    const std::vector<double> &pattern = prediction.pattern;
    const bool known = prediction.margin.known();
    const int minutes = prediction.minute();
    const LiveNumbers &given = prediction.live;
    const auto count = static_cast<std::size_t>(minutes);
    thread_local std::vector<float> steps, outputs;
    steps.resize(CHANNELS * count);
    outputs.resize(OUTPUTS * count);
    for (std::size_t minute = 0; minute < count; ++minute) {
        float *const step = &steps[CHANNELS * minute];
        step[0] = static_cast<float>(pattern[minute]);
        step[1] = static_cast<float>(minute ? pattern[minute] - pattern[minute - 1] : pattern[0]);
        step[2] = static_cast<float>(minute + 1) / static_cast<float>(REGULATION_MINUTES);
        step[3] = known ? static_cast<float>(prediction.margin.points) : 0.0f;
        step[4] = known ? 1.0f : 0.0f;
    }
    const double total = (given.total - tables_.network_totals[count]) / TOTAL_UNIT;
    const float live[LIVE] = {
        sided(1.0, total),
        sided(1.0, given.last_side),
        sided(given.last_side, std::min(given.last_seconds, LONGEST_SINCE) / LONGEST_SINCE),
        sided(1.0, given.ball_side),
        sided(given.ball_side, given.in_air),
    };
    networks_.run(steps.data(), live, minutes, minutes - 1, outputs.data());
    std::copy_n(&outputs[OUTPUTS * (count - 1)], OUTPUTS, prediction.outputs.begin());
}

Opinion Ensemble::opinion(Prediction &prediction, int horizon, bool all) const {
    Opinion result;
    result.weights = weights(prediction.minute(), prediction.margin, horizon);
    const auto &database = databases_[static_cast<std::size_t>(prediction.minute())];
    if (database && database->has(horizon) && (all || result.weights.dejavu > 0)) {
        if (!prediction.searched) {
            float features[FEATURES];
            put_features(prediction, features);
            prediction.groups = database->nearest(features);
            prediction.searched = true;
        }
        database->put(prediction.groups, horizon, result);
    }
    if (!networks_.empty() && (all || result.weights.lstm > 0)) {
        if (!prediction.ran) run(prediction);
        prediction.ran = true;
        result.mean = prediction.outputs[static_cast<std::size_t>(horizon)];
        result.log_scale = prediction.outputs[static_cast<std::size_t>(HORIZONS + horizon)];
    }
    return result;
}

}  // namespace dejavu
