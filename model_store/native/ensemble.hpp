// Linear models of games at any minute, and the components that are pooled with them: similar games and the LSTM.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "lstm.hpp"
#include "opinion.hpp"
#include "search.hpp"

namespace dejavu {

constexpr int LINEAR_SOURCES = 3;  // sources of the expected margin: unknown, from ratings, the line
constexpr int COEFFICIENTS = 4;    // intercept, slope, margin slope, cube; see linear.py
constexpr int CORRECTIONS = 6;     // terms of the correction; see linear.py
constexpr int CELLS = 6;           // of the weights: both quarters of the half, all quarters of the end
constexpr int FEATURES = 9;        // of a game that is compared with others; see features.py
constexpr int HALFTIME = 0, FINAL = 1;

using OfHorizons = std::array<double, HORIZONS>;

// Past games; see past_games.py. Images are numbered from 0: twice the number of a game, plus 1 for its mirror image.
struct PastGames {
    static constexpr std::size_t MINUTES = 48, CASES = 70, HALF_MINUTES = 23;

    std::vector<std::int16_t> differentials, totals;  // (games, MINUTES)
    std::vector<std::int16_t> finals;
    std::vector<float> margins;
    std::vector<std::uint8_t> codes;  // (games, CASES): at halftime after minutes 1 to 23, then at the end

    std::size_t size() const { return finals.size(); }

    int lead(std::size_t image, std::size_t minute) const {
        const int lead = minute ? differentials[image / 2 * MINUTES + minute - 1] : 0;
        return image % 2 ? -lead : lead;
    }

    int outcome(std::size_t image, int horizon) const {
        const int home = horizon == FINAL ? finals[image / 2] : differentials[image / 2 * MINUTES + HALF_MINUTES];
        return image % 2 ? -home : home;
    }
};

// What happened in the similar games of a forecast; see types.SimilarSummary.
struct Similar {
    std::int64_t games = 0;
    std::int64_t same_lead = 0, home_led = 0, away_led = 0, outcomes = 0;  // of the games with about the lead; a sum
    std::vector<std::pair<double, std::uint32_t>> nearest;  // distance and image, the nearest first; each game once
};

// The past games at one minute, in groups; see dejavu.py.
class Database {
public:
    // Group g has the images members[starts[g]] to members[starts[g + 1] - 1].
    Database(std::shared_ptr<const Graph> index, int minute, std::vector<std::uint32_t> starts,
             std::vector<std::uint32_t> members, std::shared_ptr<const PastGames> games, std::size_t nearest);

    int minute() const { return minute_; }
    bool has(int horizon) const { return !codes_[static_cast<std::size_t>(horizon)].empty(); }
    const PastGames &games() const { return *games_; }

    // Returns the nearest groups, nearest first.
    std::vector<std::uint32_t> nearest(const float *features) const;

    // Sets what the members of groups say of a horizon.
    void put(const std::vector<std::uint32_t> &groups, int horizon, Opinion &opinion) const;

    // Calls a function with each image in some groups, group by group.
    template <typename Function>
    void each_image(const std::vector<std::uint32_t> &groups, std::size_t count, Function function) const {
        for (std::size_t place = 0; place < std::min(count, groups.size()); ++place)
            for (std::uint32_t member = starts_[groups[place]]; member < starts_[groups[place] + 1]; ++member)
                function(members_[member]);
    }

private:
    std::shared_ptr<const Graph> index_;
    int minute_;
    std::vector<std::uint32_t> starts_, members_;
    std::array<std::vector<std::uint8_t>, HORIZONS> codes_;  // of the members, in their order
    std::shared_ptr<const PastGames> games_;
    std::size_t nearest_;
};

// Expected final differential before tip-off, in points, NaN if unknown; and whether it is the line of a market.
struct Margin {
    double points = 0.0;
    bool line = false;

    bool known() const { return std::isfinite(points); }
    int source() const { return known() ? (line ? 2 : 1) : 0; }
};

// Live inputs that components read; NaN if unknown.
struct LiveNumbers {
    static constexpr double UNKNOWN = std::numeric_limits<double>::quiet_NaN();

    double total = UNKNOWN, last_side = UNKNOWN, last_seconds = UNKNOWN, ball_side = UNKNOWN, in_air = UNKNOWN;
};

// A game after some minutes, with the predictions of the linear models: differentials at the horizons, in points.
struct Prediction {
    std::vector<double> pattern;
    Margin margin;
    LiveNumbers live;
    OfHorizons points{};

    // What the components say of both horizons, each computed for the first opinion that needs it.
    bool searched = false, ran = false;
    std::vector<std::uint32_t> groups;  // the nearest groups of similar games, nearest first
    std::array<float, OUTPUTS> outputs{};

    int minute() const { return static_cast<int>(pattern.size()); }
};

// Tables of an ensemble, by source of the margin and by minute from 0 on; see linear.py, dejavu.py and lstm.py.
struct EnsembleTables {
    std::vector<std::array<double, LINEAR_SOURCES * HORIZONS * COEFFICIENTS>> coefficients;
    std::array<std::array<double, CORRECTIONS>, LINEAR_SOURCES> corrections{};
    std::array<std::vector<double>, LINEAR_SOURCES> spreads;
    std::vector<double> margin_slopes, mean_totals;  // of similar games
    std::vector<double> network_totals;              // mean totals of the LSTM
    std::vector<std::array<double, FEATURES>> feature_weights;
    std::array<std::array<Weights, CELLS>, LINEAR_SOURCES> weights;
};

class Ensemble {
public:
    // Databases are by minute, from 0 on; a minute may have none. A component that is missing has no weight.
    Ensemble(EnsembleTables tables, Networks networks, std::vector<std::shared_ptr<const Database>> databases);

    int longest() const { return static_cast<int>(tables_.coefficients.size()) - 1; }

    // Whether a forecast can be made after this many minutes. An ensemble that has any database needs one for that minute.
    bool supports(int minute) const { return !searches_ || databases_[static_cast<std::size_t>(minute)]; }

    // The predictions of the linear models for a game whose differential after some minutes, or before tip-off, is `lead`.
    OfHorizons predict(int minute, double lead, Margin margin) const;

    const Weights &weights(int minute, Margin margin, int horizon) const;

    // Returns what the components say of a game at a horizon: those that have a weight, or all.
    Opinion opinion(Prediction &prediction, int horizon, bool all) const;

    // Returns what happened in the games that an opinion is made of, and the nearest `most` games in `searched` groups.
    // `reach`: how much the leads of games that count as those with the same lead may differ, in points.
    Similar similar(const Prediction &prediction, int horizon, std::size_t searched, std::size_t most,
                    double reach) const;

private:
    double increment(int minute, double lead, Margin margin, int horizon) const;
    double correction(int minute, double lead, Margin margin) const;
    void put_features(const Prediction &prediction, float *features) const;
    void run(Prediction &prediction) const;

    EnsembleTables tables_;
    Networks networks_;
    std::vector<std::shared_ptr<const Database>> databases_;
    bool searches_ = false, cubic_ = false;
};

}  // namespace dejavu
