// Distributions of one game on whole numbers: its differential and its total points at a horizon.
//
// The references are MarginModel.distribution and TotalModel.distribution in Python: results equal within rounding.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "opinion.hpp"
#include "shapes.hpp"

namespace dejavu {

// Constants that Python's modules own.
struct MarginConstants {
    int largest = 0;             // largest differential with a probability of its own
    double tolerance = 0.0;      // rounding of a cumulative probability
    double least_win = 0.0;      // least win probability of either side
    double least = 0.0;          // least probability that a forecast states
    double joint_weight = 0.0;   // weight of the joint win probability
    std::vector<double> floors;  // cumulative, of the final margins from −largest
    double floor_at_tie = 0.0;
};

// Largest unit of standardised residuals, in points; see margin_model.py.
constexpr double MOST_UNIT = 100.0;

// Tables of one kind of request, horizon and minute; see MarginTables.
struct MarginTables {
    MarginConstants constants;
    Shapes shapes;
    Ranks ranks;
    bool live = false, final = false, late = false, cells = false;
    std::array<double, 6> scale{};
    std::array<double, 3> pace{};
    std::array<double, 8> win{};
};

// Live inputs of a game; ignored by tables without live inputs.
struct LiveInput {
    double points = 0.0, side = 0.0, phase = 0.0;
};

// Shares of further components, by their total weight: those below the edges of the whole numbers from −largest on, and
// their part of the point forecast.
struct Others {
    double weight = 0.0, point = 0.0;
    std::vector<double> below;
};

// The pooled distribution of the linear models' tables and of the components around one game's center.
class MarginGame {
public:
    // Without an opinion and others, it is that of the tables alone.
    MarginGame(std::shared_ptr<const MarginTables> tables, double center, double lead, double margin, LiveInput live,
               std::shared_ptr<const Opinion> opinion = nullptr, std::shared_ptr<const Others> others = nullptr);

    double home_lead_probability() const;
    double cumulative(int value) const;
    double probability_above(double value) const;
    int quantile(double level) const;

    double point() const { return point_; }
    double center() const { return center_; }
    double unit() const { return unit_; }
    bool is_final() const { return tables_->final; }
    double tolerance() const { return tables_->constants.tolerance; }

private:
    double of_shape(double standardized) const;
    double below(int value) const;  // the pooled share at or below a whole number
    double of_tables(int value) const;  // cumulative, before the ranks
    double floor_below(int value) const;

    std::shared_ptr<const MarginTables> tables_;
    std::shared_ptr<const Opinion> opinion_;
    std::shared_ptr<const Others> others_;
    double center_, point_, scale_ = 1.0, unit_ = 1.0, lstm_center_ = 0.0, lstm_scale_ = 1.0;
    double home_ = 0.0, tie_ = 0.0, total_ = 1.0, above_ratio_ = 1.0, below_ratio_ = 1.0;
    bool mirrored_;
    Mixture shape_;
};

// Tables of one source of the expected total, horizon and minute; see TotalTables.
struct PointTables {
    Shapes shapes;
    bool final = false, late = false;
    std::array<double, 6> point{};
    std::array<double, 4> scale{};
    double log_mean = 0.0, tolerance = 0.0;
    int most_to_come = 0;
};

class PointGame {
public:
    PointGame(std::shared_ptr<const PointTables> tables, int points, double lead, double expected);

    double point() const { return points_ + to_come_; }
    int points() const { return points_; }
    double tolerance() const { return tables_->tolerance; }
    double cumulative(int total) const;
    int quantile(double level) const;

private:
    double below(int to_come) const { return shape_.share_below((to_come + 0.5 - to_come_) / scale_); }

    std::shared_ptr<const PointTables> tables_;
    int points_;
    double to_come_, scale_;
    Mixture shape_;
};

}  // namespace dejavu
