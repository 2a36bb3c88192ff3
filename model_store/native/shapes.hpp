// Shapes of predictive distributions: quantiles of standardised residuals; see uncertainty/lattice/shapes.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace dejavu {

// Shapes at some sizes of the lead, all at the same levels.
struct Shapes {
    std::vector<double> levels;   // ascending, symmetric around ½
    std::vector<double> centers;  // sizes of the lead, ascending from 0
    std::vector<std::vector<double>> quantiles;
    double log_step = 0.0;  // decrease of the logarithm of a tail over its last step

    double share_below(std::size_t cell, double value) const {
        const std::vector<double> &shape = quantiles[cell];
        const std::size_t count = shape.size();
        const auto index = static_cast<std::size_t>(std::upper_bound(shape.begin(), shape.end(), value) - shape.begin());
        if (index == 0) return levels[0] * std::exp(log_step * (value - shape[0]) / (shape[1] - shape[0]));
        if (index == count)
            return 1 - levels[0] * std::exp(-log_step * (value - shape[count - 1]) / (shape[count - 1] - shape[count - 2]));
        const double low = shape[index - 1], level = levels[index - 1];
        return level + (levels[index] - level) * (value - low) / (shape[index] - low);
    }

    double inverse(std::size_t cell, double level) const {
        const std::vector<double> &shape = quantiles[cell];
        const auto index = static_cast<std::size_t>(std::lower_bound(levels.begin(), levels.end(), level) - levels.begin());
        if (index == 0) return shape.front();
        if (index == shape.size()) return shape.back();
        const double low = levels[index - 1], start = shape[index - 1];
        return start + (shape[index] - start) * (level - low) / (levels[index] - low);
    }
};

// Conformal ranks: the level of a calibrated distribution is `levels` where that of its tables is `at`; linear between.
struct Ranks {
    std::vector<double> at, levels;  // strictly ascending, from 0 to 1

    double calibrated(double level) const { return between(at, levels, level); }
    double inverse(double level) const { return between(levels, at, level); }

private:
    static double between(const std::vector<double> &from, const std::vector<double> &to, double value) {
        if (!(value > 0)) return 0.0;
        if (!(value < 1)) return 1.0;
        const auto index = static_cast<std::size_t>(std::upper_bound(from.begin(), from.end(), value) - from.begin());
        return to[index - 1] + (to[index] - to[index - 1]) * (value - from[index - 1]) / (from[index] - from[index - 1]);
    }
};

// The shapes between two centers, mixed for one game.
class Mixture {
public:
    Mixture(const Shapes &shapes, double size) : shapes_(&shapes) {
        const std::vector<double> &centers = shapes.centers;
        cell_ = static_cast<std::size_t>(std::upper_bound(centers.begin(), centers.end(), size) - centers.begin()) - 1;
        if (cell_ + 1 < centers.size()) share_ = (size - centers[cell_]) / (centers[cell_ + 1] - centers[cell_]);
    }

    double share_below(double value) const {
        double result = shapes_->share_below(cell_, value);
        if (share_ != 0.0) result += share_ * (shapes_->share_below(cell_ + 1, value) - result);
        return result;
    }

    // Returns the inverse of the shape at or below the size.
    double nearer_inverse(double level) const { return shapes_->inverse(cell_, level); }

private:
    const Shapes *shapes_;
    std::size_t cell_;
    double share_ = 0.0;
};

}  // namespace dejavu
