#include "games.hpp"

#include <stdexcept>

namespace dejavu {
namespace {

constexpr double WEIGHT_ROUNDING = 1e-9;  // of the sum of the weights

double within(double probability, double least) {
    return probability < least ? least : std::min(probability, 1 - least);
}

// Converts a whole number to an integer within bounds; NaN to the least.
int clamped(double whole, int least, int most) {
    return whole > least ? static_cast<int>(std::min(whole, static_cast<double>(most))) : least;
}

// Returns the least whole number in [least, most] that holds, given that all greater ones hold too; `most` if none does.
// Searches from a start in ever longer steps, then halves the last one.
template <typename Holds>
int least_with(int start, int least, int most, Holds holds) {
    if (holds(start)) {
        most = start;
        for (int step = 1; least < most; step *= 2) {
            const int next = std::max(most - step, least);
            if (!holds(next)) {
                least = next + 1;
                break;
            }
            most = next;
        }
    } else {
        least = std::min(start + 1, most);
        for (int step = 1; least < most; step *= 2) {
            const int next = std::min(least + step - 1, most);
            if (holds(next)) {
                most = next;
                break;
            }
            least = std::min(next + 1, most);
        }
    }
    while (least < most) {
        const int middle = least + (most - least) / 2;
        if (holds(middle))
            most = middle;
        else
            least = middle + 1;
    }
    return least;
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

MarginGame::MarginGame(std::shared_ptr<const MarginTables> tables, double center, double lead, double margin,
                       LiveInput live, std::shared_ptr<const Opinion> opinion, std::shared_ptr<const Others> others)
    : tables_(std::move(tables)), opinion_(std::move(opinion)), others_(std::move(others)), center_(center),
      point_(center), mirrored_(tables_->cells && lead < 0), shape_(tables_->shapes, std::fabs(lead)) {
    for (const double number : {center, lead, margin, live.points, live.side, live.phase})
        if (!std::isfinite(number)) throw std::domain_error("a game has finite numbers");
    const MarginConstants &constants = tables_->constants;
    double pace = 0.0;
    if (tables_->live)
        pace = std::log(std::max(tables_->pace[0] + tables_->pace[1] * live.points, 1.0)) - tables_->pace[2];
    else
        live = {};
    scale_ = scale_of(log_scale(*tables_, std::fabs(lead), margin, pace));
    unit_ = std::min(scale_, MOST_UNIT);
    double others_weight = 0.0;
    if (others_) {
        others_weight = others_->weight;
        if (others_->below.size() != 2 * static_cast<std::size_t>(constants.largest) + 2)
            throw std::domain_error("others have a share below each edge");
        if (!opinion_) opinion_ = std::make_shared<const Opinion>(Opinion{{1 - others_weight, 0.0, 0.0}});
    }
    if (opinion_) {
        const Weights &weights = opinion_->weights;
        if (!(std::fabs(weights.linear + weights.dejavu + weights.lstm + others_weight - 1) <= WEIGHT_ROUNDING))
            throw std::domain_error("the weights of a game's components sum to 1");
        lstm_center_ = center_ + opinion_->mean * unit_;
        lstm_scale_ = scale_ * std::exp(opinion_->log_scale);
        point_ += unit_ * (weights.dejavu * opinion_->similar_mean + weights.lstm * opinion_->mean);
        if (others_) point_ += others_->point - others_weight * center_;
    }
    if (!tables_->final) {
        home_ = 1 - below(0);
        return;
    }
    // No probability at 0, neither side impossible, each side scaled to its part of the win probability.
    const double below_tie = below(-1);
    tie_ = below(0) - below_tie + constants.floor_at_tie;
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

double MarginGame::of_shape(double standardized) const {
    return mirrored_ ? 1 - shape_.share_below(-standardized) : shape_.share_below(standardized);
}

double MarginGame::below(int value) const {
    const double edge = value + 0.5, standardized = (edge - center_) / scale_;
    if (!opinion_) return of_shape(standardized);
    const Weights &weights = opinion_->weights;
    double result = weights.linear > 0 ? weights.linear * of_shape(standardized) : 0.0;
    if (weights.dejavu > 0) result += weights.dejavu * opinion_->similar_below((edge - center_) / unit_);
    if (weights.lstm > 0) result += weights.lstm * of_shape((edge - lstm_center_) / lstm_scale_);
    if (others_) result += others_->below[static_cast<std::size_t>(value + tables_->constants.largest + 1)];
    return result;
}

double MarginGame::cumulative(int value) const { return tables_->ranks.calibrated(of_tables(value)); }

double MarginGame::of_tables(int value) const {
    if (value >= tables_->constants.largest) return 1.0;
    if (value < -tables_->constants.largest) return 0.0;
    double share = below(value);
    if (!tables_->final) return share;
    share += floor_below(value);
    if (value < 0) return share / total_ * below_ratio_;
    return 1 - (1 - (share - tie_) / total_) * above_ratio_;
}

double MarginGame::probability_above(double value) const {
    const int bound = tables_->constants.largest + 1;
    return within(1 - cumulative(clamped(std::floor(value), -bound, bound)), tables_->constants.least);
}

int MarginGame::quantile(double level) const {
    const MarginConstants &constants = tables_->constants;
    double target = tables_->ranks.inverse(level - constants.tolerance);
    int least = -constants.largest, most = constants.largest;
    if (tables_->final) {
        // Converts the target to a share of the pool with the floor.
        if (target <= 1 - home_) {
            target = target / below_ratio_ * total_;
            most = -1;
        } else {
            target = (1 - (1 - target) / above_ratio_) * total_ + tie_;
            least = 1;
        }
    }
    // Starts at the quantile of the nearer shape around the point forecast, which is a few steps away.
    const double inverse = mirrored_ ? -shape_.nearer_inverse(1 - target) : shape_.nearer_inverse(target);
    const int start = clamped(std::ceil(point_ + scale_ * inverse - 0.5), least, most);
    return least_with(start, least, most, [&](int value) { return below(value) + floor_below(value) >= target; });
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
    const int most = tables_->most_to_come;
    return least_with(clamped(start, 0, most), 0, most, [&](int value) { return below(value) >= target; });
}

}  // namespace dejavu
