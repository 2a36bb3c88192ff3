#include "explanation.hpp"

#include <algorithm>
#include <utility>

namespace dejavu {
namespace {

// Number of nearest past games in an explanation.
constexpr std::size_t MOST_SHOWN = 5;

// Returns a date as ISO 8601 writes it.
std::string iso(std::int32_t date) {
    std::string text = "0000-00-00";
    for (const int place : {9, 8, 6, 5, 3, 2, 1, 0}) {
        text[static_cast<std::size_t>(place)] = static_cast<char>('0' + date % 10);
        date /= 10;
    }
    return text;
}

void append_similar_game(std::string &text, const SimilarGame &game) {
    JsonObject object(text);
    object.text("away_team", game.entry.away_team);
    object.text("date", iso(game.entry.date));
    object.number("differential_at_horizon", game.differential);
    object.number("distance", game.distance);
    object.integer("games", game.entry.games);
    object.text("home_team", game.entry.home_team);
    object.number("increment", game.entry.increment);
    object.number("increment_spread", game.entry.spread);
    object.end();
}

}  // namespace

Explanation::Explanation(const PointModels &models, const Prediction &prediction, int horizon, double point, int games,
                         bool steps)
    : ensemble(point), baseline(prediction.pattern.back()), calibration_games(games) {
    const Minute &minute = models.minute(prediction.minutes);
    const Predicted &predicted = prediction.predicted;
    // Live inputs shift the combination; each model has the shift, so that the weighted sum of both is the forecast.
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

void Explanation::append_json(std::string &text) const {
    JsonObject object(text);
    object.name("attribution");
    JsonObject attribution(text);
    attribution.number("before_tipoff", before_tipoff);
    attribution.name("minutes");
    append_numbers(text, minutes);
    attribution.number("similar_games", similar);
    attribution.end();
    object.number("baseline_prediction", baseline);
    object.integer("calibration_games", calibration_games);
    object.number("dejavu_prediction", dejavu);
    object.number("dejavu_weight", dejavu_weight);
    object.number("ensemble_forecast", ensemble);
    object.number("linear_prediction", linear);
    object.number("lstm_prediction", lstm);
    object.number("lstm_weight", lstm_weight);
    object.name("similar_games");
    text += '[';
    for (const SimilarGame &game : similar_games) {
        if (&game != similar_games.data()) text += ',';
        append_similar_game(text, game);
    }
    text += ']';
    object.end();
}

}  // namespace dejavu
