#include "explanation.hpp"

#include <algorithm>
#include <utility>

namespace dejavu {
namespace {

// Number of nearest past games in an explanation.
constexpr std::size_t MOST_SHOWN = 5;

}  // namespace

Explanation::Explanation(const PointModels &models, const Prediction &prediction, const Opinions &opinions, int horizon,
                         double point, int games)
    : baseline(prediction.pattern.back()), calibration_games(games) {
    // Live inputs shift the forecast away from that of the linear models; the components are shown with the same shift.
    const double shift = point - prediction.points[horizon];
    dejavu = opinions.similar[horizon] + shift;
    lstm = opinions.recurrent[horizon] + shift;

    const int count = prediction.minutes();
    before_tipoff = models.predict(0, 0.0, prediction.margin)[horizon];
    double before = before_tipoff;
    minutes.resize(static_cast<std::size_t>(count));
    for (int known = 1; known <= count; ++known) {
        const double lead = prediction.pattern[known - 1];
        const double after = known == count ? point : models.predict(known, lead, prediction.margin)[horizon];
        minutes[known - 1] = after - before;
        before = after;
    }

    const std::size_t shown = std::min(MOST_SHOWN, opinions.entries.size());
    similar_games.reserve(shown);
    for (std::size_t place = 0; place < shown; ++place) {
        ShownEntry entry = models.minute(count).database->shown.entry(opinions.entries[place], horizon);
        const double differential = baseline + entry.increment;
        similar_games.push_back({std::move(entry), opinions.distances[place], differential});
    }
}

}  // namespace dejavu
