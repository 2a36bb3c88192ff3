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

Predicted PointModels::predict(const double *pattern, int minutes, Margin margin, float *corrections,
                               std::int64_t *entries, double *distances, bool only_last) const {
    const bool known = margin.known();
    const Minute &of_minute = minute(minutes);
    thread_local std::vector<float> steps;
    steps.resize(static_cast<std::size_t>(CHANNELS) * minutes);
    for (int minute = 0; minute < minutes; ++minute) {
        float *const step = &steps[static_cast<std::size_t>(CHANNELS) * minute];
        step[0] = static_cast<float>(pattern[minute]);
        step[1] = static_cast<float>(minute ? pattern[minute] - pattern[minute - 1] : pattern[0]);
        step[2] = static_cast<float>(minute + 1) / REGULATION_MINUTES;
        step[3] = known ? static_cast<float>(margin.points) : 0.0f;
        step[4] = known ? 1.0f : 0.0f;
    }
    networks_.run(steps.data(), minutes, only_last ? minutes - 1 : 0, corrections);
    OfHorizons of_similar{};
    if (of_minute.database) of_similar = of_minute.database->query(pattern, entries, distances)[known];
    const double lead = pattern[minutes - 1];
    Predicted result;
    for (int horizon = 0; horizon < HORIZONS; ++horizon) {
        const double linear = lead + increment(minutes, margin, horizon, lead);
        const double similar = of_similar[horizon] * of_minute.shrinkage[horizon];
        const double recurrent = corrections[HORIZONS * (minutes - 1) + horizon];
        const double weight = of_minute.weight[horizon];
        result.linear[horizon] = linear;
        result.similar[horizon] = linear + similar;
        result.recurrent[horizon] = linear + recurrent;
        result.combined[horizon] = linear + weight * similar + (1 - weight) * recurrent;
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

void PointModels::earlier(const double *pattern, int minutes, Margin margin, const float *corrections,
                          bool similar, double *result) const {
    const bool known = margin.known();
    thread_local std::vector<std::int64_t> entries;
    thread_local std::vector<double> distances;
    for (int before = 0; before < minutes; ++before) {
        const Minute &of_minute = minute(before);
        const double lead = before ? pattern[before - 1] : 0.0;
        OfHorizons factors{};
        for (int horizon = 0; horizon < HORIZONS; ++horizon) {
            double &value = result[HORIZONS * before + horizon];
            value = lead + increment(before, margin, horizon, lead);
            if (!before) continue;
            value += (1 - of_minute.weight[horizon]) * corrections[HORIZONS * (before - 1) + horizon];
            factors[horizon] = of_minute.weight[horizon] * of_minute.shrinkage[horizon];
        }
        if (!similar || !before || !of_minute.database || (factors[0] == 0 && factors[1] == 0)) continue;
        entries.resize(of_minute.database->neighbours);
        distances.resize(of_minute.database->neighbours);
        const OfHorizons mean = of_minute.database->query(pattern, entries.data(), distances.data())[known];
        for (int horizon = 0; horizon < HORIZONS; ++horizon)
            result[HORIZONS * before + horizon] += factors[horizon] * mean[horizon];
    }
}

}  // namespace dejavu
