// Values of a game's distribution that a forecast states: intervals, quantiles, and quantiles at scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "games.hpp"

namespace dejavu {

using Ends = std::pair<double, double>;

// Scores at which quantiles are taken, with their levels; those beyond the tables are extrapolated.
struct Grid {
    std::vector<double> scores, levels;
    double reach, limit, rounding;  // beyond `limit` values are extrapolated from ±`reach`
    Ends ends;  // levels of ±reach
};

// Returns an interval with whole ends, widened to the whole numbers around the point forecast.
Ends around_point(double point, double lower, double upper);

// Number of quantiles from which on one table of values costs less than a search for each quantile.
constexpr std::size_t MANY_QUANTILES = 8;

// Returns the quantiles at levels; many of them from one table of the probabilities between the outermost.
template <typename Game>
std::vector<double> quantiles(const Game &game, const std::vector<double> &levels, double tolerance, int first_whole) {
    std::vector<double> result(levels.size());
    if (levels.size() < MANY_QUANTILES) {
        std::transform(levels.begin(), levels.end(), result.begin(),
                       [&](double level) { return static_cast<double>(first_whole + game.quantile(level)); });
        return result;
    }
    const auto [least, most] = std::minmax_element(levels.begin(), levels.end());
    const int first = game.quantile(*least), last = game.quantile(*most);
    std::vector<double> below;
    for (int value = first; value <= last; ++value) below.push_back(game.cumulative(first_whole + value));
    for (std::size_t index = 0; index < levels.size(); ++index) {
        const auto found = std::lower_bound(below.begin(), below.end(), levels[index] - tolerance) - below.begin();
        // The probability at or below the last value is the greatest level, up to rounding.
        result[index] = first_whole + std::min(first + static_cast<int>(found), last);
    }
    return result;
}

// The same of a differential, whose whole numbers begin at 0.
template <typename Game>
std::vector<double> margin_quantiles(const Game &game, const std::vector<double> &levels) {
    return quantiles(game, levels, game.tolerance(), 0);
}

// Returns a value beyond the tables: as far from the median as the value at `level_of_reach`, times |score| / `reach`,
// rounded outwards.
template <typename Game>
double extrapolated(const Game &game, double score, double reach, double level_of_reach, double rounding) {
    const int median = game.quantile(0.5), end = game.quantile(level_of_reach);
    const double value = median + (end - median) * std::fabs(score) / reach;
    const double whole = score < 0 ? std::floor(value + rounding) : std::ceil(value - rounding);
    if (whole == 0 && game.is_final()) return std::copysign(1.0, score);
    return whole + 0.0;  // 0, never -0
}

template <typename Game>
std::vector<double> values_at(const Game &game, const Grid &grid) {
    std::vector<double> result = margin_quantiles(game, grid.levels);
    for (std::size_t index = 0; index < result.size(); ++index) {
        const double score = grid.scores[index];
        if (std::fabs(score) > grid.limit)
            result[index] =
                extrapolated(game, score, grid.reach, score < 0 ? grid.ends.first : grid.ends.second, grid.rounding);
    }
    return result;
}

}  // namespace dejavu
