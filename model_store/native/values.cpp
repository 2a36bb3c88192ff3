#include "values.hpp"

#include <cmath>

namespace dejavu {

Ends around_point(double point, double lower, double upper) {
    return {std::min(lower, std::floor(point)) + 0.0, std::max(upper, std::ceil(point)) + 0.0};  // 0, never -0
}

std::vector<double> margin_quantiles(const MarginGame &game, const std::vector<double> &levels) {
    return quantiles(game, levels, game.tolerance(), 0);
}

std::vector<double> values_at(const MarginGame &game, const Grid &grid) {
    std::vector<double> result = margin_quantiles(game, grid.levels);
    for (std::size_t index = 0; index < result.size(); ++index) {
        const double score = grid.scores[index];
        if (std::fabs(score) > grid.limit)
            result[index] = game.extrapolated(score, grid.reach, score < 0 ? grid.ends.first : grid.ends.second,
                                              grid.rounding);
    }
    return result;
}

}  // namespace dejavu
