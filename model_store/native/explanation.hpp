// What explains a forecast: the models' predictions, similar games, and the contribution of each minute.
//
// tests/support/reference/explanation.py takes the same steps with NumPy.
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

// See types.Explanation. It has a copy of what it shows, so that it outlives its models.
class Explanation {
public:
    // Explains a prediction at a horizon. `point` is the forecast that was issued, `games` the number of games behind its
    // distribution, `steps` whether the contributions of the minutes contain the similar games.
    Explanation(const PointModels &models, const Prediction &prediction, int horizon, double point, int games,
                bool steps);

    double dejavu, lstm, ensemble, baseline, dejavu_weight, lstm_weight, linear;
    int calibration_games;
    double before_tipoff, similar;
    std::vector<double> minutes;
    std::vector<SimilarGame> similar_games;
};

}  // namespace dejavu
