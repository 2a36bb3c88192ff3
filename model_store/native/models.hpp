// Point forecasts of games at any minutes, by linear models; and the components beside them: similar games and LSTM.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lstm.hpp"
#include "search.hpp"

namespace dejavu {

constexpr int SOURCES = 2;         // sources of the expected margin that residuals distinguish: unknown, known
constexpr int LINEAR_SOURCES = 3;  // sources of it that linear models distinguish: unknown, from ratings, the line
constexpr int COEFFICIENTS = 4;    // intercept, slope, margin slope, cube; see linear.py

using OfHorizons = std::array<double, HORIZONS>;
using OfSources = std::array<OfHorizons, SOURCES>;

enum class Kernel { uniform, epanechnikov, tricube };

// Displayed data of an entry of a database: a past game, or the group of games that it represents.
struct ShownEntry {
    std::string home_team, away_team;
    std::int32_t date, games;   // 20241105 is 5 November 2024
    double increment, spread;
};

// Displayed data of the entries: the NumPy records of `shown_entries.records_of`, read in place without a copy.
class ShownEntries {
public:
    ShownEntries() = default;
    ShownEntries(std::shared_ptr<const char> records, std::size_t home_letters, std::size_t away_letters)
        : records_(std::move(records)), home_letters_(home_letters), away_letters_(away_letters) {}

    std::size_t bytes() const { return home_letters_ + away_letters_ + sizeof(Numbers); }
    ShownEntry entry(std::int64_t number, int horizon) const;

private:
    // The fields after the teams in a record, without padding.
    struct Numbers {
        std::int32_t date, games;
        float increments[HORIZONS], spreads[HORIZONS];
    };

    std::shared_ptr<const char> records_;
    std::size_t home_letters_ = 0, away_letters_ = 0;
};

// The database of one minute; see dejavu.py.
struct Database {
    std::shared_ptr<const Index> index;
    std::vector<float> weights;  // of the minutes in the distance; see features.recency_weights
    std::vector<std::int32_t> games;
    std::vector<float> residuals;  // (entries, SOURCES, HORIZONS)
    ShownEntries shown;
    Kernel kernel = Kernel::uniform;
    std::size_t neighbours = 1;

    int minutes() const { return static_cast<int>(weights.size()); }

    // Finds the nearest entries of a pattern: writes the numbers and distances of `neighbours` entries, and returns
    // their mean residuals.
    OfSources query(const double *pattern, std::int64_t *entries, double *distances) const;
};

// Linear model and database of one minute. Some minutes have no database; in a bundle without similar games none has.
struct Minute {
    double coefficients[LINEAR_SOURCES][HORIZONS][COEFFICIENTS];
    std::shared_ptr<const Database> database;
};

// Expected final differential before tip-off, in points, NaN if unknown; and whether it is the line of a market.
struct Margin {
    double points = 0.0;
    bool line = false;

    bool known() const { return std::isfinite(points); }
    int linear_source() const { return known() ? (line ? 2 : 1) : 0; }
};

// Predictions of the components for a game: differentials at the horizons, in points; and the nearest entries.
struct Opinions {
    OfHorizons similar, recurrent;
    std::vector<std::int64_t> entries;
    std::vector<double> distances;
};

// A game and its point forecasts: differentials at the horizons, in points.
struct Prediction {
    std::vector<double> pattern;
    Margin margin;
    OfHorizons points{};

    int minutes() const { return static_cast<int>(pattern.size()); }
};

class PointModels {
public:
    PointModels(Networks networks, std::vector<Minute> minutes, bool cubic)
        : networks_(std::move(networks)), minutes_(std::move(minutes)), cubic_(cubic) {
        for (const Minute &each : minutes_) searches_ = searches_ || each.database;
    }

    const Minute &minute(int minutes) const { return minutes_[static_cast<std::size_t>(minutes)]; }
    int longest() const { return static_cast<int>(minutes_.size()) - 1; }

    // Whether a forecast can be made after this many minutes. A bundle that has any database needs one for that minute.
    bool supports(int minutes) const { return !searches_ || minute(minutes).database; }

    // The forecasts of a game whose differential after some minutes, or before tip-off, is `lead`.
    OfHorizons predict(int minutes, double lead, Margin margin) const;

    // The predictions of the components for a game; a missing component has those of the linear models.
    Opinions opinions(const Prediction &prediction) const;

private:
    double increment(int minute, Margin margin, int horizon, double lead) const;

    Networks networks_;
    std::vector<Minute> minutes_;
    bool cubic_;
    bool searches_ = false;  // whether there is any database
};

}  // namespace dejavu
