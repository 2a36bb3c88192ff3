#include "models.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace dejavu {
namespace {

constexpr double CUBE_UNIT = 1000.0;
constexpr double CUBE_REACH[2] = {8.0, 0.4};  // points per root of the minutes, and per minute; see linear.py
constexpr float REGULATION_MINUTES = 48.0f;

// Writes the kernel's weights of neighbours, nearest first: 1 at distance 0, 0 at the last one.
void put_weights(Kernel kernel, const double *distances, std::size_t count, double *weights) {
    const double bandwidth = distances[count - 1];
    // If all neighbours are at the bandwidth, all kernel weights would be 0: weight them equally.
    const bool equal = kernel == Kernel::uniform || distances[0] == bandwidth;
    for (std::size_t place = 0; place < count; ++place) {
        const double relative = equal ? 0.0 : distances[place] / bandwidth;
        const double rest = kernel == Kernel::epanechnikov ? 1 - relative * relative : 1 - relative * relative * relative;
        weights[place] = kernel == Kernel::tricube ? rest * rest * rest : rest;
    }
}

}  // namespace

ShownEntry ShownEntries::entry(std::int64_t number, int horizon) const {
    const char *const record = records_.get() + static_cast<std::size_t>(number) * bytes();
    const char *const away = record + home_letters_, *const end = away + away_letters_;
    Numbers numbers;
    std::memcpy(&numbers, end, sizeof numbers);
    // Shorter names are filled up with zeros.
    return {{record, std::find(record, away, '\0')}, {away, std::find(away, end, '\0')},
            numbers.date, numbers.games, numbers.increments[horizon], numbers.spreads[horizon]};
}

OfSources Database::query(const double *pattern, std::int64_t *entries, double *distances) const {
    const int last = minutes() - 1;
    thread_local std::vector<float> vector;
    thread_local std::vector<double> kernel_weights;
    vector.resize(weights.size());
    // Differentials at the start of each minute, minus the last known one; see features.anchored.
    for (int minute = 0; minute <= last; ++minute)
        vector[minute] = static_cast<float>((minute ? pattern[minute - 1] : 0.0) - pattern[last]) * weights[minute];
    const std::vector<Found> &found = index->nearest(vector.data(), neighbours);
    if (found.size() < neighbours) throw std::runtime_error("the graph has parts that a search does not reach");
    for (std::size_t place = 0; place < neighbours; ++place) {
        entries[place] = found[place].second;
        distances[place] = std::sqrt(static_cast<double>(found[place].first));
    }
    kernel_weights.resize(neighbours);
    put_weights(kernel, distances, neighbours, kernel_weights.data());
    OfSources sums{};
    double total = 0.0;
    for (std::size_t place = 0; place < neighbours; ++place) {
        const double weight = kernel_weights[place] * games[static_cast<std::size_t>(entries[place])];
        const float *const values = &residuals[static_cast<std::size_t>(entries[place]) * SOURCES * HORIZONS];
        total += weight;
        for (int source = 0; source < SOURCES; ++source)
            for (int horizon = 0; horizon < HORIZONS; ++horizon)
                sums[source][horizon] += weight * values[source * HORIZONS + horizon];
    }
    for (OfHorizons &of_source : sums)
        for (double &value : of_source) value /= total;
    return sums;
}

OfHorizons PointModels::predict(int minutes, double lead, Margin margin) const {
    OfHorizons result;
    for (int horizon = 0; horizon < HORIZONS; ++horizon) result[horizon] = lead + increment(minutes, margin, horizon, lead);
    return result;
}

Opinions PointModels::opinions(const Prediction &prediction) const {
    const std::vector<double> &pattern = prediction.pattern;
    const Margin margin = prediction.margin;
    const bool known = margin.known();
    const int minutes = prediction.minutes();
    thread_local std::vector<float> steps, corrections;
    steps.resize(static_cast<std::size_t>(CHANNELS) * minutes);
    corrections.resize(static_cast<std::size_t>(HORIZONS) * minutes);
    for (int minute = 0; minute < minutes; ++minute) {
        float *const step = &steps[static_cast<std::size_t>(CHANNELS) * minute];
        step[0] = static_cast<float>(pattern[minute]);
        step[1] = static_cast<float>(minute ? pattern[minute] - pattern[minute - 1] : pattern[0]);
        step[2] = static_cast<float>(minute + 1) / REGULATION_MINUTES;
        step[3] = known ? static_cast<float>(margin.points) : 0.0f;
        step[4] = known ? 1.0f : 0.0f;
    }
    networks_.run(steps.data(), minutes, minutes - 1, corrections.data());
    Opinions result{prediction.points, prediction.points, {}, {}};
    for (int horizon = 0; horizon < HORIZONS; ++horizon)
        result.recurrent[horizon] += corrections[HORIZONS * (minutes - 1) + horizon];
    if (const auto &database = minute(minutes).database) {
        result.entries.resize(database->neighbours);
        result.distances.resize(database->neighbours);
        const OfHorizons means = database->query(pattern.data(), result.entries.data(), result.distances.data())[known];
        for (int horizon = 0; horizon < HORIZONS; ++horizon) result.similar[horizon] += means[horizon];
    }
    return result;
}

double PointModels::increment(int minutes, Margin margin, int horizon, double lead) const {
    const double *const coefficients = minute(minutes).coefficients[margin.linear_source()][horizon];
    double result = coefficients[0] + coefficients[1] * lead;
    result += coefficients[2] * (margin.known() ? margin.points : 0.0);
    if (cubic_) {
        const double reach = CUBE_REACH[0] * std::sqrt(static_cast<double>(minutes)) + CUBE_REACH[1] * minutes;
        const double near = std::min(std::max(lead, -reach), reach);
        result += coefficients[3] * (near * near * near / CUBE_UNIT);
    }
    return result;
}

}  // namespace dejavu
