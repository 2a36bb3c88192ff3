// What the components beside the linear models say of a game at a horizon, and their shares of its forecast.
//
// All are relative to the linear models' distribution: standardised, in units of its scale, from its center.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace dejavu {

// Bins of the histograms of standardised residuals; see components/past_games.py.
constexpr int BINS = 256;
constexpr double BINS_A_UNIT = 16.0, FARTHEST = 8.0;  // the first bin begins at −FARTHEST

// Weights of the components; they sum to 1, or to less if there are further components.
struct Weights {
    double linear = 1.0, dejavu = 0.0, lstm = 0.0;

    bool linear_alone() const { return dejavu == 0.0 && lstm == 0.0; }
};

struct Opinion {
    Weights weights;
    double mean = 0.0, log_scale = 0.0;   // of the LSTM's distribution; the logarithm is of a factor of the scale
    double similar_mean = 0.0;            // of the similar games
    std::array<double, BINS + 1> below{}; // shares of similar games below the edges of the bins

    // The share of similar games below a standardised value.
    double similar_below(double standardized) const {
        const double place = (standardized + FARTHEST) * BINS_A_UNIT;
        if (!(place > 0)) return 0.0;
        if (place >= BINS) return 1.0;
        const auto bin = static_cast<std::size_t>(place);
        return below[bin] + (below[bin + 1] - below[bin]) * (place - static_cast<double>(bin));
    }

    // Takes the mean and the shares from the numbers of games in the bins, of which one at least is not 0.
    void set_similar(const std::array<std::uint32_t, BINS> &games) {
        double before = 0.0, sum = 0.0, total = 0.0;
        for (const std::uint32_t each : games) total += each;
        for (int bin = 0; bin < BINS; ++bin) {
            const double here = games[static_cast<std::size_t>(bin)];
            sum += here * ((bin + 0.5) / BINS_A_UNIT - FARTHEST);
            below[static_cast<std::size_t>(bin) + 1] = (before += here) / total;
        }
        similar_mean = sum / total;
    }
};

// Opinions of many games, in order; null for a game whose forecast is that of the linear models alone.
struct Opinions {
    std::vector<std::shared_ptr<const Opinion>> of_games;
};

}  // namespace dejavu
