#include "explanation.hpp"

#include <algorithm>
#include <utility>

namespace dejavu {
namespace {

// Number of nearest past games in an explanation.
constexpr std::size_t MOST_SHOWN = 5;

}  // namespace

Explanation::Explanation(const PointModels &models, const Prediction &prediction, int horizon, double point, int games,
                         bool steps)
    : ensemble(point), baseline(prediction.pattern.back()), calibration_games(games) {
    const Minute &minute = models.minute(prediction.minutes);
    const Predicted &predicted = prediction.predicted;
    // Live inputs shift the forecast away from the weighted sum of Dejavu and LSTM. Both are shown with the same shift, so
    // that their weighted sum is the forecast that was issued.
    const double shift = point - predicted.combined[horizon];
    dejavu = predicted.similar[horizon] + shift;
    lstm = predicted.recurrent[horizon] + shift;
    linear = predicted.linear[horizon];
    dejavu_weight = minute.weight[horizon];
    lstm_weight = 1 - dejavu_weight;
    similar = steps ? 0.0 : dejavu_weight * (predicted.similar[horizon] - linear);

    const auto count = static_cast<std::size_t>(prediction.minutes);
    std::vector<double> forecasts(HORIZONS * (count + 1));
    models.earlier(prediction.pattern.data(), prediction.minutes, prediction.margin, prediction.corrections.data(), steps,
                   forecasts.data());
    const auto after = [&](std::size_t minutes_known) -> double & { return forecasts[HORIZONS * minutes_known + horizon]; };
    after(count) = point - similar;
    before_tipoff = after(0);
    minutes.resize(count);
    for (std::size_t known = 0; known < count; ++known) minutes[known] = after(known + 1) - after(known);

    const std::size_t shown = std::min(MOST_SHOWN, prediction.entries.size());
    similar_games.reserve(shown);
    for (std::size_t place = 0; place < shown; ++place) {
        ShownEntry entry = minute.database->shown.entry(prediction.entries[place], horizon);
        const double differential = baseline + entry.increment;
        similar_games.push_back({std::move(entry), prediction.distances[place], differential});
    }
}

}  // namespace dejavu
