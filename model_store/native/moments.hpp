// Distributions of one game's differential at any second: by tables of seconds, or between two whole minutes.
//
// The same steps as in moments/model.py.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "games.hpp"

namespace dejavu {

// Probabilities of every whole number within ±largest.
class TabulatedGame {
public:
    TabulatedGame(std::vector<double> below, double point, bool final, const MarginConstants &constants)
        : below_(std::move(below)), point_(point), final_(final), largest_(constants.largest),
          tolerance_(constants.tolerance), least_(constants.least) {}

    double home_lead_probability() const { return probability_above(0); }
    double cumulative(int value) const;
    double probability_above(double value) const;
    int quantile(double level) const;

    double point() const { return point_; }
    bool is_final() const { return final_; }
    double tolerance() const { return tolerance_; }

private:
    std::vector<double> below_;  // cumulative, from −largest
    double point_;
    bool final_;
    int largest_;
    double tolerance_, least_;  // as of MarginConstants
};

// The mixture of the distributions of two tables for one game.
template <typename Other>
class MixedGame {
public:
    // Of `share` in [0, 1] is the other one.
    MixedGame(MarginGame one, Other other, double share)
        : one_(std::move(one)), other_(std::move(other)), share_(share) {}

    double home_lead_probability() const { return mixed(one_.home_lead_probability(), other_.home_lead_probability()); }
    double cumulative(int value) const { return mixed(one_.cumulative(value), other_.cumulative(value)); }
    double probability_above(double value) const {
        return mixed(one_.probability_above(value), other_.probability_above(value));
    }

    // A mixture's quantile lies between those of its parts.
    int quantile(double level) const {
        const auto [first, last] = std::minmax({one_.quantile(level), other_.quantile(level)});
        int value = first;
        while (value < last && cumulative(value) < level - tolerance()) ++value;
        return value == 0 && is_final() ? 1 : value;  // the end of a game is never a tie
    }

    double point() const { return mixed(one_.point(), other_.point()); }
    bool is_final() const { return one_.is_final(); }
    double tolerance() const { return one_.tolerance(); }

private:
    double mixed(double one, double other) const { return one + share_ * (other - one); }

    MarginGame one_;
    Other other_;
    double share_;
};

// Tables of one horizon; see MomentModel.
struct MomentTables {
    MarginConstants constants;
    std::vector<double> seconds;
    int most_lead = 0, most_change = 0;
    std::vector<float> mass;  // (states, seconds, leads, changes)
    double drift = 0.0;  // points of lead for a point of the expected margin, per second
    double free_throw = 0.0;  // probability to make one
    bool final = false;

    // Returns a game's distribution. Of `side`, 0 is unknown. `free_throws` to come are those of the side.
    TabulatedGame game(double seconds_left, double lead, int side, bool in_air, int free_throws, double margin) const;

private:
    // Adds the probabilities of the differentials at the end of the period, times `weight`.
    void add_after_free_throws(std::vector<double> &result, double weight, double seconds_left, double lead, int side,
                               bool in_air, int free_throws, double margin) const;
    std::vector<double> at_end(double seconds_left, double lead, int side, bool in_air, double margin) const;
};

}  // namespace dejavu
