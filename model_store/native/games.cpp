#include "games.hpp"

#include <stdexcept>

namespace dejavu {
namespace {

double within(double probability, double least) {
    return probability < least ? least : std::min(probability, 1 - least);
}

// Converts a whole number to an integer within bounds; NaN to the least.
int clamped(double whole, int least, int most) {
    return whole > least ? static_cast<int>(std::min(whole, static_cast<double>(most))) : least;
}

double scale_of(double logarithm) {
    const double scale = std::exp(logarithm);
    if (!(scale > 0) || !std::isfinite(scale)) throw std::domain_error("a scale is finite and above 0");
    return scale;
}

double expit(double log_odds) {
    if (log_odds < 0) {  // either form overflows on one side
        const double odds = std::exp(log_odds);
        return odds / (1 + odds);
    }
    return 1 / (1 + std::exp(-log_odds));
}

double log_scale(const MarginTables &tables, double size, double margin, double pace) {
    const auto &terms = tables.scale;
    const double result = terms[0] + terms[1] * pace + terms[2] * size / 10 + terms[3] * std::fabs(margin) / 10;
    if (!tables.late) return result;
    return result + (size > 10 ? terms[4] * (size - 10) / 10 : size < 4 ? terms[5] * (4 - size) / 4 : 0.0);
}

double joint_log_odds(const MarginTables &tables, double lead, double margin, double pace, const LiveInput &live) {
    const auto &[base, linear, square, before, both, of_pace, of_side, of_phase] = tables.win;
    const double size = std::fabs(lead);
    return base + lead * (linear + square * size + of_pace * pace) + margin * (before + both * size) +
           live.side * (of_side + of_phase * live.phase);
}

double points_to_come(const PointTables &tables, double points, double size, double expected) {
    const auto &[start, so_far, before, clear, clearer, close] = tables.point;
    double result = start + so_far * points + before * expected;
    if (tables.final)
        result += clear * (size / 10) + clearer * (std::max(size - 10, 0.0) / 10) + close * (std::max(6 - size, 0.0) / 6);
    return std::min(std::max(result, 0.0), static_cast<double>(tables.most_to_come));
}

double log_scale(const PointTables &tables, double to_come, double size) {
    const auto &[start, relative, clear, close] = tables.scale;
    const double result = start + relative * (std::log(std::max(to_come, 1.0)) - tables.log_mean);
    return tables.late ? result + clear * (size / 10) + close * (std::max(10 - size, 0.0) / 10) : result;
}

}  // namespace

MarginGame::MarginGame(std::shared_ptr<const MarginTables> tables, double point, double lead, double margin,
                       LiveInput live)
    : tables_(std::move(tables)), point_(point), mirrored_(tables_->cells && lead < 0),
      shape_(tables_->shapes, std::fabs(lead)) {
    for (const double number : {point, lead, margin, live.points, live.side, live.phase})
        if (!std::isfinite(number)) throw std::domain_error("a game has finite numbers");
    const MarginConstants &constants = tables_->constants;
    double pace = 0.0;
    if (tables_->live)
        pace = std::log(std::max(tables_->pace[0] + tables_->pace[1] * live.points, 1.0)) - tables_->pace[2];
    else
        live = {};
    scale_ = scale_of(log_scale(*tables_, std::fabs(lead), margin, pace));
    if (!tables_->final) {
        home_ = 1 - below_edge(0.5);
        return;
    }
    // No probability at 0, neither side impossible, each side scaled to its part of the win probability.
    const double below_tie = below_edge(-0.5);
    tie_ = below_edge(0.5) - below_tie + constants.floor_at_tie;
    total_ = 1 + constants.floors.back() - tie_;
    const double own = 1 - (below_tie + floor_below(-1)) / total_;
    const double bounded = within(own, constants.least_win);
    const double joint = joint_log_odds(*tables_, lead, margin, pace, live);
    const double weight = constants.joint_weight;
    home_ = within(expit((1 - weight) * std::log(bounded / (1 - bounded)) + weight * joint), constants.least_win);
    above_ratio_ = home_ / own;
    below_ratio_ = (1 - home_) / (1 - own);
}

double MarginGame::floor_below(int value) const {
    return tables_->final ? tables_->constants.floors[static_cast<std::size_t>(value + tables_->constants.largest)] : 0.0;
}

double MarginGame::home_lead_probability() const {
    return within(1 - tables_->ranks.calibrated(1 - home_), tables_->constants.least);
}

double MarginGame::below_edge(double edge) const {
    const double standardized = (edge - point_) / scale_;
    return mirrored_ ? 1 - shape_.share_below(-standardized) : shape_.share_below(standardized);
}

double MarginGame::cumulative(int value) const { return tables_->ranks.calibrated(of_tables(value)); }

double MarginGame::of_tables(int value) const {
    if (value >= tables_->constants.largest) return 1.0;
    if (value < -tables_->constants.largest) return 0.0;
    double share = below_edge(value + 0.5);
    if (!tables_->final) return share;
    share += floor_below(value);
    if (value < 0) return share / total_ * below_ratio_;
    return 1 - (1 - (share - tie_) / total_) * above_ratio_;
}

double MarginGame::probability_above(double value) const {
    const int bound = tables_->constants.largest + 1;
    return within(1 - cumulative(clamped(std::floor(value), -bound, bound)), tables_->constants.least);
}

double MarginGame::value_at(double standardized) const {
    return point_ + scale_ * (mirrored_ ? -standardized : standardized) - 0.5;
}

int MarginGame::quantile(double level) const {
    const MarginConstants &constants = tables_->constants;
    double target = tables_->ranks.inverse(level - constants.tolerance);
    int least = -constants.largest, most = constants.largest;
    if (tables_->final) {
        // Converts the target to a share of the shape with the floor.
        if (target <= 1 - home_) {
            target = target / below_ratio_ * total_;
            most = -1;
        } else {
            target = (1 - (1 - target) / above_ratio_) * total_ + tie_;
            least = 1;
        }
    }
    level = mirrored_ ? 1 - target : target;
    const bool inner = constants.inner < level && level < 1 - constants.inner;
    // A mixture's quantile lies between those of its parts.
    const double one = value_at(shape_.nearer_inverse(level)), other = value_at(shape_.farther_inverse(level));
    const int bound = constants.largest + 1;  // beyond it a value counts as the largest
    const auto whole = [bound](double value) { return clamped(std::ceil(value), -bound, bound); };
    int value = whole(std::min(one, other) - constants.clear);
    if (inner) most = std::max(std::min(most, whole(std::max(one, other) + constants.clear)), least);
    value = std::min(std::max(value, least), most);
    // The inverse is not valid in the tails.
    while (!inner && value > least && below_edge(value - 0.5) + floor_below(value - 1) >= target) --value;
    while (value < most && below_edge(value + 0.5) + floor_below(value) < target) ++value;
    return value;
}

PointGame::PointGame(std::shared_ptr<const PointTables> tables, int points, double lead, double expected)
    : tables_(std::move(tables)), points_(points),
      to_come_(points_to_come(*tables_, points, std::fabs(lead), expected)),
      scale_(scale_of(log_scale(*tables_, to_come_, std::fabs(lead)))), shape_(tables_->shapes, std::fabs(lead)) {}

double PointGame::cumulative(int total) const {
    const int to_come = total - points_;
    if (to_come < 0) return 0.0;
    return to_come >= tables_->most_to_come ? 1.0 : below(to_come);
}

int PointGame::quantile(double level) const {
    const double target = level - tables_->tolerance;
    // Starts at the quantile of the nearer shape. The mixture's, or one beyond the outermost level, is few steps away.
    const double start = std::ceil(to_come_ + scale_ * shape_.nearer_inverse(target) - 0.5);
    int value = clamped(start, 0, tables_->most_to_come);
    while (value > 0 && below(value - 1) >= target) --value;
    while (value < tables_->most_to_come && below(value) < target) ++value;
    return value;
}

}  // namespace dejavu
