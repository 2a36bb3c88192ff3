#include "values.hpp"

#include <cmath>

namespace dejavu {

Ends around_point(double point, double lower, double upper) {
    return {std::min(lower, std::floor(point)) + 0.0, std::max(upper, std::ceil(point)) + 0.0};  // 0, never -0
}

}  // namespace dejavu
