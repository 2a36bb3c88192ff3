#include "moments.hpp"

#include <algorithm>
#include <cmath>

namespace dejavu {

double TabulatedGame::cumulative(int value) const {
    if (value >= largest_) return 1.0;
    return value < -largest_ ? 0.0 : below_[static_cast<std::size_t>(value + largest_)];
}

double TabulatedGame::probability_above(double value) const {
    const double bound = largest_ + 1;
    const double above = 1 - cumulative(static_cast<int>(std::floor(std::min(std::max(value, -bound), bound))));
    return std::min(std::max(above, least_), 1 - least_);
}

int TabulatedGame::quantile(double level) const {
    const auto found = std::lower_bound(below_.begin(), below_.end(), level - tolerance_) - below_.begin();
    return std::min(static_cast<int>(found) - largest_, largest_);
}

std::vector<double> MomentTables::at_end(double seconds_left, double lead, int side, bool in_air,
                                         double margin) const {
    const double at = std::min(std::max(seconds_left, 0.0), seconds.back());
    const auto after = std::upper_bound(seconds.begin(), seconds.end(), at) - seconds.begin();
    const std::size_t row = std::min(static_cast<std::size_t>(after) - 1, seconds.size() - 2);
    const double share = (at - seconds[row]) / (seconds[row + 1] - seconds[row]);
    const double sign = side < 0 ? -1.0 : 1.0;
    const std::size_t state = side == 0 ? 2 : in_air ? 1 : 0;
    const auto leads = static_cast<std::size_t>(2 * most_lead + 1), changes = static_cast<std::size_t>(2 * most_change + 1);
    const double bound = constants.largest, greatest = most_lead;
    lead = std::min(std::max(lead + drift * at * margin, -2 * bound), 2 * bound);
    const double below = std::floor(lead);
    std::vector<double> result(2 * static_cast<std::size_t>(constants.largest) + 1);
    double sum = 0.0;
    for (const double whole : {below, below + 1}) {
        const double weight = whole == below ? 1 - (lead - below) : lead - below;
        const double clipped = std::min(std::max(sign * whole, -greatest), greatest);
        const auto place = static_cast<std::size_t>(static_cast<int>(clipped) + most_lead);
        const float *const now = mass.data() + ((state * seconds.size() + row) * leads + place) * changes;
        const float *const next = now + leads * changes;
        for (std::size_t index = 0; index < changes; ++index) {
            const double probability = (now[index] * (1 - share) + next[index] * share) * weight;
            const double end = whole + sign * (static_cast<int>(index) - most_change);
            result[static_cast<std::size_t>(std::min(std::max(end, -bound), bound) + bound)] += probability;
            sum += probability;
        }
    }
    for (double &each : result) each /= sum;
    return result;
}

void MomentTables::add_after_free_throws(std::vector<double> &result, double weight, double seconds_left, double lead,
                                         int side, bool in_air, int free_throws, double margin) const {
    if (free_throws == 0) {
        const std::vector<double> end = at_end(seconds_left, lead, side, in_air, margin);
        for (std::size_t index = 0; index < end.size(); ++index) result[index] += weight * end[index];
        return;
    }
    // After the last one, if made, the other team has the ball; if missed, the shot is in the air.
    const bool last = free_throws == 1;
    add_after_free_throws(result, weight * free_throw, seconds_left, lead + side, last ? -side : side, false,
                          free_throws - 1, margin);
    add_after_free_throws(result, weight * (1 - free_throw), seconds_left, lead, side, last, free_throws - 1, margin);
}

TabulatedGame MomentTables::game(double seconds_left, double lead, int side, bool in_air, int free_throws,
                                 double margin) const {
    std::vector<double> result(2 * static_cast<std::size_t>(constants.largest) + 1);
    add_after_free_throws(result, 1.0, seconds_left, lead, side, in_air, free_throws, margin);
    const auto tie = static_cast<std::size_t>(constants.largest);
    if (final && result[tie] > 0) {
        // As many overtimes as it takes: given that one is not tied, it ends like the first.
        const std::vector<double> overtime = at_end(seconds.back(), 0.0, 0, false, margin);
        const double ratio = result[tie] / (1 - overtime[tie]);
        for (std::size_t index = 0; index < result.size(); ++index)
            if (index != tie) result[index] += ratio * overtime[index];
        result[tie] = 0.0;
    }
    double below = 0.0, point = 0.0;
    for (std::size_t index = 0; index < result.size(); ++index) {
        point += result[index] * (static_cast<double>(index) - constants.largest);
        result[index] = below += result[index];
    }
    return {std::move(result), point, final, constants};
}

}  // namespace dejavu
