// What a forecast is explained by: the models' predictions, similar games, and the contribution of each minute.
//
// The same steps as in point/explanation.py, in the same order: equal to the last bit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.hpp"
#include "models.hpp"

namespace dejavu {

// A past game, or the group of games that one entry represents; see types.SimilarGame.
struct SimilarGame {
    ShownEntry entry;
    double distance, differential;
};

// See types.Explanation. It has a copy of what it shows, so that it outlives its models.
class Explanation : public JsonSource {
public:
    // Explains a prediction at a horizon. `point` is the forecast that was issued, `games` the number of games behind its
    // distribution, `steps` whether the contributions of the minutes contain the similar games.
    Explanation(const PointModels &models, const Prediction &prediction, int horizon, double point, int games,
                bool steps);

    void append_json(std::string &text) const override;

    double dejavu, lstm, ensemble, baseline, dejavu_weight, lstm_weight, linear;
    int calibration_games;
    double before_tipoff, similar;
    std::vector<double> minutes;
    std::vector<SimilarGame> similar_games;
};

}  // namespace dejavu
