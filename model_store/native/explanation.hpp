// Explanation of a forecast: the contribution of each minute, the predictions of the components, and similar games.
//
// tests/support/reference/batch.py takes the same steps with NumPy.
#pragma once

#include <cstdint>
#include <vector>

#include "models.hpp"

namespace dejavu {

// A past game, or the group of games that one entry represents; see types.SimilarGame.
struct SimilarGame {
    ShownEntry entry;
    double distance, differential;
};

// See types.Explanation. It owns copies of its data, so that it can outlive its models.
class Explanation {
public:
    // Explains a prediction at a horizon. `point` is the forecast that was issued, `games` the number of games behind its
    // distribution.
    Explanation(const PointModels &models, const Prediction &prediction, const Opinions &opinions, int horizon,
                double point, int games);

    double dejavu, lstm, baseline;
    int calibration_games;
    double before_tipoff;
    std::vector<double> minutes;
    std::vector<SimilarGame> similar_games;
};

}  // namespace dejavu
